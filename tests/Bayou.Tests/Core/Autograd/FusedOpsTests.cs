using Bayou.Core;
using Bayou.Kernels;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>The fused ops against libtorch in float64: values, gradients, layouts, sizes that fill no register, every vector width.</summary>
public sealed class FusedOpsTests
{
    private static void OnEveryWidth(Action test)
    {
        try
        {
            foreach (var isa in Enum.GetValues<KernelIsaLevel>().Where(l => l <= KernelIsa.Available))
            {
                KernelIsa.Max = isa;
                test();
            }
        }
        finally
        {
            KernelIsa.Max = KernelIsaLevel.Vector512;
        }
    }

    // Runs both on the same numbers with every input a leaf, and compares result and gradients; the loss weighs every output differently.
    private static Tensor Compare(Func<Tensor[], Tensor> fused, Func<Tensor[], Tensor> reference, Tensor[] inputs, double tolerance = 2e-5)
    {
        var own = inputs.Select(t => Like(t).requires_grad_()).ToArray();
        var exact = inputs.Select(t => t.detach().to(float64).requires_grad_()).ToArray();
        var (y, expected) = (fused(own), reference(exact));
        var weights = randn(expected.shape, float64);
        y.mul(weights.to(float32)).sum().backward();
        expected.mul(weights).sum().backward();
        Assert.Equal(expected.shape, y.shape);
        TensorAssert.Close(expected.to(float32), y, tolerance, tolerance);
        for (var i = 0; i < own.Length; i++)
        {
            var scale = Math.Max(1, exact[i].grad!.abs().max().item<double>());
            TensorAssert.Close(exact[i].grad!.to(float32), own[i].grad!, tolerance, tolerance * scale);
        }
        return y;
    }

    // A copy with the same strides.
    private static Tensor Like(Tensor t) => t.is_contiguous() ? t.detach().clone() : ChannelsLast(t.detach());

    private static Tensor ChannelsLast(Tensor x) => x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);

    [Fact]
    public void A_branch_has_the_values_and_gradients_of_its_parts()
    {
        manual_seed(1);
        OnEveryWidth(() => Gen.Select(Gen.Int[1, 40], Gen.Int[2, 9], Gen.Int[1, 70], Gen.Int[1, 12], Gen.Int[0, 15]).Sample(
            (rows, columns, hidden, outputs, parts) =>
            {
                using var scope = NewDisposeScope();
                bool bias1 = (parts & 1) != 0, bias2 = (parts & 2) != 0, scale = (parts & 4) != 0, norm = (parts & 8) != 0;
                // Columns at least 1 apart: values that nearly coincide have no variance, and what rounding does to the normalised ones has no bound.
                var x = rand(2, rows, columns).Plus(arange(columns).to(float32).mul(Number.Of(2.0)));
                Tensor[] inputs =
                [
                    x, randn(hidden, columns).mul(Number.Of(0.5)), randn(outputs, hidden).mul(Number.Of(0.5)), .. bias1 ? new[] { randn(hidden) } : [],
                    .. bias2 ? new[] { randn(outputs) } : [],
                    .. scale ? new[] { randn(outputs) } : [], .. norm ? new[] { randn(columns), randn(columns) } : [],
                ];
                MlpWeights Weights(Tensor[] t)
                {
                    var next = 3;
                    return new(
                        t[1], bias1 ? t[next++] : null, t[2], bias2 ? t[next++] : null, scale ? t[next++] : null, norm ? t[next++] : null,
                        norm ? t[next++] : null, NormEps: 1e-5);
                }
                Assert.True(FusedMlp.Suits(x, Weights(inputs)));
                Tensor Parts(Tensor[] t)
                {
                    var w = Weights(t);
                    var y = norm ? nn.functional.layer_norm(t[0], [columns], w.NormWeight, w.NormBias, 1e-5) : t[0];
                    y = nn.functional.linear(nn.functional.gelu(nn.functional.linear(y, w.Weight1, w.Bias1)), w.Weight2, w.Bias2);
                    return scale ? y.mul(w.Scale!) : y;
                }
                var trained = Compare(t => Ops.GeluMlp(t[0], Weights(t)), Parts, inputs, 1e-4);
                using var noGrad = no_grad();
                TensorAssert.Close(trained, Ops.GeluMlp(x, Weights(inputs)), 1e-4, 1e-4);
            }, iter: 24, threads: 1));
    }

    [Fact]
    public void A_branch_computes_only_the_gradients_that_are_asked_for()
    {
        using var scope = NewDisposeScope();
        manual_seed(7);
        Tensor[] inputs = [randn(6, 4), randn(9, 4), randn(9), randn(5, 9), randn(5), randn(5), randn(4), randn(4)];
        MlpWeights Weights(Tensor[] t) => new(t[1], t[2], t[3], t[4], t[5], t[6], t[7], 1e-5);
        var all = inputs.Select(t => t.clone().requires_grad_()).ToArray();
        Ops.GeluMlp(all[0], Weights(all)).Squared().sum().backward();
        for (var only = 0; only < inputs.Length; only++)
        {
            var own = inputs.Select((t, i) => i == only ? t.clone().requires_grad_() : t).ToArray();
            Ops.GeluMlp(own[0], Weights(own)).Squared().sum().backward();
            TensorAssert.Close(all[only].grad!, own[only].grad!, 1e-6, 1e-6);
            Assert.All(own.Where((_, i) => i != only), t => Assert.Null(t.grad));
        }
    }

    [Fact]
    public void Sizes_that_do_not_fit_are_left_to_libtorch_which_says_so()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(3, 4), w1 = randn(8, 4), w2 = randn(5, 8);
        Assert.False(FusedMlp.Suits(randn(3, 5), new(w1, null, w2, null)));
        Assert.False(FusedMlp.Suits(x, new(w1, randn(7), w2, null)));
        Assert.False(FusedMlp.Suits(x, new(w1, null, randn(5, 7), null)));
        Assert.False(FusedMlp.Suits(x, new(w1, null, w2, null, Scale: randn(8))));
        Assert.False(FusedMlp.Suits(x.to(float64), new(w1.to(float64), null, w2.to(float64), null)));
        // Strided input: libtorch's ops give the same.
        var w3 = randn(8, 3);
        Assert.False(FusedMlp.Suits(x.t(), new(w3, null, w2, null)));
        TensorAssert.Close(nn.functional.linear(nn.functional.gelu(nn.functional.linear(x.t(), w3)), w2), Ops.GeluMlp(x.t(), new(w3, null, w2, null)),
            1e-5, 1e-5);
        Assert.ThrowsAny<Exception>(() => Ops.GeluMlp(randn(3, 5), new(w1, null, w2, null)));
    }

    /// <summary>Also where z Phi(z) is tiny: the error is relative to the value, not to 1.</summary>
    [Fact]
    public void Gelu_is_exact_to_a_few_roundings_over_its_whole_range()
    {
        OnEveryWidth(() =>
        {
            using var scope = NewDisposeScope();
            var z = linspace(-9, 15, 9973, float32);
            var y = Gelu(z);
            // Phi by the complementary error function: 1 + erf cancels on the left.
            var phi = special.erfc(z.to(float64).mul(Number.Of(-Math.Sqrt(0.5)))).mul(Number.Of(0.5));
            var expected = z.to(float64).mul(phi);
            // exp(-z^2 / 2) takes in the rounding of z^2 / 2, up to 40.
            TensorAssert.Close(expected, y.to(float64), 1e-5, 1e-30);
            var near = z.abs().lt(Number.Of(4.0));
            TensorAssert.Close(expected.masked_select(near), y.to(float64).masked_select(near), 2e-6, 1e-12);
            Assert.InRange(Gelu(tensor(-1000f).reshape(1)).item<float>(), -1e-15f, 0);
        });

        static unsafe Tensor Gelu(Tensor z)
        {
            var y = empty_like(z);
            GeluKernel.Forward(TensorMemory.Floats(z), null, TensorMemory.Floats(y), null, (int)z.numel(), 1);
            return y;
        }
    }

    [Fact]
    public void Layer_norm_has_libtorchs_values_and_gradients()
    {
        manual_seed(2);
        OnEveryWidth(() => Gen.Select(Gen.Int[1, 60], Gen.Int[1, 130]).Sample((rows, columns) =>
        {
            using var scope = NewDisposeScope();
            // Few values may lie close together: what the subtraction of the mean rounds then counts for more.
            Compare(
                t => Ops.LayerNorm(t[0], new Ints(columns), t[1], t[2], 1e-5), t => nn.functional.layer_norm(t[0], [columns], t[1], t[2], 1e-5),
                [randn(rows, columns).Plus(Number.Of(3.0)), randn(columns), randn(columns)], columns < 10 ? 5e-3 : 5e-5);
        }, iter: 12, threads: 1));
    }

    [Theory]
    [InlineData(1, 9, 9, 3, 3, 3, false)]
    [InlineData(1, 10, 11, 5, 3, 3, true)]
    [InlineData(6, 9, 9, 7, 2, 2, true)]
    [InlineData(6, 9, 8, 7, 2, 2, false)]
    [InlineData(24, 8, 8, 48, 2, 2, true)]
    [InlineData(3, 33, 32, 16, 4, 4, false)]
    [InlineData(5, 7, 12, 4, 2, 5, true)]
    [InlineData(5, 7, 12, 4, 1, 3, false)]
    public void Convolution_in_patches_has_libtorchs_values_and_gradients(int channels, int height, int width, int outputs, int kh, int kw, bool channelsLast)
    {
        using var scope = NewDisposeScope();
        manual_seed(channels);
        var x = randn(3, channels, height, width);
        Ints stride = new(kh, kw), none = new(0, 0), one = new(1, 1);
        Tensor[] inputs = [channelsLast ? ChannelsLast(x) : x, randn(outputs, channels, kh, kw), randn(outputs)];
        Assert.True(PatchConv.Suits(inputs[0], inputs[1], inputs[2], new Conv2dOp(stride, none, one, 1)));
        var y = Compare(t => Ops.Conv2d(t[0], t[1], t[2], stride, none, one), t => nn.functional.conv2d(t[0], t[1], t[2], [kh, kw]), inputs);
        Assert.True(y.permute(0, 2, 3, 1).is_contiguous());
        // Without a bias, and without a gradient of the picture.
        var w = inputs[1].detach().requires_grad_();
        var plain = Ops.Conv2d(inputs[0], w, null, stride, none, one);
        TensorAssert.Close(nn.functional.conv2d(x, inputs[1], null, [kh, kw]), plain, 1e-5, 1e-4);
        plain.sum().backward();
        Assert.NotNull(w.grad);
    }

    [Theory]
    [InlineData(1, 16, 14, 14, 40, 2, 2)]
    [InlineData(3, 9, 29, 31, 20, 3, 2)]        // a row and a column are left over
    [InlineData(1, 20, 7, 7, 40, 2, 2)]         // few patches
    public void Feature_maps_cut_into_patches_have_libtorchs_values_and_keep_their_layout(int n, int channels, int height, int width, int outputs, int kh, int kw)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(channels);
        Tensor x = randn(n, channels, height, width), w = randn(outputs, channels, kh, kw), b = randn(outputs);
        foreach (var bias in new[] { b, null })
        {
            var expected = nn.functional.conv2d(x, w, bias, [kh, kw]);
            var y = PatchConv.Apply(x, w, bias);
            TensorAssert.Close(expected, y, 1e-5, 1e-4);
            Assert.Equal(PointwiseKernel.Suits(outputs, height / kh * (width / kw)), y.is_contiguous());
            TensorAssert.Close(expected, PatchConv.Apply(ChannelsLast(x), w, bias), 1e-5, 1e-4);
        }
    }

    [Fact]
    public void Only_convolutions_of_that_form_are_cut_into_patches()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(2, 4, 8, 8), w = randn(6, 4, 2, 2);
        Ints one = new(1, 1), two = new(2, 2), none = new(0, 0);
        Assert.True(PatchConv.Suits(x, w, null, new(two, none, one, 1)));
        Assert.False(PatchConv.Suits(x, w, null, new(one, none, one, 1)));
        Assert.False(PatchConv.Suits(x, w, null, new(two, one, one, 1)));
        Assert.False(PatchConv.Suits(x, w, null, new(two, none, two, 1)));
        Assert.False(PatchConv.Suits(x, randn(6, 2, 2, 2), null, new(two, none, one, 2)));
        Assert.False(PatchConv.Suits(x, randn(6, 4, 3, 3), null, new(two, none, one, 1)));
        Assert.False(PatchConv.Suits(x.to(float64), w.to(float64), null, new(two, none, one, 1)));
        Assert.False(PatchConv.Suits(x.transpose(2, 3), w, null, new(two, none, one, 1)));
    }

    [Theory]
    [InlineData(200)]       // the weights are scaled
    [InlineData(3)]         // the result is
    public void Layer_scale_without_gradients_has_the_same_values_for_many_and_few_rows(int rows)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(rows);
        Tensor x = randn(rows, 24), w1 = randn(30, 24), w2 = randn(10, 30), b2 = randn(10), scale = randn(10);
        var expected = nn.functional.linear(nn.functional.gelu(nn.functional.linear(x.to(float64), w1.to(float64))), w2.to(float64), b2.to(float64))
            .mul(scale.to(float64));
        TensorAssert.Close(expected.to(float32), Ops.GeluMlp(x, new(w1, null, w2, b2, scale)), 1e-5, 1e-4);
    }

    [Fact]
    public void In_a_capture_the_fused_ops_are_their_parts()
    {
        using var scope = NewDisposeScope();
        using var network = new Fused();
        var graph = Capture.Trace(network, 1, 5, 4);
        Assert.Equal(["LayerNorm", "Linear", "Gelu", "Linear", "Mul"], graph.Nodes.Select(n => n.Op.Name));
        var x = randn(90, 5, 4);
        using var replay = new GraphModule(graph);
        TensorAssert.Close(replay.call(x), network.call(x), 1e-5, 1e-5);
    }

    private sealed class Fused : Layer
    {
        private readonly LayerNorm norm = new(4);
        private readonly Linear first = new(4, 16), second = new(16, 4);
        private readonly TorchSharp.Modules.Parameter gamma;

        public Fused()
        {
            gamma = NewParameter(full(4, 0.5));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) =>
            Ops.GeluMlp(x, new(first.Weight, first.Bias, second.Weight, second.Bias, gamma, norm.Weight, norm.Bias, norm.Eps));
    }

    [Fact]
    public void An_expanded_gradient_and_a_leaf_without_gradient_are_fine()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        Tensor x = randn(6, 5), w = randn(8, 5).requires_grad_(), b = randn(8), w2 = eye(8), weight = randn(8).requires_grad_(), bias = randn(8);
        // The gradient of a sum is one number with strides of 0.
        Ops.LayerNorm(Ops.GeluMlp(x, new(w, b, w2, null)), new Ints(8), weight, bias, 1e-5).sum().backward();
        Assert.Equal((null, null, null), (x.grad, b.grad, bias.grad));
        Tensor rw = w.detach().to(float64).requires_grad_(), rweight = weight.detach().to(float64).requires_grad_();
        nn.functional.layer_norm(nn.functional.gelu(nn.functional.linear(x.to(float64), rw, b.to(float64))), [8], rweight, bias.to(float64), 1e-5).sum()
            .backward();
        TensorAssert.Close(rw.grad!.to(float32), w.grad!, 1e-4, 1e-4);
        TensorAssert.Close(rweight.grad!.to(float32), weight.grad!, 1e-4, 1e-4);
    }

    [Fact]
    public void Gradients_equal_finite_differences()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        Tensor x = randn(3, 4, 6, 6), patch = randn(8, 4, 2, 2).mul(Number.Of(0.3)), weight = randn(8), bias = randn(8), w = randn(12, 8).mul(Number.Of(0.3)),
            b = randn(12);
        Tensor w2 = randn(5, 12).mul(Number.Of(0.3)), b2 = randn(5), scale = randn(5);
        Tensor[] leaves = [x, patch, weight, bias, w, b, w2, b2, scale];
        foreach (var leaf in leaves) leaf.requires_grad_();
        Tensor Loss()
        {
            var y = Ops.ToChannelsLast(Ops.Conv2d(x, patch, null, new Ints(2, 2), new Ints(0, 0), new Ints(1, 1)));
            return Ops.GeluMlp(y, new(w, b, w2, b2, scale, weight, bias, 1e-5)).to(float64).Squared().sum();
        }
        Loss().backward();
        using var noGrad = no_grad();
        foreach (var leaf in leaves)
        {
            // One direction a leaf: the derivative along it is <gradient, direction>.
            var direction = randn(leaf.shape);
            const double step = 1e-3;
            leaf.add_(direction, Number.Of(step));
            var up = Loss().item<double>();
            leaf.add_(direction, Number.Of(-2 * step));
            var down = Loss().item<double>();
            leaf.add_(direction, Number.Of(step));
            var expected = leaf.grad!.mul(direction).sum().item<float>();
            Assert.InRange((up - down) / (2 * step), expected - 2e-3 * (1 + Math.Abs(expected)), expected + 2e-3 * (1 + Math.Abs(expected)));
        }
    }
}
