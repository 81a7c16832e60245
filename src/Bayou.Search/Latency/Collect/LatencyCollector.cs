using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;

namespace Bayou.Search;

/// <summary>How <see cref="LatencyCollector"/> measures.</summary>
public sealed record CollectOptions
{
    /// <summary>Networks drawn at random, beside the references and probes of the space.</summary>
    public int Count { get; init; } = 200;

    /// <summary>Pictures at a time.</summary>
    public int Batch { get; init; } = 1;

    /// <summary>Threads of a run.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>Decides which networks are drawn.</summary>
    public int Seed { get; init; }

    /// <summary>Measured time of a network, seconds.</summary>
    public double Seconds { get; init; } = 0.25;

    /// <summary>A noisy measurement is repeated up to so often; the least noisy one counts.</summary>
    public int Attempts { get; init; } = 2;

    /// <summary>No further network is begun after this time, seconds; 0: no limit. The same command goes on later.</summary>
    public double MaxSeconds { get; init; }
}

/// <summary>One measured network.</summary>
/// <param name="Architecture">Its number in the space.</param>
/// <param name="P50">Median of the rounds' medians.</param>
/// <param name="P10">10th percentile of all runs.</param>
/// <param name="P90">90th percentile.</param>
/// <param name="Spread">Interquartile range of the rounds' medians over their median.</param>
/// <param name="Runs">Measured runs.</param>
public sealed record CollectedLatency(int Architecture, double P50, double P10, double P90, double Spread, int Runs)
{
    /// <summary>
    /// The latency that predictors learn: the median where the rounds agree within 10 %, else the 10th percentile, which other programs on the machine disturb
    /// far less.
    /// </summary>
    public double Ms => Spread > 0.1 ? P10 : P50;
}

/// <summary>What a run folder of measurements belongs to: another thread count, batch or machine is another device.</summary>
public sealed record CollectedDevice(string Space, string Runtime, int Batch, int Threads, string Cpu, string Os, int Seed);

/// <summary>
/// The automated pipeline of MAPLE on this machine (specs/maple.md, section 1.4): draw a cell, build its network, capture it, write ONNX, deploy it to ONNX
/// Runtime, warm up, measure in rounds, store. What is stored is never measured again.
/// </summary>
public static class LatencyCollector
{
    private const string Prefix = "latency/";

    /// <summary>Measures what is missing.</summary>
    /// <param name="store">The run folder's store.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Called before each network: how many are done, of how many.</param>
    /// <param name="cancel">Ends it after the network under way.</param>
    /// <returns>Whether everything is measured.</returns>
    /// <exception cref="BayouException">The folder holds measurements of another device or protocol.</exception>
    public static bool Collect(RunStore store, CollectOptions options, Action<int, int>? progress = null, CancellationToken cancel = default)
    {
        var space = new NasBench201LatencySpace();
        var device = new CollectedDevice(space.Name, "ONNX Runtime", options.Batch, options.Threads, Machine.Here.Cpu, Machine.Here.Os, options.Seed);
        if (store.Facts.Get<CollectedDevice>("device") is { } before && before != device)
            throw new BayouException($"'{store.Folder}' holds measurements of {before}, these would be of {device}: choose another folder with --out");
        store.Facts.Put("device", device);
        store.Facts.Put("machine", Machine.Here);
        var wanted = Wanted(space, options);
        var clock = System.Diagnostics.Stopwatch.StartNew();
        for (var i = 0; i < wanted.Count; i++)
        {
            if (store.Measurements.Get<CollectedLatency>(Prefix + wanted[i]) is not null) continue;
            cancel.ThrowIfCancellationRequested();
            if (options.MaxSeconds > 0 && clock.Elapsed.TotalSeconds > options.MaxSeconds) return false;
            progress?.Invoke(i, wanted.Count);
            store.Measurements.Put(Prefix + wanted[i], Measure(space.Cell(wanted[i]), wanted[i], options));
        }
        progress?.Invoke(wanted.Count, wanted.Count);
        return true;
    }

    /// <summary>Networks in the order they are measured: probes, references, then drawn ones.</summary>
    public static IReadOnlyList<int> Wanted(LatencySpace space, CollectOptions options)
    {
        var described = space.Probes.Concat(space.References).Distinct().ToArray();
        if (options.Count < 1 || options.Count > space.Count - described.Length)
            throw new BayouException($"--count {options.Count}: 1 to {space.Count - described.Length} networks are possible");
        var rest = Enumerable.Range(0, space.Count).Except(described).ToArray();
        new Random(options.Seed).Shuffle(rest);
        return [.. described, .. rest.Take(options.Count)];
    }

    /// <summary>The measurements of a run folder in the order they were made: probes and references first.</summary>
    /// <exception cref="BayouException">It holds none.</exception>
    public static (CollectedDevice Device, IReadOnlyList<CollectedLatency> Measured) Read(RunStore store)
    {
        var measured = store.Measurements.All<CollectedLatency>().Where(m => m.Key.StartsWith(Prefix, StringComparison.Ordinal)).Select(m => m.Value).ToArray();
        return store.Facts.Get<CollectedDevice>("device") is { } device && measured.Length > 0
            ? (device, measured)
            : throw new BayouException($"'{store.Folder}' holds no collected latencies: `bayou latency collect --out {store.Folder}` makes them");
    }

    private static CollectedLatency Measure(NasBench201Cell cell, int number, CollectOptions options)
    {
        using var scope = TorchSharp.torch.NewDisposeScope();
        TorchSharp.torch.manual_seed(0);
        using var network = new NasBench201(cell);
        var graph = GraphPasses.Simplify(Capture.Trace(network, 1, 3, 32, 32));
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(graph), new OnnxRunnerOptions { Threads = options.Threads });
        LatencyMeasurement? best = null;
        for (var attempt = 0; attempt < options.Attempts && best is not { Noisy: false }; attempt++)
        {
            var latency = runner.MeasureLatency(new LatencyOptions
            {
                Batch = options.Batch,
                MinSeconds = options.Seconds,
                MinRuns = 50,
                WarmUpSeconds = 0.05,
                MaxSeconds = 10
            });
            if (best is null || latency.Spread < best.Spread) best = latency;
        }
        return new(number, best!.P50, best.P10, best.P90, best.Spread, best.Runs);
    }
}
