using System.Diagnostics;
using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>A network with fake quantisation where integer kernels will run.</summary>
public sealed class QuantizedModel
{
    internal QuantizedModel(Graph graph, Graph floatGraph, CompressReport report) => (Graph, FloatGraph, Report) = (graph, floatGraph, report);

    /// <summary>
    /// The graph: batch normalisation folded, <see cref="FakeQuantizeOp"/> nodes on activations and weights. Export it, or run it with
    /// <see cref="GraphModule"/>.
    /// </summary>
    public Graph Graph { get; }

    /// <summary>The float graph it was made from, batch normalisation folded.</summary>
    public Graph FloatGraph { get; }

    /// <summary>What was measured.</summary>
    public CompressReport Report { get; }

    /// <summary>Layers from the most to the least sensitive.</summary>
    public IReadOnlyList<LayerSensitivity> Sensitivity => Report.Layers;

    /// <summary>Names of the layers left in float.</summary>
    public IReadOnlyList<string> KeptInFloat => Report.KeptInFloat;
}

/// <summary>
/// INT8 after training, without labels or gradients: ranges from calibration pictures (one pass, as histograms), the best pair of observers, the sensitivity of
/// every layer, and the most sensitive layers left in float until the loss is bearable. Blind INT8 can cost everything: a depthwise convolution or a
/// long-tailed activation (GELU, SiLU) is enough.
/// </summary>
public static class PostTrainingQuantization
{
    /// <summary>Quantises a captured network with one input.</summary>
    /// <param name="graph">The float graph; neither it nor its weights are changed.</param>
    /// <param name="calibration">Batches [N, C, H, W] of training pictures, preprocessed as for the network; some hundred pictures are enough.</param>
    /// <param name="options">Settings; null: the defaults.</param>
    /// <exception cref="BayouException">No or unusable calibration pictures, a network without a quantisable layer, an option out of range.</exception>
    public static QuantizedModel Quantize(Graph graph, IEnumerable<Tensor> calibration, PtqOptions? options = null)
    {
        options ??= new();
        Check(graph, options);
        var clock = Stopwatch.StartNew();
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var folded = GraphPasses.FoldBatchNorm(graph);
        var plan = new QuantizationPlan(folded, options);
        if (plan.Layers.Count == 0) throw new BayouException("Quantisation: the network has no convolution, linear layer or product with a weight to quantise");
        var (ranges, judges, labels) = Pictures(graph, calibration, options);
        var session = new PtqSession(plan, options, scope);
        session.Calibrate(ranges);
        session.Judge(judges, labels);
        var report = session.Choose() with
        {
            CalibrationPictures = ranges.Sum(b => b.shape[0]),
            EvaluationPictures = judges.shape[0],
            Seconds = clock.Elapsed.TotalSeconds
        };
        return new QuantizedModel(session.Build(), folded, report);
    }

    private static void Check(Graph graph, PtqOptions options)
    {
        if (graph.Inputs.Count != 1)
            throw new BayouException($"Quantisation: the network has {graph.Inputs.Count} inputs; calibration works on networks with one");
        if (options.WeightBits is < 2 or > 8) throw new BayouException($"Quantisation: {options.WeightBits} weight bits; 2 to 8 are possible");
        if (options.Percentile is not (> 0 and <= 1)) throw new BayouException($"Quantisation: percentile {options.Percentile} must lie in (0, 1]");
        if (options.BatchSize < 1 || options.SensitivityCount < 1)
            throw new BayouException("Quantisation: the batch size and the number of pictures must be positive");
        if (options.EvaluationLabels is { } labels && (options.EvaluationImages is not { } images || labels.dim() != 1 || labels.shape[0] != images.shape[0]))
            throw new BayouException("Quantisation: evaluation labels need one class (int64, [N]) for each evaluation picture");
    }

    // The pictures that give the ranges, in batches of the wanted size, and those that judge.
    private static (List<Tensor> Ranges, Tensor Judges, Tensor? Labels) Pictures(Graph graph, IEnumerable<Tensor> calibration, PtqOptions options)
    {
        var batches = calibration.ToList();
        var expected = graph.Inputs[0];
        var images = batches.Concat(options.EvaluationImages is { } e ? [e] : []);
        foreach (var batch in images)
        {
            var shape = batch.shape;
            if (shape.Length != expected.Shape.Count || expected.Shape.Where((d, k) => !d.PerBatch && d.Size != shape[k]).Any())
                throw new BayouException($"Quantisation: a batch of pictures has shape {new Ints(shape)}, the network takes {expected}");
        }
        var count = batches.Sum(b => b.shape[0]);
        if (count == 0) throw new BayouException("Quantisation: no calibration pictures; give some hundred pictures of the training part");
        var all = batches.Count == 1 ? batches[0] : cat(batches, 0);
        Tensor judges;
        if (options.EvaluationImages is { } evaluation)
        {
            if (evaluation.shape[0] == 0) throw new BayouException("Quantisation: there are no evaluation pictures");
            judges = evaluation;
        }
        else
        {
            // Held out, so that a range fitted to its own pictures does not judge itself; with a handful of pictures there is nothing to spare.
            var held = count < 32 ? 0 : Math.Min(1024, count / 4);
            judges = held == 0 ? all : all.narrow(0, count - held, held);
            if (held > 0) all = all.narrow(0, 0, count - held);
        }
        return (Chunks(all, options.BatchSize), judges, options.EvaluationImages is null ? null : options.EvaluationLabels);
    }

    internal static List<Tensor> Chunks(Tensor all, int size)
    {
        var chunks = new List<Tensor>();
        for (long i = 0; i < all.shape[0]; i += size) chunks.Add(all.narrow(0, i, Math.Min(size, all.shape[0] - i)));
        return chunks;
    }
}
