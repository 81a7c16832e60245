using System.Diagnostics;
using Bayou.Core;

namespace Bayou.Search;

/// <summary>How well one method predicts one device it was not trained on.</summary>
/// <param name="Method">The method.</param>
/// <param name="Device">The device.</param>
/// <param name="Samples">Measured networks.</param>
/// <param name="Descriptor">Further measurements, which describe the device.</param>
/// <param name="Seed">Decides which networks were measured.</param>
/// <param name="Metrics">On the device's test pool.</param>
/// <param name="AdaptSeconds">Time from the measurements to a predictor.</param>
public sealed record LatencyScore(string Method, string Device, int Samples, int Descriptor, int Seed, LatencyMetrics Metrics, double AdaptSeconds);

/// <summary>
/// Leave-device-out evaluation by HELP's protocol: samples from the device's training pool, metrics on the middle 80 % of the next thousand networks.
/// </summary>
public static class LatencyEvaluation
{
    /// <summary>Evaluates one method on one device.</summary>
    public static LatencyScore Run(LatencyTable table, ILatencyMethod method, string device, int samples, int seed)
    {
        var target = LatencyTarget.Of(table, device, samples, seed);
        var clock = Stopwatch.StartNew();
        using var predictor = method.Adapt(target, seed);
        var seconds = clock.Elapsed.TotalSeconds;
        // Measured networks must not be counted, whatever pool they came from.
        var measured = target.Samples.Select(s => s.Architecture).Concat(method.Descriptor > 0 ? table.Space.References.Concat(table.Space.Probes) : [])
            .ToHashSet();
        var pool = table.TestPool(device).Where(a => !measured.Contains(a)).ToArray();
        return new(method.Name, device, samples, method.Descriptor, seed, LatencyMetrics.Of([.. pool.Select(a => table[device][a])], predictor.Predict(pool)),
            seconds);
    }

    /// <summary>Evaluates one method on a machine whose latencies were collected: k of the drawn networks are samples, all the others are the test.</summary>
    public static LatencyScore RunCollected(
        LatencyTable table, ILatencyMethod method, IReadOnlyList<CollectedLatency> collected, int samples, int seed, HardwareDescriptor? hardware = null,
            string name = "this machine")
    {
        var target = Target(table.Space, collected, samples, seed, hardware, name);
        var clock = Stopwatch.StartNew();
        using var predictor = method.Adapt(target, seed);
        var seconds = clock.Elapsed.TotalSeconds;
        var measured = target.Samples.Select(s => s.Architecture).Concat(table.Space.References).Concat(table.Space.Probes).ToHashSet();
        var rest = collected.Where(c => !measured.Contains(c.Architecture)).ToArray();
        return new(method.Name, target.Name, samples, method.Descriptor, seed,
            LatencyMetrics.Of([.. rest.Select(c => c.Ms)], predictor.Predict([.. rest.Select(c => c.Architecture)])), seconds);
    }

    /// <summary>A collected machine as a target: k of its drawn networks are the samples.</summary>
    /// <exception cref="BayouException">Too few networks were collected.</exception>
    public static LatencyTarget Target(LatencySpace space, IReadOnlyList<CollectedLatency> collected, int samples, int seed,
        HardwareDescriptor? hardware = null, string name = "this machine")
    {
        var known = collected.ToDictionary(c => c.Architecture, c => c.Ms);
        var described = space.References.Concat(space.Probes).ToHashSet();
        var drawn = collected.Where(c => !described.Contains(c.Architecture)).Select(c => (c.Architecture, c.Ms)).ToArray();
        if (samples < 1 || drawn.Length <= samples)
            throw new BayouException($"{drawn.Length} networks were collected beside references and probes: too few for {samples} samples");
        new Random(seed).Shuffle(drawn);
        return new(name, drawn[..samples], Of(space.References), Of(space.Probes), hardware);

        double[]? Of(IReadOnlyList<int> networks) => networks.All(known.ContainsKey) ? [.. networks.Select(a => known[a])] : null;
    }

    /// <summary>Seconds to predict every network of the space.</summary>
    public static double PredictAllSeconds(LatencyTable table, ILatencyPredictor predictor)
    {
        var all = Enumerable.Range(0, table.Space.Count).ToArray();
        predictor.Predict(all[..100]);
        var clock = Stopwatch.StartNew();
        predictor.Predict(all);
        return clock.Elapsed.TotalSeconds;
    }
}
