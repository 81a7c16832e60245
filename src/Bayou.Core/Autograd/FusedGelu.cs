using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// gelu(x W' + b) with one pass over memory after the product instead of three, and one in the backward instead of five: the pass that adds the bias and applies GELU keeps its derivative, and the
/// one that multiplies the gradient by it sums the bias's gradient. <see cref="Ops.LinearGelu"/> takes it where it suits; networks do not call it.
/// </summary>
internal static unsafe class FusedGelu
{
    /// <summary>Whether the kernels can do it: contiguous float32 on the CPU.</summary>
    public static bool Suits(Tensor x, Tensor weight, Tensor? bias) =>
        TensorMemory.IsPlain(x) && TensorMemory.IsPlain(weight) && (bias is null || TensorMemory.IsPlain(bias)) && weight.dim() == 2 && x.dim() >= 2 && x.shape[^1] == weight.shape[1];

    /// <summary>The layer.</summary>
    /// <param name="x">[..., I].</param>
    /// <param name="weight">[O, I].</param>
    /// <param name="bias">[O] or null.</param>
    /// <returns>[..., O].</returns>
    public static Tensor Apply(Tensor x, Tensor weight, Tensor? bias)
    {
        if (is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias?.requires_grad == true)) return FusedGeluFunction.apply(x, weight, bias!);
        var z = Product(x, weight);
        GeluKernel.Forward(TensorMemory.Floats(z), Bias(bias), TensorMemory.Floats(z), null, Rows(z), (int)z.shape[1]);
        return z.view(Shape(x, weight));
    }

    internal static (Tensor Result, Tensor Slope) Forward(Tensor x, Tensor weight, Tensor? bias)
    {
        var z = Product(x, weight);
        var h = empty_like(z);
        GeluKernel.Forward(TensorMemory.Floats(z), Bias(bias), TensorMemory.Floats(h), TensorMemory.Floats(z), Rows(z), (int)z.shape[1]);
        return (h.view(Shape(x, weight)), z);
    }

    internal static (Tensor? X, Tensor? Weight, Tensor? Bias) Backward(Tensor x, Tensor weight, Tensor slope, Tensor gradient, bool needX, bool needWeight, bool needBias)
    {
        var dh = gradient.reshape(slope.shape).contiguous();
        Tensor dz = empty_like(slope), db = empty(slope.shape[1]);
        GeluKernel.Backward(TensorMemory.Floats(dh), TensorMemory.Floats(slope), TensorMemory.Floats(dz), TensorMemory.Floats(db), Rows(slope), (int)slope.shape[1]);
        return (
            needX ? mm(dz, weight).view(x.shape) : null,
            needWeight ? mm(dz.t(), x.reshape(-1, weight.shape[1])) : null,
            needBias ? db : null);
    }

    private static Tensor Product(Tensor x, Tensor weight) => mm(x.reshape(-1, weight.shape[1]), weight.t());

    private static float* Bias(Tensor? bias) => bias is null ? null : TensorMemory.Floats(bias);

    private static int Rows(Tensor z) => checked((int)z.shape[0]);

    private static long[] Shape(Tensor x, Tensor weight)
    {
        var shape = (long[])x.shape.Clone();
        shape[^1] = weight.shape[0];
        return shape;
    }
}

/// <summary>The autograd node of <see cref="FusedGelu"/>.</summary>
internal sealed class FusedGeluFunction : KernelFunction<FusedGeluFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (x, weight, bias) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2]);
        var (y, slope) = FusedGelu.Forward(x, weight, bias);
        ctx.save_for_backward([x, weight, slope]);
        ctx.save_data("needs", (x.requires_grad, weight.requires_grad, bias?.requires_grad == true));
        return y;
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (x, weight, bias) = ((bool, bool, bool))ctx.get_data("needs");
        var (dx, dw, db) = FusedGelu.Backward(saved[0], saved[1], saved[2], gradient, x, weight, bias);
        return [dx, dw, db];
    }
}
