using Bayou.Data;
using Bayou.Train;

namespace Bayou.Fit;

/// <summary>How fit trains when it is not told otherwise.</summary>
public static class FitRecipe
{
    /// <summary>Longer trainings than this profit from mixing, random augment, erasing and stochastic depth; shorter ones are only slowed by them.</summary>
    private const int LongEpochs = 15;

    /// <summary>In fewer passes than these even mirrored pictures are only harder ones.</summary>
    private const int VeryShortEpochs = 8;

    /// <summary>Passes over the training part: about 1.5 million pictures, between 10 and 100 passes.</summary>
    public static int Epochs(int pictures) => (int)Math.Clamp(Math.Round(1.5e6 / pictures), 10, 100);

    /// <summary>Passes of a fine-tuning: about 100,000 pictures, between 10 and 60 passes.</summary>
    public static int FineTuneEpochs(int pictures) => (int)Math.Clamp(Math.Round(1e5 / pictures), 10, 60);

    /// <summary>
    /// Fine-tuning of a trained network: a third of the learning rate of a training from scratch, lower layers slower where the network knows its layers, light
    /// augmentation. The head has had passes of its own (<see cref="HeadOnly"/>) before.
    /// </summary>
    public static Recipe FineTune(int epochs, int pictures, bool layerwise, int batch = 64)
    {
        var size = BatchFor(epochs, pictures, batch);
        return Recipe.Short(epochs, size, lr: 1e-3 * Math.Sqrt(size / 64.0)) with
        {
            Name = "fine-tune",
            LabelSmoothing = 0.1,
            LayerDecay = layerwise ? 0.8 : 1,
            DropPath = epochs < LongEpochs ? 0 : 0.05
        };
    }

    /// <summary>The passes in which only the fresh head learns and the body stays as it is.</summary>
    public static Recipe HeadOnly(Recipe full) =>
        full with
        {
            Name = "head-only",
            Epochs = Math.Clamp(full.Epochs / 5, 1, 5),
            BaseLr = 3 * full.BaseLr,
            LayerDecay = 1,
            DropPath = 0,
            WarmupEpochs = 0,
            WarmupSteps = 0
        };

    /// <summary>The full recipe for a number of epochs.</summary>
    public static Recipe For(int epochs, int pictures, int batch = 64)
    {
        var size = BatchFor(epochs, pictures, batch);
        var recipe = Recipe.Short(epochs, size, lr: (IsShort(epochs) ? 5e-3 : 3e-3) * Math.Sqrt(size / 64.0)) with { Name = "fit", LabelSmoothing = 0.05 };
        return IsShort(epochs) ? recipe : recipe with
        {
            Name = "fit-long",
            LabelSmoothing = 0.1,
            MixupAlpha = 0.2,
            CutmixAlpha = 1,
            MixProbability = 0.5,
            RandAugment = "rand-m7-mstd0.5-inc1",
            RandomErasing = 0.1,
            DropPath = 0.05,
            EmaDecay = 0.999,
        };
    }

    /// <summary>
    /// Flips and, where there is time for it, crops. A short training of small pictures has no time for crops: on 20,000 pictures of Fashion-MNIST seen once,
    /// shifts of up to 4 pixels cost ten points, and mirroring 0.8.
    /// </summary>
    public static Augmentation Light(DataSplits splits, int epochs) =>
        !IsSmall(splits) ? new Augmentation { ScaleMin = IsShort(epochs) ? 0.5 : 0.25 }
        : IsShort(epochs) ? Augmentation.None with { Flip = epochs < VeryShortEpochs ? 0 : 0.5 }
        : Augmentation.SmallPictures;

    /// <summary>Eval transform for a size, normalised by the mean and deviation of (a thousand of) the training pictures themselves.</summary>
    public static Func<int, Preprocessing> Preprocessings(DataSplits splits, int channels, int seed)
    {
        var (mean, std) = Statistics(splits.Train, channels, seed);
        return size => Preprocessing.For(size, channels) with { Mean = mean, Std = std };
    }

    private static (float[] Mean, float[] Std) Statistics(IImageDataset data, int channels, int seed)
    {
        var order = Enumerable.Range(0, data.Count).ToArray();
        new Random(seed).Shuffle(order);
        var (sum, squares, count) = (new double[channels], new double[channels], 0L);
        foreach (var index in order.Take(1000))
        {
            var pixels = data.Read(index).WithChannels(channels).Pixels;
            for (var i = 0; i < pixels.Length; i++)
            {
                var v = pixels[i] / 255.0;
                sum[i % channels] += v;
                squares[i % channels] += v * v;
            }
            count += pixels.Length / channels;
        }
        var mean = sum.Select(s => s / count).ToArray();
        // Pictures of one flat colour have no deviation to divide by.
        var std = squares.Select((q, c) => Math.Max(0.05, Math.Sqrt(Math.Max(0, q / count - mean[c] * mean[c])))).ToArray();
        return (mean.Select(m => (float)Math.Round(m, 4)).ToArray(), std.Select(d => (float)Math.Round(d, 4)).ToArray());
    }

    /// <summary>The augmentation a recipe asks for.</summary>
    public static Augmentation AugmentationOf(Recipe recipe, DataSplits splits) => Light(splits, recipe.Epochs) with
    {
        RandAugment = recipe.RandAugment.Length == 0 ? null : RandAugment.Parse(recipe.RandAugment),
        Erasing = recipe.RandomErasing,
    };

    /// <summary>Pictures a step: as many as leave 500 steps in all and four an epoch, at least 8.</summary>
    public static int BatchFor(int epochs, int pictures, int most) => (int)Math.Clamp(Math.Min((long)pictures * epochs / 500, pictures / 4), 8, most);

    private static bool IsShort(int epochs) => epochs < LongEpochs;

    private static bool IsSmall(DataSplits splits)
    {
        var picture = splits.Train.Read(0);
        return Math.Max(picture.Width, picture.Height) <= 64;
    }
}
