using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>
/// Small trainings on CIFAR-10 that claims have in common: a subset of the training part that depends on the seed, a fixed part of the official test part, a
/// short recipe. The same (key, seed) is trained once in a run, and its weights stay in the run folder.
/// </summary>
public sealed class SmallCifar
{
    private readonly ClaimContext context;
    private readonly DataSplits splits;
    private readonly int trainPictures, testPictures;

    /// <summary>Opens CIFAR-10.</summary>
    /// <param name="context">The claim's context.</param>
    /// <param name="trainPictures">Training pictures, drawn by the seed.</param>
    /// <param name="testPictures">Test pictures, the same for every seed.</param>
    public SmallCifar(ClaimContext context, int trainPictures, int testPictures = 2000)
    {
        (this.context, this.trainPictures, this.testPictures) = (context, trainPictures, testPictures);
        splits = DataCatalog.Open("cifar10");
        Preprocessing = FitRecipe.Preprocessings(splits, 3, seed: 0)(32);
        Test = Draw(splits.Test, testPictures, seed: 0);
    }

    /// <summary>Size 32 and the normalisation.</summary>
    public Preprocessing Preprocessing { get; init; }

    /// <summary>The test pictures.</summary>
    public IImageDataset Test { get; }

    /// <summary>The training pictures of a seed.</summary>
    public IImageDataset TrainPart(int seed) => Draw(splits.Train, trainPictures, seed + 1);

    /// <summary>Test accuracy in percent of a network trained with a recipe; trained once a run.</summary>
    /// <param name="key">Names network and recipe.</param>
    /// <param name="create">Makes the network (after the seed has been set).</param>
    /// <param name="recipe">The recipe.</param>
    /// <param name="seed">Seed of data, initialisation and training.</param>
    /// <param name="loss">Makes the loss of a network that learns from more than the labels; null: the network's own or the recipe's.</param>
    public double Accuracy(string key, Func<Layer> create, Recipe recipe, int seed, Func<Layer, ITrainingLoss>? loss = null) =>
        context.Measure($"{key}/seed{seed}", () =>
    {
        using var scope = NewDisposeScope();
        using var network = Train(key, create, recipe, seed, loss);
        return 100 * Evaluate(network).Top1;
    });

    /// <summary>A trained network; its weights are read from the run folder when they are there. The caller disposes it.</summary>
    public Layer Trained(string key, Func<Layer> create, Recipe recipe, int seed)
    {
        var path = WeightsPath(key, seed);
        if (!File.Exists(path)) return Train(key, create, recipe, seed, null);
        var network = create();
        network.Load(path);
        network.eval();
        return network;
    }

    /// <summary>Evaluates a network on the test pictures.</summary>
    public Evaluation Evaluate(Layer network) => Evaluator.Evaluate(network, Batches(Test), context.Cancel);

    /// <summary>Batches of pictures as they are.</summary>
    public IBatchSource Batches(IImageDataset pictures, int batch = 250) =>
        new LoaderSource(new ImageLoader(pictures, batch, new LoaderOptions { Preprocessing = Preprocessing }));

    /// <summary>The loader of a training: shuffled, flipped, cropped.</summary>
    public IBatchSource TrainBatches(int seed, int batch, Augmentation? augmentation = null) =>
        new LoaderSource(new ImageLoader(TrainPart(seed), batch, new LoaderOptions
        {
            Shuffle = true,
            Seed = seed,
            DropLast = true,
            Augmentation = augmentation ?? Augmentation.None with { Flip = 0.5 },
            Preprocessing = Preprocessing,
        }));

    private string WeightsPath(string key, int seed) => Path.Combine(context.RunFolder, "weights", $"{key.Replace('/', '-')}-seed{seed}.safetensors");

    private Layer Train(string key, Func<Layer> create, Recipe recipe, int seed, Func<Layer, ITrainingLoss>? loss)
    {
        context.Cancel.ThrowIfCancellationRequested();
        manual_seed(seed);
        var network = create();
        using var result = StagedTraining.Train(network, TrainBatches(seed, recipe.Batch), null, recipe, new TrainerOptions
        {
            Seed = seed,
            Loss = loss?.Invoke(network),
            Cancellation = context.Cancel,
            EvaluateEvery = recipe.Epochs,
            Progress = p => context.Status((double)p.Step / p.Steps, $"{key}, seed {seed}: {p.ImagesPerSecond:0} img/s, loss {p.Loss:0.000}"),
        });
        if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(context.Cancel);
        result.OrThrow().UseBest(network);
        network.eval();
        var path = WeightsPath(key, seed);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        network.Save(path);
        return network;
    }

    private static Subset Draw(IImageDataset data, int count, int seed)
    {
        if (count > data.Count) throw new BayouException($"{data.Name}: {count} pictures are wanted, {data.Count} are there");
        var order = Enumerable.Range(0, data.Count).ToArray();
        new Random(seed).Shuffle(order);
        return new Subset(data, order.Take(count));
    }
}
