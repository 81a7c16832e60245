using Bayou.Data;
using Bayou.Train;

namespace Bayou.Fit;

/// <summary>How fit trains when it is not told otherwise.</summary>
public static class FitRecipe
{
    /// <summary>Longer trainings than this profit from mixing, random augment, erasing and stochastic depth; shorter ones are only slowed by them.</summary>
    private const int LongEpochs = 15;

    /// <summary>Passes over the training part: about 1.5 million pictures, between 10 and 100 passes.</summary>
    public static int Epochs(int pictures) => (int)Math.Clamp(Math.Round(1.5e6 / pictures), 10, 100);

    /// <summary>The full recipe for a number of epochs.</summary>
    public static Recipe For(int epochs, int pictures, int batch)
    {
        // A step needs enough company: at least twenty an epoch.
        var size = Math.Clamp(pictures / 20, 8, batch);
        var recipe = Recipe.Short(epochs, size, lr: 4e-3 * Math.Sqrt(size / 128.0)) with { Name = "fit" };
        return epochs < LongEpochs ? recipe : recipe with
        {
            Name = "fit-long",
            MixupAlpha = 0.2,
            CutmixAlpha = 1,
            MixProbability = 0.5,
            RandAugment = "rand-m7-mstd0.5-inc1",
            RandomErasing = 0.1,
            DropPath = 0.05,
            EmaDecay = 0.999,
        };
    }

    /// <summary>Crop and flip only: for short trials.</summary>
    public static Augmentation Light(DataSplits splits) => IsSmall(splits) ? Augmentation.SmallPictures : new Augmentation { ScaleMin = 0.35 };

    /// <summary>The augmentation a recipe asks for.</summary>
    public static Augmentation AugmentationOf(Recipe recipe, DataSplits splits) => Light(splits) with
    {
        RandAugment = recipe.RandAugment.Length == 0 ? null : RandAugment.Parse(recipe.RandAugment),
        Erasing = recipe.RandomErasing,
    };

    private static bool IsSmall(DataSplits splits)
    {
        var picture = splits.Train.Read(0);
        return Math.Max(picture.Width, picture.Height) <= 64;
    }
}
