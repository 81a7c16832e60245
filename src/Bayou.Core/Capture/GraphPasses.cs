using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Rewrites of a graph that keep what it predicts and make it cheaper. Run them before quantisation, so that it sees the weights that are shipped. What they
/// change is stored as frozen copies: the new graph no longer follows a training of those weights.
/// </summary>
public static class GraphPasses
{
    /// <summary>All passes: <see cref="RemoveIdentities"/>, <see cref="FoldBatchNorm"/>, <see cref="FoldLayerScale"/>, <see cref="RemoveUnread"/>.</summary>
    public static Graph Simplify(Graph graph) => RemoveUnread(FoldLayerScale(FoldBatchNorm(RemoveIdentities(graph))));

    /// <summary>Drops dropout, stochastic depth, x * 1 + 0 and permutations that move nothing.</summary>
    public static Graph RemoveIdentities(Graph graph) => graph.Rewrite((copy, node, map) =>
    {
        var nothing = node.Op switch
        {
            DropoutOp or DropPathOp => true,
            ScaleOp op => op is { Scale: 1, Shift: 0 },
            PermuteOp op => op.Dims.Select((d, i) => d == i).All(same => same),
            _ => false,
        };
        // An output keeps its node, and with it its name.
        if (nothing && !graph.Outputs.Contains(node.Output)) map[node.Output] = map[node.Inputs[0]!];
        else Graph.CopyNode(copy, node, map);
    });

    /// <summary>Drops nodes whose results nobody reads.</summary>
    public static Graph RemoveUnread(Graph graph)
    {
        var read = graph.Outputs.ToHashSet();
        for (var n = graph.Nodes.Count - 1; n >= 0; n--)
        {
            if (graph.Nodes[n].Outputs.Any(read.Contains)) read.UnionWith(graph.Nodes[n].Inputs.OfType<GraphValue>());
        }
        return graph.Rewrite((copy, node, map) =>
        {
            if (node.Outputs.Any(read.Contains)) Graph.CopyNode(copy, node, map);
        });
    }

    /// <summary>
    /// Batch normalisation after a convolution or a linear layer becomes part of its weights: w' = w s, b' = (b - mean) s + beta with s = gamma / sqrt(variance
    /// + eps).
    /// </summary>
    public static Graph FoldBatchNorm(Graph graph) => FoldIntoProducer(graph, (node, channelAxis) =>
    {
        if (node.Op is not BatchNormOp op || channelAxis != 1 || node.Inputs.Skip(1).Any(v => v is { IsWeight: false })) return null;
        var scale = rsqrt(node.Inputs[4]!.Tensor!.to(float64).Plus(Number.Of(op.Eps)));
        if (node.Inputs[1] is { } gamma) scale = gamma.Tensor!.to(float64) * scale;
        var shift = -node.Inputs[3]!.Tensor!.to(float64) * scale;
        return (0, scale, node.Inputs[2] is { } beta ? shift.Plus(beta.Tensor!.to(float64)) : shift);
    });

    /// <summary>
    /// A product with one constant per channel (layer scale) after a linear layer or a convolution becomes part of its weights: w' = gamma w, b' = gamma b.
    /// </summary>
    public static Graph FoldLayerScale(Graph graph) => FoldIntoProducer(graph, (node, channelAxis) =>
    {
        if (node.Op is not BinaryOp { Kind: Binary.Mul } || node.Inputs.Count(v => v!.IsWeight) != 1) return null;
        var index = node.Inputs[0]!.IsWeight ? 0 : 1;
        var gamma = node.Inputs[index]!;
        var rank = node.Output.Shape.Count;
        // Broadcast to the right: gamma must vary along the channels only.
        for (var i = 0; i < gamma.Shape.Count; i++)
        {
            if (i + rank - gamma.Shape.Count != channelAxis && gamma.Shape[i].Size != 1) return null;
        }
        if (gamma.Shape.Count > rank || gamma.Shape.Count < rank - channelAxis) return null;
        var channels = node.Output.Shape[channelAxis].Size;
        return (1 - index, gamma.Tensor!.to(float64).reshape(-1).expand(channels), null);
    });

    // For each node that scales and shifts the channels of a convolution or linear layer read by nothing else: put that into the layer's weights.
    private static Graph FoldIntoProducer(Graph graph, Func<GraphNode, int, (int Source, Tensor Scale, Tensor? Shift)?> match)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var producers = graph.Nodes.SelectMany(n => n.Outputs.Select(o => (o, n))).ToDictionary(p => p.o, p => p.n);
        var readers = graph.Nodes.SelectMany(n => n.Inputs.OfType<GraphValue>()).Concat(graph.Outputs).CountBy(v => v).ToDictionary();
        var folds = new Dictionary<GraphNode, (GraphNode Follower, Tensor Scale, Tensor? Shift)>();
        foreach (var node in graph.Nodes)
        {
            foreach (var input in node.Inputs.OfType<GraphValue>())
            {
                if (!producers.TryGetValue(input, out var layer) || readers[input] != 1 || folds.ContainsKey(layer)) continue;
                if (layer.Op is not (Conv2dOp or LinearOp) || layer.Inputs[1] is not { IsWeight: true } || layer.Inputs[2] is { IsWeight: false }) continue;
                // A product may broadcast the layer's output to more elements than it has.
                if (!layer.Output.Shape.SequenceEqual(node.Output.Shape)) continue;
                var axis = layer.Op is Conv2dOp ? 1 : layer.Output.Shape.Count - 1;
                if (match(node, axis) is { } found && node.Inputs[found.Source] == input) folds[layer] = (node, found.Scale, found.Shift);
            }
        }
        var followers = folds.ToDictionary(f => f.Value.Follower, f => f.Key);
        var names = graph.Weights.Select(w => w.Name).ToHashSet();
        return graph.Rewrite((copy, node, map) =>
        {
            if (folds.TryGetValue(node, out var fold))
            {
                var (weight, bias) = (node.Inputs[1]!, node.Inputs[2]);
                var shape = new long[weight.Shape.Count];
                Array.Fill(shape, 1);
                shape[0] = -1;
                var folded = AddFolded(copy, names, weight, readers, weight.Tensor!.to(float64) * fold.Scale.reshape(shape), weight.Name);
                var shifted = bias is null ? fold.Shift : bias.Tensor!.to(float64) * fold.Scale;
                if (bias is not null && fold.Shift is not null) shifted = shifted!.Plus(fold.Shift);
                var newBias = shifted is null ? null : AddFolded(copy, names, bias, readers, shifted, bias?.Name ?? node.Name + ".bias", weight.Dtype);
                // The layer takes over the follower's output: its value, its name as an output of the graph.
                Graph.CopyNode(copy, node, map, [map[node.Inputs[0]!], folded, newBias]);
            }
            else if (followers.TryGetValue(node, out var layer))
            {
                map[node.Output] = map[layer.Output];
                if (graph.Outputs.Contains(node.Output)) map[node.Output].Name = node.Output.Name;
            }
            else
            {
                Graph.CopyNode(copy, node, map);
            }
        });
    }

    // The state-dict name stays with the folded weight unless another node reads the original too.
    private static GraphValue AddFolded(Graph copy, HashSet<string> names, GraphValue? old, Dictionary<GraphValue, int> readers, Tensor value, string name,
        ScalarType? dtype = null)
    {
        var unique = name;
        if (old is null || readers[old] > 1)
        {
            for (var k = 2; !names.Add(unique); k++) unique = $"{name}#{k}";
        }
        return copy.AddFrozenWeight(unique, value.to(old?.Dtype ?? dtype ?? ScalarType.Float32).contiguous());
    }
}
