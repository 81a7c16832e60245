using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>Cross entropy with label smoothing: mean over the batch of (1 - s) nll + s mean over classes of -log softmax(logits).</summary>
public static class LabelSmoothingCrossEntropyLoss
{
    /// <summary>The loss, a scalar.</summary>
    /// <param name="logits">[N, K].</param>
    /// <param name="labels">[N], int64 class indices.</param>
    /// <param name="smoothing">s, 0 for plain cross entropy.</param>
    /// <param name="classWeights">[K] or null: every class's term is weighted, and the sum divided by the weights of the labels (as PyTorch's cross_entropy
    /// does).</param>
    public static Tensor Of(Tensor logits, Tensor labels, double smoothing, Tensor? classWeights = null)
    {
        var logProbabilities = nn.functional.log_softmax(logits, -1);
        var loss = nn.functional.nll_loss(logProbabilities, labels, classWeights);
        if (smoothing == 0) return loss;
        var smooth = classWeights is null
            ? logProbabilities.mean()
            : logProbabilities.mul(classWeights).mean([-1]).sum().div(classWeights.index_select(0, labels).sum());
        return loss.mul(Number.Of(1 - smoothing)).sub(smooth.mul(Number.Of(smoothing)));
    }
}
