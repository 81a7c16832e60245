using Bayou.Data;

namespace Bayou.Train;

/// <summary>
/// Gives the picture of an index as the evaluator wants it seen: <paramref name="clean"/> makes it at the size at which it is to be corrupted.
/// </summary>
public delegate ImageBuffer SeePicture(int index, Func<ImageBuffer> clean);

/// <summary>
/// A model with data and a measure of quality, as <see cref="RobustnessEvaluator"/> needs it: classification (<see cref="ClassificationRobustness"/>, top-1
/// accuracy) or any other task whose pictures can be corrupted while its labels stay (segmentation: mIoU; detection: AP).
/// </summary>
public interface IRobustnessTask
{
    /// <summary>How tables call the model.</summary>
    string Name { get; }

    /// <summary>What is measured, such as "top-1 accuracy"; a part of 1, higher is better.</summary>
    string Metric { get; }

    /// <summary>Model, data and options in words: a stored measurement is reused only where it is equal.</summary>
    string Identity { get; }

    /// <summary>How pictures get to the size at which they are corrupted: tasks with equal data and geometry share corrupted pictures.</summary>
    string Geometry { get; }

    /// <summary>Number of pictures.</summary>
    int Count { get; }

    /// <summary>Measures the model on all pictures as <paramref name="see"/> gives them; it is called by several threads at once.</summary>
    double Measure(SeePicture see, CancellationToken cancellation);

    /// <summary>The clean picture of an index, at the size at which it is corrupted.</summary>
    ImageBuffer Clean(int index);

    /// <summary>What the model says about one picture, in a few words, and whether that is right.</summary>
    (string Text, bool Right) Answer(int index, ImageBuffer picture);
}
