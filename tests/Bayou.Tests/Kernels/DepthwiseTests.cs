using Bayou.Core;
using Bayou.Kernels;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public unsafe class DepthwiseTests : IDisposable
{
    private readonly bool before = DepthwiseConv.Enabled;

    public DepthwiseTests() => DepthwiseConv.Enabled = true;

    public void Dispose() => DepthwiseConv.Enabled = before;

    // Straight from the definition, in double.
    private static (double[] Y, double[] Dx, double[] Dw, double[] Db) Reference(float[] x, float[] w, float[] bias, float[] dy, DepthwiseShape s)
    {
        var (y, dx, dw, db) = (new double[x.Length], new double[x.Length], new double[w.Length], new double[bias.Length]);
        for (var n = 0; n < s.N; n++)
            for (var i = 0; i < s.H; i++)
                for (var j = 0; j < s.W; j++)
                    for (var c = 0; c < s.C; c++)
                    {
                        var o = ((n * s.H + i) * s.W + j) * s.C + c;
                        y[o] += bias[c];
                        db[c] += dy[o];
                        for (var a = 0; a < s.KH; a++)
                            for (var b = 0; b < s.KW; b++)
                            {
                                int p = i + a - s.KH / 2, q = j + b - s.KW / 2;
                                if (p < 0 || p >= s.H || q < 0 || q >= s.W) continue;
                                var k = ((n * s.H + p) * s.W + q) * s.C + c;
                                var t = (c * s.KH + a) * s.KW + b;
                                y[o] += (double)x[k] * w[t];
                                dx[k] += (double)dy[o] * w[t];
                                dw[t] += (double)dy[o] * x[k];
                            }
                    }
        return (y, dx, dw, db);
    }

    private static void Check(DepthwiseShape s, int seed)
    {
        var random = new Random(seed);
        var pixels = s.N * s.H * s.W * s.C;
        float[] x = Draw(pixels), w = Draw(s.C * s.KH * s.KW), bias = Draw(s.C), dy = Draw(pixels);
        float[] y = new float[pixels], dx = new float[pixels], dw = new float[w.Length], db = new float[s.C];
        fixed (float* px = x, pw = w, pb = bias, pdy = dy, py = y, pdx = dx, pdw = dw, pdb = db)
        {
            DepthwiseKernel.Forward(px, pw, pb, py, s);
            DepthwiseKernel.Backward(px, pw, pdy, pdx, pdw, pdb, s);
        }
        var expected = Reference(x, w, bias, dy, s);
        Close(expected.Y, y, "y");
        Close(expected.Dx, dx, "dx");
        Close(expected.Dw, dw, "dw");
        Close(expected.Db, db, "db");

        float[] Draw(int n) => Enumerable.Range(0, n).Select(_ => (float)(2 * random.NextDouble() - 1)).ToArray();

        void Close(double[] e, float[] a, string what)
        {
            for (var i = 0; i < e.Length; i++) Assert.True(Math.Abs(e[i] - a[i]) <= 1e-4 * (1 + Math.Abs(e[i])), $"{s} {what}[{i}]: {a[i]}, expected {e[i]}");
        }
    }

    [Fact]
    public void Forward_and_gradients_equal_the_definition_for_any_size_and_every_width()
    {
        try
        {
            foreach (var isa in Enum.GetValues<KernelIsaLevel>().Where(l => l <= KernelIsa.Available))
            {
                KernelIsa.Max = isa;
                Gen.Select(Gen.Select(Gen.Int[1, 18], Gen.Int[1, 9], Gen.Int[1, 17]), Gen.Int[1, 37], Gen.Int[0, 5], Gen.Int[0, 5], Gen.Int[0, 1 << 20])
                    .Sample((nhw, c, kh, kw, seed) => Check(new(nhw.Item1, nhw.Item2, nhw.Item3, c, 2 * kh + 1, 2 * kw + 1), seed), iter: 25, threads: 1);
            }
        }
        finally
        {
            KernelIsa.Max = KernelIsaLevel.Vector512;
        }
    }

    [Fact]
    public void Results_do_not_depend_on_the_number_of_threads()
    {
        var before = KernelThreads.Count;
        var s = new DepthwiseShape(29, 5, 6, 24, 7, 7);
        using var scope = NewDisposeScope();
        manual_seed(1);
        Tensor x = randn(29, 5, 6, 24), w = randn(24, 1, 7, 7), dy = randn(29, 5, 6, 24);
        var results = new List<(Tensor, Tensor, Tensor)>();
        try
        {
            foreach (var threads in new[] { 1, 3 })
            {
                KernelThreads.Count = threads;
                Tensor dx = empty_like(x), dw = empty_like(w), db = empty(24);
                DepthwiseKernel.Backward(
                    TensorMemory.Floats(x), TensorMemory.Floats(w), TensorMemory.Floats(dy), TensorMemory.Floats(dx), TensorMemory.Floats(dw), TensorMemory.Floats(db), s);
                results.Add((dx, dw, db));
            }
        }
        finally
        {
            KernelThreads.Count = before;
        }
        TensorAssert.Same(results[0].Item1, results[1].Item1);
        TensorAssert.Same(results[0].Item2, results[1].Item2);
        TensorAssert.Same(results[0].Item3, results[1].Item3);
    }

    private static Tensor ChannelsLast(Tensor x) => x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);

    [Theory]
    [InlineData(7, true)]
    [InlineData(5, false)]
    [InlineData(11, true)]
    public void Conv2d_through_the_kernels_agrees_with_libtorch_in_values_gradients_and_layout(int k, bool withBias)
    {
        using var scope = NewDisposeScope();
        manual_seed(k);
        Tensor start = randn(5, 24, 9, 10), w0 = randn(24, 1, k, k), b0 = randn(24);
        Tensor x = ChannelsLast(start).detach().requires_grad_(), w = w0.clone().requires_grad_(), b = b0.clone().requires_grad_();
        Tensor rx = start.to(float64).requires_grad_(), rw = w0.to(float64).requires_grad_(), rb = b0.to(float64).requires_grad_();
        Ints one = new(1, 1), pad = new(k / 2, k / 2);
        Assert.True(DepthwiseConv.Suits(x, w, withBias ? b : null, new Conv2dOp(one, pad, one, 24)));
        var y = Ops.Conv2d(x, w, withBias ? b : null, one, pad, one, 24);
        var reference = nn.functional.conv2d(rx, rw, withBias ? rb : null, [1, 1], [k / 2, k / 2], [1, 1], 24);
        Assert.True(y.permute(0, 2, 3, 1).is_contiguous());
        TensorAssert.Close(reference.to(float32), y, 1e-5, 1e-4);
        var weights = randn(5, 24, 9, 10);
        (y * weights).sum().backward();
        (reference * weights.to(float64)).sum().backward();
        TensorAssert.Close(rx.grad!.to(float32), x.grad!, 1e-5, 1e-4);
        TensorAssert.Close(rw.grad!.to(float32), w.grad!, 1e-5, 1e-3);
        if (withBias) TensorAssert.Close(rb.grad!.to(float32), b.grad!, 1e-5, 1e-3);
    }

    [Fact]
    public void Only_what_needs_a_gradient_gets_one_and_an_expanded_gradient_is_fine()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        Tensor x = ChannelsLast(randn(2, 16, 6, 6)).detach(), w = randn(16, 1, 5, 5).requires_grad_();
        Ints one = new(1, 1), pad = new(2, 2);
        Ops.Conv2d(x, w, null, one, pad, one, 16).sum().backward();
        Assert.Null(x.grad);
        using (no_grad()) Assert.False(Ops.Conv2d(x, w, null, one, pad, one, 16).requires_grad);
        var check = w.detach().clone().to(float64).requires_grad_();
        nn.functional.conv2d(x.to(float64), check, null, [1, 1], [2, 2], [1, 1], 16).sum().backward();
        TensorAssert.Close(check.grad!.to(float32), w.grad!, 1e-5, 1e-4);
    }

    [Fact]
    public void Other_convolutions_stay_with_libtorch()
    {
        using var scope = NewDisposeScope();
        Tensor x = ChannelsLast(randn(2, 16, 14, 14)), w = randn(16, 1, 3, 3).requires_grad_();
        Ints one = new(1, 1), two = new(2, 2);
        Assert.True(DepthwiseConv.Suits(x, w, null, new(one, one, one, 16)));
        Assert.False(DepthwiseConv.Suits(x.contiguous(), w, null, new(one, one, one, 16)));         // planar
        Assert.False(DepthwiseConv.Suits(x, w, null, new(two, one, one, 16)));                      // stride
        Assert.False(DepthwiseConv.Suits(x, w, null, new(one, two, one, 16)));                      // not "same"
        Assert.False(DepthwiseConv.Suits(x, w, null, new(one, two, two, 16)));                      // dilation
        Assert.False(DepthwiseConv.Suits(x, randn(16, 1, 4, 3).requires_grad_(), null, new(one, two, one, 16)));     // even kernel
        Assert.False(DepthwiseConv.Suits(x, randn(32, 1, 3, 3).requires_grad_(), null, new(one, one, one, 16)));     // channel multiplier
        Assert.False(DepthwiseConv.Suits(x.to(float64), w.to(float64), null, new(one, one, one, 16)));
        Assert.False(DepthwiseConv.Suits(x, w.detach(), null, new(one, one, one, 16)));             // nothing to differentiate
        using var noGrad = no_grad();
        Assert.False(DepthwiseConv.Suits(x, w, null, new(one, one, one, 16)));
    }

    [Fact]
    public void Training_through_the_kernels_leaves_no_tensors_behind()
    {
        using var outer = NewDisposeScope();
        Tensor start = ChannelsLast(randn(2, 16, 6, 6)), w = randn(16, 1, 5, 5).requires_grad_();
        Ints one = new(1, 1), pad = new(2, 2);
        var counts = new List<long>();
        for (var i = 0; i < 60; i++)
        {
            using (var scope = NewDisposeScope())
            {
                var x = start.detach().requires_grad_();
                Ops.Conv2d(x, w, null, one, pad, one, 16).sum().backward();
                w.grad = null;
            }
            if (i % 20 == 19) counts.Add(counts.Count == 0 ? LiveTensors.Settled() : Tensor.TotalCount);
        }
        Assert.Equal(counts[0], counts[^1]);
    }
}
