using Bayou.Compress;
using Bayou.Core;
using Bayou.Onnx;
using Bayou.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>
/// Cost as it will be shipped: the candidate is built, captured, written in both forms and timed through ONNX Runtime. INT8 is made with min-max ranges of a
/// few real pictures; the weights are fresh, which changes accuracy, not time.
/// </summary>
public sealed class MeasuredCost(ModelOptions modelOptions, int threads, int seed, Func<int, Tensor> calibration, RunStore store) : ICostModel
{
    /// <inheritdoc/>
    public string Name => "measured";

    /// <inheritdoc/>
    public CandidateCost Cost(Candidate candidate) => store.Measurements.GetOrAdd($"cost/{candidate.Key}/t{threads}", () => Measure(candidate));

    private CandidateCost Measure(Candidate candidate)
    {
        using var scope = NewDisposeScope();
        manual_seed(seed);
        using var model = candidate.Build(modelOptions);
        model.eval();
        var graph = Shipping.Prepare(model, modelOptions.InChannels, candidate.InputSize);
        var quantized = PostTrainingQuantization.Quantize(graph, [calibration(candidate.InputSize)],
            new PtqOptions { KeepSensitiveInFloat = false, Search = false });
        return new CandidateCost(candidate.Key, Time(graph, ModelForm.Fp32), Time(quantized.Graph, ModelForm.Int8));
    }

    private FormCost Time(Graph graph, ModelForm form) => Shipping.Measure(OnnxWriter.ToBytes(graph), Core.Cost.Of(graph), form, threads, quick: true);
}

/// <summary>What fit does to turn a network into a file and to time it.</summary>
internal static class Shipping
{
    /// <summary>
    /// Merges a re-parameterised network (in place), captures it and folds what can be folded, so that every later step sees the graph that ships.
    /// </summary>
    public static Graph Prepare(nn.Module<Tensor, Tensor> model, int channels, int size) =>
        GraphPasses.Simplify(Capture.Trace(model.Merge(), 1, channels, size, size));

    /// <summary>Times a model at batch 1 and puts its costs together.</summary>
    public static FormCost Measure(byte[] onnx, Cost cost, ModelForm form, int threads, bool quick)
    {
        using var runner = new OnnxRunner(onnx, new OnnxRunnerOptions { Threads = threads });
        var latency = runner.MeasureLatency(quick
            ? new LatencyOptions { MinSeconds = 0.3, MinRuns = 21 } : new LatencyOptions { MinSeconds = 1.5, MinRuns = 50 });
        return new FormCost(form, latency.P50, cost.Parameters, cost.Macs, cost.AceAsIs(), onnx.Length, latency.Noisy);
    }
}
