using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>
/// A trained classifier that another network learns from. It sees the student's own pictures, brought to its own input size, channels and normalisation; its
/// classes are matched by name.
/// </summary>
public sealed class Teacher : IDisposable
{
    private readonly Func<Tensor, Tensor> run;
    private readonly IDisposable owned;
    private readonly Preprocessing preprocessing;
    private readonly long[]? order;

    private Teacher(string path, Func<Tensor, Tensor> run, IDisposable owned, Preprocessing preprocessing, IReadOnlyList<string> labels,
        IReadOnlyList<string> classes)
    {
        (this.run, this.owned, this.preprocessing) = (run, owned, preprocessing);
        if (labels.Count == 0 || labels.SequenceEqual(classes)) return;
        order = classes.Select(c => (long)labels.ToList().IndexOf(c)).ToArray();
        var missing = classes.Where((_, i) => order[i] < 0).ToList();
        if (missing.Count > 0)
            throw new BayouException($"the teacher '{path}' does not know {string.Join(", ", missing.Take(5))}: a teacher must have all classes of the data (it has {string.Join(", ", labels.Take(5))}...)");
    }

    /// <summary>Opens a model.onnx of Bayou, or a checkpoint (see <see cref="PretrainedModel.Open"/>).</summary>
    /// <param name="path">The file.</param>
    /// <param name="classes">The student's classes.</param>
    /// <param name="threads">Threads for ONNX Runtime.</param>
    /// <exception cref="BayouException">It cannot be read, or lacks a class.</exception>
    public static Teacher Open(string path, IReadOnlyList<string> classes, int threads)
    {
        IDisposable? opened = null;
        try
        {
            if (Path.GetExtension(path).Equals(".onnx", StringComparison.OrdinalIgnoreCase))
            {
                var classifier = new OnnxClassifier(path, threads);
                opened = classifier;
                return new Teacher(path, classifier.Runner.Run, classifier, classifier.Preprocessing, classifier.Labels, classes);
            }
            var pretrained = PretrainedModel.Open(path);
            var labels = pretrained.Labels.Count > 0 ? pretrained.Labels : classes;
            var network = pretrained.Create(new ModelOptions(labels.Count, pretrained.Channels), labels);
            opened = network;
            network.eval();
            return new Teacher(path, x => network.call(x), network, pretrained.Preprocessing ?? Preprocessing.For(pretrained.InputSize, pretrained.Channels),
                pretrained.Labels, classes);
        }
        catch
        {
            opened?.Dispose();
            throw;
        }
    }

    /// <summary>The teacher's logits [N, K], in the order of the student's classes, for pictures [N, C, H, W] prepared for the student.</summary>
    public Func<Tensor, Tensor> For(Preprocessing student)
    {
        var scale = Enumerable.Range(0, student.Channels).Select(c => student.Std[c]).ToArray();
        var shift = Enumerable.Range(0, student.Channels).Select(c => student.Mean[c]).ToArray();
        return images =>
        {
            using var scope = NewDisposeScope();
            var x = images.mul(PerChannel(scale)).Plus(PerChannel(shift));
            if (preprocessing.Channels == 1 && student.Channels == 3) x = x.mul(PerChannel([0.299f, 0.587f, 0.114f])).sum([1L], keepdim: true);
            if (preprocessing.Channels == 3 && student.Channels == 1) x = x.expand(-1, 3, -1, -1);
            if (x.shape[2] != preprocessing.Size || x.shape[3] != preprocessing.Size)
                x = nn.functional.interpolate(x, [preprocessing.Size, preprocessing.Size], mode: InterpolationMode.Bilinear, align_corners: false);
            x = x.sub(PerChannel(preprocessing.Mean)).div(PerChannel(preprocessing.Std)).contiguous();
            var logits = run(x);
            if (order is not null) logits = logits.index_select(1, tensor(order));
            return logits.MoveToOuterDisposeScope();
        };
    }

    /// <inheritdoc/>
    public void Dispose() => owned.Dispose();

    private static Tensor PerChannel(float[] values) => tensor(values).reshape(1, values.Length, 1, 1);
}
