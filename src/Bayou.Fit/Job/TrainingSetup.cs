using Bayou.Core;
using Bayou.Data;
using Bayou.Train;

namespace Bayou.Fit;

/// <summary>
/// What all trainings of a fit have in common: the data and how they are shown, the answer to unequal classes, the teacher, and whether they start from a
/// checkpoint.
/// </summary>
internal sealed record TrainingSetup(DataSplits Splits, ModelOptions Model, Func<int, Preprocessing> Preprocessing, int Seed, BalanceMode Balance)
{
    public Teacher? Teacher { get; init; }

    public double TeacherWeight { get; init; }

    /// <summary>Whether networks come with the weights of a checkpoint and a fresh head.</summary>
    public bool FineTune { get; init; }

    /// <summary>The command line's changes of a recipe.</summary>
    public Func<Recipe, Recipe> Change { get; init; } = r => r;

    /// <summary>The recipe for a network and a number of passes over pictures.</summary>
    public Recipe RecipeFor(Layer network, int epochs, int pictures, int batch = 64)
    {
        var recipe = FineTune ? FitRecipe.FineTune(epochs, pictures, network is ILayerwise, batch) : FitRecipe.For(epochs, pictures, batch);
        return Change(recipe) with
        {
            ClassWeights = Balance == BalanceMode.Weights ? ClassBalance.Weights(ClassBalance.Counts(Splits.Train)) : null,
            DistillWeight = Teacher is null ? 0 : TeacherWeight,
        };
    }

    /// <summary>Trains a network; a fresh head of a trained body first learns alone.</summary>
    public TrainResult Train(Layer network, IImageDataset pictures, IImageDataset? val, Recipe recipe, int size, TrainerOptions options)
    {
        var preprocessing = Preprocessing(size);
        if (Balance == BalanceMode.Sampling) pictures = ClassBalance.Repeat(pictures, Seed);
        var train = new LoaderSource(new ImageLoader(pictures, recipe.Batch, new LoaderOptions
        {
            Shuffle = true,
            Seed = Seed,
            DropLast = true,
            Augmentation = FitRecipe.AugmentationOf(recipe, Splits),
            Preprocessing = preprocessing,
        }));
        options = options with { Seed = Seed, Teacher = Teacher?.For(preprocessing) };
        if (FineTune)
        {
            var folder = options.RunFolder is null ? null : Path.Combine(options.RunFolder, "head");
            using var head = HeadOnly(network, train, recipe, options with { RunFolder = folder, EpochDone = null });
            if (head.Outcome == TrainOutcome.Cancelled) options.Cancellation.ThrowIfCancellationRequested();
        }
        return Trainer.Train(network, train, val is null ? null : new LoaderSource(Eval(val, size)), recipe, options);
    }

    /// <summary>Pictures as they are, for evaluations.</summary>
    public ImageLoader Eval(IImageDataset data, int size) => new(data, 250, new LoaderOptions { Preprocessing = Preprocessing(size) });

    private static TrainResult HeadOnly(Layer network, IBatchSource train, Recipe recipe, TrainerOptions options)
    {
        var head = PretrainedModel.HeadKeys(network);
        var body = network.named_parameters().Where(p => !head.Contains(p.name) && p.parameter.requires_grad).Select(p => p.parameter).ToList();
        foreach (var parameter in body) parameter.requires_grad = false;
        try
        {
            return Trainer.Train(network, train, null, FitRecipe.HeadOnly(recipe), options);
        }
        finally
        {
            foreach (var parameter in body) parameter.requires_grad = true;
        }
    }
}
