using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// A convolution whose stride is its kernel (patch embedding, the downsampling of ConvNeXt and Swin) as one matrix product: each patch becomes a row. Forward
/// and gradients take about a fifth of the time of libtorch's convolution. The result is channels-last in memory, as everything after a patch embedding wants;
/// planar feature maps stay planar where no gradient is wanted and <see cref="PointwiseKernel"/> runs.
/// <see cref="Conv2dOp"/> takes it where it suits; networks do not call it.
/// </summary>
internal static unsafe class PatchConv
{
    /// <summary>Whether a convolution has this form, in float32 on the CPU, planar or channels-last.</summary>
    public static bool Suits(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op)
    {
        if (!OwnKernels.Enabled || op.Groups != 1 || op.Stride[0] * op.Stride[1] == 1 || op.Padding != None || op.Dilation != One || x.dim() != 4
            || weight.dim() != 4) return false;
        var (w, s) = (weight.shape, x.shape);
        if (w[2] != op.Stride[0] || w[3] != op.Stride[1] || s[1] != w[1] || s[2] < w[2] || s[3] < w[3]) return false;
        if (!TensorMemory.IsPlain(weight) || (bias is not null && !TensorMemory.IsPlain(bias)) || x.numel() == 0 || x.dtype != ScalarType.Float32
            || x.device_type != DeviceType.CPU) return false;
        return x.numel() < int.MaxValue && (x.is_contiguous() || x.permute(0, 2, 3, 1).is_contiguous());
    }

    /// <summary>The convolution.</summary>
    /// <param name="x">[N, C, H, W].</param>
    /// <param name="weight">[O, C, kh, kw].</param>
    /// <param name="bias">[O] or null.</param>
    /// <returns>[N, O, H / kh, W / kw].</returns>
    public static Tensor Apply(Tensor x, Tensor weight, Tensor? bias)
    {
        if (is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias?.requires_grad == true)) return PatchConvFunction.apply(x, weight, bias!);
        var s = Sizes(x, weight);
        return !s.ChannelsLast && s.C >= FewestPlanes && PointwiseKernel.Suits((int)weight.shape[0], s.Rows * s.Columns)
            ? Planar(x, weight, bias, s) : Forward(x, weight, bias).Result;
    }

    internal static (Tensor Result, Tensor Rows) Forward(Tensor x, Tensor weight, Tensor? bias)
    {
        var s = Sizes(x, weight);
        var rows = empty((long)s.N * s.Rows * s.Columns, s.Length);
        PatchKernel.Gather(TensorMemory.Floats(Memory(x, s)), TensorMemory.Floats(rows), s);
        var y = Products.Linear(rows, Matrix(weight, s), bias);
        return (y.view(s.N, s.Rows, s.Columns, weight.shape[0]).permute(0, 3, 1, 2), rows);
    }

    internal static (Tensor? X, Tensor? Weight, Tensor? Bias) Backward(PatchShape s, Tensor weight, Tensor rows, Tensor gradient, bool needX, bool needWeight,
        bool needBias)
    {
        var outputs = weight.shape[0];
        var dy = gradient.permute(0, 2, 3, 1).contiguous().view(-1, outputs);
        Tensor? dx = null, dw = null;
        if (needX)
        {
            var drows = Products.Multiply(dy, Matrix(weight, s));
            var memory = s.ChannelsLast ? empty(s.N, s.H, s.W, s.C) : empty(s.N, s.C, s.H, s.W);
            PatchKernel.Scatter(TensorMemory.Floats(drows), TensorMemory.Floats(memory), s);
            dx = s.ChannelsLast ? memory.permute(0, 3, 1, 2) : memory;
        }
        if (needWeight)
        {
            var matrix = Products.Multiply(dy.t(), rows);
            dw = s.ChannelsLast ? matrix.view(outputs, s.KH, s.KW, s.C).permute(0, 3, 1, 2).contiguous() : matrix.view(weight.shape);
        }
        return (dx, dw, needBias ? dy.sum([0L]) : null);
    }

    internal static PatchShape Sizes(Tensor x, Tensor weight)
    {
        var (s, w) = (x.shape, weight.shape);
        // One channel is both at once: then rows need no reordered weights.
        return new((int)s[0], (int)s[2], (int)s[3], (int)s[1], (int)w[2], (int)w[3], ChannelsLast: !x.is_contiguous());
    }

    private static readonly Ints One = new(1, 1), None = new(0, 0);

    // Pictures have fewer channels than feature maps.
    private const int FewestPlanes = 8;

    private static Tensor Planar(Tensor x, Tensor weight, Tensor? bias, PatchShape s)
    {
        var (outputs, patches) = ((int)weight.shape[0], s.Rows * s.Columns);
        using var planes = empty(s.N, s.Length, patches);
        var y = empty(s.N, outputs, s.Rows, s.Columns);
        PatchKernel.Planes(TensorMemory.Floats(x), TensorMemory.Floats(planes), s);
        PointwiseKernel.Forward(
            TensorMemory.Floats(planes), null, TensorMemory.Floats(weight), null, bias is null ? null : TensorMemory.Floats(bias), null, TensorMemory.Floats(y),
            PointwiseActivation.None, s.N, s.Length, outputs, patches);
        GC.KeepAlive(x);
        GC.KeepAlive(weight);
        GC.KeepAlive(bias);
        return y;
    }

    private static Tensor Memory(Tensor x, PatchShape s) => s.ChannelsLast ? x.permute(0, 2, 3, 1) : x;

    // [O, C, kh, kw] -> [O, values of a patch in the order of the rows].
    private static Tensor Matrix(Tensor weight, PatchShape s) => (s.ChannelsLast ? weight.permute(0, 2, 3, 1) : weight).reshape(weight.shape[0], s.Length);
}

/// <summary>The autograd node of <see cref="PatchConv"/>.</summary>
internal sealed class PatchConvFunction : KernelFunction<PatchConvFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (x, weight, bias) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2]);
        var (y, rows) = PatchConv.Forward(x, weight, bias);
        ctx.save_for_backward([weight, rows]);
        ctx.save_data("shape", PatchConv.Sizes(x, weight));
        ctx.save_data("needs", (x.requires_grad, weight.requires_grad, bias?.requires_grad == true));
        return y;
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (x, weight, bias) = ((bool, bool, bool))ctx.get_data("needs");
        var (dx, dw, db) = PatchConv.Backward((PatchShape)ctx.get_data("shape"), saved[0], saved[1], gradient, x, weight, bias);
        return [dx, dw, db];
    }
}
