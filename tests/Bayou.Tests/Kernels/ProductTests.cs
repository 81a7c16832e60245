using Bayou.Core;
using Bayou.Kernels;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Matrix products and attention of our own against their definition in double precision and against libtorch.</summary>
public unsafe class ProductTests
{
    [Fact]
    public void Products_of_every_layout_equal_their_definition()
    {
        Assert.SkipUnless(ProductKernel.Suits(64, 64, 64), "needs AVX-512");
        Gen.Select(Gen.Int[8, 130], Gen.Int[16, 90], Gen.Int[17, 210], Gen.Enum<PointwiseActivation>(), Gen.Int[0, 15], Gen.Int[0, 1000])
            .Sample((m, k, n, activation, form, seed) => Check(m, k, n, activation, form, seed), iter: 60);
        Check(30, 1100, 50, PointwiseActivation.Gelu, 15, 1);       // several stretches of depth
        Check(900, 20, 40, PointwiseActivation.None, 3, 2);         // several units of rows
        Check(9, 16, 17, PointwiseActivation.Relu, 0, 3);
    }

    [Fact]
    public void Products_do_not_depend_on_the_number_of_threads()
    {
        Assert.SkipUnless(ProductKernel.Suits(64, 64, 64), "needs AVX-512");
        var random = new Random(1);
        float[] a = Draw(random, 301 * 700), b = Draw(random, 700 * 130), one = new float[301 * 130], two = new float[301 * 130];
        var threads = KernelThreads.Count;
        try
        {
            KernelThreads.Count = 1;
            Multiply(a, b, one);
            KernelThreads.Count = 2;
            Multiply(a, b, two);
        }
        finally
        {
            KernelThreads.Count = threads;
        }
        Assert.Equal(one, two);

        static void Multiply(float[] a, float[] b, float[] y)
        {
            fixed (float* pa = a, pb = b, py = y)
                ProductKernel.Forward(ProductMatrix.Rows(pa, 700), ProductMatrix.Rows(pb, 700).Transposed, null, null, null, py, PointwiseActivation.None, 301, 700, 130);
        }
    }

    [Fact]
    public void A_number_that_is_none_stays_in_its_row()
    {
        Assert.SkipUnless(ProductKernel.Suits(64, 64, 64), "needs AVX-512");
        float[] a = new float[20 * 40], b = [.. Enumerable.Repeat(1f, 40 * 60)], y = new float[20 * 60];
        a[7 * 40 + 3] = float.NaN;
        a[11 * 40] = float.PositiveInfinity;
        fixed (float* pa = a, pb = b, py = y)
            ProductKernel.Forward(ProductMatrix.Rows(pa, 40), ProductMatrix.Rows(pb, 60), null, null, null, py, PointwiseActivation.None, 20, 40, 60);
        for (var row = 0; row < 20; row++)
            Assert.All(y.AsSpan(row * 60, 60).ToArray(), v => Assert.Equal(row == 7 ? float.NaN : row == 11 ? float.PositiveInfinity : 0, v));
    }

    [Theory]
    [InlineData(true, 5)]
    [InlineData(false, 40)]
    public void A_linear_layer_and_its_gradients_equal_those_of_libtorch(bool withBias, int tokens)
    {
        Assert.SkipUnless(ProductKernel.Suits(64, 64, 64), "needs AVX-512");
        using var scope = NewDisposeScope();
        manual_seed(tokens);
        // Tokens of a transposed tensor, as attention leaves them.
        Tensor x = randn(3, 96, tokens).transpose(1, 2), weight = randn(70, 96), up = randn(3, tokens, 70);
        Compare((x, w, b) => LinearFunction.apply(x, w, b!), (x, w, b) => nn.functional.linear(x, w, b), x, weight, withBias ? randn(70) : null, up);
    }

    [Theory]
    [InlineData(1, true, 7)]
    [InlineData(3, false, 9)]
    public void A_pointwise_convolution_and_its_gradients_equal_those_of_libtorch(int pictures, bool withBias, int side)
    {
        Assert.SkipUnless(ProductKernel.Suits(64, 64, 64), "needs AVX-512");
        using var scope = NewDisposeScope();
        manual_seed(side);
        Tensor x = randn(pictures, 40, side, side), weight = randn(50, 40, 1, 1), up = randn(pictures, 50, side, side);
        Compare((x, w, b) => PointwiseFunction.apply(x, w, b!), (x, w, b) => nn.functional.conv2d(x, w, b), x, weight, withBias ? randn(50) : null, up);
    }

    // Value and gradients of a layer in float32 against those of its reference in float64.
    private static void Compare(Func<Tensor, Tensor, Tensor?, Tensor> layer, Func<Tensor, Tensor, Tensor?, Tensor> reference, Tensor x, Tensor weight,
        Tensor? bias, Tensor up)
    {
        Tensor?[] own = [.. new[] { x, weight, bias }.Select(t => t?.detach().requires_grad_())],
            exact = [.. own.Select(t => t?.detach().to(float64).requires_grad_())];
        Tensor y = layer(own[0]!, own[1]!, own[2]), z = reference(exact[0]!, exact[1]!, exact[2]);
        (y * up).sum().backward();
        (z * up.to(float64)).sum().backward();
        TensorAssert.Close(z.to(float32), y, 1e-4, 1e-5);
        foreach (var (a, e) in own.Zip(exact)) if (a is not null) TensorAssert.Close(e!.grad!.to(float32), a.grad!, 1e-4, 1e-5);
    }

    [Theory]
    [InlineData(true, true, true)]
    [InlineData(true, true, false)]
    [InlineData(true, false, true)]
    [InlineData(false, true, true)]
    public void A_branch_over_channels_with_its_shortcut_equals_its_parts(bool last, bool withNorm, bool withScale)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(3);
        Tensor x = Layout(randn(2, 48, 9, 7)), shortcut = Layout(randn(2, 48, 9, 7));
        Tensor one = randn(100, 48), two = randn(48, 100), bias1 = randn(100), bias2 = randn(48), scale = randn(48), gamma = randn(48), beta = randn(48);
        var y = Ops.ChannelMlp(x, new MlpWeights(one, bias1, two, bias2, withScale ? scale : null, withNorm ? gamma : null, withNorm ? beta : null, 1e-6), shortcut);
        Tensor Double(Tensor t) => t.to(float64);
        var rows = Double(x.permute(0, 2, 3, 1));
        if (withNorm) rows = nn.functional.layer_norm(rows, [48], Double(gamma), Double(beta), 1e-6);
        rows = nn.functional.linear(nn.functional.gelu(nn.functional.linear(rows, Double(one), Double(bias1))), Double(two), Double(bias2));
        if (withScale) rows = rows * Double(scale);
        TensorAssert.Close((rows.permute(0, 3, 1, 2) + Double(shortcut)).to(float32), y, 1e-4, 1e-4);

        Tensor Layout(Tensor t) => last ? t.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) : t;
    }

    [Fact]
    public void Attention_equals_its_definition()
    {
        Assert.SkipUnless(ProductKernel.Suits(64, 64, 64), "needs AVX-512");
        Gen.Select(Gen.Int[1, 3], Gen.Int[1, 4], Gen.Int[8, 90], Gen.Int[17, 110], Gen.Int[8, 70], Gen.Int[8, 80], Gen.Int[0, 2], Gen.Int[0, 1000])
            .Sample((b, h, q, k, d, e, bias, seed) => Attend(b, h, q, k, d, e, bias, seed), iter: 40);
        Attend(2, 3, 197, 197, 64, 64, 0, 1);
        Attend(1, 1, 300, 1030, 32, 32, 1, 2);
    }

    [Fact]
    public void Attention_takes_large_logits_and_keeps_what_is_no_number_in_its_row()
    {
        Assert.SkipUnless(ProductKernel.Suits(64, 64, 64), "needs AVX-512");
        using var scope = NewDisposeScope();
        manual_seed(5);
        Tensor q = randn(1, 1, 30, 32) * Number.Of(40), k = randn(1, 1, 33, 32) * Number.Of(40), v = randn(1, 1, 33, 32);
        q[0, 0, 4, 7] = tensor(float.NaN);
        var y = Run(q, k, v, null, 1);
        var expected = nn.functional.softmax(q.to(float64).matmul(k.to(float64).transpose(2, 3)), -1).matmul(v.to(float64)).to(float32);
        Assert.True(y[0, 0, 4].isnan().all().item<bool>());
        Assert.False(y.narrow(2, 5, 25).isnan().any().item<bool>());
        TensorAssert.Close(expected.narrow(2, 5, 25), y.narrow(2, 5, 25), 2e-2, 1e-3);       // logits of a thousand and more in float32
    }

    private static void Attend(int b, int h, int q, int k, int d, int e, int kind, int seed)
    {
        using var scope = NewDisposeScope();
        manual_seed(seed);
        // Heads of a token side by side, as a fused projection leaves them.
        Tensor qs = randn(b, q, h, d).permute(0, 2, 1, 3), ks = randn(b, k, h, d).permute(0, 2, 1, 3), vs = randn(b, k, h, e).permute(0, 2, 1, 3);
        var bias = kind switch { 0 => null, 1 => randn(1, h, q, k) * Number.Of(3), _ => randn(b, 1, 1, k) };
        // Some keys do not count.
        if (kind == 2) bias = bias!.masked_fill(rand(b, 1, 1, k) > Number.Of(0.7), Number.Of(float.NegativeInfinity)).index_fill_(3, tensor(0L), Number.Of(0));
        var scale = Math.Pow(d, -0.5);
        var logits = qs.to(float64).matmul(ks.to(float64).transpose(2, 3)).mul(Number.Of(scale));
        var expected = nn.functional.softmax(bias is null ? logits : logits + bias.to(float64), -1).matmul(vs.to(float64)).to(float32);
        TensorAssert.Close(expected, Run(qs, ks, vs, bias?.expand(b, h, q, k), scale), 1e-5, 1e-5);
    }

    private static Tensor Run(Tensor q, Tensor k, Tensor v, Tensor? bias, double scale)
    {
        var s = new AttentionShape((int)q.shape[0], (int)q.shape[1], (int)q.shape[2], (int)k.shape[2], (int)q.shape[3], (int)v.shape[3]);
        var y = empty(s.Batches, s.Heads, s.Queries, s.ValueWidth);
        AttentionKernel.Forward(Rows(q), Rows(k), Rows(v), bias is null ? null : Rows(bias), (float)scale, Rows(y), s);
        GC.KeepAlive(bias);
        return y;

        static AttentionRows Rows(Tensor t) => new((nint)TensorMemory.Strided(t), t.stride(0), t.stride(1), t.stride(2));
    }

    private static void Check(int m, int k, int n, PointwiseActivation activation, int form, int seed)
    {
        var random = new Random(seed);
        bool turnedA = (form & 1) > 0, turnedB = (form & 2) > 0, hasBias = (form & 4) > 0, hasAdd = (form & 8) > 0, hasScale = seed % 2 == 1;
        float[] scale = Draw(random, n), a = Draw(random, m * k), b = Draw(random, k * n), bias = Draw(random, n), add = Draw(random, m * n), y = new float[m * n];
        fixed (float* ps = scale, pa = a, pb = b, pt = bias, pd = add, py = y)
        {
            ProductKernel.Forward(
                turnedA ? ProductMatrix.Rows(pa, m).Transposed : ProductMatrix.Rows(pa, k), turnedB ? ProductMatrix.Rows(pb, k).Transposed : ProductMatrix.Rows(pb, n),
                hasScale ? ps : null, hasBias ? pt : null, hasAdd ? pd : null, py, activation, m, k, n);
        }
        for (var i = 0; i < m; i++)
        {
            // Every row, and in it the last columns, where tiles end.
            for (var check = 0; check < 24; check++)
            {
                var j = check < 16 ? n - 1 - check : random.Next(n);
                double sum = 0, bound = 1;
                for (var p = 0; p < k; p++)
                {
                    var term = (double)(turnedA ? a[p * m + i] : a[i * k + p]) * (turnedB ? b[j * k + p] : b[p * n + j]);
                    sum += term;
                    bound += Math.Abs(term);
                }
                sum = sum * (hasScale ? scale[j] : 1) + (hasBias ? bias[j] : 0);
                var value = activation switch { PointwiseActivation.Relu => Math.Max(sum, 0), PointwiseActivation.Gelu => sum * Normal(sum), _ => sum };
                Assert.Equal(value + (hasAdd ? add[i * n + j] : 0), y[i * n + j], 1e-5 * bound);
            }
        }

        // Phi by its series: exact enough, and no dependence on what is tested.
        static double Normal(double z)
        {
            if (Math.Abs(z) > 7) return z > 0 ? 1 : 0;
            double term = z, sum = z;
            for (var i = 1; i < 200; i++) sum += term *= z * z / (2 * i + 1);
            return 0.5 + sum * Math.Exp(-z * z / 2) / Math.Sqrt(2 * Math.PI);
        }
    }

    private static float[] Draw(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() * 2 - 1))];
}
