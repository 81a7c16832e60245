using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Train;

namespace Bayou.Cli;

/// <summary>
/// What the commands that train one catalog model on one data set have in common: checked data, preprocessing, batches, progress, test and export.
/// </summary>
internal sealed class TrainingJob
{
    private readonly IFitProgress progress;
    private readonly CancellationToken cancel;
    private readonly int seed;

    private TrainingJob(DataSplits splits, Preprocessing preprocessing, int channels, int seed, IFitProgress progress, CancellationToken cancel) =>
        (Splits, Preprocessing, Channels, this.seed, this.progress, this.cancel) = (splits, preprocessing, channels, seed, progress, cancel);

    /// <summary>The data without unreadable pictures.</summary>
    public DataSplits Splits { get; }

    /// <summary>How pictures are prepared.</summary>
    public Preprocessing Preprocessing { get; }

    /// <summary>Channels of the input.</summary>
    public int Channels { get; }

    /// <summary>Opens and checks the data; size and channels come from the options, else from the pictures.</summary>
    public static TrainingJob Open(ParseResult parsed, ModelArguments model, ModelEntry entry, string data, int seed, IFitProgress progress,
        CancellationToken cancel)
    {
        progress.Stage("Data");
        var splits = DataSplits.Open(data, new SplitOptions { Seed = seed });
        var report = DataCheck.Run(splits,
            new DataCheckOptions
            {
                Cancellation = cancel,
                FindDuplicates = false,
                Progress = (done, all) => progress.Status((double)done / all, $"checking {done} of {all} pictures")
            });
        foreach (var u in report.Unreadable.Take(5)) progress.Line($"  unreadable, skipped: {u.Id}: {u.Reason}");
        splits = splits.Without(report);
        var channels = parsed.GetValue(model.Channels) ?? (report.Colour > 0 ? 3 : 1);
        var side = Math.Min(report.Width?.Median ?? entry.InputSize, report.Height?.Median ?? entry.InputSize);
        var size = parsed.GetValue(model.Size) ?? Math.Min(entry.InputSize, Math.Max(32, side));
        // Published weights expect the mean and deviation they were trained with.
        var preprocessing = parsed.GetValue(model.Weights) is null
            ? FitRecipe.Preprocessings(splits, channels, seed)(size) : Catalog.PreprocessingOf(entry, size, channels);
        return new TrainingJob(splits, preprocessing, channels, seed, progress, cancel);
    }

    /// <summary>Shuffled and augmented training batches.</summary>
    public IBatchSource Train(Recipe recipe) => new LoaderSource(new ImageLoader(Splits.Train, recipe.Batch,
        new LoaderOptions
        {
            Shuffle = true,
            Seed = seed,
            DropLast = true,
            Augmentation = FitRecipe.AugmentationOf(recipe, Splits),
            Preprocessing = Preprocessing
        }));

    /// <summary>Validation batches.</summary>
    public IBatchSource Val => Plain(Splits.Val);

    /// <summary>Trainer options with progress on the screen.</summary>
    public TrainerOptions Options(string folder, bool resume) => new()
    {
        RunFolder = folder,
        Resume = resume,
        Seed = seed,
        Cancellation = cancel,
        CheckpointEvery = 500,
        Note = progress.Line,
        Progress = p => progress.Status((double)p.Step / p.Steps,
            $"epoch {p.Epoch + 1} of {p.Epochs}, loss {p.Loss:0.000}, {p.ImagesPerSecond:0} img/s, {p.Eta:h\\:mm\\:ss} left"),
        EpochDone = e => progress.Line($"  epoch {e.Epoch + 1}: loss {e.TrainLoss:0.000}, validation {e.Val?.Top1:P2}{(e.EmaVal is { } a ? $", averaged weights {a.Top1:P2}" : "")}, {e.ImagesPerSecond:0} img/s"),
    };

    /// <summary>Accuracy on the test part.</summary>
    public Evaluation Test(Layer network) => Evaluator.Evaluate(network, Plain(Splits.Test), cancel);

    /// <summary>
    /// Writes model.safetensors, in the form that trains, and model.onnx, merged; both say what they are. Merging may change the network: nothing is trained
    /// after it.
    /// </summary>
    /// <returns>The cost of the network as trained, and the graph that ships.</returns>
    public (Cost Cost, Graph Graph) Save(Layer network, string name, string folder)
    {
        Directory.CreateDirectory(folder);
        var metadata = OnnxClassifier.Metadata(Preprocessing, Splits.Classes, name);
        network.Save(Path.Combine(folder, "model.safetensors"), metadata);
        var cost = Cost.Of(network, 1, Channels, Preprocessing.Size, Preprocessing.Size);
        var graph = GraphPasses.Simplify(Capture.Trace(network.Merge(), 1, Channels, Preprocessing.Size, Preprocessing.Size));
        OnnxWriter.Write(graph, Path.Combine(folder, "model.onnx"), new OnnxOptions { Metadata = metadata, Description = name });
        return (cost, graph);
    }

    private LoaderSource Plain(IImageDataset part) => new(new ImageLoader(part, 100, new LoaderOptions { Preprocessing = Preprocessing }));
}
