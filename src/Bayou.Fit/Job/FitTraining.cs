using Bayou.Core;
using Bayou.Data;
using Bayou.Search;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>The long training, and the same network without its checkpoint for comparison.</summary>
internal sealed class FitTraining(FitRun run) : FitStep(run)
{
    public Training Train(Candidate chosen, TrainingSetup setup, string part, IReadOnlyList<Trial> trials)
    {
        var all = setup.Splits.Train.Count;
        var asked = new TrainingPlan(Options.Epochs ?? (setup.FineTune ? FitRecipe.FineTuneEpochs(all) : FitRecipe.Epochs(all)), all);
        var planned = !Plan.Limited ? asked : Plan.Decide(part, () =>
        {
            // A trial of this very network tells the speed with loader and evaluation, but for small batches.
            var batch = FitRecipe.BatchFor(asked.Epochs, all, 64);
            var last = trials.Where(t => t.Key == chosen.Key && !double.IsNaN(t.Accuracy)).MaxBy(t => t.Rung);
            var speed = ShortTraining.Speed(chosen, setup, batch);
            if (last is not null) speed = Math.Min(speed, last.Effort / last.Seconds);
            // With a checkpoint the same passes follow from scratch.
            var seconds = 0.9 * Plan.Left / (setup.FineTune && Options.CompareScratch ? 2 : 1);
            var epochs = (int)Math.Min(asked.Epochs, seconds * speed / all);
            return epochs >= 1 ? new TrainingPlan(epochs, all) : new TrainingPlan(1, (int)Math.Clamp(seconds * speed, Math.Min(all, 500), all));
        });
        if (planned.Epochs < asked.Epochs || planned.Pictures < all)
            Note($"the time allows {planned.Epochs} passes over {planned.Pictures} of {all} training pictures (without a limit it would be {asked.Epochs} passes)");
        manual_seed(Options.Seed);
        Recipe recipe;
        // Stochastic depth is part of the recipe, and of the network: one is built to know the recipe.
        using (var probe = chosen.Build(setup.Model)) recipe = setup.RecipeFor(probe, planned.Epochs, planned.Pictures);
        manual_seed(Options.Seed);
        var network = chosen.Build(setup.Model with { DropPath = recipe.DropPath, LayerScale = recipe.LayerScale });
        return Train(network, setup, recipe, planned, chosen.InputSize, part);
    }

    // The same network, pictures and passes without the checkpoint.
    public Training? TrainFromScratch(Candidate chosen, PretrainedModel pretrained, TrainingSetup setup, Training tuned)
    {
        if (!Options.CompareScratch) return null;
        if (Plan.Limited && Plan.Left < 0.7 * tuned.Result.Seconds)
        {
            Note("no time was left to train the network from scratch for comparison");
            return null;
        }
        Progress.Line("from scratch, for comparison:");
        var fresh = setup with { FineTune = false };
        var model = setup.Model;
        manual_seed(Options.Seed);
        Recipe recipe;
        using (var probe = pretrained.CreateFresh(model)) recipe = fresh.RecipeFor(probe, tuned.Plan.Epochs, tuned.Plan.Pictures);
        manual_seed(Options.Seed);
        var network = pretrained.CreateFresh(model with { DropPath = recipe.DropPath, LayerScale = recipe.LayerScale });
        return Train(network, fresh, recipe, tuned.Plan, chosen.InputSize, "scratch");
    }

    private Training Train(Layer network, TrainingSetup setup, Recipe recipe, TrainingPlan planned, int size, string part)
    {
        IImageDataset pictures = setup.Splits.Train;
        if (planned.Pictures < pictures.Count)
        {
            var order = Enumerable.Range(0, pictures.Count).ToArray();
            new Random(Options.Seed).Shuffle(order);
            pictures = new Subset(pictures, order.Take(planned.Pictures));
        }
        var result = setup.Train(network, pictures, setup.Splits.Val, recipe, size, new TrainerOptions
        {
            RunFolder = Path.Combine(Options.Folder, part),
            Resume = true,
            Cancellation = Cancel,
            CheckpointEvery = 500,
            MaxSeconds = Plan.Limited ? Math.Max(1, Plan.Left) : 0,
            Note = Progress.Line,
            Progress = p => Progress.Status((double)p.Step / p.Steps,
                $"epoch {p.Epoch + 1} of {p.Epochs}, loss {p.Loss:0.000}, {p.ImagesPerSecond:0} img/s, {Time(p.Eta)} left"),
            EpochDone = e =>
            {
                if (part == "train")
                {
                    Store.AddPoint("train/loss", e.Step, e.TrainLoss);
                    Store.AddPoint("train/lr", e.Step, e.LearningRate);
                    if (e.Val is { } v) Store.AddPoint("val/accuracy", e.Step, v.Top1);
                    if (e.EmaVal is { } m) Store.AddPoint("val/accuracy-ema", e.Step, m.Top1);
                }
                Progress.Line($"  epoch {e.Epoch + 1}: loss {e.TrainLoss:0.000}, validation {e.Val?.Top1:P2}{(e.EmaVal is { } a ? $", averaged weights {a.Top1:P2}" : "")}, {e.ImagesPerSecond:0} img/s");
            },
        });
        if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(Cancel);
        if (result.Outcome == TrainOutcome.Diverged)
        {
            if (result.Best is null) throw new BayouException(result.Message);
            Note(result.Message + "; the best weights so far are used");
        }
        if (result.Outcome == TrainOutcome.TimeUp) Note($"the time was over after {result.Steps} steps: the best weights so far are used");
        result.UseBest(network);
        network.eval();
        return new Training(network, result, recipe, planned);
    }

    public FitScratch Compare(Training scratch, Training tuned, Candidate chosen, TrainingSetup setup, FitTest test)
    {
        var evaluation = Evaluator.Evaluate(scratch.Network, new LoaderSource(setup.Eval(setup.Splits.Test, chosen.InputSize)), Cancel);
        Progress.Line($"test: {test.Fp32.Top1:P2} from the checkpoint, {evaluation.Top1:P2} from scratch with the same pictures and passes");
        return new FitScratch(tuned.Result.BestAccuracy, test.Fp32.Top1, scratch.Result.BestAccuracy, evaluation.Top1, tuned.Plan.Epochs, tuned.Result.Seconds,
            scratch.Result.Seconds);
    }

    private static string Time(TimeSpan t) => t.TotalHours >= 1 ? $"{(int)t.TotalHours}:{t.Minutes:00}:{t.Seconds:00}" : $"{t.Minutes}:{t.Seconds:00}";
}

/// <summary>A network with the training it has behind it.</summary>
internal sealed record Training(Layer Network, TrainResult Result, Recipe Recipe, TrainingPlan Plan);
