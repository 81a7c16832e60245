using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// What a graph costs when products with zero weights are not counted, as papers on unstructured sparsity count it; dense kernels gain nothing from it.
/// </summary>
/// <param name="Weights">Elements of the weights of all convolutions and linear layers.</param>
/// <param name="NonZeroWeights">Those that are not zero.</param>
/// <param name="NonZeroMacs">Multiply-accumulates at batch 1 with weights that are not zero; products of two activations count in full.</param>
public sealed record SparseCost(long Weights, long NonZeroWeights, long NonZeroMacs)
{
    /// <summary>Share of weights that are not zero.</summary>
    public double Density => Weights == 0 ? 1 : (double)NonZeroWeights / Weights;

    /// <summary>Counts a graph.</summary>
    public static SparseCost Of(Graph graph)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var counts = new Dictionary<GraphValue, (long All, long NonZero)>();
        var macs = 0.0;
        foreach (var node in graph.Nodes)
        {
            var work = node.Op.Work([.. node.Inputs.Select(i => i?.ShapeAt(1))], [.. node.Outputs.Select(o => o.ShapeAt(1))]);
            if (node.Op is not (Conv2dOp or LinearOp) || node.Inputs[1] is not { IsWeight: true } weight)
            {
                macs += work.Macs;
                continue;
            }
            if (!counts.TryGetValue(weight, out var count)) counts[weight] = count = (weight.Tensor!.numel(), weight.Tensor.count_nonzero().item<long>());
            macs += work.Macs * ((double)count.NonZero / count.All);
        }
        return new(counts.Values.Sum(c => c.All), counts.Values.Sum(c => c.NonZero), (long)Math.Round(macs));
    }
}
