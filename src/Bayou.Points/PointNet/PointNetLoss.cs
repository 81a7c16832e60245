using Bayou.Core;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>PointNet's loss: the recipe's, and what keeps the feature transform near a rotation.</summary>
public sealed partial class PointNet
{
    /// <inheritdoc/>
    public Tensor Loss(TrainBatch batch)
    {
        var (logits, transform) = Forward(batch.Images);
        var loss = batch.Objective(logits);
        return transform is null || Config.TransformWeight == 0 ? loss : loss.Plus(Distance(transform).mul(Number.Of(Config.TransformWeight)));
    }

    /// <summary>|I - A A'| (Frobenius norm, equation 2), mean over the batch.</summary>
    internal static Tensor Distance(Tensor transform)
    {
        var difference = matmul(transform, transform.transpose(1, 2)).sub(eye(transform.shape[1]));
        return difference.mul(difference).sum(new long[] { 1, 2 }).sqrt().mean();
    }
}
