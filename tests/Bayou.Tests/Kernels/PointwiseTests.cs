using Bayou.Core;
using Bayou.Images;
using Bayou.Kernels;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>
/// What inference networks fuse: 1x1 convolutions with what stands around them, normalisations, sums of depthwise convolutions; against the same op by op.
/// </summary>
public unsafe class PointwiseTests
{
    [Fact]
    public void Pointwise_convolutions_with_all_around_them_equal_their_definition()
    {
        Assert.SkipUnless(PointwiseKernel.Suits(64, 64), "needs AVX-512");
        Gen.Select(Gen.Int[1, 3], Gen.Int[1, 70], Gen.Int[8, 60], Gen.Int[32, 230], Gen.Enum<PointwiseActivation>(), Gen.Int[0, 15], Gen.Int[0, 1000])
            .Sample((n, c, o, p, activation, parts, seed) => Check(n, c, o, p, activation, parts, seed), iter: 60);
        Check(1, 1100, 50, 200, PointwiseActivation.Gelu, 15, 1);       // several stretches of channels, and single columns
        Check(1, 2100, 30, 49, PointwiseActivation.Relu, 7, 2);
        Check(2, 520, 230, 417, PointwiseActivation.Gelu, 13, 3);       // several groups of rows, two parts of columns
        Check(1, 530, 120, 3205, PointwiseActivation.None, 3, 4);       // units of columns
    }

    private static void Check(int n, int c, int o, int p, PointwiseActivation activation, int parts, int seed)
    {
        var random = new Random(seed);
        float[] x = Draw(n * c * p), before = Draw(2 * c), w = Draw(o * c), scale = Draw(o), shift = Draw(o), add = Draw(n * o * p), y = new float[n * o * p];
        bool hasBefore = (parts & 1) > 0, hasScale = (parts & 2) > 0, hasShift = (parts & 4) > 0, hasAdd = (parts & 8) > 0;
        fixed (float* px = x, pb = before, pw = w, ps = scale, pt = shift, pa = add, py = y)
            PointwiseKernel.Forward(px, hasBefore ? pb : null, pw, hasScale ? ps : null, hasShift ? pt : null, hasAdd ? pa : null, py, activation, n, c, o, p);
        for (var check = 0; check < 2000; check++)
        {
            var (i, r, q) = (random.Next(n), random.Next(o), check < 64 ? p - 1 - check % Math.Min(p, 32) : random.Next(p));
            double sum = 0, bound = 0;
            for (var k = 0; k < c; k++)
            {
                var v = x[(i * c + k) * p + q] * (hasBefore ? before[k] : 1.0) + (hasBefore ? before[c + k] : 0);
                sum += v * w[r * c + k];
                bound += Math.Abs(v * w[r * c + k]);
            }
            sum = sum * (hasScale ? scale[r] : 1) + (hasShift ? shift[r] : 0);
            var value = activation switch { PointwiseActivation.Relu => Math.Max(sum, 0), PointwiseActivation.Gelu => sum * Normal(sum), _ => sum };
            if (hasAdd) value += add[(i * o + r) * p + q];
            Assert.Equal(value, y[(i * o + r) * p + q], 1e-5 * (bound + 1));
        }

        float[] Draw(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() * 2 - 1))];

        static double Normal(double z) => special.ndtr(tensor(z, float64)).item<double>();
    }

    [Theory]
    [InlineData(3, 5, 7)]
    [InlineData(2, 96, 64)]
    [InlineData(1, 33, 130)]
    public void Normalisation_of_planar_and_of_channels_last_pixels_equals_libtorch(int n, int c, int p)
    {
        using var scope = NewDisposeScope();
        manual_seed(c);
        Tensor x = randn(n, c, p) * Number.Of(3) + 1, w = randn(c), b = randn(c), y = empty(x.shape), z = empty(n * p, c),
            rows = x.permute(0, 2, 1).contiguous();
        PlanarNormKernel.Forward(TensorMemory.Floats(x), TensorMemory.Floats(w), TensorMemory.Floats(b), TensorMemory.Floats(y), n, c, p, 1e-6);
        TensorAssert.Close(nn.functional.layer_norm(rows, [c], w, b, 1e-6).permute(0, 2, 1), y, 1e-5, 1e-5);
        ChannelKernel.Forward(TensorMemory.Floats(rows), TensorMemory.Floats(w), TensorMemory.Floats(b), TensorMemory.Floats(rows), TensorMemory.Floats(z),
            true, n * p, c);
        TensorAssert.Close((rows * w + b).relu().view(-1, c) + rows.view(-1, c), z, 1e-6, 1e-6);
    }

    [Theory]
    [InlineData(false, 14, false)]
    [InlineData(true, 14, true)]
    [InlineData(false, 40, true)]
    [InlineData(true, 40, false)]
    public void A_sum_of_depthwise_convolutions_and_its_gradients_equal_those_of_its_parts(bool last, int side, bool wideFirst)
    {
        using var scope = NewDisposeScope();
        manual_seed(side);
        Tensor start = randn(2, 20, side, side);
        Tensor x = (last ? start.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) : start).detach().requires_grad_(), bias = randn(20).requires_grad_();
        (int, int)[] kernels = wideFirst ? [(5, 31), (5, 5), (31, 5), (7, 61)] : [(31, 5), (5, 31), (5, 5)];
        Tensor[] weights = [.. kernels.Select(k => randn(20, 1, k.Item1, k.Item2).requires_grad_())];
        Tensor rx = start.to(float64).requires_grad_(), rb = bias.detach().to(float64).requires_grad_();
        Tensor[] rw = [.. weights.Select(w => w.detach().to(float64).requires_grad_())];
        Assert.True(DepthwiseSumOp.Suits(x, weights, bias));
        var y = Ops.DepthwiseSum(x, weights, bias);
        Tensor reference = rb.view(1, -1, 1, 1);
        foreach (var w in rw) reference = reference + nn.functional.conv2d(rx, w, null, [1, 1], [w.shape[2] / 2, w.shape[3] / 2], [1, 1], 20);
        TensorAssert.Close(reference.to(float32), y, 1e-5, 1e-4);
        var g = randn(y.shape);
        (y * g).sum().backward();
        (reference * g.to(float64)).sum().backward();
        TensorAssert.Close(rx.grad!.to(float32), x.grad!, 1e-5, 1e-4);
        TensorAssert.Close(rb.grad!.to(float32), bias.grad!, 1e-5, 1e-3);
        foreach (var (w, r) in weights.Zip(rw)) TensorAssert.Close(r.grad!.to(float32), w.grad!, 1e-5, 1e-3);
    }

    // The graph runs op by op; the network itself fuses.
    [Theory]
    [InlineData("replknet", false)]
    [InlineData("replknet", true)]
    [InlineData("slak", false)]
    [InlineData("slak", true)]
    public void Fused_inference_equals_the_graph_op_by_op(string name, bool last)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(7);
        using Layer network = name == "replknet"
            ? new RepLKNet(new RepLKNetConfig { LargeKernels = [13, 9], Layers = [1, 1], Channels = [16, 32], Classes = 10 }).Merge(fuse: true)
            : new SLaK(new SLaKConfig { Depths = [1, 1], Dims = [16, 32], Kernels = [31, 13, 5], Classes = 10, LayerScale = 0.5 }).Merge();
        network.eval();
        foreach (var (key, buffer) in network.named_buffers())
        {
            if (key.EndsWith("running_mean", StringComparison.Ordinal)) buffer.copy_(randn(buffer.shape));
            if (key.EndsWith("running_var", StringComparison.Ordinal)) buffer.copy_(rand(buffer.shape).add_(Number.Of(0.5)));
        }
        var x = randn(2, 3, 64, 64);
        if (last) x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
        using var graph = new GraphModule(Capture.Trace(network, x.shape));
        graph.eval();
        TensorAssert.Close(graph.call(x), network.call(x), 1e-4, 1e-5);
    }
}
