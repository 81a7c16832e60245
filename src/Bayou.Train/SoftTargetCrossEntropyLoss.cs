using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>Cross entropy against a distribution: mean over the batch of sum(-t log softmax(logits)).</summary>
public static class SoftTargetCrossEntropyLoss
{
    /// <summary>The loss, a scalar.</summary>
    /// <param name="logits">[N, K].</param>
    /// <param name="targets">[N, K], rows that sum to 1.</param>
    /// <param name="classWeights">[K] or null: weight of every class's term; the mean is over the batch all the same (as PyTorch's cross_entropy with
    /// probabilities).</param>
    public static Tensor Of(Tensor logits, Tensor targets, Tensor? classWeights = null)
    {
        var weighted = classWeights is null ? targets : targets.mul(classWeights);
        return weighted.mul(nn.functional.log_softmax(logits, -1)).sum(-1).neg().mean();
    }
}
