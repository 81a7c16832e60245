using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// How well a saliency map agrees with where people looked ("What do different evaluation metrics tell us about saliency models?", Bylinskii et al., TPAMI
/// 2019; specs/vars.md,
/// section 1.6). NaN where a figure is not defined: a constant map, no fixation.
/// </summary>
/// <param name="Nss">Normalised scanpath saliency: mean of the z-scored saliency at fixated pixels; 0 is chance.</param>
/// <param name="AucJudd">Area under the curve of "saliency above a threshold" as a detector of fixated pixels, thresholds at their values; 0.5 is
/// chance.</param>
/// <param name="Cc">Pearson correlation with the fixation map.</param>
/// <param name="Sim">Overlap of both maps as distributions, 0..1.</param>
/// <param name="Kl">Divergence of the saliency from the fixation map, in nats; 0 is equal.</param>
public sealed record FixationMetrics(double Nss, double AucJudd, double Cc, double Sim, double Kl)
{
    private const double Epsilon = 2.2204e-16;

    /// <summary>All figures of one picture.</summary>
    /// <param name="saliency">The map to judge, any scale.</param>
    /// <param name="fixations">How much each pixel was looked at, not negative, of the same size.</param>
    /// <param name="threshold">A pixel counts as fixated from this share of the largest value on; a map of two values is taken as the fixated pixels
    /// themselves.</param>
    public static FixationMetrics Of(SaliencyMap saliency, SaliencyMap fixations, double threshold = 0.5)
    {
        if (saliency.Width != fixations.Width || saliency.Height != fixations.Height)
            throw new BayouException($"fixation metrics: a saliency map of {saliency.Width} x {saliency.Height} and a fixation map of {fixations.Width} x {fixations.Height} do not match");
        if (fixations.Values.Any(v => !(v >= 0))) throw new BayouException("fixation metrics: a fixation map must not be negative");
        var points = Fixated(fixations.Values, threshold);
        return new FixationMetrics(NssOf(saliency.Values, points), AucJuddOf(saliency.Values, points), CcOf(saliency.Values, fixations.Values),
            SimOf(saliency.Normalized().Values, fixations.Values), KlOf(saliency.Normalized().Values, fixations.Values));
    }

    /// <summary>Which pixels were fixated.</summary>
    public static bool[] Fixated(IReadOnlyList<float> map, double threshold = 0.5)
    {
        var most = map.Max();
        var binary = map.All(v => v == 0 || v == most);
        return map.Select(v => v > 0 && (binary || v >= threshold * most)).ToArray();
    }

    /// <summary>Mean of (s - mean) / deviation at fixated pixels.</summary>
    public static double NssOf(IReadOnlyList<float> saliency, IReadOnlyList<bool> fixated)
    {
        var mean = saliency.Average(v => (double)v);
        var deviation = Math.Sqrt(saliency.Average(v => (v - mean) * (v - mean)));
        var at = saliency.Where((_, i) => fixated[i]).Select(v => (double)v).ToArray();
        return at.Length == 0 || deviation == 0 ? double.NaN : (at.Average() - mean) / deviation;
    }

    /// <summary>Area under the ROC curve with thresholds at the saliency of fixated pixels; equal values are one threshold.</summary>
    public static double AucJuddOf(IReadOnlyList<float> saliency, IReadOnlyList<bool> fixated)
    {
        var hits = saliency.Where((_, i) => fixated[i]).OrderDescending().ToArray();
        var others = saliency.Where((_, i) => !fixated[i]).OrderDescending().ToArray();
        if (hits.Length == 0 || others.Length == 0) return double.NaN;
        double area = 0, x = 0, y = 0;
        int above = 0, below = 0;
        while (above < hits.Length)
        {
            var value = hits[above];
            while (above < hits.Length && hits[above] == value) above++;
            while (below < others.Length && others[below] >= value) below++;
            var (nextX, nextY) = ((double)below / others.Length, (double)above / hits.Length);
            area += (nextX - x) * (y + nextY) / 2;
            (x, y) = (nextX, nextY);
        }
        return area + (1 - x) * (y + 1) / 2;
    }

    /// <summary>Pearson correlation.</summary>
    public static double CcOf(IReadOnlyList<float> a, IReadOnlyList<float> b)
    {
        double meanA = a.Average(v => (double)v), meanB = b.Average(v => (double)v), ab = 0, aa = 0, bb = 0;
        for (var i = 0; i < a.Count; i++)
        {
            ab += (a[i] - meanA) * (b[i] - meanB);
            aa += (a[i] - meanA) * (a[i] - meanA);
            bb += (b[i] - meanB) * (b[i] - meanB);
        }
        return aa == 0 || bb == 0 ? double.NaN : ab / Math.Sqrt(aa * bb);
    }

    /// <summary>Sum of the smaller of both maps, each divided by its sum.</summary>
    public static double SimOf(IReadOnlyList<float> a, IReadOnlyList<float> b)
    {
        double sumA = a.Sum(v => (double)v), sumB = b.Sum(v => (double)v);
        return sumA <= 0 || sumB <= 0 ? double.NaN : a.Zip(b, (x, y) => Math.Min(x / sumA, y / sumB)).Sum();
    }

    /// <summary>Sum of F ln(F / s), both divided by their sums.</summary>
    public static double KlOf(IReadOnlyList<float> saliency, IReadOnlyList<float> fixations)
    {
        double sumS = saliency.Sum(v => (double)v), sumF = fixations.Sum(v => (double)v);
        return sumS <= 0 || sumF <= 0
            ? double.NaN : saliency.Zip(fixations, (s, f) => f == 0 ? 0 : f / sumF * Math.Log(Epsilon + f / sumF / (s / sumS + Epsilon))).Sum();
    }
}
