using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>Formats of the two operands of a layer's products.</summary>
/// <param name="Weights">Of the weight.</param>
/// <param name="Activations">Of the input; of both inputs where a product has no weight (attention).</param>
public sealed record OperandFormats(NumberFormat Weights, NumberFormat Activations)
{
    /// <summary>One format for both.</summary>
    public OperandFormats(NumberFormat both) : this(both, both) { }
}

/// <summary>
/// A captured network whose products compute in any number format (specs/ace.md, section 3): operands of convolutions, linear layers and matrix products are
/// cast, sums stay in float32 as in the accumulators of real hardware. Scales: weights by the largest size of each output channel, activations by the largest
/// size seen on calibration pictures, both brought to the format's largest value; formats with the exponents of fp16, bf16 or tf32 need none, and those of
/// microscaling (mxfp4, ...) scale blocks of 32 values along the summed axis themselves.
/// </summary>
public sealed class FormatNetwork
{
    private readonly Graph graph;
    private readonly Dictionary<GraphValue, double> reach = [];

    /// <summary>Takes a graph with one input (batch normalisation is folded) and observes its activations.</summary>
    /// <param name="graph">The float graph; not changed.</param>
    /// <param name="calibration">Some batches of pictures.</param>
    /// <exception cref="BayouException">No calibration batch, or no product in the graph.</exception>
    public FormatNetwork(Graph graph, IEnumerable<Tensor> calibration)
    {
        this.graph = GraphPasses.Simplify(graph);
        if (Layers.Count == 0) throw new BayouException("number formats: the network has no convolution, linear layer or matrix product");
        var wanted = Layers.SelectMany(Operands).Where(o => !o.Value.IsWeight).Select(o => o.Value).ToHashSet();
        using var noGrad = no_grad();
        using var module = new GraphModule(this.graph);
        module.eval();
        var batches = 0;
        foreach (var batch in calibration)
        {
            using var scope = NewDisposeScope();
            batches++;
            if (wanted.Contains(this.graph.Inputs[0])) See(this.graph.Inputs[0], batch);
            module.Run([batch], (value, tensor) =>
            {
                if (wanted.Contains(value)) See(value, tensor);
            });
        }
        if (batches == 0) throw new BayouException("number formats: some pictures are needed to see how large activations become");
    }

    /// <summary>Nodes with products, in running order.</summary>
    public IReadOnlyList<GraphNode> Layers => [.. graph.Nodes.Where(n => n.Op is Conv2dOp or LinearOp or MatMulOp)];

    /// <summary>The network with formats.</summary>
    /// <param name="formats">Formats of a layer by its node; null leaves it in float32.</param>
    public Graph With(Func<GraphNode, OperandFormats?> formats)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var layers = Layers.ToHashSet();
        var cast = new Dictionary<(GraphValue, NumberFormat), GraphValue>();
        return graph.Rewrite((copy, node, map) =>
        {
            var chosen = layers.Contains(node) ? formats(node) : null;
            var inputs = node.Inputs.Select(i => i is null ? null : map[i]).ToArray();
            if (chosen is not null)
            {
                foreach (var (index, value, axis, summed) in Operands(node))
                {
                    var format = value.IsWeight ? chosen.Weights : chosen.Activations;
                    if (format.Bits >= 32) continue;
                    if (!cast.TryGetValue((value, format), out var quantized))
                        cast[(value, format)] = quantized = Insert(copy, map[value], value, format, axis, summed);
                    inputs[index] = quantized;
                }
            }
            Graph.CopyNode(copy, node, map, inputs);
        });
    }

    /// <summary>The network with one pair of formats everywhere.</summary>
    public Graph With(OperandFormats formats) => With(_ => formats);

    private GraphValue Insert(Graph copy, GraphValue mapped, GraphValue value, NumberFormat format, int axis, int summed)
    {
        Tensor scale;
        if (format.Block > 0) (scale, axis) = (tensor(1f), summed);
        else if (!format.NeedsScale) (scale, axis) = (tensor(1f), -1);
        else if (value.IsWeight) scale = WeightScale(value.Tensor!, axis, format);
        else (scale, axis) = (tensor((float)(reach.GetValueOrDefault(value, 1) / ScaleTo(format))), -1);
        var op = new FormatCastOp(format, axis);
        var y = copy.AddValue(ValueKind.Node, $"{value.Name}/{format.Name}", value.Shape, value.Dtype);
        copy.Nodes.Add(copy.MakeNode(op, [mapped, copy.AddConstant($"{value.Name}/{format.Name}/scale", scale)], [y], $"{value.Name}/{format.Name}"));
        return y;
    }

    // The sign alone reproduces a tensor best with its mean size: here the largest size halved, as for AQT's binary codes of +-1/2.
    private static double ScaleTo(NumberFormat format) => format.Bits == 1 ? 2 : format.Max;

    private static Tensor WeightScale(Tensor weight, int axis, NumberFormat format)
    {
        var rows = weight.detach().transpose(0, axis).reshape(weight.shape[axis], -1).abs();
        return (format.Bits == 1 ? rows.mean([1]) : rows.amax(1).div(Number.Of(ScaleTo(format)))).clamp_min(Number.Of(1e-30)).clone();
    }

    // Position, value, channel axis and summed axis of the operands of a product.
    private static IEnumerable<(int Index, GraphValue Value, int Axis, int Summed)> Operands(GraphNode node)
    {
        for (var i = 0; i < 2; i++)
        {
            if (node.Inputs[i] is not { } value) continue;
            var last = value.Shape.Count - 1;
            yield return (i, value, node.Op is MatMulOp ? last : 0, node.Op is Conv2dOp ? 1 : node.Op is MatMulOp && i == 1 ? last - 1 : last);
        }
    }

    private void See(GraphValue value, Tensor tensor)
    {
        var size = tensor.abs().max().to(float32).item<float>();
        if (!float.IsFinite(size)) throw new BayouException($"number formats: activation '{value.Name}' is {size} on a calibration picture");
        reach[value] = Math.Max(reach.GetValueOrDefault(value, 1e-30), size);
    }
}
