using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>
/// Cross-layer equalisation (DFQ; specs/mqbench.md 1.6): moves scale between two layers in a row, channel by channel, so that both need the same range. The
/// function stays the same if what is between them is positively homogeneous (ReLU, nothing).
/// </summary>
public static class CrossLayerEqualization
{
    /// <summary>s = sqrt(r1 r2) / r2 for each channel, r1 = max|w1| over its outputs, r2 = max|w2| over its inputs; 1 where both are small.</summary>
    /// <param name="first">Weight [C, ...].</param>
    /// <param name="second">Weight [O, C, ...], or [C, 1, ...] for a depthwise layer.</param>
    /// <exception cref="BayouException">The layers do not follow each other.</exception>
    public static Tensor Factors(Tensor first, Tensor second)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var r1 = first.detach().flatten(1).abs().amax([1]);
        var r2 = Inputs(first, second).reshape(first.shape[0], -1).abs().amax([1]);
        var s = ((r1 * r2).sqrt() / r2).clamp(Number.Of(1e-6), Number.Of(1e6));
        return where(r1.Plus(r2).lt(Number.Of(0.5)), ones_like(s), s).MoveToOuterDisposeScope();
    }

    /// <summary>The equalised weights and bias: w1 / s, b1 / s, w2 s.</summary>
    public static (Tensor First, Tensor? Bias, Tensor Second, Tensor Factors) Equalize(Tensor first, Tensor? bias, Tensor second)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var s = Factors(first, second);
        var w1 = first.detach() / QuantScheme.Along(s, first);
        var w2 = Depthwise(first, second)
            ? second.detach() * QuantScheme.Along(s, second)
            : second.detach() * s.reshape([1, -1, .. Enumerable.Repeat(1L, (int)second.dim() - 2)]);
        var b1 = bias is null ? null : bias.detach() / s;
        return (w1.MoveToOuterDisposeScope(), b1?.MoveToOuterDisposeScope(), w2.MoveToOuterDisposeScope(), s.MoveToOuterDisposeScope());
    }

    private static bool Depthwise(Tensor first, Tensor second) => second.shape[1] == 1 && second.shape[0] == first.shape[0] && first.shape[0] > 1;

    private static Tensor Inputs(Tensor first, Tensor second)
    {
        if (Depthwise(first, second)) return second.detach();
        if (second.shape[1] != first.shape[0])
            throw new BayouException($"CrossLayerEqualization: weights {new Ints(first.shape)} and {new Ints(second.shape)} are not of layers in a row: {first.shape[0]} outputs, {second.shape[1]} inputs");
        return second.detach().transpose(0, 1).contiguous();
    }
}
