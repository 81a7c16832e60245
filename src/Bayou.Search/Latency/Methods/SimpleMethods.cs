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

/// <summary>A table with one entry for each choice at each place, fitted to the device's own measurements: latency as the sum of its parts (the model of differentiable search).</summary>
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
        double[] Row(int a) => [.. space.Encode(a).Select(v => (double)v)];
        var floor = target.Samples.Min(s => s.Ms) / 2;
        var fit = Ridge.Fit([.. target.Samples.Select(s => Row(s.Architecture))], [.. target.Samples.Select(s => s.Ms)], penalty);
        return new FunctionPredictor(a => Math.Max(floor, fit.Predict(Row(a))));
    }
}

/// <summary>
/// Latency as a linear function of the same network's latencies on other devices. The sources' columns are first replaced by additive tables fitted to all their networks: that takes out the noise of
/// their measurements, and with it most of the error of few samples.
/// </summary>
/// <param name="table">Measured latencies.</param>
/// <param name="sources">The other devices.</param>
/// <param name="penalty">Penalty on the weights of standardised latencies; the default is the best on HELP's training and validation devices, each left out in turn.</param>
public sealed class TransferMethod(LatencyTable table, IReadOnlyList<string> sources, double penalty = 1e-3) : ILatencyMethod
{
    private readonly double[][] columns = Smooth(table, sources);

    /// <inheritdoc/>
    public string Name => "transfer";

    /// <inheritdoc/>
    public int Descriptor => 0;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed)
    {
        double[] Row(int a) => [.. columns.Select(c => c[a])];
        var unit = target.Samples.Average(s => s.Ms);
        var floor = target.Samples.Min(s => s.Ms) / 2;
        // Relative errors are what counts: a row weighs 1 / ms^2.
        var fit = Ridge.Fit([.. target.Samples.Select(s => Row(s.Architecture))], [.. target.Samples.Select(s => s.Ms / unit)], penalty, [.. target.Samples.Select(s => unit * unit / (s.Ms * s.Ms))]);
        return new FunctionPredictor(a => Math.Max(floor, unit * fit.Predict(Row(a))));
    }

    private static double[][] Smooth(LatencyTable table, IReadOnlyList<string> sources)
    {
        var rows = Enumerable.Range(0, table.Space.Count).Select(a => table.Space.Encode(a).Select(v => (double)v).ToArray()).ToArray();
        return [.. sources.Select(source =>
        {
            var column = table[source];
            var known = Enumerable.Range(0, column.Length).Where(a => double.IsFinite(column[a])).ToArray();
            var fit = Ridge.Fit([.. known.Select(a => rows[a])], [.. known.Select(a => column[a])], 1e-6);
            var smooth = rows.Select(r => fit.Predict(r)).ToArray();
            var mean = smooth.Average();
            var std = Math.Sqrt(smooth.Average(v => (v - mean) * (v - mean)));
            return smooth.Select(v => (v - mean) / std).ToArray();
        })];
    }
}

/// <summary>The order of the source devices, rescaled: ln y = a (mean of their ln latencies) + b, two parameters (the prior of MAPLE-X as a predictor of its own).</summary>
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
        double Prior(int a) => Math.Exp(columns.Average(c => Math.Log(c[a])));
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
        var slope = xx > 0 ? logs.Sum(p => (p.X - mx) * (p.Y - my)) / xx : 0;
        return new(slope, my - slope * mx);
    }

    public double Of(double x) => Math.Exp(Slope * Math.Log(x) + Intercept);
}
