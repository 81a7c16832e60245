using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>
/// A loss that needs more than the logits: penalties on what happens inside the network, a teacher's features, decisions that were drawn. A network that
/// implements it brings its own loss to every training; <see cref="TrainerOptions.Loss"/> gives one from outside.
/// </summary>
public interface ITrainingLoss
{
    /// <summary>Runs the network on a batch and returns the loss, a scalar with a gradient.</summary>
    Tensor Loss(TrainBatch batch);
}

/// <summary>A batch as a loss sees it.</summary>
/// <param name="Images">[N, C, H, W], mixed where the recipe mixes.</param>
/// <param name="Labels">[N], int64.</param>
/// <param name="Targets">[N, K], rows that sum to 1, where the recipe mixes; else null.</param>
/// <param name="Objective">The recipe's loss of logits [N, K]: cross entropy with its smoothing, mixing, class weights and distillation.</param>
public sealed record TrainBatch(Tensor Images, Tensor Labels, Tensor? Targets, Func<Tensor, Tensor> Objective);
