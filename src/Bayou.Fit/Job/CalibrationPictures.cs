using Bayou.Data;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>Preprocessed pictures for calibration and checks, the same ones every time.</summary>
internal sealed class CalibrationPictures(DataSplits splits, Func<int, Preprocessing> preprocessing, int seed)
{
    /// <summary>Training pictures, [N, C, size, size].</summary>
    public Tensor Images(int size, int count) => Read(splits.Train, size, count).Images;

    /// <summary>Validation pictures with their labels.</summary>
    public (Tensor Images, Tensor Labels) Validation(int size, int count) => Read(splits.Val, size, count);

    private (Tensor Images, Tensor Labels) Read(IImageDataset data, int size, int count)
    {
        var order = Enumerable.Range(0, data.Count).ToArray();
        new Random(seed).Shuffle(order);
        var subset = new Subset(data, order.Take(count));
        // One batch: unreadable pictures are left out of it.
        using var batch = new ImageLoader(subset, Math.Max(1, subset.Count), new LoaderOptions { Preprocessing = preprocessing(size) }).Epoch(0).First();
        return (batch.Images.clone(), batch.Labels.clone());
    }
}
