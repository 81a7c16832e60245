using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Depthwise convolution whose gradients come from Bayou's own kernels: stride 1, odd kernel, "same" zero padding, float32 on the CPU, channels-last memory.
/// The forward stays libtorch's, which is as fast. <see cref="Conv2dOp"/> takes it where it is <see cref="Enabled"/>, a gradient is wanted and <see cref="Suits"/> says so; networks do not call it.
/// </summary>
public static unsafe class DepthwiseConv
{
    /// <summary>
    /// Whether networks use these gradients. Off by default: in two of six long trainings with them, on busy cores, libtorch read garbage where the sizes of a permute stood and the
    /// training ended; none of those without them did. The cause is not found; the gain in a whole training step was 5 %.
    /// </summary>
    public static bool Enabled { get; set; } = Environment.GetEnvironmentVariable("BAYOU_DEPTHWISE_GRADIENTS") == "1";

    /// <summary>Whether this convolution's gradients are for the kernels, by its form and by what was measured.</summary>
    internal static bool Suits(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op)
    {
        if (!is_grad_enabled() || !(x.requires_grad || weight.requires_grad || bias?.requires_grad == true)) return false;
        if (op.Groups <= 1 || x.dim() != 4 || weight.dim() != 4) return false;
        var (w, s) = (weight.shape, x.shape);
        if (w[0] != op.Groups || w[1] != 1 || s[1] != op.Groups || w[2] % 2 == 0 || w[3] % 2 == 0) return false;
        if (op.Stride != One || op.Dilation != One || op.Padding[0] != w[2] / 2 || op.Padding[1] != w[3] / 2) return false;
        if (!Plain(x) || !Plain(weight) || (bias is not null && !Plain(bias)) || x.numel() == 0) return false;
        return Faster(s, w) && x.permute(0, 2, 3, 1).is_contiguous() && weight.is_contiguous();

        static bool Plain(Tensor t) => t.dtype == ScalarType.Float32 && t.device_type == DeviceType.CPU;
    }

    private static readonly Ints One = new(1, 1);

    // Forward + backward in ms, libtorch channels-last / this, best of 25 on two busy AVX-512 cores: 128x24x14x14 k7 26 / 14, 64x24x14x14 k7 27 / 6, 128x48x7x7 k7 14 / 10,
    // 128x96x7x7 k7 75 / 6, 128x64x3x3 k7 2.5 / 2.0, 64x96x14x14 k7 109 / 28, 16x96x56x56 k7 261 / 117, 128x24x14x14 k5 59 / 10, 32x24x14x14 k11 46 / 3, 64x32x28x28 k3 68 / 15;
    // slower only where there is little to do: 64x40x8x8 k3 0.9 / 1.3. Forward alone is even (1.25 / 1.7 ms for the first), so libtorch keeps it.
    private static bool Faster(long[] x, long[] weight)
    {
        var (pixels, k) = (x[2] * x[3], Math.Max(weight[2], weight[3]));
        return k <= 11 && (k >= 5 || (k >= 3 && pixels >= 196)) && x[1] >= 8 && x[0] * x[1] * pixels < int.MaxValue;
    }

    /// <summary>The convolution.</summary>
    /// <param name="x">[N, C, H, W], channels-last strided.</param>
    /// <param name="weight">[C, 1, kh, kw], odd sides.</param>
    /// <param name="bias">[C] or null.</param>
    /// <returns>[N, C, H, W], channels-last strided.</returns>
    public static Tensor Apply(Tensor x, Tensor weight, Tensor? bias) => DepthwiseConvFunction.apply(x, weight, bias!);

    internal static (Tensor? X, Tensor? Weight, Tensor? Bias) Backward(Tensor x, Tensor weight, Tensor gradient, bool needX, bool needWeight, bool needBias)
    {
        var rows = x.permute(0, 2, 3, 1);
        var dy = gradient.permute(0, 2, 3, 1).contiguous();
        var dx = needX ? empty(rows.shape) : null;
        var dw = needWeight ? empty(weight.shape) : null;
        var db = needBias ? empty(weight.shape[0]) : null;
        DepthwiseKernel.Backward(
            TensorMemory.Floats(rows), TensorMemory.Floats(weight), TensorMemory.Floats(dy),
            dx is null ? null : TensorMemory.Floats(dx), dw is null ? null : TensorMemory.Floats(dw), db is null ? null : TensorMemory.Floats(db), Shape(x, weight));
        return (dx?.permute(0, 3, 1, 2), dw, db);
    }

    private static DepthwiseShape Shape(Tensor x, Tensor weight)
    {
        var (s, w) = (x.shape, weight.shape);
        return new((int)s[0], (int)s[2], (int)s[3], (int)s[1], (int)w[2], (int)w[3]);
    }
}

/// <summary>The autograd node of <see cref="DepthwiseConv"/>. An exception in a backward would end the process: everything it relies on was checked before the forward.</summary>
internal sealed class DepthwiseConvFunction : autograd.SingleTensorFunction<DepthwiseConvFunction>
{
    public override string Name => nameof(DepthwiseConvFunction);

    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, weight, bias) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2]);
        ctx.save_for_backward([x, weight]);
        ctx.save_data("needs", (x.requires_grad, weight.requires_grad, bias?.requires_grad == true));
        using var noGrad = no_grad();
        var (padding, channels) = (new[] { weight.shape[2] / 2, weight.shape[3] / 2 }, weight.shape[0]);
        return nn.functional.conv2d(x, weight, bias, [1, 1], padding, [1, 1], channels);
    }

    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        var saved = ctx.get_saved_variables();
        var (x, weight, bias) = ((bool, bool, bool))ctx.get_data("needs");
        var (dx, dw, db) = DepthwiseConv.Backward(saved[0], saved[1], grad_output, x, weight, bias);
        return [dx!, dw!, db!];
    }
}
