using System.Runtime.InteropServices;
using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>
/// Counts the values of one tensor over many batches in one pass. The bins cover [-R, R]; when a value falls outside, R doubles and neighbouring bins are
/// merged, so that the counts stay exact whatever comes later.
/// </summary>
public sealed class ValueHistogram
{
    /// <summary>Number of bins over [-R, R].</summary>
    public const int Bins = 8192;

    private readonly string name;
    private readonly long[] counts = new long[Bins];

    /// <summary>An empty histogram.</summary>
    /// <param name="name">What it counts, for messages.</param>
    public ValueHistogram(string name) => this.name = name;

    /// <summary>Smallest value seen (0 before any).</summary>
    public float Min { get; private set; } = float.PositiveInfinity;

    /// <summary>Largest value seen.</summary>
    public float Max { get; private set; } = float.NegativeInfinity;

    /// <summary>Values seen.</summary>
    public long Count { get; private set; }

    /// <summary>R; 0 while only zeros were seen.</summary>
    public double Limit { get; private set; }

    /// <summary>Counts a tensor's values.</summary>
    /// <exception cref="BayouException">A value is NaN or infinite.</exception>
    public void Add(Tensor values)
    {
        using var scope = NewDisposeScope();
        var flat = values.detach().to(float32).contiguous();
        if (flat.numel() == 0) return;
        Add(MemoryMarshal.Cast<byte, float>(flat.bytes));
    }

    /// <summary>Counts values.</summary>
    public void Add(ReadOnlySpan<float> values)
    {
        if (values.IsEmpty) return;
        float low = float.PositiveInfinity, high = float.NegativeInfinity;
        foreach (var x in values)
        {
            low = MathF.Min(low, x);    // NaN stays NaN
            high = MathF.Max(high, x);
        }
        if (!float.IsFinite(low) || !float.IsFinite(high))
        {
            throw new BayouException($"Quantisation: the activation '{name}' is {(float.IsNaN(low) || float.IsNaN(high) ? "NaN" : "infinite")} on the calibration pictures; " +
                "the network diverged or its input is not normalised as in training");
        }
        Min = Math.Min(Min, low);
        Max = Math.Max(Max, high);
        Count += values.Length;
        var reach = Math.Max(-(double)low, high);
        if (Limit == 0)
        {
            if (reach == 0)
            {
                counts[Bins / 2] += values.Length;
                return;
            }
            Limit = reach;
        }
        while (reach > Limit) Double();
        var scale = (float)(Bins / (2 * Limit));
        foreach (var x in values)
        {
            // Bin i covers [-R + i w, -R + (i + 1) w): zero is the first value of bin Bins / 2.
            var bin = (int)MathF.Floor(x * scale) + Bins / 2;
            counts[Math.Clamp(bin, 0, Bins - 1)]++;
        }
    }

    private void Double()
    {
        var merged = new long[Bins];
        for (var i = 0; i < Bins; i++) merged[Bins / 4 + i / 2] += counts[i];
        merged.CopyTo(counts, 0);
        Limit *= 2;
    }

    /// <summary>The range an observer chooses, always containing 0.</summary>
    /// <param name="observer">The observer.</param>
    /// <param name="percentile">Quantile of |x| for the percentile observer.</param>
    /// <param name="levels">Number of codes, e.g. 256.</param>
    /// <param name="symmetric">Whether the codes are symmetric about 0.</param>
    public (double Low, double High) Range(ActivationObserver observer, double percentile, int levels, bool symmetric)
    {
        if (Count == 0) throw new BayouException($"Quantisation: nothing was observed for '{name}': give at least one calibration picture");
        double low = Math.Min(Min, 0f), high = Math.Max(Max, 0f);
        if (Limit == 0 || observer == ActivationObserver.MinMax) return (low, high);
        var reach = Math.Max(-low, high);
        var clip = observer switch
        {
            ActivationObserver.Percentile => Quantile(percentile),
            ActivationObserver.Mse => BestClip(reach, c => SquaredError(Math.Max(low, -c), Math.Min(high, c), levels, symmetric)),
            _ => BestClip(reach, c => Divergence(Math.Max(low, -c), Math.Min(high, c), levels, symmetric)),
        };
        return (Math.Max(low, -clip), Math.Min(high, clip));
    }

    // MQBench's candidates: the full reach, then 1 % less at a time; the first of equals wins.
    private static double BestClip(double reach, Func<double, double> loss)
    {
        var (best, least) = (reach, double.PositiveInfinity);
        for (var i = 0; i < 95; i++)
        {
            var clip = reach * (1 - 0.01 * i);
            var error = loss(clip);
            if (error < least) (best, least) = (clip, error);
        }
        return best;
    }

    private double Quantile(double percentile)
    {
        var target = percentile * Count;
        var width = 2 * Limit / Bins;
        long sum = 0;
        for (var i = 0; i < Bins / 2; i++)
        {
            sum += counts[Bins / 2 + i] + counts[Bins / 2 - 1 - i];
            if (sum >= target) return (i + 1) * width;
        }
        return Limit;
    }

    private double SquaredError(double low, double high, int levels, bool symmetric)
    {
        if (symmetric) (low, high) = (-Math.Max(-low, high), Math.Max(-low, high));
        var step = (high - low) / (levels - 1);
        if (step <= 0) return double.PositiveInfinity;
        var zero = Math.Round(-low / step);
        var width = 2 * Limit / Bins;
        double sum = 0;
        for (var i = 0; i < Bins; i++)
        {
            if (counts[i] == 0) continue;
            var centre = (i - Bins / 2 + 0.5) * width;
            var code = Math.Clamp(Math.Round(centre / step) + zero, 0, levels - 1);
            var error = (code - zero) * step - centre;
            sum += counts[i] * error * error;
        }
        return sum / Count;
    }

    // TensorRT's calibration: P is the histogram inside the clip with the outliers added to its last bins; Q is the histogram inside the clip reduced to
    // `levels` cells, each spread evenly over its non-empty bins. The bin of exact zeros is left out of both: zeros are coded without error, and half of a
    // ReLU's output would drown the rest.
    private double Divergence(double low, double high, int levels, bool symmetric)
    {
        if (symmetric) (low, high) = (-Math.Max(-low, high), Math.Max(-low, high));
        var width = 2 * Limit / Bins;
        var first = Math.Clamp((int)Math.Floor(low / width) + Bins / 2, 0, Bins - 1);
        var last = Math.Clamp((int)Math.Ceiling(high / width) + Bins / 2 - 1, first, Bins - 1);
        var bins = last - first + 1;
        if (bins < levels / 4) return double.PositiveInfinity;
        var p = new double[bins];
        var q = new double[bins];
        double outside = 0, pSum = 0, qSum = 0;
        for (var i = 0; i < bins; i++) p[i] = first + i == Bins / 2 ? 0 : counts[first + i];
        for (var cell = 0; cell < levels; cell++)
        {
            var start = (int)((long)cell * bins / levels);
            var end = (int)((long)(cell + 1) * bins / levels);
            double sum = 0;
            var filled = 0;
            for (var i = start; i < end; i++)
            {
                sum += p[i];
                if (p[i] > 0) filled++;
            }
            for (var i = start; i < end; i++) if (p[i] > 0) q[i] = sum / filled;
        }
        for (var i = 0; i < first; i++) outside += counts[i];
        p[0] += outside;
        outside = 0;
        for (var i = last + 1; i < Bins; i++) outside += counts[i];
        p[^1] += outside;
        for (var i = 0; i < bins; i++)
        {
            pSum += p[i];
            qSum += q[i];
        }
        if (pSum == 0 || qSum == 0) return double.PositiveInfinity;
        double divergence = 0;
        for (var i = 0; i < bins; i++)
        {
            if (p[i] == 0) continue;
            var a = p[i] / pSum;
            divergence += a * Math.Log(a / Math.Max(q[i] / qSum, 1e-6 / bins));
        }
        return divergence;
    }
}
