using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>What one node of a graph costs at batch 1.</summary>
/// <param name="Node">The node's name.</param>
/// <param name="Op">Its op.</param>
/// <param name="Parameters">Elements of the parameters it is the first to read.</param>
/// <param name="Macs">Multiply-accumulates of convolutions and matrix products.</param>
/// <param name="Elementwise">Other scalar operations.</param>
/// <param name="ElementsRead">Elements of all its inputs, weights included.</param>
/// <param name="ElementsWritten">Elements of its outputs.</param>
/// <param name="ABits">Bits of the first operand: those of the quantisation it was read through, 32 without one.</param>
/// <param name="BBits">Bits of the second operand.</param>
public sealed record NodeCost(string Node, string Op, long Parameters, long Macs, long Elementwise, long ElementsRead, long ElementsWritten, int ABits = 32,
    int BBits = 32)
{
    /// <summary>Whether both operands of its products are quantised.</summary>
    public bool Quantized => Macs > 0 && ABits < 32 && BBits < 32;

    /// <summary>ACE with the operands as they are.</summary>
    public long AceAsIs => Macs * ABits * BBits;

    /// <summary>Arithmetic computation effort: MACs x bits of operand a x bits of operand b (specs/ace.md, section 1).</summary>
    public long Ace(NumberFormat a, NumberFormat b) => Macs * a.Bits * b.Bits;
}

/// <summary>
/// Cost of a graph, per node and in total, independent of any machine. Only convolutions and matrix products count as MACs, padding positions included;
/// elementwise work is listed beside them.
/// </summary>
public sealed class Cost
{
    private Cost(IReadOnlyList<NodeCost> nodes, long buffers)
    {
        Nodes = nodes;
        Buffers = buffers;
        Parameters = nodes.Sum(n => n.Parameters);
        Macs = nodes.Sum(n => n.Macs);
        Elementwise = nodes.Sum(n => n.Elementwise);
    }

    /// <summary>Costs in running order; fake quantisation nodes are left out.</summary>
    public IReadOnlyList<NodeCost> Nodes { get; }

    /// <summary>Elements of all parameters that the graph reads, each once (buffers such as running means are not parameters).</summary>
    public long Parameters { get; }

    /// <summary>Elements of buffers and constants.</summary>
    public long Buffers { get; }

    /// <summary>Multiply-accumulates at batch 1.</summary>
    public long Macs { get; }

    /// <summary>Other scalar operations at batch 1.</summary>
    public long Elementwise { get; }

    /// <summary>ACE with both operands of every product in one format.</summary>
    public long Ace(NumberFormat format) => Ace(format, format);

    /// <summary>ACE with weights and activations in given formats.</summary>
    public long Ace(NumberFormat weights, NumberFormat activations) => Nodes.Sum(n => n.Ace(weights, activations));

    /// <summary>ACE of the graph as it is: operands count with the bits of the quantisation they are read through, 32 bits without one.</summary>
    public long AceAsIs() => Nodes.Sum(n => n.AceAsIs);

    /// <summary>ACE with a format for every node (both operands), e.g. 8 bits for the first and last layer and 4 for the others.</summary>
    public long Ace(Func<NodeCost, (NumberFormat A, NumberFormat B)> formats) => Nodes.Where(n => n.Macs > 0).Sum(n => n.Ace(formats(n).A, formats(n).B));

    /// <summary>Bytes that the nodes read and write when nothing is fused or cached, in one format.</summary>
    public long BytesMoved(NumberFormat format) => Nodes.Sum(n => n.ElementsRead + n.ElementsWritten) * format.Bits / 8;

    /// <summary>Captures a model and counts it.</summary>
    /// <param name="model">The network.</param>
    /// <param name="input">Shape of one input, e.g. [1, 3, 224, 224].</param>
    public static Cost Of(nn.Module<Tensor, Tensor> model, params long[] input) => Of(Capture.Trace(model, input));

    /// <summary>Counts a graph at batch 1.</summary>
    public static Cost Of(Graph graph)
    {
        var counted = new HashSet<GraphValue>();
        long buffers = 0;
        var producers = graph.Nodes.SelectMany(n => n.Outputs.Select(o => (o, n))).ToDictionary(p => p.o, p => p.n);
        var costs = new List<NodeCost>();
        foreach (var node in graph.Nodes)
        {
            // A weight that is quantised or turned before it is read belongs to the node that reads the result.
            if (node.Op is IQuantizeOp) continue;
            var weights = Prepares(node, producers)
                ? [] : node.Inputs.Select(i => i is null ? null : Source(i, producers)).Where(v => v is { IsWeight: true }).Select(v => v!);
            long parameters = 0;
            foreach (var weight in weights)
            {
                if (!counted.Add(weight)) continue;
                var elements = weight.ShapeAt(1).Aggregate(1L, (a, b) => a * b);
                if (weight.Tensor is TorchSharp.Modules.Parameter) parameters += elements;
                else buffers += elements;
            }
            var inputs = node.Inputs.Select(i => i?.ShapeAt(1)).ToArray();
            var outputs = node.Outputs.Select(o => o.ShapeAt(1)).ToArray();
            var work = node.Op.Work(inputs, outputs);
            costs.Add(new NodeCost(node.Name, node.Op.Name, parameters, work.Macs, work.Elementwise,
                inputs.Sum(i => i is null ? 0 : Elements(i)), outputs.Sum(Elements), Bits(node, 0), Bits(node, 1)));
        }
        return new Cost(costs, buffers);

        // Padding, reshaping and the like keep the values of a format.
        int Bits(GraphNode node, int input)
        {
            if (node.Inputs.Count <= input || node.Inputs[input] is not { } value || !producers.TryGetValue(value, out var producer)) return 32;
            return producer.Op is IQuantizeOp quantizer ? quantizer.Bits : producer.Op is MoveOp and not ConcatOp ? Bits(producer, 0) : 32;
        }
    }

    private static GraphValue Source(GraphValue value, Dictionary<GraphValue, GraphNode> producers) =>
        producers.TryGetValue(value, out var node) && (node.Op is IQuantizeOp || Prepares(node, producers)) ? Source(node.Inputs[0]!, producers) : value;

    // Reorders a weight: flax's layouts become ours so.
    private static bool Prepares(GraphNode node, Dictionary<GraphValue, GraphNode> producers) =>
        node.Op is PermuteOp or ReshapeOp && node.Inputs[0] is { } value && Source(value, producers).IsWeight;

    private static long Elements(long[] shape) => shape.Aggregate(1L, (a, b) => a * b);
}
