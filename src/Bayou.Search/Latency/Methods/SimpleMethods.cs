using Bayou.Core;

namespace Bayou.Search;

/// <summary>Latency as a power of the multiply-accumulates: ln y = a ln MACs + b.</summary>
public sealed class MacsMethod(LatencySpace space) : ILatencyMethod
{
    /// <inheritdoc/>
    public string Name => "macs";

    /// <inheritdoc/>
    public int Descriptor => 0;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed)
    {
        double Macs(int a) => space.Macs(a) ?? throw new BayouException($"the multiply-accumulates of {space.Name} are not known: leave the method macs out");
        var fit = LogLine.Fit(target.Samples.Select(s => (Macs(s.Architecture), s.Ms)));
        return new FunctionPredictor(a => fit.Of(Macs(a)));
    }
}

/// <summary>
/// A table with one entry for each choice at each place, fitted to the device's own measurements: latency as the sum of its parts (the model of differentiable
/// search).
/// </summary>
/// <param name="space">The space.</param>
/// <param name="penalty">Penalty on the entries, for fewer measurements than entries.</param>
public sealed class AdditiveMethod(LatencySpace space, double penalty = 1e-3) : ILatencyMethod
{
    /// <inheritdoc/>
    public string Name => "additive";

    /// <inheritdoc/>
    public int Descriptor => 0;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed)
    {
        var floor = target.Samples.Min(s => s.Ms) / 2;
        var fit = Ridge.Fit([.. target.Samples.Select(s => space.Encode(s.Architecture).Select(v => (double)v).ToArray())],
            [.. target.Samples.Select(s => s.Ms)], penalty);
        return new FunctionPredictor(a => Math.Max(floor, fit.Predict(space.Encode(a))));
    }
}

/// <summary>
/// The order of the source devices, rescaled: ln y = a (mean of their ln latencies) + b, two parameters (the prior of MAPLE-X as a predictor of its own).
/// </summary>
public sealed class PriorMethod(LatencyTable table, IReadOnlyList<string> sources) : ILatencyMethod
{
    private readonly double[][] columns = [.. sources.Select(s => table[s])];

    /// <inheritdoc/>
    public string Name => "prior";

    /// <inheritdoc/>
    public int Descriptor => 0;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed)
    {
        double Prior(int a) => Math.Exp(columns.Where(c => double.IsFinite(c[a])).Select(c => Math.Log(c[a])).DefaultIfEmpty(double.NaN).Average());
        var fit = LogLine.Fit(target.Samples.Select(s => (Prior(s.Architecture), s.Ms)));
        return new FunctionPredictor(a => fit.Of(Prior(a)));
    }
}

/// <summary>ln y = a ln x + b by least squares.</summary>
internal readonly record struct LogLine(double Slope, double Intercept)
{
    public static LogLine Fit(IEnumerable<(double X, double Y)> points)
    {
        var logs = points.Select(p => (X: Math.Log(p.X), Y: Math.Log(p.Y))).ToArray();
        var (mx, my) = (logs.Average(p => p.X), logs.Average(p => p.Y));
        var xx = logs.Sum(p => (p.X - mx) * (p.X - mx));
        // Points of one x tell no slope: y in proportion to x then.
        var slope = xx > 0 ? logs.Sum(p => (p.X - mx) * (p.Y - my)) / xx : 1;
        return new(slope, my - slope * mx);
    }

    public double Of(double x) => Math.Exp(Slope * Math.Log(x) + Intercept);
}
