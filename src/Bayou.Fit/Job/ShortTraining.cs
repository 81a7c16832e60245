using System.Diagnostics;
using Bayou.Core;
using Bayou.Data;
using Bayou.Search;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>
/// Judges a candidate by a short training with a schedule of its own on the first pictures of a fixed shuffle: every candidate of a round sees the same ones.
/// Where pictures are few, by such a training on every fold of a cross-validation over training and validation part.
/// </summary>
internal sealed class ShortTraining(TrainingSetup setup, int folds, double maxSeconds, Action<double, string>? status) : IQualityJudge
{
    // More validation pictures would cost more than they tell at this stage.
    private const int MaxVal = 2500;

    /// <inheritdoc/>
    public string Name => folds > 1 ? $"short-training, {folds} folds" : "short-training";

    /// <inheritdoc/>
    public Trial Judge(Candidate candidate, int rung, long effort, CancellationToken cancel)
    {
        var clock = Stopwatch.StartNew();
        if (folds <= 1)
        {
            var (score, note) = Train(candidate, setup.Splits.Train, Shuffled(setup.Splits.Val, Math.Min(MaxVal, setup.Splits.Val.Count)), effort, 0, 1,
                cancel);
            return new Trial(candidate.Key, rung, effort, score.Top1, score.Loss, clock.Elapsed.TotalSeconds, note);
        }
        var parts = CrossValidation.Folds(new Concatenation(setup.Splits.Train, setup.Splits.Val), folds, setup.Seed);
        var scores = new List<Score>();
        foreach (var (train, heldOut) in parts)
        {
            var (score, note) = Train(candidate, train, heldOut, effort, scores.Count, folds, cancel);
            if (note is not null) return new Trial(candidate.Key, rung, effort * folds, double.NaN, double.NaN, clock.Elapsed.TotalSeconds, note);
            scores.Add(score);
        }
        // Pooled over the held-out pictures, not over the folds.
        double Pooled(Func<Score, double> value) => scores.Zip(parts, (s, p) => value(s) * p.HeldOut.Count).Sum() / parts.Sum(p => p.HeldOut.Count);
        return new Trial(candidate.Key, rung, effort * folds, Pooled(s => s.Top1), Pooled(s => s.Loss), clock.Elapsed.TotalSeconds, null,
            scores.Select(s => s.Top1).ToArray());
    }

    /// <summary>Training pictures a second of a candidate, from a few steps on noise.</summary>
    public static double Speed(Candidate candidate, TrainingSetup setup, int batch = 64)
    {
        using var scope = NewDisposeScope();
        manual_seed(setup.Seed);
        using var model = candidate.Build(setup.Model);
        model.train();
        var (images, labels) = (randn(batch, setup.Model.InChannels, candidate.InputSize, candidate.InputSize), randint(0, setup.Model.Classes, batch));
        var best = double.PositiveInfinity;
        var clock = Stopwatch.StartNew();
        for (var step = 0; step < 3 || (step < 20 && clock.Elapsed.TotalSeconds < 2); step++)
        {
            using var one = NewDisposeScope();
            var start = clock.Elapsed.TotalSeconds;
            LabelSmoothingCrossEntropyLoss.Of(model.call(images), labels, 0.1).backward();
            model.zero_grad();
            if (step > 0) best = Math.Min(best, clock.Elapsed.TotalSeconds - start);
        }
        // The optimizer, and what else the machine does.
        return batch / best * 0.8;
    }

    private (Score Score, string? Note) Train(Candidate candidate, IImageDataset trainPart, IImageDataset heldOut, long effort, int part, int parts,
        CancellationToken cancel)
    {
        using var scope = NewDisposeScope();
        manual_seed(setup.Seed);
        using var model = candidate.Build(setup.Model with { DropPath = 0 });
        var pictures = (int)Math.Min(effort, trainPart.Count);
        var epochs = (int)Math.Max(1, Math.Round((double)effort / pictures));
        var recipe = (setup with { Change = r => r }).RecipeFor(model, epochs, pictures, Math.Min(64, Math.Max(8, pictures / 32))) with { DropPath = 0 };
        using var result = setup.Train(model, Shuffled(trainPart, pictures), heldOut, recipe, candidate.InputSize, new TrainerOptions
        {
            Cancellation = cancel,
            EvaluateEvery = epochs,
            MaxSeconds = maxSeconds,
            Progress = p => status?.Invoke((part + (double)p.Step / p.Steps) / parts,
                $"{(parts > 1 ? $"fold {part + 1}, " : "")}{p.ImagesPerSecond:0} img/s, loss {p.Loss:0.000}"),
        });
        cancel.ThrowIfCancellationRequested();
        if (result.Outcome == TrainOutcome.Diverged) return (new(double.NaN, double.NaN, double.NaN), result.Message);
        if (result.Curves.LastOrDefault() is { Val: { } val } last) return (last.EmaVal is { } ema && ema.Top1 >= val.Top1 ? ema : val, null);
        // The time was over before the last epoch: judged as far as it came.
        var evaluation = Evaluator.Evaluate(model, new LoaderSource(setup.Eval(heldOut, candidate.InputSize)), cancel);
        return (new(evaluation.Top1, evaluation.Top5, evaluation.Loss), null);
    }

    private Subset Shuffled(IImageDataset data, int count)
    {
        var order = Enumerable.Range(0, data.Count).ToArray();
        new Random(setup.Seed).Shuffle(order);
        return new Subset(data, order.Take(count));
    }
}
