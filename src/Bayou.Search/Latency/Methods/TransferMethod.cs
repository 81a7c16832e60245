using Bayou.Core;

namespace Bayou.Search;

/// <summary>How <see cref="TransferMethod"/> fits.</summary>
/// <param name="Smooth">Whether the sources' columns are first replaced by additive tables fitted to all their networks, which takes out the noise of their
/// measurements.</param>
/// <param name="Penalty">Penalty on the weights of standardised latencies.</param>
public sealed record TransferOptions(bool Smooth, double Penalty)
{
    /// <summary>What is chosen among.</summary>
    public static IReadOnlyList<TransferOptions> Candidates { get; } =
        [.. from smooth in new[] { true, false } from penalty in new[] { 1e-3, 1e-4, 1e-2, 1e-1 } select new TransferOptions(smooth, penalty)];
}

/// <summary>
/// Latency as a linear function of the same network's latencies on other devices. Smoothing and penalty are chosen for each number of measurements by leaving
/// out every source device in turn; the device that is predicted has no part in the choice.
/// </summary>
/// <param name="table">Measured latencies.</param>
/// <param name="sources">The other devices.</param>
/// <param name="options">How; null chooses.</param>
public sealed class TransferMethod(LatencyTable table, IReadOnlyList<string> sources, TransferOptions? options = null) : ILatencyMethod
{
    private const int Draws = 5;

    private readonly Dictionary<int, TransferOptions> chosen = [];
    private readonly Lazy<double[][]> smooth = new(() => Columns(table, sources, smooth: true)), raw = new(() => Columns(table, sources, smooth: false));

    /// <inheritdoc/>
    public string Name => "transfer";

    /// <inheritdoc/>
    public int Descriptor => 0;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed) =>
        Fit(target, options ?? Choose(target.Samples.Count), [.. Enumerable.Range(0, sources.Count)]);

    /// <summary>
    /// The options that predict the source devices best, each left out in turn with others of its kind, from this number of measurements: the lowest mean
    /// relative error of five draws.
    /// </summary>
    public TransferOptions Choose(int samples)
    {
        if (chosen.TryGetValue(samples, out var known)) return known;
        var errors = TransferOptions.Candidates.Select(_ => new List<double>()).ToArray();
        foreach (var device in sources)
        {
            var rest = Enumerable.Range(0, sources.Count).Where(s => LatencyTable.Kind(sources[s]) != LatencyTable.Kind(device)).ToArray();
            var pool = table.TrainPool(device);
            if (rest.Length == 0 || pool.Length <= samples) continue;
            for (var draw = 0; draw < Draws; draw++)
            {
                var target = LatencyTarget.Of(table, device, samples, draw);
                var measured = target.Samples.Select(s => s.Architecture).ToHashSet();
                var test = pool.Where(a => !measured.Contains(a)).ToArray();
                for (var o = 0; o < errors.Length; o++)
                {
                    using var predictor = Fit(target, TransferOptions.Candidates[o], rest);
                    errors[o].Add(test.Zip(predictor.Predict(test), (a, ms) => Math.Abs(ms - table[device][a]) / table[device][a]).Average());
                }
            }
        }
        var best = Enumerable.Range(0, errors.Length).Where(o => errors[o].Count > 0 && double.IsFinite(errors[o].Average())).OrderBy(o => errors[o].Average())
            .Select(o => TransferOptions.Candidates[o]).FirstOrDefault();
        return chosen[samples] = best ?? TransferOptions.Candidates[0];
    }

    private FunctionPredictor Fit(LatencyTarget target, TransferOptions with, int[] use)
    {
        var columns = use.Select(s => (with.Smooth ? smooth : raw).Value[s]).ToArray();
        double[] Row(int a) => [.. columns.Select(c => c[a])];
        var unit = target.Samples.Average(s => s.Ms);
        var floor = target.Samples.Min(s => s.Ms) / 2;
        // Relative errors are what counts: a row weighs 1 / ms^2.
        var fit = Ridge.Fit([.. target.Samples.Select(s => Row(s.Architecture))], [.. target.Samples.Select(s => s.Ms / unit)], with.Penalty,
            [.. target.Samples.Select(s => unit * unit / (s.Ms * s.Ms))]);
        var row = new double[columns.Length];
        return new FunctionPredictor(a =>
        {
            for (var i = 0; i < row.Length; i++) row[i] = columns[i][a];
            return Math.Max(floor, unit * fit.Predict(row));
        });
    }

    // Standardised columns of the sources.
    private static double[][] Columns(LatencyTable table, IReadOnlyList<string> sources, bool smooth)
    {
        var space = table.Space;
        return [.. sources.Select(source =>
        {
            var column = table[source];
            var known = Enumerable.Range(0, column.Length).Where(a => double.IsFinite(column[a])).ToArray();
            if (smooth)
            {
                var fit = Ridge.Fit([.. known.Select(a => space.Encode(a).Select(v => (double)v).ToArray())], [.. known.Select(a => column[a])], 1e-6);
                column = [.. Enumerable.Range(0, column.Length).Select(a => fit.Predict(space.Encode(a)))];
            }
            var mean = known.Average(a => column[a]);
            var std = Math.Sqrt(known.Average(a => (column[a] - mean) * (column[a] - mean)));
            return column.Select(v => std > 0 ? (v - mean) / std : 0).ToArray();
        })];
    }
}
