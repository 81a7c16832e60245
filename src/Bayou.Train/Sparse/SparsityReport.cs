using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>One layer of a sparse network.</summary>
/// <param name="Name">State-dict key of the weight.</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Elements">Its elements.</param>
/// <param name="NonZero">Those that are not zero.</param>
/// <param name="Overlap">Of the last update of its mask: |old and new| / |old or new|; null where no mask changed.</param>
public sealed record SparseLayer(string Name, long[] Shape, long Elements, long NonZero, double? Overlap = null)
{
    /// <summary>Share of weights that are not zero.</summary>
    public double Density => (double)NonZero / Elements;
}

/// <summary>One update of all masks.</summary>
/// <param name="Step">Optimizer steps done.</param>
/// <param name="PruneRate">Share exchanged.</param>
/// <param name="Active">Active weights afterwards, over all masked layers.</param>
/// <param name="Overlap">|old and new| / |old or new| over all masked layers: 1 when nothing moved.</param>
/// <param name="Explored">Share of all masked weights that have been active at least once.</param>
public sealed record SparseUpdate(long Step, double PruneRate, long Active, double Overlap, double Explored);

/// <summary>Where a network is sparse, and how its masks changed over training.</summary>
/// <param name="Layers">Layers with two or more dimensions, in the network's order.</param>
/// <param name="Updates">Updates of the masks in order; empty for static masks and for networks that were only looked at.</param>
public sealed record SparsityReport(IReadOnlyList<SparseLayer> Layers, IReadOnlyList<SparseUpdate> Updates)
{
    /// <summary>Share of the layers' weights that are not zero.</summary>
    public double Density => (double)Layers.Sum(l => l.NonZero) / Math.Max(1, Layers.Sum(l => l.Elements));

    /// <summary>
    /// The same history, with the weights counted anew: after the network has been given its best weights, which are those of an earlier step.
    /// </summary>
    public SparsityReport Recounted(nn.Module network)
    {
        var overlaps = Layers.ToDictionary(l => l.Name, l => l.Overlap);
        return this with { Layers = [.. Of(network).Layers.Select(l => l with { Overlap = overlaps.GetValueOrDefault(l.Name) })] };
    }

    /// <summary>Counts the zeros of any network.</summary>
    public static SparsityReport Of(nn.Module network)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        return new([.. network.named_parameters().Where(p => p.parameter.dim() >= 2)
            .Select(p => new SparseLayer(p.name, p.parameter.shape, p.parameter.numel(), p.parameter.count_nonzero().item<long>()))], []);
    }
}
