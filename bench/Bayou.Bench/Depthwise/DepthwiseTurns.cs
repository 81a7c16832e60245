using System.Diagnostics;
using Bayou.Core;
using Bayou.Onnx;
using Microsoft.ML.OnnxRuntime;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Bayou.Bench;

/// <summary>
/// Competitors take turns of a few runs each; medians of the runs. The first run of a turn does not count: after another's turn the caches are cold and the
/// threads asleep. What is hopelessly slow runs
/// once or thrice instead of costing minutes.
/// </summary>
internal static class DepthwiseTurns
{
    private const double TurnMs = 3;
    private const int TurnRuns = 12;

    /// <summary>
    /// A competitor; a pause before and after keeps threads that wait in busy loops (OpenMP's, ONNX Runtime's) from taking the others' cores.
    /// </summary>
    public sealed record Competitor(string Name, Action Run, bool Pause = false);

    /// <summary>Median milliseconds of each.</summary>
    /// <param name="seconds">Time for all that are not hopeless.</param>
    /// <param name="competitors">What to time.</param>
    public static double[] Medians(double seconds, IReadOnlyList<Competitor> competitors)
    {
        var times = competitors.Select(_ => new List<double>()).ToArray();
        var first = competitors.Select(c => Once(c, 2)).ToArray();
        // Above ten times the fastest and 50 ms nobody would take it: its own time decides how often it is worth running.
        var hopeless = first.Select(t => t > 50 && t > 10 * first.Min()).ToArray();
        for (var i = 0; i < first.Length; i++)
        {
            if (hopeless[i] && first[i] > 400) times[i].Add(first[i]);
            else if (hopeless[i]) for (var turn = 0; turn < 3; turn++) times[i].Add(Once(competitors[i], 1));
        }
        var clock = Stopwatch.StartNew();
        for (var turn = 0; turn < 5 || (turn < 200 && clock.Elapsed.TotalSeconds < seconds); turn++)
        {
            if (turn >= 2 && clock.Elapsed.TotalSeconds > 6 * seconds) break;
            // Somebody else begins each time.
            for (var j = 0; j < first.Length; j++)
            {
                var i = (turn + j) % first.Length;
                if (!hopeless[i]) Turn(competitors[i], times[i]);
            }
        }
        return [.. times.Select(BenchContext.Median)];
    }

    private static void Turn(Competitor competitor, List<double> times)
    {
        if (competitor.Pause) Thread.Sleep(3);
        competitor.Run();
        var clock = Stopwatch.StartNew();
        for (var run = 0; run < TurnRuns && (run == 0 || clock.Elapsed.TotalMilliseconds < TurnMs); run++)
        {
            var start = Stopwatch.GetTimestamp();
            competitor.Run();
            times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        if (competitor.Pause) Thread.Sleep(3);
    }

    // The last of some runs in a row; what takes a fifth of a second needs no warming up.
    private static double Once(Competitor competitor, int runs)
    {
        var ms = 0.0;
        if (competitor.Pause) Thread.Sleep(3);
        for (var run = 0; run < runs && ms < 200; run++)
        {
            var start = Stopwatch.GetTimestamp();
            competitor.Run();
            ms = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }
        if (competitor.Pause) Thread.Sleep(3);
        return ms;
    }
}

/// <summary>ONNX Runtime as a user who knows it would run it: all threads, busy waiting during a run, input and output memory given once.</summary>
internal sealed class OnnxPeer : IDisposable
{
    private readonly InferenceSession session;
    private readonly RunOptions options = new();
    private readonly OrtValue input, output;
    private readonly Tensor x, y;

    /// <summary>Loads a graph with one input and one output.</summary>
    public unsafe OnnxPeer(Graph graph, Tensor planar, int threads)
    {
        using var settings = new SessionOptions
        {
            IntraOpNumThreads = threads,
            InterOpNumThreads = 1,
            GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL,
        };
        // Its threads wait busily during a run, as they do by default, and not after it: they would take the cores from whoever comes next for longer than any
        // pause.
        settings.AddSessionConfigEntry("session.force_spinning_stop", "1");
        session = new InferenceSession(OnnxWriter.ToBytes(graph), settings);
        (x, y) = (planar.contiguous().DetachFromDisposeScope(), empty(graph.Outputs[0].ShapeAt(planar.shape[0])).DetachFromDisposeScope());
        (input, output) = (Value(x), Value(y));

        static OrtValue Value(Tensor t) => OrtValue.CreateTensorValueWithData(
            OrtMemoryInfo.DefaultInstance, Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, t.shape, (nint)TensorMemory.Floats(t),
            t.numel() * sizeof(float));
    }

    /// <summary>Runs it.</summary>
    public void Run() => session.Run(options, session.InputNames, [input], session.OutputNames, [output]);

    public void Dispose()
    {
        input.Dispose();
        output.Dispose();
        options.Dispose();
        session.Dispose();
        x.Dispose();
        y.Dispose();
    }
}
