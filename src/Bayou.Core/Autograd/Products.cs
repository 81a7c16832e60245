using System.Runtime.Intrinsics.X86;
using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Matrix products of float32 on the CPU, by <see cref="ProductKernel"/> where that is the faster way, else by libtorch. libtorch's library
/// takes AVX-512 on Intel's processors only: on others that have it, its products reach less than half of what the machine can do. <see cref="Ops.Linear"/> and
/// the fused layers take it; networks do not call it.
/// </summary>
internal static unsafe class Products
{
    // Below this many multiply-adds a call costs more than the product.
    private const int Least = 100_000;

    private static readonly bool? wanted = Environment.GetEnvironmentVariable("BAYOU_PRODUCTS") switch { "0" => false, "1" => true, _ => null };

    /// <summary>
    /// Whether the own kernel is used: by the processor's maker, not by a measurement, for results must not differ from one run to the next. BAYOU_PRODUCTS=0 or
    /// 1 in the environment decides otherwise.
    /// </summary>
    public static bool Own { get; } = wanted ?? !IsIntel();

    /// <summary>
    /// Whether <see cref="FusedAttention"/> is used: on Intel's processors too, where keeping the scores in the cache gains, although training on own products does not.
    /// BAYOU_PRODUCTS decides otherwise here too.
    /// </summary>
    public static bool OwnAttention { get; } = wanted ?? true;

    /// <summary>x weight' + bias, with gradients.</summary>
    /// <param name="x">[..., I].</param>
    /// <param name="weight">[O, I].</param>
    /// <param name="bias">[O] or null.</param>
    /// <returns>[..., O].</returns>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias)
    {
        if (!SuitsLinear(x, weight, bias)) return nn.functional.linear(x, weight, bias);
        return is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias?.requires_grad == true)
            ? LinearFunction.apply(x, weight, bias!) : Then(x, weight, null, bias, PointwiseActivation.None, null);
    }

    /// <summary>a b of two matrices, each without gaps or the transposed view of one that is; no gradients.</summary>
    public static Tensor Multiply(Tensor a, Tensor b)
    {
        long rows = a.shape[0], depth = a.shape[1], columns = b.shape[1];
        if (!Suits(rows, depth, columns) || b.shape[0] != depth || View(a) is not { } left || View(b) is not { } right) return mm(a, b);
        var y = empty(rows, columns);
        ProductKernel.Forward(left, right, null, null, null, TensorMemory.Floats(y), PointwiseActivation.None, (int)rows, (int)depth, (int)columns);
        GC.KeepAlive(a);
        GC.KeepAlive(b);
        return y;
    }

    /// <summary>Whether <see cref="Then"/> can do it here and is the faster way.</summary>
    public static bool SuitsLinear(Tensor x, Tensor weight, Tensor? bias)
    {
        if (!OwnKernels.Enabled || weight.dim() != 2 || x.dim() < 2 || x.dtype != ScalarType.Float32 || x.device_type != DeviceType.CPU) return false;
        long inputs = weight.shape[1], outputs = weight.shape[0];
        return x.shape[^1] == inputs && inputs > 0 && Suits(x.numel() / inputs, inputs, outputs) && TensorMemory.IsPlain(weight)
            && (bias is null || (bias.dim() == 1 && bias.shape[0] == outputs && TensorMemory.IsPlain(bias)));
    }

    /// <summary>activation((x weight') scale + bias) + add, no gradients; where <see cref="SuitsLinear"/>.</summary>
    /// <param name="x">[..., I].</param>
    /// <param name="weight">[O, I].</param>
    /// <param name="scale">[O], plain, or null.</param>
    /// <param name="bias">[O] or null.</param>
    /// <param name="activation">Activation.</param>
    /// <param name="add">[..., O] without gaps, or null.</param>
    public static Tensor Then(Tensor x, Tensor weight, Tensor? scale, Tensor? bias, PointwiseActivation activation, Tensor? add)
    {
        var shape = (long[])x.shape.Clone();
        var (inputs, outputs) = ((int)weight.shape[1], (int)weight.shape[0]);
        shape[^1] = outputs;
        Tensor rows = x.contiguous(), y = empty(shape);
        ProductKernel.Forward(
            ProductMatrix.Rows(TensorMemory.Floats(rows), inputs), ProductMatrix.Rows(TensorMemory.Floats(weight), inputs).Transposed,
            scale is null ? null : TensorMemory.Floats(scale), bias is null ? null : TensorMemory.Floats(bias), add is null ? null : TensorMemory.Floats(add), TensorMemory.Floats(y), activation,
            (int)(rows.numel() / inputs), inputs, outputs);
        if (!ReferenceEquals(rows, x)) rows.Dispose();
        GC.KeepAlive(x);
        GC.KeepAlive(weight);
        GC.KeepAlive(scale);
        GC.KeepAlive(bias);
        GC.KeepAlive(add);
        return y;
    }

    private static bool Suits(long rows, long depth, long columns) =>
        OwnKernels.Enabled && ProductKernel.Suits(rows, depth, columns) && rows * depth * columns >= Least && Own;

    private static ProductMatrix? View(Tensor matrix)
    {
        if (matrix.dtype != ScalarType.Float32 || matrix.device_type != DeviceType.CPU || matrix.dim() != 2) return null;
        if (matrix.is_contiguous()) return ProductMatrix.Rows(TensorMemory.Floats(matrix), (int)matrix.shape[1]);
        using var turned = matrix.t();
        return turned.is_contiguous() ? ProductMatrix.Rows(TensorMemory.Floats(turned), (int)matrix.shape[0]).Transposed : null;
    }

    // "GenuineIntel", four letters a register.
    private static bool IsIntel() => X86Base.IsSupported && X86Base.CpuId(0, 0) is (_, 0x756E6547, 0x6C65746E, 0x49656E69);
}

/// <summary>The autograd node of <see cref="Products.Linear"/>.</summary>
internal sealed class LinearFunction : KernelFunction<LinearFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (x, weight, bias) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2]);
        ctx.save_for_backward([x, weight]);
        ctx.save_data("needs", (x.requires_grad, weight.requires_grad, bias?.requires_grad == true));
        return Products.Then(x, weight, null, bias, PointwiseActivation.None, null);
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (needX, needWeight, needBias) = ((bool, bool, bool))ctx.get_data("needs");
        var (x, weight) = (saved[0], saved[1]);
        var dy = gradient.reshape(-1, weight.shape[0]).contiguous();
        return
        [
            needX ? Products.Multiply(dy, weight).view(x.shape) : null,
            needWeight ? Products.Multiply(dy.t(), x.reshape(-1, weight.shape[1]).contiguous()) : null,
            needBias ? dy.sum([0L]) : null,
        ];
    }
}
