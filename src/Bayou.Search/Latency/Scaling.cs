using Bayou.Core;

namespace Bayou.Search;

/// <summary>Latencies scaled into the middle <paramref name="Portion"/> of [0, 1], as HELP does: 0.9 gives [0.05, 0.95].</summary>
/// <param name="Min">The latency that becomes the lower end.</param>
/// <param name="Max">The latency that becomes the upper end.</param>
/// <param name="Portion">Length of the range.</param>
public readonly record struct Scaling(double Min, double Max, double Portion)
{
    /// <summary>The scaling of given latencies.</summary>
    /// <exception cref="BayouException">They are all the same.</exception>
    public static Scaling Of(IReadOnlyCollection<double> latencies, double portion)
    {
        var scaling = new Scaling(latencies.Min(), latencies.Max(), portion);
        return scaling.Max > scaling.Min ? scaling : throw new BayouException($"latencies cannot be scaled: all {latencies.Count} are {scaling.Min}");
    }

    /// <summary>Scaled latencies.</summary>
    public double[] Scale(IReadOnlyList<double> latencies)
    {
        var (min, range, portion) = (Min, Max - Min, Portion);
        return [.. latencies.Select(l => (l - min) / range * portion + (1 - portion) / 2)];
    }

    /// <summary>Milliseconds again.</summary>
    public double Unscale(double value) => (value - (1 - Portion) / 2) / Portion * (Max - Min) + Min;
}
