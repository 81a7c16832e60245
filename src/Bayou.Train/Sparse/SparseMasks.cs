using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>
/// The arithmetic of sparse training, without state: layer densities, and one step of pruning and growing. Masks are bool tensors of the weight's shape, true
/// where a weight is active. <c>groups</c> cuts a weight along its first axis into parts that are judged separately (1: the whole layer).
/// </summary>
public static class SparseMasks
{
    /// <summary>
    /// Density of every layer by SNIP: with K = int(all elements x density), the share of scores strictly above the K-th largest of all layers together.
    /// </summary>
    /// <param name="scores">|weight x gradient| of every layer.</param>
    /// <param name="density">Share to keep over all layers.</param>
    /// <returns>Share of each layer that is above the threshold.</returns>
    public static double[] Snip(IReadOnlyList<Tensor> scores, double density)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var all = cat(scores.Select(s => s.reshape(-1)).ToArray());
        var keep = (long)(all.numel() * density);
        if (keep < 1) throw new BayouException($"SNIP: a density of {density} keeps none of {all.numel()} weights");
        // kthvalue counts from the smallest.
        var threshold = all.kthvalue(all.numel() - keep + 1, 0L).values;
        return scores.Select(s => s.gt(threshold).sum().item<long>() / (double)s.numel()).ToArray();
    }

    /// <summary>
    /// Density of every layer by Erdos-Renyi-kernel: epsilon (sum of dimensions) / (product of dimensions), epsilon chosen for the density wanted over all;
    /// layers that would exceed 1 become dense one level after the other and the rest is computed again.
    /// </summary>
    public static double[] Erk(IReadOnlyList<long[]> shapes, double density)
    {
        var sizes = shapes.Select(s => s.Aggregate(1L, (a, b) => a * b)).ToArray();
        var raw = shapes.Select((s, i) => s.Sum() / (double)sizes[i]).ToArray();
        var dense = new bool[sizes.Length];
        while (dense.Contains(false))
        {
            double wanted = 0, divisor = 0, largest = 0;
            for (var i = 0; i < sizes.Length; i++)
            {
                if (dense[i])
                {
                    wanted -= sizes[i] * (1 - density);
                    continue;
                }
                wanted += sizes[i] * density;
                divisor += raw[i] * sizes[i];
                largest = Math.Max(largest, raw[i]);
            }
            var epsilon = wanted / divisor;
            if (largest * epsilon <= 1) return raw.Select((r, i) => dense[i] ? 1 : epsilon * r).ToArray();
            for (var i = 0; i < dense.Length; i++) dense[i] |= raw[i] == largest;
        }
        return [.. dense.Select(_ => 1.0)];
    }

    /// <summary>A random mask: active where the uniform draw is below the density.</summary>
    public static Tensor Random(Tensor uniform, double density) => uniform.lt(Number.Of(density));

    /// <summary>Share exchanged after t of T steps.</summary>
    public static double PruneRate(SparseOptions options, long step, long total)
    {
        var (first, last) = (options.PruneRate, options.EndPruneRate);
        var t = total > 0 ? Math.Min(1, step / (double)total) : 1;
        return options.Schedule switch
        {
            SparseSchedule.Cosine => last + (first - last) / 2 * (1 + Math.Cos(Math.PI * t)),
            SparseSchedule.Linear => first + (last - first) * t,
            _ => first,
        };
    }

    /// <summary>Deactivates ceil(rate x active) weights of every group, those of the lowest score.</summary>
    /// <param name="score">What a weight is worth, 0 or more, e.g. |w|; the weight's shape.</param>
    /// <param name="mask">Active weights.</param>
    /// <param name="rate">Share to remove.</param>
    /// <param name="groups">Parts of the first axis judged separately.</param>
    /// <returns>The new mask, and how many each group [groups] lost (int64).</returns>
    public static (Tensor Mask, Tensor Removed) Prune(Tensor score, Tensor mask, double rate, long groups = 1)
    {
        var active = mask.reshape(groups, -1);
        var count = active.sum(1, type: ScalarType.Int64);
        // In double, as the official code counts: float would round large layers.
        var removed = count.to(float64).mul(Number.Of(rate)).ceil().to(int64);
        // Inactive weights come first in the order whatever their score.
        var order = score.reshape(groups, -1).masked_fill(active.logical_not(), Number.Of(-1)).argsort(1);
        var kept = Places(active).ge(Inactive(active).Plus(removed).unsqueeze(1));
        return (zeros_like(active).scatter_(1, order, kept).reshape(mask.shape), removed);
    }

    /// <summary>Activates the inactive weights of the highest score, as many in each group as were removed there.</summary>
    /// <param name="score">What a weight would be worth, 0 or more, e.g. |gradient|.</param>
    /// <param name="mask">Active weights.</param>
    /// <param name="count">How many to activate in each group [groups] (int64).</param>
    public static Tensor GrowBest(Tensor score, Tensor mask, Tensor count)
    {
        var groups = count.shape[0];
        var active = mask.reshape(groups, -1);
        var order = score.reshape(groups, -1).masked_fill(active, Number.Of(-1)).argsort(1, descending: true);
        var grown = Places(active).lt(minimum(count, Inactive(active)).unsqueeze(1));
        return zeros_like(active).scatter_(1, order, grown).logical_or(active).reshape(mask.shape);
    }

    /// <summary>
    /// Activates each inactive weight with probability (wanted) / (inactive) of its group: the number grown is random, and a weight that was just pruned may
    /// come back.
    /// </summary>
    /// <param name="uniform">Draws of the weight's shape.</param>
    /// <param name="mask">Active weights.</param>
    /// <param name="count">How many to activate in each group [groups] (int64) on average.</param>
    public static Tensor GrowRandom(Tensor uniform, Tensor mask, Tensor count)
    {
        var groups = count.shape[0];
        var active = mask.reshape(groups, -1);
        var probability = count.to(float64).div(Inactive(active).to(float64)).to(uniform.dtype).unsqueeze(1);
        return uniform.reshape(groups, -1).lt(probability).logical_or(active).reshape(mask.shape);
    }

    private static Tensor Inactive(Tensor active) => active.logical_not().sum(1, type: ScalarType.Int64);

    private static Tensor Places(Tensor active) => arange(Number.Of(active.shape[1]), int64).unsqueeze(0);
}
