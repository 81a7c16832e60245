using System.Diagnostics;
using System.Numerics;
using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>What describes a machine to MAPLE-Edge.</summary>
/// <param name="Source">"counters": events of each operator divided by its latency; "probes": micro-benchmarks, where the kernel forbids counters.</param>
/// <param name="Reason">Why there are no counters; empty when there are.</param>
/// <param name="Names">One a value.</param>
/// <param name="Values">ln(1 + count / ms) of counters; milliseconds, nanoseconds, GB/s or GFLOP/s of probes, as named.</param>
public sealed record HardwareDescriptor(string Source, string Reason, string[] Names, double[] Values)
{
    /// <summary>The numbers as MAPLE-Edge reads them: counters are logarithms already, of micro-benchmarks the logarithm is taken.</summary>
    public double[] Logarithms => Source == "counters" ? Values : [.. Values.Select(v => Math.Log(v))];

    /// <summary>Describes this machine: operators of NAS-Bench-201 at its three stages through ONNX Runtime, with counters where possible.</summary>
    /// <param name="threads">Threads of a run; counters see the calling one.</param>
    /// <param name="batch">Pictures at a time.</param>
    public static HardwareDescriptor Measure(int threads = 1, int batch = 1)
    {
        using var counters = PerfCounters.TryOpen(out var reason);
        var operators = OperatorNames().ToArray();
        var latency = new double[operators.Length];
        var events = new List<IReadOnlyList<double>>();
        for (var i = 0; i < operators.Length; i++)
        {
            using var runner = Deploy(operators[i].Operator, operators[i].Channels, operators[i].Side, threads);
            latency[i] = runner.MeasureLatency(new LatencyOptions { Batch = batch, MinSeconds = 0.05, MinRuns = 50, WarmUpSeconds = 0.01 }).P50;
            if (counters is null) continue;
            const int runs = 20;
            events.Add([.. counters.Count(() => RunOften(runner, batch, operators[i].Channels, operators[i].Side, runs)).Select(c => c / runs)]);
        }
        if (counters is not null)
            return new("counters", "", [.. operators.SelectMany(o => counters.Names.Select(e => $"{o.Name}: {e}"))], MapleWeights.Descriptor(events, latency));
        var probes = Probes();
        return new("probes", reason, [.. operators.Select(o => $"{o.Name} ms"), .. probes.Select(p => p.Name)], [.. latency, .. probes.Select(p => p.Value)]);
    }

    private static IEnumerable<(string Name, string Operator, int Channels, int Side)> OperatorNames() =>
        from stage in new[] { (Channels: 16, Side: 32), (Channels: 32, Side: 16), (Channels: 64, Side: 8) }
        from name in new[] { "conv3x3", "conv1x1", "avgpool3x3", "sum", "zero" }
        select ($"{name} {stage.Channels}x{stage.Side}x{stage.Side}", name, stage.Channels, stage.Side);

    private static OnnxRunner Deploy(string name, int channels, int side, int threads)
    {
        using var scope = NewDisposeScope();
        Layer layer = name switch
        {
            "conv3x3" => new ReluConvBn(channels, channels, 3, 1),
            "conv1x1" => new ReluConvBn(channels, channels, 1, 1),
            "avgpool3x3" => new NasBench201AvgPool(),
            "zero" => new NasBench201Zero(),
            _ => new TwiceSum(),
        };
        using (layer) return new OnnxRunner(OnnxWriter.ToBytes(GraphPasses.Simplify(Capture.Trace(layer, 1, channels, side, side))),
            new OnnxRunnerOptions { Threads = threads });
    }

    private static void RunOften(OnnxRunner runner, int batch, int channels, int side, int times)
    {
        var input = new float[batch * channels * side * side];
        for (var i = 0; i < times; i++) runner.Run(input, [batch, channels, side, side]);
    }

    // What a machine can do, without counters: copying, waiting for memory at sizes that the caches hold, arithmetic.
    private static List<(string Name, double Value)> Probes()
    {
        var probes = new List<(string, double)> { ("copy GB/s", CopyRate()) };
        foreach (var kilobytes in new[] { 16, 256, 4096, 65536 }) probes.Add(($"pointer chase {kilobytes} kB ns", ChaseNanoseconds(kilobytes)));
        probes.Add(("scalar FMA GFLOP/s", ScalarRate()));
        probes.Add(("vector FMA GFLOP/s", VectorRate()));
        return probes;
    }

    private static double CopyRate()
    {
        var (from, to) = (new byte[64 << 20], new byte[64 << 20]);
        return 2.0 * from.Length / Best(() => from.AsSpan().CopyTo(to)) / 1e9;
    }

    private static double ChaseNanoseconds(int kilobytes)
    {
        // One cycle through all cache lines in random order (Sattolo).
        var lines = kilobytes * 1024 / 64;
        var next = Enumerable.Range(0, lines).ToArray();
        var random = new Random(1);
        for (var i = lines - 1; i > 0; i--)
        {
            var j = random.Next(i);
            (next[i], next[j]) = (next[j], next[i]);
        }
        var chain = new int[lines * 16];
        for (var i = 0; i < lines; i++) chain[i * 16] = next[i] * 16;
        const int steps = 1 << 18;
        var at = 0;
        var seconds = Best(() =>
        {
            for (var i = 0; i < steps; i++) at = chain[at];
        });
        GC.KeepAlive(at);
        return seconds / steps * 1e9;
    }

    private static double ScalarRate()
    {
        const int steps = 1 << 22;
        var sum = 0.0;
        var seconds = Best(() =>
        {
            double a = 1, b = 2, c = 3, d = 4;
            for (var i = 0; i < steps; i++)
                (a, b, c, d) = (Math.FusedMultiplyAdd(a, 0.5, 1), Math.FusedMultiplyAdd(b, 0.5, 1), Math.FusedMultiplyAdd(c, 0.5, 1),
                Math.FusedMultiplyAdd(d, 0.5, 1));
            sum += a + b + c + d;
        });
        GC.KeepAlive(sum);
        return 8.0 * steps / seconds / 1e9;
    }

    private static double VectorRate()
    {
        const int steps = 1 << 21;
        var sum = Vector<float>.Zero;
        var (half, one) = (new Vector<float>(0.5f), Vector<float>.One);
        var seconds = Best(() =>
        {
            var (a, b, c, d) = (one, one, one, one);
            for (var i = 0; i < steps; i++)
                (a, b, c, d) = (Vector.FusedMultiplyAdd(a, half, one), Vector.FusedMultiplyAdd(b, half, one), Vector.FusedMultiplyAdd(c, half, one),
                    Vector.FusedMultiplyAdd(d, half, one));
            sum += a + b + c + d;
        });
        GC.KeepAlive(sum);
        return 8.0 * Vector<float>.Count * steps / seconds / 1e9;
    }

    private static double Best(Action work)
    {
        var best = double.MaxValue;
        for (var i = 0; i < 7; i++)
        {
            var start = Stopwatch.GetTimestamp();
            work();
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return best;
    }

    private sealed class TwiceSum : Layer
    {
        public override Tensor forward(Tensor x) => Ops.Add(x, x);
    }
}
