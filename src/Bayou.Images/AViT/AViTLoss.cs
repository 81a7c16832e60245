using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Which halting probabilities the distributional prior averages over.</summary>
public enum HaltingStatistics
{
    /// <summary>All pictures, all tokens but the class token: what the official code means.</summary>
    Patches,

    /// <summary>All tokens of all pictures but the first: what the official code computes. With one picture there is no prior.</summary>
    OfficialSlice,
}

/// <summary>What A-ViT's training adds to the cross entropy (paper, section 3.2).</summary>
public static class HaltingLoss
{
    /// <summary>Mean ponder cost over pictures and tokens, a scalar.</summary>
    /// <param name="ponder">[N, T] of <see cref="HaltingTrace"/>.</param>
    public static Tensor Ponder(Tensor ponder) => ponder.mean();

    /// <summary>
    /// The wanted share of each layer: a bell of deviation 1 around layer <paramref name="mean"/> (from 0), scaled so that the layers before the mean sum to
    /// 0.98. It does not sum to 1.
    /// </summary>
    /// <param name="depth">Layers; 12 in the paper.</param>
    /// <param name="mean">8 in the paper.</param>
    public static double[] Target(int depth, double mean = 8)
    {
        if (depth < 2 || mean <= 0 || mean >= depth)
            throw new BayouException($"the distributional prior wants tokens to halt around layer {mean}: it must lie between 0 and the depth {depth}");
        var bell = Enumerable.Range(0, depth).Select(l => Math.Exp(-0.5 * (l - mean) * (l - mean))).ToArray();
        var before = bell.Where((_, l) => l < mean).Sum();
        return bell.Select(v => 0.98 * v / before).ToArray();
    }

    /// <summary>Mean halting probability of each layer, [layers].</summary>
    public static Tensor LayerMeans(IReadOnlyList<HaltingLayer> layers, HaltingStatistics statistics) =>
        stack(layers.Select(l =>
            (statistics == HaltingStatistics.OfficialSlice ? l.Halting.slice(0, 1, long.MaxValue, 1) : l.Halting.slice(1, 1, long.MaxValue, 1)).mean())
            .ToArray());

    /// <summary>
    /// KL(target || d) over the layers, divided by their number, with d the layer means normalised to sum 1 and then cut to [0.01, 0.99]. A scalar, which
    /// training adds only where it is positive (a target that does not sum to 1 can make it negative).
    /// </summary>
    /// <param name="means">[layers] of <see cref="LayerMeans"/>.</param>
    /// <param name="target">One value a layer.</param>
    public static Tensor Prior(Tensor means, double[] target)
    {
        if (means.shape[0] != target.Length) throw new BayouException($"the distributional prior has {target.Length} layers, the network {means.shape[0]}");
        var share = means.div(means.sum()).clamp(Number.Of(0.01), Number.Of(0.99));
        var wanted = tensor(target.Select(v => (float)v).ToArray(), device: means.device);
        return wanted.mul(wanted.log().sub(share.log())).sum().div(Number.Of(target.Length));
    }
}
