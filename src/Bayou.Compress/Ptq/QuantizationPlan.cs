using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>A node that can run in integers.</summary>
/// <param name="Node">The node.</param>
/// <param name="Index">Its place in the graph's order.</param>
/// <param name="Inputs">Positions of its activation inputs.</param>
/// <param name="Weight">Its weight, null for additions and pooling.</param>
/// <param name="Axis">The weight's output channels.</param>
/// <param name="Edge">The value that must also be quantised on its way out, or null.</param>
internal sealed record QuantLayer(GraphNode Node, int Index, int[] Inputs, GraphValue? Weight, int Axis, GraphValue? Edge);

/// <summary>
/// Where fake quantisation goes so that ONNX Runtime really runs integer kernels. A quantised layer reads quantised inputs and a quantised weight. ONNX Runtime
/// fuses a convolution, an addition or a pooling only if its OUTPUT is quantised for all of its readers; MatMul and Gemm also fuse without, with a float
/// result. So a convolution's output edge (behind a ReLU with uint8, whose zero point 0 makes the ReLU redundant) gets a node that every reader sees. The
/// network's own outputs are never quantised.
/// </summary>
internal sealed class QuantizationPlan
{
    private readonly Dictionary<GraphValue, GraphNode> producers = [];
    private readonly Dictionary<GraphValue, List<GraphNode>> readers = [];
    private readonly PtqOptions options;

    public QuantizationPlan(Graph graph, PtqOptions options)
    {
        Graph = graph;
        this.options = options;
        foreach (var node in graph.Nodes)
        {
            if (node.Op is FakeQuantizeOp) throw new BayouException("Quantisation: the graph is quantised already; capture the float network");
            foreach (var output in node.Outputs) producers[output] = node;
            foreach (var input in node.Inputs)
            {
                if (input is null) continue;
                if (!readers.TryGetValue(input, out var list)) readers[input] = list = [];
                list.Add(node);
            }
        }
        for (var i = 0; i < graph.Nodes.Count; i++) if (Layer(graph.Nodes[i], i) is { } layer) Layers.Add(layer);
        var known = Layers.Select(l => l.Node.Name).ToHashSet();
        if (options.KeepFloat.FirstOrDefault(n => !known.Contains(n)) is { } unknown)
            throw new BayouException($"Quantisation: no quantisable layer is called '{unknown}'; there are {string.Join(", ", known.Take(50))}");
    }

    public Graph Graph { get; }

    public List<QuantLayer> Layers { get; } = [];

    /// <summary>Codes of activations.</summary>
    public (long Min, long Max) ActivationCodes => options.ActivationType == ActivationType.UInt8 ? (0, 255) : (-127, 127);

    /// <summary>Whether weights give up a bit.</summary>
    public bool ReducedRange =>
        options.WeightBits == 8 && (options.ReduceRange ?? (options.ActivationType == ActivationType.UInt8 && IntegerKernels.SaturatesInt8));

    /// <summary>Codes of weights, symmetric.</summary>
    public (long Min, long Max) WeightCodes
    {
        get
        {
            var max = ReducedRange ? 64L : (1L << (options.WeightBits - 1)) - 1;
            return (-max, max);
        }
    }

    /// <summary>
    /// The value whose range a value shares: moving elements (permute, reshape) changes no value, so that a quantised tensor that is moved and quantised again
    /// keeps its codes.
    /// </summary>
    public GraphValue Root(GraphValue value)
    {
        while (producers.TryGetValue(value, out var node) && node.Op is PermuteOp or ReshapeOp && node.Inputs[0] is { IsWeight: false } source) value = source;
        return value;
    }

    /// <summary>Values whose ranges can be asked for.</summary>
    public IEnumerable<GraphValue> Roots =>
        Layers.SelectMany(l => l.Inputs.Select(i => l.Node.Inputs[i]!).Concat(l.Edge is null ? [] : [l.Edge])).Select(Root).Distinct();

    private QuantLayer? Layer(GraphNode node, int index)
    {
        var x = node.Inputs.Count > 0 ? node.Inputs[0] : null;
        if (x is null || x.IsWeight || x.Dtype != ScalarType.Float32) return null;
        switch (node.Op)
        {
            case Conv2dOp when node.Inputs[1] is { IsWeight: true } w:
                return new(node, index, [0], w, 0, Edge(node));
            case LinearOp when node.Inputs[1] is { IsWeight: true } w:
                return new(node, index, [0], w, 0, null);
            case MatMulOp when node.Inputs[1] is { IsWeight: true } w:
                return new(node, index, [0], w, w.Shape.Count - 1, null);
            case BinaryOp { Kind: Binary.Add } when options.QuantizeAdd && node.Inputs[1] is { IsWeight: false } && !Graph.Outputs.Contains(node.Output):
                return new(node, index, [0, 1], null, 0, Edge(node));
            case MaxPool2dOp or AvgPool2dOp when options.QuantizePool && !Graph.Outputs.Contains(node.Output):
                return new(node, index, [0], null, 0, Edge(node));
            case MeanOp { KeepDim: true } mean when options.QuantizePool && mean.Dims == new Ints(2, 3) && x.Shape.Count == 4 && !Graph.Outputs.Contains(node.Output):
                return new(node, index, [0], null, 0, Edge(node));
            default:
                return null;
        }
    }

    private GraphValue? Edge(GraphNode node)
    {
        var value = node.Output;
        if (options.ActivationType == ActivationType.UInt8 && !Graph.Outputs.Contains(value) && readers.TryGetValue(value, out var list) && list.Count == 1
            && list[0].Op is ActivationOp { Kind: Activation.Relu }) value = list[0].Output;
        return Graph.Outputs.Contains(value) ? null : value;
    }

    /// <summary>
    /// The graph with the given layers quantised. Every added node stands directly before its first reader, so that the nodes before the first quantised layer
    /// are those of <see cref="Graph"/> in the same order.
    /// </summary>
    /// <param name="quantized">The layers.</param>
    /// <param name="activation">Scale and zero point of a root value.</param>
    /// <param name="weightScale">Scales [C] (or a scalar) of a layer's weight.</param>
    /// <param name="bias">A corrected bias for a layer, or null.</param>
    /// <param name="values">From values of <see cref="Graph"/> to those of the result.</param>
    public Graph Insert(
        IReadOnlySet<QuantLayer> quantized, Func<GraphValue, (double Scale, long Zero)> activation, Func<QuantLayer, Tensor> weightScale,
        Func<QuantLayer, Tensor?>? bias,
        out Dictionary<GraphValue, GraphValue> values)
    {
        var byNode = quantized.ToDictionary(l => l.Node);
        var edges = quantized.Where(l => l.Edge is not null).Select(l => l.Edge!).ToHashSet();
        var done = new Dictionary<GraphValue, GraphValue>();
        Dictionary<GraphValue, GraphValue> seen = [];
        var (low, high) = ActivationCodes;
        var (wLow, wHigh) = WeightCodes;
        var result = Graph.Rewrite((copy, node, map) =>
        {
            seen = map;
            byNode.TryGetValue(node, out var layer);
            var inputs = new GraphValue?[node.Inputs.Count];
            for (var i = 0; i < inputs.Length; i++)
            {
                if (node.Inputs[i] is not { } v) continue;
                // The ReLU between a convolution and its edge reads the convolution itself.
                if (edges.Contains(v) || (layer is not null && layer.Inputs.Contains(i))) inputs[i] = Activation(copy, v, map);
                else if (layer?.Weight is not null && i == 1) inputs[i] = Weight(copy, layer, map);
                else if (layer is not null && i == 2 && bias?.Invoke(layer) is { } corrected)
                    inputs[i] = copy.AddFrozenWeight($"{node.Name}.bias#corrected", corrected);
                else inputs[i] = map[v];
            }
            if (layer?.Weight is not null && inputs.Length > 2 && node.Inputs[2] is null && bias?.Invoke(layer) is { } added)
                inputs[2] = copy.AddFrozenWeight($"{node.Name}.bias#corrected", added);
            Graph.CopyNode(copy, node, map, inputs);
        });
        values = seen;
        return result;

        GraphValue Activation(Graph copy, GraphValue v, Dictionary<GraphValue, GraphValue> map)
        {
            if (done.TryGetValue(v, out var q)) return q;
            var (scale, zero) = activation(Root(v));
            return done[v] = FakeQuantize(copy, map[v], v.Name, tensor((float)scale), tensor((float)zero), new FakeQuantizeOp(low, high, -1));
        }

        GraphValue Weight(Graph copy, QuantLayer layer, Dictionary<GraphValue, GraphValue> map)
        {
            if (done.TryGetValue(layer.Weight!, out var q)) return q;
            var scale = weightScale(layer).clone();
            return done[layer.Weight!] =
                FakeQuantize(copy, map[layer.Weight!], layer.Weight!.Name, scale, zeros_like(scale),
                new FakeQuantizeOp(wLow, wHigh, scale.dim() == 0 ? -1 : layer.Axis));
        }
    }

    private static GraphValue FakeQuantize(Graph copy, GraphValue x, string name, Tensor scale, Tensor zero, FakeQuantizeOp op)
    {
        var y = copy.AddValue(ValueKind.Node, $"{name}/quantized", x.Shape, x.Dtype);
        copy.Nodes.Add(copy.MakeNode(op, [x, copy.AddConstant($"{name}/scale", scale), copy.AddConstant($"{name}/zero_point", zero)], [y],
            $"{name}/FakeQuantize"));
        return y;
    }
}
