using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>What a power-of-two quantiser works on; decides rounding and search width.</summary>
public enum VitisTensor
{
    /// <summary>Weights and biases: half-even rounding, then clamping; five candidates.</summary>
    Param,

    /// <summary>Activations: clamping first, negative ties towards zero; five candidates.</summary>
    Tensor,

    /// <summary>The network's input: as activations, but the range decides alone.</summary>
    Input,
}

/// <summary>
/// The power-of-two step 2^-s with the least squared error on the current batch (Vitis DPU), s from floor(log2(1 / scale)) upwards, at most 12. Symmetric, per
/// tensor.
/// </summary>
public class MinMaxFloorObserver : Observer
{
    private readonly VitisTensor kind;

    /// <summary>Creates the observer.</summary>
    /// <exception cref="BayouException">The scheme is affine or per channel.</exception>
    public MinMaxFloorObserver(QuantScheme scheme, VitisTensor kind) : base(scheme)
    {
        if (!scheme.Symmetric || scheme.PerChannel) throw new BayouException("MinMaxFloorObserver: the DPU's scheme is symmetric and per tensor");
        this.kind = kind;
    }

    /// <summary>The chosen s.</summary>
    public int Exponent { get; protected set; }

    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        var (min, max) = BatchRange(x);
        Keep(minimum(Min, min), maximum(Max, max));
        Chosen(Search(x));
    }

    /// <summary>Takes the best s of a batch.</summary>
    protected virtual void Chosen(int exponent) => Exponent = exponent;

    /// <inheritdoc/>
    protected override (Tensor Scale, Tensor ZeroPoint) Compute() => (tensor((float)Math.Pow(2, -Exponent)), tensor(0f));

    private int Search(Tensor x)
    {
        var scale = Math.Max(Min.item<float>() / Scheme.QMin, Max.item<float>() / Scheme.QMax);
        var first = scale < Math.Pow(2, -15) ? 0 : (int)Math.Floor(Math.Log2(1 / scale));
        var (best, least) = (first, double.PositiveInfinity);
        for (var s = first; s < first + (kind == VitisTensor.Input ? 1 : 5); s++)
        {
            var error = (Quantize(x, Math.Pow(2, -s), Scheme, kind) - x).Squared().sum().item<float>();
            if (error < least) (best, least) = (s, error);
        }
        return Math.Min(best, 12);
    }

    /// <summary>Power-of-two fake quantisation with the DPU's rounding.</summary>
    internal static Tensor Quantize(Tensor x, double step, QuantScheme scheme, VitisTensor kind)
    {
        using var noGrad = no_grad();
        var q = x / Number.Of(step);
        if (kind == VitisTensor.Param) return q.round().clamp(Number.Of(scheme.QMin), Number.Of(scheme.QMax)) * Number.Of(step);
        q = q.clamp(Number.Of(scheme.QMin), Number.Of(scheme.QMax));
        var tie = q.lt(Number.Of(0)).logical_and((q - q.floor()).eq(Number.Of(0.5)));
        return where(tie, q.ceil(), q.round()) * Number.Of(step);
    }
}

/// <summary>As <see cref="MinMaxFloorObserver"/>, with the most frequent s over all batches (the first of equals) among -7..12.</summary>
public sealed class PotModeObserver(QuantScheme scheme, VitisTensor kind) : MinMaxFloorObserver(scheme, kind)
{
    private readonly long[] counts = new long[20];

    /// <inheritdoc/>
    protected override void Chosen(int exponent)
    {
        counts[Math.Clamp(exponent + 7, 0, counts.Length - 1)]++;
        Exponent = Array.IndexOf(counts, counts.Max()) - 7;
    }
}
