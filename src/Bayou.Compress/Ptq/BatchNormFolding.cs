using Bayou.Core;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>
/// Merges evaluation-mode batch normalisation into the convolution or linear layer before it: w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta
/// (specs/mqbench.md 1.6, deploy). Quantised networks need it: what is rounded must be what runs.
/// </summary>
public static class BatchNormFolding
{
    /// <summary>A graph without the normalisations that follow a convolution or linear layer directly; the model's own tensors are untouched.</summary>
    public static Graph Fold(Graph graph)
    {
        var readers = graph.Nodes.SelectMany(n => n.Inputs).Concat(graph.Outputs).Where(v => v is not null).GroupBy(v => v!).ToDictionary(g => g.Key, g => g.Count());
        var folded = new Dictionary<GraphNode, GraphNode>();    // layer -> its normalisation
        var producers = graph.Nodes.ToDictionary(n => n.Output);
        foreach (var norm in graph.Nodes)
        {
            if (norm.Op is not BatchNormOp || norm.Inputs[0] is not { Kind: ValueKind.Node } x || readers[x] != 1) continue;
            if (!producers.TryGetValue(x, out var layer) || layer.Inputs[1] is not { IsWeight: true } || layer.Inputs[2] is { IsWeight: false }) continue;
            if (layer.Op is Conv2dOp || (layer.Op is LinearOp && x.Shape.Count == 2)) folded[layer] = norm;
        }
        if (folded.Count == 0) return graph;
        var norms = folded.Values.ToHashSet();
        var names = new HashSet<string>();
        using var noGrad = no_grad();
        return graph.Rewrite((copy, node, map) =>
        {
            if (norms.Contains(node))
            {
                map[node.Output] = map[node.Inputs[0]!];
                return;
            }
            if (!folded.TryGetValue(node, out var norm))
            {
                Graph.CopyNode(copy, node, map);
                return;
            }
            using var scope = NewDisposeScope();
            Tensor weight = node.Inputs[1]!.Tensor!, mean = norm.Inputs[3]!.Tensor!, variance = norm.Inputs[4]!.Tensor!;
            var factor = rsqrt(variance + ((BatchNormOp)norm.Op).Eps);
            if (norm.Inputs[1]?.Tensor is { } gamma) factor = factor * gamma;
            var bias = (node.Inputs[2]?.Tensor is { } b ? b - mean : -mean) * factor;
            if (norm.Inputs[2]?.Tensor is { } beta) bias = bias + beta;
            var shape = new long[weight.dim()];
            Array.Fill(shape, 1);
            shape[0] = -1;
            var inputs = new[]
            {
                map[node.Inputs[0]!],
                Weight(copy, Unique(names, node.Inputs[1]!.Name), weight * factor.reshape(shape)),
                Weight(copy, Unique(names, node.Inputs[2]?.Name ?? $"{node.Name}.bias"), bias),
            };
            // The layer now writes what the normalisation wrote; it keeps that value's name (a graph output's, perhaps).
            var output = map[node.Output] = copy.AddValue(ValueKind.Node, norm.Output.Name, norm.Output.Shape, norm.Output.Dtype);
            copy.Nodes.Add(copy.MakeNode(node.Op, inputs, [output], node.Name));
        });
    }

    private static string Unique(HashSet<string> names, string name)
    {
        var unique = name;
        for (var k = 2; !names.Add(unique); k++) unique = $"{name}#{k}";
        return unique;
    }

    /// <summary>A frozen parameter of a rewritten graph.</summary>
    internal static GraphValue Weight(Graph graph, string name, Tensor value)
    {
        var parameter = (Parameter)new Parameter(value.detach().clone().DetachFromDisposeScope(), requires_grad: false).DetachFromDisposeScope();
        return graph.AddValue(ValueKind.Parameter, name, value.shape.Select(d => new Dim(d, false)).ToArray(), value.dtype, parameter);
    }
}
