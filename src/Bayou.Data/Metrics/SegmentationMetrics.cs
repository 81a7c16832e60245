using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// Overall accuracy, mean class accuracy and mean intersection over union of a labelling, gathered piece by piece. Labels below 0 are left out.
/// </summary>
public sealed class SegmentationMetrics
{
    private readonly long[,] confusion;

    /// <summary>Starts empty.</summary>
    /// <param name="classes">Number of classes, at least 1.</param>
    public SegmentationMetrics(int classes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        confusion = new long[classes, classes];
    }

    /// <summary>Number of classes.</summary>
    public int Classes => confusion.GetLength(0);

    /// <summary>Counts [label, prediction].</summary>
    public long[,] Confusion => (long[,])confusion.Clone();

    /// <summary>Adds predictions; a label below 0 is ignored.</summary>
    /// <exception cref="BayouException">Lengths differ, or a class is out of range.</exception>
    public void Add(ReadOnlySpan<int> predictions, ReadOnlySpan<int> labels)
    {
        if (predictions.Length != labels.Length) throw new BayouException($"{predictions.Length} predictions for {labels.Length} labels");
        for (var i = 0; i < labels.Length; i++)
        {
            if (labels[i] < 0) continue;
            if (labels[i] >= Classes || (uint)predictions[i] >= (uint)Classes)
                throw new BayouException($"label {labels[i]}, prediction {predictions[i]}: there are {Classes} classes");
            confusion[labels[i], predictions[i]]++;
        }
    }

    /// <summary>Part of the labelled elements that are right, 0..1; NaN without any.</summary>
    public double OverallAccuracy => Sum((l, p) => l == p) / (double)Sum((_, _) => true);

    /// <summary>Intersection over union of a class; NaN when it neither occurs nor is predicted.</summary>
    public double Iou(int c) => confusion[c, c] / (double)Sum((l, p) => l == c || p == c);

    /// <summary>Part of a class that was found; NaN when it does not occur.</summary>
    public double Accuracy(int c) => confusion[c, c] / (double)Sum((l, _) => l == c);

    /// <summary>Mean IoU of the classes that occur or are predicted.</summary>
    public double MeanIou => Mean(Iou);

    /// <summary>Mean accuracy of the classes that occur.</summary>
    public double MeanAccuracy => Mean(Accuracy);

    private double Mean(Func<int, double> of) => Enumerable.Range(0, Classes).Select(of).Where(v => !double.IsNaN(v)).DefaultIfEmpty(double.NaN).Average();

    private long Sum(Func<int, int, bool> which)
    {
        long sum = 0;
        for (var l = 0; l < Classes; l++) for (var p = 0; p < Classes; p++) if (which(l, p)) sum += confusion[l, p];
        return sum;
    }
}
