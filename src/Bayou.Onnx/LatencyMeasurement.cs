using System.Diagnostics;
using Bayou.Core;
using Microsoft.ML.OnnxRuntime;

namespace Bayou.Onnx;

/// <summary>How <see cref="OnnxRunner.MeasureLatency"/> measures.</summary>
public sealed record LatencyOptions
{
    /// <summary>Pictures at a time.</summary>
    public int Batch { get; init; } = 1;

    /// <summary>Time spent on measured runs, at least.</summary>
    public double MinSeconds { get; init; } = 0.5;

    /// <summary>Measured runs, at least.</summary>
    public int MinRuns { get; init; } = 30;

    /// <summary>Time of unmeasured runs before (at least three runs): memory is allocated, clocks rise, threads start.</summary>
    public double WarmUpSeconds { get; init; } = 0.1;

    /// <summary>No further run is started after this time, warm-up included, also when <see cref="MinRuns"/> is not reached.</summary>
    public double MaxSeconds { get; init; } = 20;

    /// <summary>The measured time is cut into this many rounds.</summary>
    public int Rounds { get; init; } = 7;
}

/// <summary>Latency of one run in milliseconds.</summary>
/// <param name="P50">Median of the rounds' medians: a burst of other work on the machine spoils some rounds, not the result.</param>
/// <param name="P10">10th percentile of all runs: what the machine can do when nothing disturbs it.</param>
/// <param name="P90">90th percentile of all runs.</param>
/// <param name="Mean">Mean of all runs, outliers included.</param>
/// <param name="Runs">Measured runs.</param>
/// <param name="Spread">Interquartile range of the rounds' medians over their median: how well the figure repeats.</param>
/// <param name="Noisy">Whether the spread exceeds 10 %: other work disturbed the measurement; repeat it on a quieter machine.</param>
public sealed record LatencyMeasurement(double P50, double P10, double P90, double Mean, int Runs, double Spread, bool Noisy)
{
    /// <summary>Evaluates timings.</summary>
    /// <param name="rounds">Milliseconds of every run, by round.</param>
    public static LatencyMeasurement Of(IReadOnlyList<IReadOnlyList<double>> rounds)
    {
        var all = rounds.SelectMany(r => r).Order().ToArray();
        if (all.Length == 0) throw new BayouException("Latency: no run was measured");
        var medians = rounds.Where(r => r.Count > 0).Select(r => Quantile([.. r.Order()], 0.5)).Order().ToArray();
        var p50 = Quantile(medians, 0.5);
        var spread = p50 > 0 ? (Quantile(medians, 0.75) - Quantile(medians, 0.25)) / p50 : 0;
        return new(p50, Quantile(all, 0.1), Quantile(all, 0.9), all.Average(), all.Length, spread, spread > 0.1);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{P50:G4} ms (p10 {P10:G4}, p90 {P90:G4}, {Runs} runs{(Noisy ? $", noisy: rounds differ by {Spread:P0}" : "")})";

    // Linear interpolation between the two nearest of the sorted values.
    private static double Quantile(double[] sorted, double q)
    {
        var at = q * (sorted.Length - 1);
        var low = (int)at;
        var high = Math.Min(low + 1, sorted.Length - 1);
        return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
    }
}

public sealed partial class OnnxRunner
{
    /// <summary>
    /// Times runs on inputs of small random values (zeros and denormals could be faster or slower than real data). Protocol: warm-up; then rounds of runs back
    /// to back, each a share of the time and of the number of runs; the median of each round; the median of these medians. Inputs stay in place and are not
    /// copied.
    /// </summary>
    /// <exception cref="BayouException">The file needs inputs that are not float, or has an open axis that is not the batch.</exception>
    public LatencyMeasurement MeasureLatency(LatencyOptions? options = null)
    {
        options ??= new LatencyOptions();
        if (options.Batch < 1 || options.Rounds < 1) throw new BayouException("Latency: batch and rounds must be at least 1");
        using var run = new RunOptions();
        var values = Inputs.Select(i => RandomInput(i, options.Batch)).ToArray();
        try
        {
            var clock = Stopwatch.StartNew();
            for (var i = 0; i < 3 || clock.Elapsed.TotalSeconds < options.WarmUpSeconds; i++)
            {
                TimeOneRun(run, values);
                if (clock.Elapsed.TotalSeconds > options.MaxSeconds) break;
            }
            var rounds = new List<List<double>>();
            var runs = (options.MinRuns + options.Rounds - 1) / options.Rounds;
            for (var round = 0; round < options.Rounds; round++)
            {
                var times = new List<double>();
                var spent = 0.0;
                // A first run is measured whatever happened before.
                while ((times.Count < runs || spent * options.Rounds < options.MinSeconds * 1000)
                    && (clock.Elapsed.TotalSeconds < options.MaxSeconds || rounds.Count + times.Count == 0))
                {
                    var time = TimeOneRun(run, values);
                    times.Add(time);
                    spent += time;
                }
                if (times.Count > 0) rounds.Add(times);
            }
            return LatencyMeasurement.Of(rounds);
        }
        catch (OnnxRuntimeException error)
        {
            throw new BayouException($"Latency: {Source} failed at batch {options.Batch}: {error.Message}", error);
        }
        finally
        {
            foreach (var value in values) value.Dispose();
        }
    }

    private double TimeOneRun(RunOptions run, OrtValue[] values)
    {
        var start = Stopwatch.GetTimestamp();
        session.Run(run, inputNames, values, outputNames).Dispose();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }

    private OrtValue RandomInput(OnnxValue input, int batch)
    {
        if (input.Dtype != TorchSharp.torch.ScalarType.Float32)
            throw new BayouException($"Latency: input {input} of {Source} is {input.Dtype}; only float inputs can be timed");
        for (var i = 1; i < input.Shape.Length; i++)
        {
            if (input.Shape[i] < 0)
                throw new BayouException($"Latency: input {input} of {Source} has an open axis {i} beside the batch; fix its size in the file");
        }
        var shape = input.ShapeAt(batch);
        var random = new Random(1);
        var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < values.Length; i++) values[i] = random.NextSingle() * 2 - 1;
        return OrtValue.CreateTensorValueFromMemory(values, shape);
    }
}
