using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>One stage of a training.</summary>
/// <param name="Name">Short, for the run folder and the screen, e.g. "hybrid-rl".</param>
/// <param name="Recipe">How; the batch must be that of the whole training.</param>
/// <param name="Begin">Prepares the network; called before every session of the stage, also a resumed one, so it must only set modes. Null: nothing to
/// set.</param>
/// <param name="Change">Changes weights once, before the first step of the stage; sees the training pictures. Null: nothing to change.</param>
public sealed record TrainStage(string Name, Recipe Recipe, Action? Begin = null, Action<IBatchSource>? Change = null);

/// <summary>A network that is trained in several stages, one after the other.</summary>
public interface IStagedNetwork
{
    /// <summary>The stages of a training under a recipe: they share its epochs.</summary>
    IReadOnlyList<TrainStage> Stages(Recipe recipe);
}

/// <summary>Trains any network: one with stages of its own stage by stage, any other as <see cref="Trainer"/> does.</summary>
public static class StagedTraining
{
    private const string Checkpoint = "checkpoint.safetensors";

    /// <summary>Whether a folder holds a training that was begun, of one stage or of several.</summary>
    public static bool HasCheckpoint(string folder) =>
        Directory.Exists(folder) && Directory.EnumerateDirectories(folder).Prepend(folder).Any(f => File.Exists(Path.Combine(f, Checkpoint)));

    /// <summary>
    /// Trains in place. Each stage begins from the last weights of the one before it and writes into a folder of its own below the run folder; a resumed
    /// training goes on in the stage it was in. Arguments and result as in <see cref="Trainer.Train"/>; curves, steps and times are those of all stages, the
    /// best weights those of the last.
    /// </summary>
    /// <param name="network">The network.</param>
    /// <param name="train">Training batches.</param>
    /// <param name="val">Validation batches or null.</param>
    /// <param name="recipe">How.</param>
    /// <param name="options">Where, seed, callbacks; null for the defaults.</param>
    /// <param name="stageBegins">Told the name of each stage; null for nobody.</param>
    public static TrainResult Train(
        nn.Module<Tensor, Tensor> network, IBatchSource train, IBatchSource? val, Recipe recipe, TrainerOptions? options = null,
            Action<string>? stageBegins = null)
    {
        options ??= new();
        if (network is not IStagedNetwork staged) return Trainer.Train(network, train, val, recipe, options);
        var (stages, started) = (staged.Stages(recipe), DateTime.UtcNow);
        var (curves, epochs, steps, seconds) = (new List<EpochRecord>(), 0, 0, 0.0);
        for (var i = 0; ; i++)
        {
            var stage = stages[i];
            var folder = options.RunFolder is null ? null : Path.Combine(options.RunFolder, $"{i + 1}-{stage.Name}");
            var begun = folder is not null && options.Resume && File.Exists(Path.Combine(folder, Checkpoint));
            stageBegins?.Invoke(stage.Name);
            stage.Begin?.Invoke();
            if (!begun) stage.Change?.Invoke(train);
            var left = options.MaxSeconds == 0 ? 0 : Math.Max(1e-3, options.MaxSeconds - (DateTime.UtcNow - started).TotalSeconds);
            var result = Trainer.Train(network, train, val, stage.Recipe, options with { RunFolder = folder, MaxSeconds = left });
            curves.AddRange(result.Curves.Select(c => c with { Epoch = c.Epoch + epochs, Step = c.Step + steps }));
            (epochs, steps, seconds) = (epochs + stage.Recipe.Epochs, steps + result.Steps, seconds + result.Seconds);
            if (result.Outcome == TrainOutcome.Completed && i + 1 < stages.Count)
            {
                result.Dispose();
                continue;
            }
            return new TrainResult
            {
                Outcome = result.Outcome,
                Message = $"stage {stage.Name}: {result.Message}",
                Curves = curves,
                Steps = steps,
                Seconds = seconds,
                BestAccuracy = result.BestAccuracy,
                BestEpoch = result.BestEpoch < 0 ? -1 : result.BestEpoch + epochs - stage.Recipe.Epochs,
                BestIsEma = result.BestIsEma,
                Best = result.Best,
                Ema = result.Ema,
                Sparsity = result.Sparsity,
            };
        }
    }
}
