using Bayou.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>
/// Top-1 accuracy of a classifier. Pictures are brought to the model's input size first and corrupted there, as ImageNet-C is made; pictures of at most 48
/// pixels a side are corrupted as they are (with the constants of CIFAR-10-C) and resized afterwards.
/// </summary>
/// <param name="name">How tables call the model.</param>
/// <param name="identity">Model and weights in words.</param>
/// <param name="predict">[N, C, H, W] -> logits [N, K].</param>
/// <param name="preprocessing">The model's preprocessing.</param>
/// <param name="data">The pictures.</param>
/// <param name="threads">Threads that prepare pictures.</param>
public sealed class ClassificationRobustness(string name, string identity, Func<Tensor, Tensor> predict, Preprocessing preprocessing, IImageDataset data,
    int threads) : IRobustnessTask
{
    private const int Batch = 64;

    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public string Metric => "top-1 accuracy";

    /// <inheritdoc/>
    public string Identity => $"{identity}|{data.Name}|{data.Count}|{preprocessing.ToJson()}";

    /// <inheritdoc/>
    public string Geometry => $"{data.Name}|{preprocessing.Size}|{preprocessing.Resize}|{preprocessing.CropPct}|{preprocessing.Interpolation}";

    /// <inheritdoc/>
    public int Count => data.Count;

    /// <inheritdoc/>
    public double Measure(SeePicture see, CancellationToken cancellation)
    {
        var seen = new CorruptedDataset(data, index => Fit(see(index, () => Clean(index))));
        var loader = new ImageLoader(seen, Batch,
            new LoaderOptions { Preprocessing = preprocessing with { Resize = ResizeMode.Warp }, Workers = threads, CacheBytes = 0 });
        return Evaluator.Evaluate(predict, new LoaderSource(loader), cancellation).Top1;
    }

    /// <inheritdoc/>
    public ImageBuffer Clean(int index)
    {
        var picture = data.Read(index);
        return Corruptor.SetFor(picture.Width, picture.Height) == CorruptionSet.Small32 ? picture : Fit(picture);
    }

    /// <inheritdoc/>
    public (string Text, bool Right) Answer(int index, ImageBuffer picture)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var input = preprocessing with { Resize = ResizeMode.Warp };
        var scores = nn.functional.softmax(predict(tensor(input.Apply(Fit(picture)), [1, input.Channels, input.Size, input.Size])), 1).data<float>().ToArray();
        var best = Array.IndexOf(scores, scores.Max());
        return ($"{data.Classes[best]} {scores[best]:P0}", best == data.Label(index));
    }

    // At the input size, in the channels the picture has: grey models see the grey of a picture corrupted in colour.
    private ImageBuffer Fit(ImageBuffer picture) => (preprocessing with
    {
        Channels = picture.Channels,
        Mean = [.. Enumerable.Repeat(0.5f, picture.Channels)],
        Std = [.. Enumerable.Repeat(0.5f, picture.Channels)],
    }).Fit(picture);
}
