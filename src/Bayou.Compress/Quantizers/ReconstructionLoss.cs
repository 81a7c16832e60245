using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>How the exponent of the rounding term falls from 20 to 2.</summary>
public enum Annealing
{
    /// <summary>Linearly, as documented.</summary>
    Linear,

    /// <summary>Along half a cosine.</summary>
    Cosine,
}

/// <summary>
/// Loss of weight reconstruction (AdaRound, BRECQ, QDrop; specs/mqbench.md 1.5): the output's squared error, and from the end of the warm-up on a term that
/// drives every h(V) to 0 or 1.
/// </summary>
/// <param name="steps">T, steps in all.</param>
/// <param name="weight">Weight of the rounding term.</param>
/// <param name="warmUp">Share of the steps without the rounding term.</param>
/// <param name="start">First exponent.</param>
/// <param name="end">Last exponent.</param>
/// <param name="annealing">How it falls.</param>
public sealed class ReconstructionLoss(int steps, double weight = 0.01, double warmUp = 0.2, double start = 20, double end = 2,
    Annealing annealing = Annealing.Linear)
{
    /// <summary>Steps taken.</summary>
    public int Count { get; private set; }

    /// <summary>Exponent b of the rounding term at step t (from 1).</summary>
    public double Exponent(int t)
    {
        var warm = warmUp * steps;
        if (t < warm) return start;
        if (t > steps) return end;
        var rest = 1 - (t - warm) / (steps - warm);
        return annealing == Annealing.Linear ? end + (start - end) * Math.Max(0, rest) : end + 0.5 * (start - end) * (1 + Math.Cos((1 - rest) * Math.PI));
    }

    /// <summary>The loss of the next step.</summary>
    /// <param name="quantized">Output with quantised weights, [N, C, ...].</param>
    /// <param name="reference">Float output.</param>
    /// <param name="layers">Quantisers being trained.</param>
    public Tensor Next(Tensor quantized, Tensor reference, params AdaRoundFakeQuantizer[] layers)
    {
        if (!quantized.shape.SequenceEqual(reference.shape))
            throw new BayouException($"ReconstructionLoss: outputs {new Ints(quantized.shape)} and {new Ints(reference.shape)} differ in shape");
        Count++;
        var loss = (quantized - reference).Squared().sum([1]).mean();
        if (Count < warmUp * steps) return loss;
        var b = Exponent(Count);
        foreach (var layer in layers)
            loss = loss.Plus((Number.Of(1) - (layer.RectifiedSigmoid() * Number.Of(2) - Number.Of(1)).abs().pow(Number.Of(b))).sum() * Number.Of(weight));
        return loss;
    }
}
