using System.Diagnostics;
using Bayou.Core;
using Bayou.Data;
using Bayou.Search;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>Judges a candidate by a short training with a schedule of its own on the first pictures of a fixed shuffle: every candidate of a round sees the same ones.</summary>
public sealed class ShortTraining(DataSplits splits, ModelOptions modelOptions, Func<int, Preprocessing> preprocessing, int seed, int batch, Action<double, string>? status) : IQualityJudge
{
    // More validation pictures would cost more than they tell at this stage.
    private const int MaxVal = 2500;

    /// <inheritdoc/>
    public string Name => "short-training";

    /// <inheritdoc/>
    public Trial Judge(Candidate candidate, int rung, long effort, CancellationToken cancel)
    {
        var clock = Stopwatch.StartNew();
        using var scope = NewDisposeScope();
        manual_seed(seed);
        using var model = candidate.Build(modelOptions with { DropPath = 0 });
        var pictures = (int)Math.Min(effort, splits.Train.Count);
        var epochs = (int)Math.Max(1, Math.Round((double)effort / pictures));
        var size = Math.Min(batch, Math.Max(8, pictures / 32));
        var eval = preprocessing(candidate.InputSize);
        var train = new ImageLoader(Shuffled(splits.Train, pictures), size, new LoaderOptions { Shuffle = true, Seed = seed, DropLast = true, Augmentation = FitRecipe.Light(splits, epochs), Preprocessing = eval });
        var val = new ImageLoader(Shuffled(splits.Val, Math.Min(MaxVal, splits.Val.Count)), 250, new LoaderOptions { Preprocessing = eval });
        using var result = Trainer.Train(model, new LoaderSource(train), new LoaderSource(val), FitRecipe.For(epochs, pictures, size), new TrainerOptions
        {
            Seed = seed,
            Cancellation = cancel,
            EvaluateEvery = epochs,
            Progress = p => status?.Invoke((double)p.Step / p.Steps, $"{p.ImagesPerSecond:0} img/s, loss {p.Loss:0.000}"),
        });
        cancel.ThrowIfCancellationRequested();
        if (result.Outcome == TrainOutcome.Diverged) return new Trial(candidate.Key, rung, effort, double.NaN, double.NaN, clock.Elapsed.TotalSeconds, result.Message);
        var last = result.Curves[^1];
        var best = last.EmaVal is { } ema && ema.Top1 >= last.Val!.Top1 ? ema : last.Val!;
        return new Trial(candidate.Key, rung, effort, best.Top1, best.Loss, clock.Elapsed.TotalSeconds);
    }

    private Subset Shuffled(IImageDataset data, int count)
    {
        var order = Enumerable.Range(0, data.Count).ToArray();
        new Random(seed).Shuffle(order);
        return new Subset(data, order.Take(count));
    }
}
