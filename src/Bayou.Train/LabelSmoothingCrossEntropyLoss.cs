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
    public static Tensor Of(Tensor logits, Tensor labels, double smoothing)
    {
        var logProbabilities = nn.functional.log_softmax(logits, -1);
        var loss = nn.functional.nll_loss(logProbabilities, labels);
        return smoothing == 0 ? loss : loss.mul(Number.Of(1 - smoothing)).sub(logProbabilities.mean().mul(Number.Of(smoothing)));
    }
}
