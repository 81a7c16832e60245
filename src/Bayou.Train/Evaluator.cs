using Bayou.Core;
using Bayou.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>What a classifier said about one picture.</summary>
/// <param name="Index">Index in the data set.</param>
/// <param name="Label">The right class.</param>
/// <param name="Predicted">The best class.</param>
/// <param name="Confidence">Its softmax probability.</param>
public readonly record struct Prediction(int Index, int Label, int Predicted, float Confidence)
{
    /// <summary>Whether the best class is the right one.</summary>
    public bool Correct => Label == Predicted;
}

/// <summary>Quality of a classifier on a part of a data set.</summary>
/// <param name="Top1">Part of the pictures whose best class is right, 0..1.</param>
/// <param name="Top5">Part of the pictures whose label is among the best five, 0..1.</param>
/// <param name="Loss">Mean cross entropy, without smoothing.</param>
/// <param name="Confusion">Counts [label, prediction].</param>
/// <param name="Predictions">One a picture, in the order of the source.</param>
public sealed record Evaluation(double Top1, double Top5, double Loss, long[,] Confusion, IReadOnlyList<Prediction> Predictions)
{
    /// <summary>The wrong answers the classifier was surest of, surest first.</summary>
    public IEnumerable<Prediction> ConfidentMistakes => Predictions.Where(p => !p.Correct).OrderByDescending(p => p.Confidence).ThenBy(p => p.Index);
}

/// <summary>Measures a classifier: any function from pictures to logits, so a network, a graph, or an ONNX file.</summary>
public static class Evaluator
{
    /// <summary>Runs one epoch of the source through the classifier, each batch in a dispose scope of its own, without gradients.</summary>
    /// <param name="predict">[N, C, H, W] -> logits [N, K].</param>
    /// <param name="source">The pictures.</param>
    /// <param name="cancellation">Ends it with <see cref="OperationCanceledException"/>.</param>
    /// <exception cref="BayouException">The classifier's output does not fit the source's classes, or the source has no pictures.</exception>
    public static Evaluation Evaluate(Func<Tensor, Tensor> predict, IBatchSource source, CancellationToken cancellation = default)
    {
        var metrics = new ClassificationMetrics(source.Classes);
        var predictions = new List<Prediction>(source.Samples);
        var lossSum = 0.0;
        using var noGrad = no_grad();
        foreach (var batch in source.Epoch(0, 0, cancellation))
        {
            using var owned = batch;
            using var scope = NewDisposeScope();
            var logits = predict(batch.Images);
            if (logits.dim() != 2 || logits.shape[0] != batch.Labels.shape[0] || logits.shape[1] != source.Classes)
                throw new BayouException($"the classifier gave {new Ints(logits.shape)} for {batch.Labels.shape[0]} pictures of {source.Classes} classes; logits [N, {source.Classes}] are expected");
            // Points labelled below 0 are ignored: there may be some in every batch of a segmentation.
            var (labels, indices) = (batch.Labels, batch.Indices);
            var kept = labels.ge(Number.Of(0));
            if (!kept.all().item<bool>())
            {
                var rows = kept.nonzero().reshape(-1);
                (logits, labels) = (logits.index_select(0, rows), labels.index_select(0, rows));
                indices = [.. rows.data<long>().ToArray().Select(r => indices[r])];
            }
            if (labels.shape[0] == 0) continue;
            metrics.Add(logits, labels);
            lossSum += nn.functional.cross_entropy(logits, labels, reduction: nn.Reduction.Sum).item<float>();
            var (confidence, best) = nn.functional.softmax(logits, 1).max(1);
            var (c, b, l) = (confidence.to(ScalarType.Float32).data<float>().ToArray(), best.data<long>().ToArray(), labels.data<long>().ToArray());
            for (var i = 0; i < l.Length; i++) predictions.Add(new(indices[i], (int)l[i], (int)b[i], c[i]));
        }
        if (metrics.Count == 0) throw new BayouException("nothing to evaluate: the source gave no pictures");
        return new(metrics.Top1, metrics.Top5, lossSum / metrics.Count, metrics.Confusion, predictions);
    }

    /// <summary>Evaluates a network in eval mode and puts it back into the mode it had.</summary>
    public static Evaluation Evaluate(nn.Module<Tensor, Tensor> network, IBatchSource source, CancellationToken cancellation = default)
    {
        var training = network.training;
        network.eval();
        try
        {
            return Evaluate(network.call, source, cancellation);
        }
        finally
        {
            network.train(training);
        }
    }
}
