using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Depthwise convolution by Bayou's own kernels, forward and gradients: float32 on the CPU, dilation 1, any kernel, stride and padding, planar or channels-last
/// memory as it arrives (the result has the same layout). <see cref="Conv2dOp"/> takes it where it is <see cref="Enabled"/> and faster than libtorch; networks
/// do not call it.
/// </summary>
public static unsafe class DepthwiseConv
{
    /// <summary>Whether networks use the kernels. Off only to compare: BAYOU_DEPTHWISE=0 in the environment.</summary>
    public static bool Enabled { get; set; } = Environment.GetEnvironmentVariable("BAYOU_DEPTHWISE") != "0";

    /// <summary>Whether the kernels take this convolution: by its form, and by what was measured.</summary>
    internal static bool Suits(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op) => Suits(x, weight, bias, op, out _, out _);

    // A small convolution takes less time than asking for a tensor's shape a dozen times: it is asked for once.
    private static bool Suits(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op, out DepthwiseShape shape, out bool planar)
    {
        (shape, planar) = (default, false);
        if (!Enabled || !OwnKernels.Enabled || op.Groups <= 1) return false;
        var w = weight.shape;
        if (w.Length != 4 || Math.Max(w[2], w[3]) < SmallestKernel) return false;
        planar = IsPlanar(x);
        // What was measured first: a convolution that stays with libtorch is not looked at any further.
        if (!Faster(w, op.Stride, planar, NeedsGradient(x, weight, bias))) return false;
        var s = x.shape;
        if (!FitsPicture(x, s) || !FitsKernel(s, weight, w, bias, op)) return false;
        shape = Shape(s, w, op);
        return true;
    }

    /// <summary>Whether the kernels can compute this convolution.</summary>
    internal static bool Fits(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op) =>
        x.shape is var s && FitsPicture(x, s) && FitsKernel(s, weight, weight.shape, bias, op);

    /// <summary>Whether the kernels can read a picture of this shape.</summary>
    internal static bool FitsPicture(Tensor x, long[] s) =>
        s.Length == 4 && Plain(x) && s[0] * s[2] * s[3] > 0 && s[0] <= int.MaxValue && (IsPlanar(x) || IsChannelsLast(x));

    /// <summary>Whether the kernels can compute a convolution of weights of shape w over pictures of shape s.</summary>
    internal static bool FitsKernel(long[] s, Tensor weight, long[] w, Tensor? bias, Conv2dOp op)
    {
        if (op.Groups <= 1 || op.Dilation != One || w.Length != 4 || w[0] != op.Groups || w[1] != 1 || s[1] != op.Groups) return false;
        if (op.Padding.Count != 2 || op.Stride.Count != 2) return false;
        if (!Plain(weight) || (bias is not null && (!Plain(bias) || bias.numel() != w[0] || !bias.is_contiguous())) || !weight.is_contiguous()) return false;
        if (op.Padding[0] < 0 || op.Padding[1] < 0 || op.Stride[0] < 1 || op.Stride[1] < 1) return false;
        if (s[2] + 2 * op.Padding[0] < w[2] || s[3] + 2 * op.Padding[1] < w[3]) return false;
        // Sizes of one packed plane and of the weights stay far from 2^31.
        return w[0] * (w[2] * w[3] + 1) <= int.MaxValue / 64 && (s[2] + 2 * op.Padding[0]) * (s[3] + 2 * op.Padding[1] + 64) <= int.MaxValue / 256;
    }

    private static bool Plain(Tensor t) => t.dtype == ScalarType.Float32 && t.device_type == DeviceType.CPU;

    // In planar memory with gradients, and otherwise.
    private const int SmallestKernel = 3, SmallestElsewhere = 5;

    private static readonly Ints One = new(1, 1);

    private static bool IsPlanar(Tensor x) => x.is_contiguous();

    private static bool IsChannelsLast(Tensor x)
    {
        using var rows = x.permute(0, 2, 3, 1);
        return rows.is_contiguous();
    }

    private static bool NeedsGradient(Tensor x, Tensor weight, Tensor? bias) =>
        is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias?.requires_grad == true);

    // Measured against libtorch in the same layout (`bayou bench depthwise`): from 5x5 on, in either layout; with a stride from 9x9 on, in channels-last memory
    // without gradients only where taps are many. For 3x3 libtorch has a good kernel; only its gradients in planar memory
    // are slow.
    private static bool Faster(long[] weight, Ints stride, bool planar, bool gradient)
    {
        var (taps, longest) = (weight[2] * weight[3], Math.Max(weight[2], weight[3]));
        return stride == One ? longest >= SmallestElsewhere || (planar && gradient) : longest >= 9 && (planar || gradient || taps > 150);
    }

    /// <summary>The convolution, or null where the kernels do not take it.</summary>
    /// <param name="x">[N, C, H, W], planar or channels-last.</param>
    /// <param name="weight">[C, 1, kh, kw].</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="op">Stride and padding.</param>
    /// <param name="relu">Whether negative outputs become zero; only without gradients.</param>
    /// <returns>[N, C, H', W'] in the layout of x.</returns>
    internal static Tensor? TryApply(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op, bool relu = false) =>
        !Suits(x, weight, bias, op, out var shape, out var planar) ? null
        : NeedsGradient(x, weight, bias) ? DepthwiseConvFunction.apply(x, weight, bias!, op)
        : Forward(x, weight, bias, shape, planar, relu);

    /// <summary>The convolution, which must fit.</summary>
    internal static Tensor Apply(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op) =>
        NeedsGradient(x, weight, bias) ? DepthwiseConvFunction.apply(x, weight, bias!, op) : Forward(x, weight, bias, op);

    internal static Tensor Forward(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op) =>
        Forward(x, weight, bias, Shape(x.shape, weight.shape, op), IsPlanar(x), false);

    private static Tensor Forward(Tensor x, Tensor weight, Tensor? bias, DepthwiseShape s, bool planar, bool relu)
    {
        var y = Empty(planar, s.N, s.C, s.OutH, s.OutW);
        DepthwiseKernel.Forward(
            Planes(x, planar, s.H, s.W, s.C), TensorMemory.Floats(weight), bias is null ? null : TensorMemory.Floats(bias),
            Planes(y, planar, s.OutH, s.OutW, s.C), s, relu);
        Keep(x, weight, bias, y);
        return y;
    }

    internal static (Tensor? X, Tensor? Weight, Tensor? Bias) Backward(Tensor x, Tensor weight, Tensor gradient, Conv2dOp op, bool needX, bool needWeight,
        bool needBias)
    {
        var s = Shape(x.shape, weight.shape, op);
        var planar = IsPlanar(x);
        var dy = Readable(gradient, planar);
        var dx = needX ? Empty(planar, s.N, s.C, s.H, s.W) : null;
        var dw = needWeight ? empty(s.C, 1, s.KH, s.KW) : null;
        var db = needBias ? empty(s.C) : null;
        if (dx is not null || dw is not null || db is not null) DepthwiseKernel.Backward(
            Planes(x, planar, s.H, s.W, s.C), TensorMemory.Floats(weight), Planes(dy, IsPlanar(dy), s.OutH, s.OutW, s.C),
            dx is null ? null : Planes(dx, planar, s.H, s.W, s.C),
            dw is null ? null : TensorMemory.Floats(dw), db is null ? null : TensorMemory.Floats(db), s);
        Keep(x, weight, gradient, dy);
        Keep(dx, dw, db, null);
        return (dx, dw, db);
    }

    /// <summary>A gradient is read as it lies, if it is planar or channels-last; anything else (an expanded value) is laid out like the input.</summary>
    internal static Tensor Readable(Tensor gradient, bool planar) =>
        IsPlanar(gradient) || IsChannelsLast(gradient) ? gradient : planar ? gradient.contiguous() : ToChannelsLast(gradient);

    // The collector may free a tensor whose last managed use is over: not while a kernel works on its memory.
    private static void Keep(Tensor? a, Tensor? b, Tensor? c, Tensor? d)
    {
        GC.KeepAlive(a);
        GC.KeepAlive(b);
        GC.KeepAlive(c);
        GC.KeepAlive(d);
    }

    private static Tensor ToChannelsLast(Tensor x)
    {
        using var rows = x.permute(0, 2, 3, 1);
        using var packed = rows.contiguous();
        return packed.permute(0, 3, 1, 2);
    }

    internal static Tensor Empty(bool planar, long n, long c, long h, long w)
    {
        if (planar) return empty(n, c, h, w);
        using var rows = empty(n, h, w, c);
        return rows.permute(0, 3, 1, 2);
    }

    internal static DepthwisePlanes Planes(Tensor x, bool planar, int height, int width, int channels)
    {
        if (planar) return DepthwisePlanes.Planar(TensorMemory.Floats(x), channels, height, width);
        using var rows = x.permute(0, 2, 3, 1);
        return DepthwisePlanes.ChannelsLast(TensorMemory.Floats(rows), channels, height, width);
    }

    internal static DepthwiseShape Shape(long[] s, long[] w, Conv2dOp op)
    {
        return new((int)s[0], (int)s[1], (int)s[2], (int)s[3], (int)w[2], (int)w[3])
        {
            StrideH = (int)op.Stride[0],
            StrideW = (int)op.Stride[1],
            PadH = (int)op.Padding[0],
            PadW = (int)op.Padding[1],
        };
    }
}

/// <summary>The autograd node of <see cref="DepthwiseConv"/>.</summary>
internal sealed class DepthwiseConvFunction : KernelFunction<DepthwiseConvFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (x, weight, bias, op) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2], (Conv2dOp)vars[3]);
        ctx.save_for_backward([x, weight]);
        ctx.save_data("op", op);
        ctx.save_data("needs", (x.requires_grad, weight.requires_grad, bias?.requires_grad == true));
        return DepthwiseConv.Forward(x, weight, bias, op);
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (x, weight, bias) = ((bool, bool, bool))ctx.get_data("needs");
        var (dx, dw, db) = DepthwiseConv.Backward(saved[0], saved[1], gradient, (Conv2dOp)ctx.get_data("op"), x, weight, bias);
        return [dx, dw, db, null];
    }
}
