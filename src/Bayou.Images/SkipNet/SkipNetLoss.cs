using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>How the policy terms of a batch are put together.</summary>
public enum PolicyReduction
{
    /// <summary>Sum over the pictures, as the official CIFAR script does: its weight 0.01 at batch 128 acts like 1.28 on a mean.</summary>
    BatchSum,

    /// <summary>Mean over the pictures for each gate (ImageNet script).</summary>
    BatchMean,

    /// <summary>
    /// What the official ImageNet script computes by a broadcast of [B] against [B, 1]: every action is rewarded by the batch's mean return. For comparisons
    /// only.
    /// </summary>
    BroadcastMean,
}

/// <summary>The reward of hybrid reinforcement learning (paper, equations 5 and 6).</summary>
/// <param name="Alpha">Reward for skipping all blocks.</param>
/// <param name="Weight">Weight of the policy terms beside the cross entropy.</param>
/// <param name="Gamma">Discount from a gate to the one before it.</param>
/// <param name="ScaleCrossEntropy">Whether the cross entropy's part in the return is multiplied by alpha / N (ImageNet) instead of 1 (CIFAR, SVHN).</param>
/// <param name="Reduction">How pictures are put together.</param>
public sealed record HybridReward(
    double Alpha = 0.1, double Weight = 0.01, double Gamma = 1, bool ScaleCrossEntropy = false, PolicyReduction Reduction = PolicyReduction.BatchSum);

/// <summary>REINFORCE with a reward for skipping, beside the cross entropy whose gradient reaches the network through the features.</summary>
public static class SkipPolicyLoss
{
    /// <summary>
    /// Returns R_i = r_i + gamma R_(i+1) with r_i = (1 - a_i) alpha / N and R_(N+1) = -beta CE, [gates, batch], without a gradient.
    /// </summary>
    /// <param name="actions">One [N, 1] (or [N]) of 0 and 1 a gate.</param>
    /// <param name="crossEntropy">[N], per picture.</param>
    /// <param name="reward">The reward.</param>
    public static Tensor Returns(IReadOnlyList<Tensor> actions, Tensor crossEntropy, HybridReward reward)
    {
        var share = reward.Alpha / actions.Count;
        var sum = crossEntropy.detach().mul(Number.Of(reward.ScaleCrossEntropy ? -share : -1));
        var returns = new Tensor[actions.Count];
        for (var i = actions.Count - 1; i >= 0; i--)
        {
            var skipped = actions[i].detach().reshape(-1).to(sum.dtype).neg().Plus(Number.Of(1));
            returns[i] = sum = skipped.mul(Number.Of(share)).Plus(sum.mul(Number.Of(reward.Gamma)));
        }
        return stack(returns, 0);
    }

    /// <summary>-sum over gates and pictures of R_i log pi(a_i), put together by the reward's reduction; without the reward's weight. A scalar.</summary>
    /// <param name="probabilities">One [N, 1] a gate, probability of running, with a gradient.</param>
    /// <param name="actions">What was drawn.</param>
    /// <param name="returns">[gates, batch] of <see cref="Returns"/>.</param>
    /// <param name="reduction">How.</param>
    public static Tensor Of(IReadOnlyList<Tensor> probabilities, IReadOnlyList<Tensor> actions, Tensor returns, PolicyReduction reduction)
    {
        var run = cat(probabilities.Select(p => p.reshape(1, -1)).ToArray(), 0);
        var action = cat(actions.Select(a => a.detach().reshape(1, -1)).ToArray(), 0).to(run.dtype);
        // Probability of what was drawn: p where the block ran, 1 - p where it was skipped.
        var logPolicy = where(action.gt(Number.Of(0.5)), run, run.neg().Plus(Number.Of(1))).clamp_min(Number.Of(1e-12)).log();
        var batch = Number.Of(returns.shape[1]);
        return reduction switch
        {
            PolicyReduction.BatchSum => returns.mul(logPolicy).sum().neg(),
            PolicyReduction.BatchMean => returns.mul(logPolicy).sum().div(batch).neg(),
            _ => returns.mean([1]).mul(logPolicy.mean([1])).sum().neg(),
        };
    }

    /// <summary>Cross entropy of every picture, [N], against labels or, where given, soft targets.</summary>
    public static Tensor CrossEntropy(Tensor logits, Tensor labels, Tensor? targets = null) => targets is null
        ? nn.functional.cross_entropy(logits, labels, reduction: nn.Reduction.None)
        : targets.mul(nn.functional.log_softmax(logits, -1)).sum(-1).neg();
}
