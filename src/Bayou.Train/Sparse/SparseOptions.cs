using System.Text.Json.Serialization;
using Bayou.Core;

namespace Bayou.Train;

/// <summary>How the density of every layer is decided before training. The pattern inside a layer is random but for <see cref="Resume"/>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<SparseInit>))]
public enum SparseInit
{
    /// <summary>From |weight x gradient| on one batch, over all layers together (SNIP, Lee et al., ICLR 2019).</summary>
    Snip,

    /// <summary>Erdos-Renyi-kernel: in proportion to (sum of the dimensions) / (their product), no layer above 1 (RigL, Evci et al., ICML 2020).</summary>
    Erk,

    /// <summary>The same density in every layer.</summary>
    Uniform,

    /// <summary>The pattern of nonzero weights the network already has: going on with a sparse checkpoint.</summary>
    Resume,
}

/// <summary>By what weights are judged when the mask changes.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<SparseCriterion>))]
public enum SparseCriterion
{
    /// <summary>No judgement: a random choice. Growing activates each candidate independently, so that the number grown is random too.</summary>
    Random,

    /// <summary>|weight|; pruning only.</summary>
    Magnitude,

    /// <summary>|weight x gradient| for pruning (what SNIP scores), |gradient| for growing (RigL).</summary>
    Gradient,

    /// <summary>|first moment| / sqrt(second moment) of the optimizer; growing only.</summary>
    Momentum,
}

/// <summary>How the share of weights that is exchanged goes from its first to its last value.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<SparseSchedule>))]
public enum SparseSchedule
{
    /// <summary>Half a cosine.</summary>
    Cosine,

    /// <summary>A straight line.</summary>
    Linear,

    /// <summary>Always the first value.</summary>
    Constant,
}

/// <summary>
/// Dynamic sparse training (SLaK, section 4; SET, Mocanu et al. 2018; RigL): a fixed number of active weights whose places change during training. The defaults
/// are the official code's.
/// </summary>
public sealed record SparseOptions
{
    /// <summary>Share of weights that are zero, in (0, 1).</summary>
    public double Sparsity { get; init; } = 0.4;

    /// <summary>Densities of the layers.</summary>
    public SparseInit Init { get; init; } = SparseInit.Snip;

    /// <summary>Which active weights are pruned: the lowest by this.</summary>
    public SparseCriterion Prune { get; init; } = SparseCriterion.Magnitude;

    /// <summary>Which inactive weights are grown: the highest by this.</summary>
    public SparseCriterion Grow { get; init; } = SparseCriterion.Random;

    /// <summary>Share of a layer's active weights exchanged at an update, at the start.</summary>
    public double PruneRate { get; init; } = 0.3;

    /// <summary>The same at the end.</summary>
    public double EndPruneRate { get; init; } = 0.005;

    /// <summary>Way from one to the other.</summary>
    public SparseSchedule Schedule { get; init; } = SparseSchedule.Cosine;

    /// <summary>Optimizer steps between updates; 0 keeps the first masks (static sparsity).</summary>
    public int UpdateEvery { get; init; } = 100;

    /// <summary>Only parameters whose key contains this, e.g. "large_kernel.LoRA"; null: every parameter with two or four dimensions.</summary>
    public string? Only { get; init; }

    /// <summary>
    /// Every output channel (for a depthwise kernel: every group) keeps its own number of active weights: pruning and growing choose inside a channel instead
    /// of inside a layer.
    /// </summary>
    public bool PerChannel { get; init; }

    /// <summary>These options if their numbers make sense.</summary>
    /// <exception cref="BayouException">A number is out of range; the message names it.</exception>
    public SparseOptions Checked()
    {
        if (!(Sparsity is > 0 and < 1)) throw new BayouException($"sparse training: sparsity {Sparsity} must be above 0 and below 1");
        if (!(PruneRate is >= 0 and <= 1) || !(EndPruneRate is >= 0 and <= 1))
            throw new BayouException($"sparse training: prune rates {PruneRate} and {EndPruneRate} must be in [0, 1]");
        if (UpdateEvery < 0) throw new BayouException($"sparse training: {UpdateEvery} steps between updates; 0 (never) or more are needed");
        if (Prune is SparseCriterion.Momentum)
            throw new BayouException("sparse training: weights are pruned by magnitude, gradient or at random, not by momentum");
        if (Grow is SparseCriterion.Magnitude)
            throw new BayouException("sparse training: inactive weights are all zero and cannot be grown by magnitude; use random, gradient or momentum");
        return this;
    }
}
