using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// The sum of several depthwise convolutions of one input (SLaK's decomposition) in one pass: forward and input gradient cost about what one of them would, and
/// nothing but the sum is written.
/// <see cref="Ops.DepthwiseSum"/> takes it where it suits; networks do not call it.
/// </summary>
internal static unsafe class DepthwiseSumOp
{
    private static readonly Ints One = new(1, 1);

    /// <summary>One of the convolutions.</summary>
    public static Conv2dOp Part(Tensor weight) => new(One, new(weight.shape[2] / 2, weight.shape[3] / 2), One, weight.shape[0]);

    /// <summary>Whether the kernels can do it and are the faster way.</summary>
    public static bool Suits(Tensor x, IReadOnlyList<Tensor> weights, Tensor? bias) =>
        OwnKernels.Enabled && DepthwiseConv.Enabled && weights.Any(w => Math.Max(w.shape[2], w.shape[3]) >= 5)
        && weights.All(w => w.shape[2] % 2 == 1 && w.shape[3] % 2 == 1 && DepthwiseConv.Fits(x, w, bias, Part(w)));

    /// <summary>[N, C, H, W] -> [N, C, H, W] in the layout of x.</summary>
    public static Tensor Apply(Tensor x, IReadOnlyList<Tensor> weights, Tensor? bias) =>
        is_grad_enabled() && (x.requires_grad || bias?.requires_grad == true || weights.Any(w => w.requires_grad))
            ? DepthwiseSumFunction.apply([x, bias!, .. weights])
            : Forward(x, weights, bias);

    internal static Tensor Forward(Tensor x, IReadOnlyList<Tensor> weights, Tensor? bias)
    {
        var s = DepthwiseConv.Shape(x, weights[0], Part(weights[0]));
        var planar = x.is_contiguous();
        var y = DepthwiseConv.Empty(planar, s.N, s.C, s.OutH, s.OutW);
        DepthwiseKernel.Forward(DepthwiseConv.Planes(x, planar), Taps(weights), bias is null ? null : TensorMemory.Floats(bias),
            DepthwiseConv.Planes(y, planar), s);
        GC.KeepAlive(x);
        GC.KeepAlive(weights);
        GC.KeepAlive(bias);
        GC.KeepAlive(y);
        return y;
    }

    internal static Tensor InputGradient(Tensor x, IReadOnlyList<Tensor> weights, Tensor gradient)
    {
        var s = DepthwiseConv.Shape(x, weights[0], Part(weights[0]));
        var planar = x.is_contiguous();
        var dy = DepthwiseConv.Readable(gradient, planar);
        var dx = DepthwiseConv.Empty(planar, s.N, s.C, s.H, s.W);
        DepthwiseKernel.InputGradient(Taps(weights), DepthwiseConv.Planes(dy, dy.is_contiguous()), DepthwiseConv.Planes(dx, planar), s);
        GC.KeepAlive(dy);
        GC.KeepAlive(weights);
        return dx;
    }

    private static DepthwiseTaps[] Taps(IReadOnlyList<Tensor> weights) =>
        [.. weights.Select(w => new DepthwiseTaps((nint)TensorMemory.Floats(w), (int)w.shape[2], (int)w.shape[3], (int)w.shape[2] / 2, (int)w.shape[3] / 2))];
}

/// <summary>The autograd node of <see cref="DepthwiseSumOp"/>: input, bias, weights.</summary>
internal sealed class DepthwiseSumFunction : KernelFunction<DepthwiseSumFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (x, bias, weights) = ((Tensor)vars[0], (Tensor?)vars[1], vars.Skip(2).Cast<Tensor>().ToArray());
        ctx.save_for_backward([x, .. weights]);
        ctx.save_data("needs", (x.requires_grad, bias?.requires_grad == true, weights.Select(w => w.requires_grad).ToArray()));
        return DepthwiseSumOp.Forward(x, weights, bias);
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (needX, needBias, needs) = ((bool, bool, bool[]))ctx.get_data("needs");
        var (x, weights) = (saved[0], saved.Skip(1).ToArray());
        var dx = needX ? DepthwiseSumOp.InputGradient(x, weights, gradient) : null;
        Tensor? db = null;
        var dw = new Tensor?[weights.Length];
        for (var i = 0; i < weights.Length; i++)
        {
            var wantsBias = needBias && i == 0;
            if (!needs[i] && !wantsBias) continue;
            (_, dw[i], var bias) = DepthwiseConv.Backward(x, weights[i], gradient, DepthwiseSumOp.Part(weights[i]), false, needs[i], wantsBias);
            db ??= bias;
        }
        return [dx, db, .. dw];
    }
}
