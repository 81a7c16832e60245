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
    public static Conv2dOp Part(Tensor weight) => Part(weight.shape);

    /// <summary>Whether the kernels can do it and are the faster way.</summary>
    public static bool Suits(Tensor x, IReadOnlyList<Tensor> weights, Tensor? bias) => Suits(x, x.shape, weights, Shapes(weights), bias);

    /// <summary>The sum, or null where the kernels are not the way: [N, C, H, W] -> [N, C, H, W] in the layout of x.</summary>
    public static Tensor? TryApply(Tensor x, IReadOnlyList<Tensor> weights, Tensor? bias)
    {
        long[][] shapes = Shapes(weights);
        var s = x.shape;
        if (!Suits(x, s, weights, shapes, bias)) return null;
        return is_grad_enabled() && (x.requires_grad || bias?.requires_grad == true || weights.Any(w => w.requires_grad))
            ? DepthwiseSumFunction.apply([x, bias!, .. weights])
            : Forward(x, s, weights, shapes, bias);
    }

    internal static Tensor Forward(Tensor x, IReadOnlyList<Tensor> weights, Tensor? bias) => Forward(x, x.shape, weights, Shapes(weights), bias);

    private static Tensor Forward(Tensor x, long[] size, IReadOnlyList<Tensor> weights, long[][] shapes, Tensor? bias)
    {
        var s = DepthwiseConv.Shape(size, shapes[0], Part(shapes[0]));
        var planar = x.is_contiguous();
        var y = DepthwiseConv.Empty(planar, s.N, s.C, s.OutH, s.OutW);
        DepthwiseKernel.Forward(
            DepthwiseConv.Planes(x, planar, s.H, s.W, s.C), Taps(weights, shapes), bias is null ? null : TensorMemory.Floats(bias),
            DepthwiseConv.Planes(y, planar, s.OutH, s.OutW, s.C), s);
        GC.KeepAlive(x);
        GC.KeepAlive(weights);
        GC.KeepAlive(bias);
        GC.KeepAlive(y);
        return y;
    }

    private static bool Suits(Tensor x, long[] size, IReadOnlyList<Tensor> weights, long[][] shapes, Tensor? bias)
    {
        if (!OwnKernels.Enabled || !DepthwiseConv.Enabled || shapes.Any(w => w.Length != 4 || w[2] % 2 == 0 || w[3] % 2 == 0)) return false;
        if (shapes.All(w => Math.Max(w[2], w[3]) < 5) || !DepthwiseConv.FitsPicture(x, size)) return false;
        for (var i = 0; i < shapes.Length; i++) if (!DepthwiseConv.FitsKernel(size, weights[i], shapes[i], bias, Part(shapes[i]))) return false;
        return true;
    }

    private static Conv2dOp Part(long[] w) => new(One, new(w[2] / 2, w[3] / 2), One, w[0]);

    private static long[][] Shapes(IReadOnlyList<Tensor> weights) => [.. weights.Select(w => w.shape)];

    internal static Tensor InputGradient(Tensor x, IReadOnlyList<Tensor> weights, Tensor gradient)
    {
        var shapes = Shapes(weights);
        var s = DepthwiseConv.Shape(x.shape, shapes[0], Part(shapes[0]));
        var planar = x.is_contiguous();
        var dy = DepthwiseConv.Readable(gradient, planar);
        var dx = DepthwiseConv.Empty(planar, s.N, s.C, s.H, s.W);
        DepthwiseKernel.InputGradient(
            Taps(weights, shapes), DepthwiseConv.Planes(dy, dy.is_contiguous(), s.OutH, s.OutW, s.C), DepthwiseConv.Planes(dx, planar, s.H, s.W, s.C), s);
        GC.KeepAlive(dy);
        GC.KeepAlive(weights);
        return dx;
    }

    private static DepthwiseTaps[] Taps(IReadOnlyList<Tensor> weights, long[][] shapes) =>
        [.. shapes.Select((w, i) => new DepthwiseTaps((nint)TensorMemory.Floats(weights[i]), (int)w[2], (int)w[3], (int)w[2] / 2, (int)w[3] / 2))];
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
