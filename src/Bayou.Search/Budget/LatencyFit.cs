namespace Bayou.Search;

/// <summary>
/// Latency as a non-negative combination of layers, multiply-accumulates and written elements, fitted to a few measurements with relative errors. Good enough
/// to propose near a limit; what is chosen is always measured.
/// </summary>
public sealed class LatencyFit
{
    private readonly double[] weights;

    private LatencyFit(double[] weights) => this.weights = weights;

    /// <summary>Fits by coordinate descent, which keeps every weight at or above zero.</summary>
    public static LatencyFit Of(IReadOnlyList<(CostEstimate Estimate, double Milliseconds)> measured)
    {
        var rows = measured.Where(m => m.Milliseconds > 0).Select(m => (X: Features(m.Estimate).Select(f => f / m.Milliseconds).ToArray(), Y: 1.0)).ToArray();
        var w = new double[3];
        for (var sweep = 0; sweep < 500; sweep++)
        {
            for (var j = 0; j < w.Length; j++)
            {
                double numerator = 0, denominator = 1e-12;
                foreach (var (x, y) in rows)
                {
                    var rest = y;
                    for (var k = 0; k < w.Length; k++) if (k != j) rest -= w[k] * x[k];
                    numerator += x[j] * rest;
                    denominator += x[j] * x[j];
                }
                w[j] = Math.Max(0, numerator / denominator);
            }
        }
        return new LatencyFit(w);
    }

    /// <summary>For each measurement what the fit to all the others predicts: how good predictions are.</summary>
    public static double[] LeaveOneOut(IReadOnlyList<(CostEstimate Estimate, double Milliseconds)> measured) =>
        [.. measured.Select((m, i) => Of([.. measured.Where((_, j) => j != i)]).Predict(m.Estimate))];

    /// <summary>Predicted milliseconds.</summary>
    public double Predict(CostEstimate estimate) => Features(estimate).Zip(weights, (f, w) => f * w).Sum();

    // Scaled so that typical values are near one.
    private static double[] Features(CostEstimate e) => [e.Nodes / 100.0, e.Macs / 1e7, e.Activations / 1e6];
}
