using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>
/// Watches tensors and derives scale and zero point (specs/mqbench.md 1.3). State: the range seen, a scalar, or [C] for per-channel schemes; it outlives
/// dispose scopes.
/// </summary>
public abstract class Observer(QuantScheme scheme)
{
    /// <summary>The scheme.</summary>
    public QuantScheme Scheme { get; } = scheme;

    /// <summary>Lower end of the range; +inf before the first batch.</summary>
    public Tensor Min { get; private set; } = tensor(float.PositiveInfinity).DetachFromDisposeScope();

    /// <summary>Upper end; -inf before the first batch.</summary>
    public Tensor Max { get; private set; } = tensor(float.NegativeInfinity).DetachFromDisposeScope();

    /// <summary>Whether a batch has been seen.</summary>
    public bool Seen { get; private set; }

    /// <summary>Takes one batch into account.</summary>
    /// <exception cref="BayouException">The tensor is empty or holds NaN or infinity.</exception>
    public void Observe(Tensor x)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        if (x.numel() == 0) throw new BayouException("Observer: the tensor is empty; observe at least one element");
        var values = x.detach().to(float32);
        if (!values.isfinite().all().item<bool>())
            throw new BayouException("Observer: the tensor holds NaN or infinity; the network diverged or its input is not normalised as in training");
        Update(values);
        Seen = true;
    }

    /// <summary>Scale and zero point, scalars or [C].</summary>
    /// <exception cref="BayouException">Nothing was observed.</exception>
    public (Tensor Scale, Tensor ZeroPoint) Parameters()
    {
        if (!Seen) throw new BayouException("Observer: no tensor was observed yet; run calibration batches first");
        using var noGrad = no_grad();
        return Compute();
    }

    /// <summary>Replaces the range by a given one (PACT's learned clips).</summary>
    public void SetRange(Tensor min, Tensor max)
    {
        Keep(min.detach(), max.detach());
        Seen = true;
    }

    /// <summary>One finite batch.</summary>
    protected abstract void Update(Tensor x);

    /// <summary>By default from the range.</summary>
    protected virtual (Tensor Scale, Tensor ZeroPoint) Compute() => Scheme.FromRange(Min, Max);

    /// <summary>Replaces the range.</summary>
    protected void Keep(Tensor min, Tensor max)
    {
        var (oldMin, oldMax) = (Min, Max);
        (Min, Max) = (min.clone().DetachFromDisposeScope(), max.clone().DetachFromDisposeScope());
        oldMin.Dispose();
        oldMax.Dispose();
    }

    /// <summary>Running average v = ratio v + (1 - ratio) batch; the first batch sets it.</summary>
    protected void KeepAverage(Tensor min, Tensor max, double ratio)
    {
        if (Seen) Keep((Min * Number.Of(ratio)).Plus(min * Number.Of(1 - ratio)), (Max * Number.Of(ratio)).Plus(max * Number.Of(1 - ratio)));
        else Keep(min, max);
    }

    /// <summary>[C, elements] for per-channel schemes, else [1, elements].</summary>
    protected Tensor Rows(Tensor x) => Scheme.PerChannel ? x.reshape(x.shape[0], -1) : x.reshape(1, -1);

    /// <summary>Removes the row axis of per-tensor results.</summary>
    protected Tensor Shape(Tensor perRow) => Scheme.PerChannel ? perRow : perRow.reshape([]);

    /// <summary>The batch's own range.</summary>
    protected (Tensor Min, Tensor Max) BatchRange(Tensor x) => (Shape(Rows(x).amin([1])), Shape(Rows(x).amax([1])));
}

/// <summary>Running minimum and maximum.</summary>
public sealed class MinMaxObserver(QuantScheme scheme) : Observer(scheme)
{
    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        var (min, max) = BatchRange(x);
        Keep(minimum(Min, min), maximum(Max, max));
    }
}

/// <summary>Running averages of the batches' ranges.</summary>
public sealed class EmaMinMaxObserver(QuantScheme scheme, double ratio = 0.9) : Observer(scheme)
{
    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        var (min, max) = BatchRange(x);
        KeepAverage(min, max, ratio);
    }
}

/// <summary>Running averages of ranges that are clipped at a quantile of |x|. Per tensor only.</summary>
public sealed class EmaQuantileObserver : Observer
{
    private readonly double ratio, threshold;
    private readonly int bins;

    /// <summary>Creates the observer.</summary>
    /// <exception cref="BayouException">The scheme is per channel.</exception>
    public EmaQuantileObserver(QuantScheme scheme, double threshold = 0.99999, double ratio = 0.9, int bins = 2048) : base(scheme)
    {
        if (scheme.PerChannel) throw new BayouException("EmaQuantileObserver: works per tensor only; take an MSE observer for channels");
        (this.threshold, this.ratio, this.bins) = (threshold, ratio, bins);
    }

    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        var (min, max) = BatchRange(x);
        float low = min.item<float>(), high = max.item<float>();
        var reach = Math.Max(-low, high);
        var clip = reach > 0 ? Clip(x.abs().contiguous().data<float>().ToArray(), reach) : 0;
        KeepAverage(tensor(Math.Max(low, -clip)), tensor(Math.Min(high, clip)), ratio);
    }

    private float Clip(float[] magnitudes, float reach)
    {
        var counts = new long[bins];
        foreach (var m in magnitudes) counts[Math.Min((int)(m * (bins / reach)), bins - 1)]++;
        long sum = 0;
        for (var i = 0; i < bins; i++)
        {
            sum += counts[i];
            if (sum >= threshold * magnitudes.Length) return (i + 0.5f) * (reach / bins);
        }
        return reach;
    }
}

/// <summary>Mean plus and minus some deviations of the last batch (DSQ).</summary>
/// <param name="scheme">The scheme.</param>
/// <param name="deviations">Deviations.</param>
/// <param name="clip">
/// False: as MQBench computes it, where the range is the WIDER of the deviations and the batch's own, so that nothing is ever clipped. True: the narrower, as
/// the DSQ paper means it.
/// </param>
public sealed class ClipStdObserver(QuantScheme scheme, double deviations = 2.6, bool clip = false) : Observer(scheme)
{
    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        var (min, max) = BatchRange(x);
        var mean = Shape(Rows(x).mean([1]));
        var reach = Shape(Rows(x).std([1])) * Number.Of(deviations);
        if (clip) Keep(maximum(mean - reach, min), minimum(mean.Plus(reach), max));
        else Keep(minimum(mean - reach, min), maximum(mean.Plus(reach), max));
    }
}

/// <summary>LSQ's initialisation from the last batch: scale = 2 mean|x| / sqrt(QMax).</summary>
/// <param name="scheme">The scheme.</param>
/// <param name="clampZeroPoint">False: an affine zero point may leave the codes, as in MQBench; true: it is clamped.</param>
public sealed class LsqObserver(QuantScheme scheme, bool clampZeroPoint = false) : Observer(scheme)
{
    private Tensor magnitude = tensor(0f).DetachFromDisposeScope();

    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        var (min, max) = BatchRange(x);
        Keep(min, max);
        magnitude.Dispose();
        magnitude = Shape(Rows(x).abs().mean([1])).DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    protected override (Tensor Scale, Tensor ZeroPoint) Compute()
    {
        // Here the power of two is taken before the zero point.
        var scale = Scheme.Round((magnitude * Number.Of(2 / Math.Sqrt(Scheme.QMax))).clamp_min(Number.Of(QuantScheme.Epsilon)));
        if (Scheme.Symmetric) return (scale, zeros_like(scale));
        var zero = Number.Of(Scheme.QMin) - (Min / scale).round();
        return (scale, clampZeroPoint ? zero.clamp(Number.Of(Scheme.QMin), Number.Of(Scheme.QMax)) : zero);
    }
}

/// <summary>
/// LSQ+'s initialisation from the last batch: scale = max(|mean - 3 std|, |mean + 3 std|) / number of codes. The range kept is the whole tensor's, also per
/// channel.
/// </summary>
/// <param name="scheme">The scheme.</param>
/// <param name="zeroPointForSigned">
/// False: an affine zero point only for data without negatives, so that signed data loses its negative half, as in MQBench; true: the zero point follows the
/// minimum, clamped to the codes.
/// </param>
public sealed class LsqPlusObserver(QuantScheme scheme, bool zeroPointForSigned = false) : Observer(scheme)
{
    private Tensor reach = tensor(0f).DetachFromDisposeScope();

    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        Keep(x.amin(Enumerable.Range(0, (int)x.dim()).Select(i => (long)i).ToArray()),
            x.amax(Enumerable.Range(0, (int)x.dim()).Select(i => (long)i).ToArray()));
        var mean = Shape(Rows(x).mean([1]));
        var three = Shape(Rows(x).std([1])) * Number.Of(3);
        reach.Dispose();
        reach = maximum((mean - three).abs(), mean.Plus(three).abs()).DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    protected override (Tensor Scale, Tensor ZeroPoint) Compute()
    {
        var scale = Scheme.Round((reach / Number.Of((double)(Scheme.QMax - Scheme.QMin + 1))).clamp_min(Number.Of(QuantScheme.Epsilon)));
        if (Scheme.Symmetric) return (scale, zeros_like(scale));
        if (zeroPointForSigned) return (scale, (Number.Of(Scheme.QMin) - (Min / scale).round()).clamp(Number.Of(Scheme.QMin), Number.Of(Scheme.QMax)));
        return (scale, Min.item<float>() >= 0 ? Number.Of(Scheme.QMin) - (Min / scale).round() : zeros_like(scale));
    }
}

/// <summary>The range (1 % narrower at a time) with the least mean |fake_quant(x) - x|^p.</summary>
/// <param name="scheme">The scheme.</param>
/// <param name="p">The power.</param>
/// <param name="ratio">Null: running minimum and maximum over batches; else their running average (EMAMSE).</param>
public sealed class MseObserver(QuantScheme scheme, double p = 2, double? ratio = null) : Observer(scheme)
{
    /// <inheritdoc/>
    protected override void Update(Tensor x)
    {
        var (min, max) = BatchRange(x);
        var (bestMin, bestMax) = (min, max);
        var least = full_like(min, Number.Of(double.PositiveInfinity));
        for (var i = 0; i < (Scheme.PerChannel ? 80 : 95); i++)
        {
            var shrink = 1 - 0.01 * i;
            var (low, high) = (min * Number.Of(shrink), max * Number.Of(shrink));
            var (scale, zero) = Scheme.FromRange(low, high);
            var error = Shape(Rows((Scheme.Quantize(x, scale, zero) - x).abs().pow(Number.Of(p))).mean([1]));
            var better = error.lt(least);
            least = where(better, error, least);
            bestMin = where(better, low, bestMin);
            bestMax = where(better, high, bestMax);
        }
        if (ratio is { } r) KeepAverage(bestMin, bestMax, r);
        else Keep(minimum(Min, bestMin), maximum(Max, bestMax));
    }
}

/// <summary>The range whose quantised histogram diverges least from the original (TensorRT's calibration), over everything observed. Per tensor only.</summary>
public sealed class KlObserver : Observer
{
    private readonly ValueHistogram histogram = new("observed tensor");

    /// <summary>Creates the observer.</summary>
    /// <exception cref="BayouException">The scheme is per channel.</exception>
    public KlObserver(QuantScheme scheme) : base(scheme)
    {
        if (scheme.PerChannel) throw new BayouException("KlObserver: works per tensor only; take an MSE observer for channels");
    }

    /// <inheritdoc/>
    protected override void Update(Tensor x) => histogram.Add(x);

    /// <inheritdoc/>
    protected override (Tensor Scale, Tensor ZeroPoint) Compute()
    {
        var (low, high) = histogram.Range(ActivationObserver.Kl, 1, (int)(Scheme.QMax - Scheme.QMin + 1), Scheme.Symmetric);
        Keep(tensor((float)low), tensor((float)high));
        return base.Compute();
    }
}
