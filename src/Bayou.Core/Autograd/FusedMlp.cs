using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The tensors of one branch fc2(gelu(fc1(norm(x)))), see <see cref="Ops.GeluMlp"/>.</summary>
/// <param name="Weight1">[H, I].</param>
/// <param name="Bias1">[H] or null.</param>
/// <param name="Weight2">[O, H].</param>
/// <param name="Bias2">[O] or null.</param>
/// <param name="Scale">Layer scale [O] or null.</param>
/// <param name="NormWeight">[I]; null for a branch without normalisation.</param>
/// <param name="NormBias">[I], given with <paramref name="NormWeight"/>.</param>
/// <param name="NormEps">Added to the variance.</param>
public readonly record struct MlpWeights(
    Tensor Weight1, Tensor? Bias1, Tensor Weight2, Tensor? Bias2, Tensor? Scale = null, Tensor? NormWeight = null, Tensor? NormBias = null, double NormEps = 0);

/// <summary>
/// A whole branch of a ConvNeXt or transformer block, scale * fc2(gelu(fc1(norm(x)))), as one node of autograd: the products are libtorch's, and between them
/// lies one pass over memory each, in place where the values before are not needed again. The pass that adds the first bias and applies GELU keeps its
/// derivative, the one that multiplies the gradient by it sums the bias's gradient; layer scale is multiplied into the second weights (H x O numbers) instead
/// of into the result. <see cref="Ops.GeluMlp"/> takes it where it suits; networks do not call it.
/// </summary>
internal static unsafe class FusedMlp
{
    /// <summary>Whether the kernels can do it: contiguous float32 on the CPU, sizes that fit.</summary>
    public static bool Suits(Tensor x, in MlpWeights w)
    {
        return OwnKernels.Enabled && TensorMemory.IsPlain(x) && x.dim() >= 2 && Fits(x.shape[^1], w) && x.numel() / x.shape[^1] <= int.MaxValue;
    }

    /// <summary>Whether the weights are float32 on the CPU, without gaps, and fit together and to a number of inputs.</summary>
    public static bool Fits(long inputs, in MlpWeights w)
    {
        if (w.Weight1.dim() != 2 || w.Weight2.dim() != 2) return false;
        long hidden = w.Weight1.shape[0], outputs = w.Weight2.shape[0];
        return w.Weight1.shape[1] == inputs && w.Weight2.shape[1] == hidden && TensorMemory.IsPlain(w.Weight1) && TensorMemory.IsPlain(w.Weight2)
            && Vector(w.Bias1, hidden) && Vector(w.Bias2, outputs) && Vector(w.Scale, outputs) && Vector(w.NormWeight, inputs) && Vector(w.NormBias, inputs)
            && w.NormWeight is null == w.NormBias is null;

        static bool Vector(Tensor? t, long length) => t is null || (TensorMemory.IsPlain(t) && t.dim() == 1 && t.shape[0] == length);
    }

    /// <summary>The branch. [..., I] -> [..., O].</summary>
    public static Tensor Apply(Tensor x, in MlpWeights w)
    {
        if (is_grad_enabled()
            && (Needs(x) || Needs(w.Weight1) || Needs(w.Bias1) || Needs(w.Weight2) || Needs(w.Bias2) || Needs(w.Scale) || Needs(w.NormWeight)
            || Needs(w.NormBias)))
            return FusedMlpFunction.apply(x, w.Weight1, w.Bias1!, w.Weight2, w.Bias2!, w.Scale!, w.NormWeight!, w.NormBias!, w.NormEps);
        if (Rows(x, w, null) is { } fused) return fused;
        var y = Norm(x, w, null);
        var z = Product(y, w.Weight1);
        GeluKernel.Forward(TensorMemory.Floats(z), Bias(w.Bias1), TensorMemory.Floats(z), null, Rows(z), Columns(z));
        GC.KeepAlive(y);
        var result = Product(z, w.Weight2);
        var shift = w.Bias2 is null || w.Scale is null ? w.Bias2 : w.Bias2.mul(w.Scale);
        var p = TensorMemory.Floats(result);
        if (w.Scale is not null || shift is not null) ChannelKernel.Forward(p, Bias(w.Scale), Bias(shift), null, p, false, Rows(result), Columns(result));
        GC.KeepAlive(shift);
        GC.KeepAlive(w.Scale);
        return result.view(Shape(x, w.Weight2));
    }

    /// <summary>shortcut + branch by own products, which do everything after them; without gradients. Null where they are not the faster way.</summary>
    /// <param name="x">[..., I], plain.</param>
    /// <param name="w">The branch.</param>
    /// <param name="shortcut">[..., O], plain, or null.</param>
    internal static Tensor? Rows(Tensor x, in MlpWeights w, Tensor? shortcut)
    {
        if (!Suits(x, w) || !Products.SuitsLinear(x, w.Weight1, w.Bias1)) return null;
        if (shortcut is not null && !shortcut.shape.AsSpan().SequenceEqual(Shape(x, w.Weight2))) return null;
        var hidden = Products.Then(Norm(x, w, null), w.Weight1, null, w.Bias1, PointwiseActivation.Gelu, null);
        if (!Products.SuitsLinear(hidden, w.Weight2, w.Bias2)) return null;
        return Products.Then(
            hidden, w.Weight2, w.Scale, w.Bias2 is null || w.Scale is null ? w.Bias2 : w.Bias2.mul(w.Scale), PointwiseActivation.None, shortcut);
    }

    internal static Tensor Norm(Tensor x, in MlpWeights w, Tensor? statistics) =>
        w.NormWeight is null ? x : FusedLayerNorm.Forward(x, w.NormWeight, w.NormBias!, w.NormEps, statistics);

    internal static (Tensor Hidden, Tensor Slope) Hidden(Tensor y, Tensor weight, Tensor? bias)
    {
        var z = Product(y, weight);
        var h = empty_like(z);
        GeluKernel.Forward(TensorMemory.Floats(z), Bias(bias), TensorMemory.Floats(h), TensorMemory.Floats(z), Rows(z), Columns(z));
        return (h, z);
    }

    internal static Tensor Result(Tensor hidden, Tensor weight, Tensor? bias) => Products.Linear(hidden, weight, bias);

    internal static Tensor Scaled(Tensor weight, Tensor? scale) => scale is null ? weight : weight.mul(scale.unsqueeze(1));

    internal static long[] Shape(Tensor x, Tensor weight)
    {
        var shape = (long[])x.shape.Clone();
        shape[^1] = weight.shape[0];
        return shape;
    }

    /// <summary>gradient slope, in the memory of the gradient, and the sums of its columns.</summary>
    internal static Tensor BackwardThroughGelu(Tensor gradient, Tensor slope)
    {
        var sums = empty(slope.shape[1]);
        GeluKernel.Backward(TensorMemory.Floats(gradient), TensorMemory.Floats(slope), TensorMemory.Floats(gradient), TensorMemory.Floats(sums), Rows(slope),
            Columns(slope));
        return sums;
    }

    private static bool Needs(Tensor? t) => t?.requires_grad == true;

    private static Tensor Product(Tensor x, Tensor weight) => Products.Multiply(x.reshape(-1, weight.shape[1]), weight.t());

    private static float* Bias(Tensor? bias) => bias is null ? null : TensorMemory.Floats(bias);

    private static int Rows(Tensor z) => (int)z.shape[0];

    private static int Columns(Tensor z) => (int)z.shape[1];
}

/// <summary>The autograd node of <see cref="FusedMlp"/>.</summary>
internal sealed class FusedMlpFunction : KernelFunction<FusedMlpFunction>
{
    // Places of the arguments, and of their gradients.
    private const int X = 0, Weight1 = 1, Bias1 = 2, Weight2 = 3, Bias2 = 4, Scale = 5, NormWeight = 6, NormBias = 7, Count = 9;

    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        Tensor? At(int place) => (Tensor?)vars[place];
        var x = At(X)!;
        var w = new MlpWeights(At(Weight1)!, At(Bias1), At(Weight2)!, At(Bias2), At(Scale), At(NormWeight), At(NormBias), (double)vars[^1]);
        var statistics = w.NormWeight is null ? null : FusedLayerNorm.Statistics(x, w.NormWeight);
        var y = FusedMlp.Norm(x, w, statistics);
        var (hidden, slope) = FusedMlp.Hidden(y, w.Weight1, w.Bias1);
        var scaled = FusedMlp.Scaled(w.Weight2, w.Scale);
        var bias = w.Bias2 is null || w.Scale is null ? w.Bias2 : w.Bias2.mul(w.Scale);
        List<Tensor> saved = [y, w.Weight1, slope, hidden, scaled];
        if (w.Scale is not null) saved.AddRange([w.Scale, w.Weight2]);
        if (w.Scale is not null && w.Bias2 is not null) saved.Add(w.Bias2);
        if (statistics is not null) saved.AddRange([x, w.NormWeight!, statistics]);
        ctx.save_for_backward(saved);
        ctx.save_data("needs", Enumerable.Range(0, Count - 1).Select(i => At(i)?.requires_grad == true).ToArray());
        ctx.save_data("form", (Scale: w.Scale is not null, Bias: w.Bias2 is not null, Norm: statistics is not null));
        return FusedMlp.Result(hidden, scaled, bias).view(FusedMlp.Shape(x, w.Weight2));
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var needs = (bool[])ctx.get_data("needs");
        var (withScale, withBias, withNorm) = ((bool, bool, bool))ctx.get_data("form");
        var next = 0;
        Tensor y = saved[next++], weight1 = saved[next++], slope = saved[next++], hidden = saved[next++], scaled = saved[next++];
        Tensor? scale = withScale ? saved[next++] : null, weight2 = withScale ? saved[next++] : null, bias2 = withScale && withBias ? saved[next++] : null;
        Tensor? x = withNorm ? saved[next++] : null, normWeight = withNorm ? saved[next++] : null, statistics = withNorm ? saved[next] : null;

        var d = new Tensor?[Count];
        var dy2 = gradient.reshape(-1, scaled.shape[0]).contiguous();
        if (needs[Weight2] || needs[Scale]) d[Weight2] = Products.Multiply(dy2.t(), hidden);
        if (withBias && (needs[Bias2] || needs[Scale])) d[Bias2] = dy2.sum([0L]);
        if (scale is not null)
        {
            // The chain rule from the scaled weights and bias to both their factors.
            if (needs[Scale])
            {
                d[Scale] = d[Weight2]!.mul(weight2!).sum([1L]);
                if (bias2 is not null) d[Scale]!.addcmul_(d[Bias2]!, bias2, Number.Of(1));
            }
            d[Weight2]?.mul_(scale.unsqueeze(1));
            d[Bias2]?.mul_(scale);
        }
        if (needs[X] || needs[Weight1] || needs[Bias1] || needs[NormWeight] || needs[NormBias])
        {
            var dz = Products.Multiply(dy2, scaled);
            d[Bias1] = FusedMlp.BackwardThroughGelu(dz, slope);
            if (needs[Weight1]) d[Weight1] = Products.Multiply(dz.t(), y.reshape(-1, weight1.shape[1]));
            if (needs[X] || needs[NormWeight] || needs[NormBias])
            {
                var dx = Products.Multiply(dz, weight1).view(y.shape);
                if (withNorm)
                {
                    var sums = FusedLayerNorm.BackwardInPlace(x!, normWeight!, statistics!, dx);
                    (d[NormWeight], d[NormBias]) = (sums[0], sums[1]);
                }
                d[X] = dx;
            }
        }
        for (var i = 0; i < needs.Length; i++) if (!needs[i]) d[i] = null;
        return d;
    }
}
