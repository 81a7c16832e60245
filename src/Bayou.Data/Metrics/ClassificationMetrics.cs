using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Data;

/// <summary>Top-1, top-5 and the confusion matrix, gathered batch by batch.</summary>
public sealed class ClassificationMetrics
{
    private readonly long[,] confusion;
    private long top1, top5;

    /// <summary>Starts empty.</summary>
    /// <param name="classes">Number of classes, at least 1.</param>
    public ClassificationMetrics(int classes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        Classes = classes;
        confusion = new long[classes, classes];
    }

    /// <summary>Number of classes.</summary>
    public int Classes { get; }

    /// <summary>Number of pictures so far.</summary>
    public long Count { get; private set; }

    /// <summary>Part of the pictures whose best score is the label's, 0..1; NaN without pictures.</summary>
    public double Top1 => Count == 0 ? double.NaN : (double)top1 / Count;

    /// <summary>Part of the pictures whose label is among the five best scores, 0..1; 1 when there are at most five classes.</summary>
    public double Top5 => Count == 0 ? double.NaN : (double)top5 / Count;

    /// <summary>Counts [label, prediction].</summary>
    public long[,] Confusion => (long[,])confusion.Clone();

    /// <summary>Part of a class's pictures that were recognised, 0..1; NaN without pictures of it.</summary>
    public double Recall(int label)
    {
        long total = 0;
        for (var p = 0; p < Classes; p++) total += confusion[label, p];
        return total == 0 ? double.NaN : (double)confusion[label, label] / total;
    }

    /// <summary>Part of what was called this class that is it, 0..1; NaN when nothing was.</summary>
    public double Precision(int prediction)
    {
        long total = 0;
        for (var l = 0; l < Classes; l++) total += confusion[l, prediction];
        return total == 0 ? double.NaN : (double)confusion[prediction, prediction] / total;
    }

    /// <summary>Mean of the recalls of the classes that have pictures.</summary>
    public double MeanRecall => Enumerable.Range(0, Classes).Select(Recall).Where(r => !double.IsNaN(r)).DefaultIfEmpty(double.NaN).Average();

    /// <summary>Adds a batch.</summary>
    /// <param name="scores">Logits or probabilities [n, classes]. Of equal scores the lower class counts as better; a NaN counts as the worst.</param>
    /// <param name="labels">[n], each 0..classes-1.</param>
    /// <exception cref="BayouException">Sizes or labels out of range.</exception>
    public void Add(ReadOnlySpan<float> scores, ReadOnlySpan<long> labels)
    {
        if (scores.Length != (long)labels.Length * Classes)
            throw new BayouException($"{labels.Length} labels and {Classes} classes need {(long)labels.Length * Classes} scores, not {scores.Length}.");
        foreach (var label in labels)
        {
            if (label < 0 || label >= Classes) throw new BayouException($"Label {label} is outside the {Classes} classes.");
        }
        for (var n = 0; n < labels.Length; n++)
        {
            var row = scores.Slice(n * Classes, Classes);
            var label = (int)labels[n];
            int best = 0, better = 0;
            for (var c = 0; c < Classes; c++)
            {
                if (Beats(row, c, best)) best = c;
                if (Beats(row, c, label)) better++;
            }
            // NaN for the label itself is a failure, whatever the others are.
            var valid = !float.IsNaN(row[label]);
            if (valid && better == 0) top1++;
            if (valid && better < 5) top5++;
            confusion[label, best]++;
            Count++;
        }
    }

    /// <summary>Adds a batch of tensors: logits float [n, classes], labels int64 [n].</summary>
    public void Add(Tensor logits, Tensor labels)
    {
        using var scope = NewDisposeScope();
        var scores = logits.detach().to(ScalarType.Float32).cpu().contiguous().data<float>().ToArray();
        var truth = labels.to(ScalarType.Int64).cpu().contiguous().data<long>().ToArray();
        Add(scores, truth);
    }

    // Is class a ahead of class b?
    private static bool Beats(ReadOnlySpan<float> row, int a, int b)
    {
        if (a == b || float.IsNaN(row[a])) return false;
        if (float.IsNaN(row[b]) || row[a] > row[b]) return true;
        return row[a] == row[b] && a < b;
    }
}
