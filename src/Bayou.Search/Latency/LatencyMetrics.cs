using Bayou.Core;
using Bayou.Data;

namespace Bayou.Search;

/// <summary>Quality of predicted latencies.</summary>
/// <param name="Within1">Share of predictions within 1 % of the truth, 0..1.</param>
/// <param name="Within5">Within 5 %.</param>
/// <param name="Within10">Within 10 %: what BRP-NAS and MAPLE report.</param>
/// <param name="Mape">Mean absolute error as a share of the truth.</param>
/// <param name="Spearman">Rank correlation.</param>
/// <param name="Kendall">Tau-b.</param>
public sealed record LatencyMetrics(double Within1, double Within5, double Within10, double Mape, double Spearman, double Kendall)
{
    /// <summary>Compares predictions with measurements (positive, same order).</summary>
    public static LatencyMetrics Of(IReadOnlyList<double> truth, IReadOnlyList<double> predicted) => new(
        Within(truth, predicted, 0.01), Within(truth, predicted, 0.05), Within(truth, predicted, 0.1),
        truth.Zip(predicted, (t, p) => Math.Abs(p - t) / t).Average(),
        RankCorrelation.Spearman(truth, predicted), RankCorrelation.Kendall(truth, predicted));

    /// <summary>Share of predictions within a bound of the truth.</summary>
    /// <exception cref="BayouException">The lists differ in length, or a measured value is not positive.</exception>
    public static double Within(IReadOnlyList<double> truth, IReadOnlyList<double> predicted, double bound)
    {
        if (truth.Count != predicted.Count || truth.Count == 0)
            throw new BayouException($"{truth.Count} measured and {predicted.Count} predicted latencies cannot be compared");
        if (truth.FirstOrDefault(t => !(t > 0), 1) is var bad && bad != 1)
            throw new BayouException($"a measured latency is {bad}: relative errors need positive ones");
        return truth.Zip(predicted, (t, p) => Math.Abs(p - t) <= bound * t).Count(hit => hit) / (double)truth.Count;
    }
}
