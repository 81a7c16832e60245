using System.Runtime.CompilerServices;
using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Convolutions where nothing is captured and no gradient is wanted: a 1x1 convolution is one matrix product of the pixels, bias, activation and shortcut
/// follow in the memory of its result.
/// <see cref="Ops.Conv2d"/> and <see cref="Ops.Conv2dThen"/> take it where it suits; networks do not call it.
/// </summary>
internal static unsafe class FusedConv
{
    private static readonly Ints One = new(1, 1), None = new(0, 0);

    // Terms of a sum and columns that ProductKernel wants at least, for the gradients.
    private const int FewestTerms = 17;

    /// <summary>Whether a convolution is 1x1 over float32 on the CPU, in planar or channels-last memory.</summary>
    public static bool IsPointwise(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op)
    {
        if (!OwnKernels.Enabled || op.Groups != 1 || op.Stride != One || op.Padding != None || x.dim() != 4 || weight.dim() != 4) return false;
        var (w, s) = (weight.shape, x.shape);
        return w[2] == 1 && w[3] == 1 && s[1] == w[1] && TensorMemory.IsPlain(weight) && (bias is null || (TensorMemory.IsPlain(bias) && bias.numel() == w[0]))
            && x.dtype == ScalarType.Float32 && x.device_type == DeviceType.CPU && x.numel() > 0
            && s[0] * s[2] * s[3] <= int.MaxValue && (x.is_contiguous() || IsLast(x));
    }

    /// <summary>A 1x1 convolution as a matrix product, which libtorch's convolution does not reach; with gradients.</summary>
    /// <param name="x">[N, C, H, W].</param>
    /// <param name="weight">[O, C, 1, 1].</param>
    /// <param name="bias">[O] or null.</param>
    /// <returns>[N, O, H, W] in the layout of x.</returns>
    public static Tensor Pointwise(Tensor x, Tensor weight, Tensor? bias)
    {
        var (s, outputs) = (x.shape, weight.shape[0]);
        var matrix = weight.view(outputs, -1);
        if (IsLast(x)) return Products.Linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2);
        if (SuitsPlanes(x, weight))
        {
            if (!(is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias?.requires_grad == true))) return Planes(x, null, weight, bias, null, null);
            if (Products.Own && Math.Min(s[1], s[2] * s[3]) >= FewestTerms) return PointwiseFunction.apply(x, weight, bias!);
        }
        var y = matmul(matrix, x.view(s[0], s[1], -1));
        return (bias is null ? y : y.Plus(bias.view(-1, 1))).view(s[0], outputs, s[2], s[3]);
    }

    /// <summary>Whether results may be changed in place: nothing sees the values before.</summary>
    public static bool IsInference(Tensor x, Tensor weight, Tensor? bias, Tensor? shortcut) =>
        OwnKernels.Enabled && !Capture.IsActive
        && !(is_grad_enabled() && (x.requires_grad || weight.requires_grad || bias?.requires_grad == true || shortcut?.requires_grad == true));

    /// <summary>shortcut + activation(convolution(norm(x))), inference only.</summary>
    public static Tensor Then(Tensor x, BatchNorm? norm, Tensor weight, Tensor? bias, Conv2dOp op, Activation? activation, Tensor? shortcut)
    {
        if (activation is null or Activation.Relu or Activation.Gelu && IsPointwise(x, weight, bias, op))
        {
            if (SuitsPlanes(x, weight)) return Planes(x, norm, weight, bias, activation, shortcut);
            if (IsLast(x)) return Rows(norm is null ? x : norm.call(x), weight, bias, activation, shortcut);
        }
        if (norm is not null) x = norm.call(x);
        if (activation == Activation.Relu && shortcut is null && DepthwiseConv.TryApply(x, weight, bias, op, relu: true) is { } rectified) return rectified;
        var y = op.Forward([x, weight, bias], false);
        switch (activation)
        {
            case null: break;
            case Activation.Relu: y.relu_(); break;
            case Activation.Gelu when Memory(y) is { } memory:
                var z = TensorMemory.Floats(memory);
                GeluKernel.Forward(z, null, z, null, Lines(memory), (int)memory.shape[^1]);
                GC.KeepAlive(memory);
                break;
            default: y = new ActivationOp(activation.Value).Forward([y], false); break;
        }
        return shortcut is null ? y : y.shape.AsSpan().SequenceEqual(shortcut.shape) ? y.PlusInPlace(shortcut) : y.Plus(shortcut);
    }

    /// <summary>
    /// The same values in the layout in which pixelwise layers are fastest here: planar where <see cref="PointwiseKernel"/> runs, else channels-last.
    /// </summary>
    public static Tensor ToFastest(Tensor x) =>
        PointwiseKernel.Suits(64, 64) ? x.contiguous() : IsLast(x) ? x : x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);

    /// <summary>Scales and shifts [2, C] of a batch normalisation with running statistics.</summary>
    public static float[] Affine(Tensor weight, Tensor bias, Tensor mean, Tensor variance, double eps)
    {
        var channels = (int)weight.numel();
        var affine = new float[2 * channels];
        float* w = TensorMemory.Floats(weight), b = TensorMemory.Floats(bias), m = TensorMemory.Floats(mean), v = TensorMemory.Floats(variance);
        for (var c = 0; c < channels; c++)
        {
            var s = w[c] / Math.Sqrt(v[c] + eps);
            (affine[c], affine[channels + c]) = ((float)s, (float)(b[c] - m[c] * s));
        }
        return affine;
    }

    /// <summary>Batch normalisation with running statistics of channels-last pixels, or null where it does not suit.</summary>
    public static Tensor? Normalize(Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor variance, double eps)
    {
        if (x.dim() != 4 || x.dtype != ScalarType.Float32 || x.device_type != DeviceType.CPU || x.numel() == 0 || !IsLast(x)) return null;
        var channels = (int)x.shape[1];
        if (!IsVector(weight) || !IsVector(bias) || !IsVector(mean) || !IsVector(variance) || !IsInference(x, weight, bias, null)) return null;
        var rows = x.permute(0, 2, 3, 1);
        var y = empty(rows.shape);
        fixed (float* scale = Affine(weight, bias, mean, variance, eps))
        {
            ChannelKernel.Forward(TensorMemory.Floats(rows), scale, scale + channels, null, TensorMemory.Floats(y), false, Lines(rows), channels);
        }
        Keep(x, rows, weight, bias, mean, variance);
        return y.permute(0, 3, 1, 2);

        bool IsVector(Tensor t) => TensorMemory.IsPlain(t) && t.numel() == channels;
    }

    /// <summary>Layer normalisation over the channels of planar pixels, or null where it does not suit.</summary>
    public static Tensor? Norm(Tensor x, Tensor weight, Tensor bias, double eps)
    {
        if (x.dim() != 4 || !TensorMemory.IsPlain(x) || !TensorMemory.IsPlain(weight) || !TensorMemory.IsPlain(bias)) return null;
        if (!IsInference(x, weight, bias, null)) return null;
        if (weight.numel() != x.shape[1] || bias.numel() != x.shape[1] || x.shape[2] * x.shape[3] > int.MaxValue) return null;
        var y = empty(x.shape);
        PlanarNormKernel.Forward(
            TensorMemory.Floats(x), TensorMemory.Floats(weight), TensorMemory.Floats(bias), TensorMemory.Floats(y),
            (int)x.shape[0], (int)x.shape[1], (int)(x.shape[2] * x.shape[3]), eps);
        Keep(x, weight, bias);
        return y;
    }

    /// <summary>shortcut + branch of a block over the channels of pixels, see <see cref="Ops.ChannelMlp"/>; null where it does not suit.</summary>
    public static Tensor? Mlp(Tensor x, in MlpWeights w, Tensor shortcut)
    {
        if (x.dim() != 4 || shortcut.dim() != 4 || !IsInference(x, w.Weight1, w.Bias1, shortcut)) return null;
        if (is_grad_enabled() && (w.Weight2.requires_grad || w.Scale?.requires_grad == true || w.NormWeight?.requires_grad == true)) return null;
        if (!TensorMemory.IsPlain(x) || !TensorMemory.IsPlain(shortcut))
        {
            using Tensor rows = x.permute(0, 2, 3, 1), add = shortcut.permute(0, 2, 3, 1);
            return TensorMemory.IsPlain(rows) && TensorMemory.IsPlain(add) ? FusedMlp.Rows(rows, w, add)?.permute(0, 3, 1, 2) : null;
        }
        if (!FusedMlp.Fits((int)x.shape[1], w) || !x.shape.AsSpan().SequenceEqual(shortcut.shape) || x.shape[1] != w.Weight2.shape[0]) return null;
        int n = (int)x.shape[0], channels = (int)x.shape[1], hidden = (int)w.Weight1.shape[0], pixels = (int)(x.shape[2] * x.shape[3]);
        if (!PointwiseKernel.Suits(channels, pixels) || !PointwiseKernel.Suits(hidden, pixels)) return null;
        var normed = x;
        if (w.NormWeight is not null)
        {
            normed = empty(x.shape);
            PlanarNormKernel.Forward(
                TensorMemory.Floats(x), TensorMemory.Floats(w.NormWeight), TensorMemory.Floats(w.NormBias!), TensorMemory.Floats(normed),
                n, channels, pixels, w.NormEps);
        }
        Tensor inner = empty(n, hidden, pixels), y = empty(x.shape);
        PointwiseKernel.Forward(
            TensorMemory.Floats(normed), null, TensorMemory.Floats(w.Weight1), null, Floats(w.Bias1), null, TensorMemory.Floats(inner),
            PointwiseActivation.Gelu,
            n, channels, hidden, pixels);
        var shift = w.Bias2 is null || w.Scale is null ? w.Bias2 : w.Bias2.mul(w.Scale);
        PointwiseKernel.Forward(
            TensorMemory.Floats(inner), null, TensorMemory.Floats(w.Weight2), Floats(w.Scale), Floats(shift), TensorMemory.Floats(shortcut),
            TensorMemory.Floats(y),
            PointwiseActivation.None,
            n, hidden, channels, pixels);
        Keep(x, normed, inner, shift, shortcut, w.Weight1, w.Bias1, w.Weight2, w.Scale, w.NormWeight, w.NormBias);
        return y;
    }

    /// <summary>A 1x1 convolution of planar pixels, forward alone.</summary>
    internal static Tensor Planar(Tensor x, Tensor weight, Tensor? bias) => Planes(x, null, weight, bias, null, null);

    /// <summary>Gradients of a 1x1 convolution of planar pixels.</summary>
    internal static (Tensor? X, Tensor? Weight, Tensor? Bias) Backward(Tensor x, Tensor weight, Tensor gradient, bool needX, bool needWeight, bool needBias)
    {
        var (s, outputs) = (x.shape, (int)weight.shape[0]);
        int n = (int)s[0], channels = (int)s[1], pixels = (int)(s[2] * s[3]);
        var dy = gradient.contiguous();
        Tensor? dx = null, dw = null;
        if (needX)
        {
            // A 1x1 convolution itself.
            using var turned = weight.view(outputs, channels).t().contiguous();
            if (PointwiseKernel.Suits(channels, pixels)) dx = Planes(dy, null, turned.view(channels, outputs, 1, 1), null, null, null);
            else dx = matmul(turned, dy.view(n, outputs, pixels)).view(s);
        }
        if (needWeight)
        {
            // The pixels of all pictures in one sum.
            using Tensor g = Side(dy, outputs), p = Side(x, channels), turned = p.t();
            dw = Products.Multiply(g, turned).view(weight.shape);
        }
        return (dx, dw, needBias ? dy.sum([0L, 2, 3]) : null);

        // [N, C, H, W] -> [C, N H W].
        Tensor Side(Tensor t, long rows)
        {
            using var planes = t.view(n, rows, pixels);
            using var side = planes.transpose(0, 1);
            return side.reshape(rows, -1);
        }
    }

    // Whether PointwiseKernel takes it.
    private static bool SuitsPlanes(Tensor x, Tensor weight) =>
        x.is_contiguous() && PointwiseKernel.Suits((int)weight.shape[0], (int)(x.shape[2] * x.shape[3]));

    // A 1x1 convolution of planar pixels, with the normalisation before it.
    private static Tensor Planes(Tensor x, BatchNorm? norm, Tensor weight, Tensor? bias, Activation? activation, Tensor? shortcut)
    {
        var (s, outputs) = (x.shape, weight.shape[0]);
        var y = empty(s[0], outputs, s[2], s[3]);
        var add = shortcut is not null && TensorMemory.IsPlain(shortcut) && shortcut.shape.AsSpan().SequenceEqual(y.shape) ? shortcut : null;
        var affine = norm?.Affine();
        fixed (float* before = affine)
        {
            PointwiseKernel.Forward(
                TensorMemory.Floats(x), before, TensorMemory.Floats(weight), null, Floats(bias), Floats(add), TensorMemory.Floats(y), Kind(activation),
                (int)s[0], (int)s[1], (int)outputs, (int)(s[2] * s[3]));
        }
        Keep(x, weight, bias, shortcut);
        return shortcut is null || add is not null ? y : y.Plus(shortcut);
    }

    private static PointwiseActivation Kind(Activation? activation) =>
        activation switch { null => PointwiseActivation.None, Activation.Relu => PointwiseActivation.Relu, _ => PointwiseActivation.Gelu };

    // The collector may free a tensor whose last managed use is over: not while a kernel works on its memory.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Keep(params ReadOnlySpan<Tensor?> tensors) => _ = tensors.Length;

    private static float* Floats(Tensor? t) => t is null ? null : TensorMemory.Floats(t);

    // A 1x1 convolution of channels-last pixels.
    private static Tensor Rows(Tensor x, Tensor weight, Tensor? bias, Activation? activation, Tensor? shortcut)
    {
        var (s, outputs) = (x.shape, (int)weight.shape[0]);
        Tensor pixels = x.permute(0, 2, 3, 1), matrix = weight.view(outputs, -1);
        var add = shortcut is not null && shortcut.shape.AsSpan().SequenceEqual([s[0], outputs, s[2], s[3]])
            && shortcut.dtype == ScalarType.Float32 && IsLast(shortcut)
            ? shortcut.permute(0, 2, 3, 1) : null;
        if (Products.SuitsLinear(pixels, matrix, bias))
        {
            var result = Products.Then(pixels, matrix, null, bias, Kind(activation), add).permute(0, 3, 1, 2);
            return shortcut is null || add is not null ? result : result.Plus(shortcut);
        }
        var z = mm(pixels.reshape(-1, s[1]), matrix.t());
        float* p = TensorMemory.Floats(z), b = bias is null ? null : TensorMemory.Floats(bias);
        var rows = (int)z.shape[0];
        if (activation == Activation.Gelu) GeluKernel.Forward(p, b, p, null, rows, outputs);
        else if (b is not null || activation is not null || add is not null)
            ChannelKernel.Forward(p, null, b, add is null ? null : TensorMemory.Floats(add), p, activation == Activation.Relu, rows, outputs);
        Keep(add, bias, shortcut);
        var y = z.view(s[0], s[2], s[3], outputs).permute(0, 3, 1, 2);
        return shortcut is null || (add is not null && activation != Activation.Gelu) ? y : y.Plus(shortcut);
    }

    // The pixels in the order of memory, without gaps; null for other layouts.
    private static Tensor? Memory(Tensor x) =>
        x.dtype != ScalarType.Float32 || x.device_type != DeviceType.CPU || x.numel() == 0 ? null
        : x.is_contiguous() ? x : x.dim() == 4 && IsLast(x) ? x.permute(0, 2, 3, 1) : null;

    private static int Lines(Tensor memory) => checked((int)(memory.numel() / memory.shape[^1]));

    private static bool IsLast(Tensor x)
    {
        using var rows = x.permute(0, 2, 3, 1);
        return rows.is_contiguous();
    }
}

/// <summary>The autograd node of a 1x1 convolution of planar pixels by own products.</summary>
internal sealed class PointwiseFunction : KernelFunction<PointwiseFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (x, weight, bias) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2]);
        ctx.save_for_backward([x, weight]);
        ctx.save_data("needs", (x.requires_grad, weight.requires_grad, bias?.requires_grad == true));
        return FusedConv.Planar(x, weight, bias);
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (needX, needWeight, needBias) = ((bool, bool, bool))ctx.get_data("needs");
        var (dx, dw, db) = FusedConv.Backward(saved[0], saved[1], gradient, needX, needWeight, needBias);
        return [dx, dw, db];
    }
}
