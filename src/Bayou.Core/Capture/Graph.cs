using System.Text;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>What a value of a graph is.</summary>
public enum ValueKind
{
    /// <summary>An input of the graph.</summary>
    Input,

    /// <summary>A parameter or buffer of the model, under its state-dict name.</summary>
    Parameter,

    /// <summary>A constant (<see cref="Ops.Constant"/>).</summary>
    Constant,

    /// <summary>The output of a node.</summary>
    Node,
}

/// <summary>One axis of a value: a size, or a multiple of the batch.</summary>
/// <param name="Size">The size at batch 1.</param>
/// <param name="PerBatch">Whether the axis grows with the batch.</param>
public readonly record struct Dim(long Size, bool PerBatch)
{
    /// <summary>The size at a batch.</summary>
    public long At(long batch) => PerBatch ? Size * batch : Size;
}

/// <summary>A tensor in a graph.</summary>
public sealed class GraphValue
{
    internal GraphValue(int id, ValueKind kind, string name, Dim[] shape, ScalarType dtype, Tensor? tensor)
    {
        (Id, Kind, Name, Shape, Dtype, Tensor) = (id, kind, name, shape, dtype, tensor);
    }

    /// <summary>Unique within the graph.</summary>
    public int Id { get; }

    /// <summary>What it is.</summary>
    public ValueKind Kind { get; }

    /// <summary>State-dict name of a parameter, given name of an input or output, otherwise made from the node's.</summary>
    public string Name { get; set; }

    /// <summary>Axes.</summary>
    public IReadOnlyList<Dim> Shape { get; }

    /// <summary>Element type.</summary>
    public ScalarType Dtype { get; }

    /// <summary>The parameter's, buffer's or constant's tensor itself (not a copy); null for inputs and node outputs.</summary>
    public Tensor? Tensor { get; set; }

    /// <summary>Whether it has a tensor of its own.</summary>
    public bool IsWeight => Kind is ValueKind.Parameter or ValueKind.Constant;

    /// <summary>The shape at a batch.</summary>
    public long[] ShapeAt(long batch)
    {
        var shape = new long[Shape.Count];
        for (var i = 0; i < shape.Length; i++) shape[i] = Shape[i].At(batch);
        return shape;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name}[{string.Join(",", Shape.Select(d => d.PerBatch ? d.Size == 1 ? "N" : $"{d.Size}N" : d.Size.ToString()))}]";
}

/// <summary>One op of a graph with what it reads and writes.</summary>
public sealed class GraphNode
{
    internal GraphNode(Op op, GraphValue?[] inputs, GraphValue[] outputs, string name)
    {
        (Op, Inputs, Outputs, Name) = (op, inputs, outputs, name);
    }

    /// <summary>The op with its attributes.</summary>
    public Op Op { get; }

    /// <summary>Inputs in the op's order; null where an optional one is absent.</summary>
    public IReadOnlyList<GraphValue?> Inputs { get; }

    /// <summary>Outputs.</summary>
    public IReadOnlyList<GraphValue> Outputs { get; }

    /// <summary>The only output of most nodes.</summary>
    public GraphValue Output => Outputs[0];

    /// <summary>
    /// Unique and readable: the module path of its weight ("stages.0.0.dwconv") where it has one, otherwise the path of the latest node with a weight
    /// and the op ("stages.0.0.pwconv1/Gelu").
    /// </summary>
    public string Name { get; }

    /// <inheritdoc/>
    public override string ToString() => $"{string.Join(", ", Outputs)} = {Op}({string.Join(", ", Inputs.Select(i => i?.Name ?? "-"))})";
}

/// <summary>
/// A network as data: what every op read and wrote, made by <see cref="Capture.Trace(TorchSharp.torch.nn.Module{Tensor, Tensor}, long[])"/>. Parameters are the
/// model's own tensors: training the model changes what the graph computes. Nodes are in an order in which they can run.
/// </summary>
public sealed class Graph
{
    private int nextId;

    internal Graph() { }

    /// <summary>Inputs in order.</summary>
    public List<GraphValue> Inputs { get; } = [];

    /// <summary>Outputs in order.</summary>
    public List<GraphValue> Outputs { get; } = [];

    /// <summary>Nodes in running order.</summary>
    public List<GraphNode> Nodes { get; } = [];

    /// <summary>Parameters, buffers and constants that nodes read, each once.</summary>
    public IEnumerable<GraphValue> Weights => Nodes.SelectMany(n => n.Inputs).Where(v => v is { IsWeight: true }).Select(v => v!).Distinct();

    /// <summary>Adds a value; used by capture and by passes that rewrite graphs (quantisation).</summary>
    public GraphValue AddValue(ValueKind kind, string name, IReadOnlyList<Dim> shape, ScalarType dtype, Tensor? tensor = null) =>
        new(nextId++, kind, name, [.. shape], dtype, tensor);

    /// <summary>Adds a constant that outlives any dispose scope.</summary>
    public GraphValue AddConstant(string name, Tensor tensor) =>
        AddValue(ValueKind.Constant, name, tensor.shape.Select(d => new Dim(d, false)).ToArray(), tensor.dtype, tensor.DetachFromDisposeScope());

    /// <summary>
    /// Adds a weight that a pass has computed (folded, corrected): a frozen parameter, so that costs count it, which outlives any dispose scope.
    /// </summary>
    public GraphValue AddFrozenWeight(string name, Tensor tensor)
    {
        var parameter = (TorchSharp.Modules.Parameter)new TorchSharp.Modules.Parameter(tensor.detach().clone().DetachFromDisposeScope(), requires_grad: false)
            .DetachFromDisposeScope();
        return AddValue(ValueKind.Parameter, name, tensor.shape.Select(d => new Dim(d, false)).ToArray(), tensor.dtype, parameter);
    }

    /// <summary>Makes a node without adding it to <see cref="Nodes"/>.</summary>
    public GraphNode MakeNode(Op op, GraphValue?[] inputs, GraphValue[] outputs, string name) => new(op, inputs, outputs, name);

    /// <summary>A graph with the same weights whose nodes are rewritten: for every node in order, <paramref name="rewrite"/> adds what replaces it.</summary>
    /// <param name="rewrite">Gets the new graph, the old node and a map from old to new values; must set the map for the node's outputs.</param>
    public Graph Rewrite(Action<Graph, GraphNode, Dictionary<GraphValue, GraphValue>> rewrite)
    {
        var copy = new Graph();
        var map = new Dictionary<GraphValue, GraphValue>();
        foreach (var input in Inputs) copy.Inputs.Add(map[input] = copy.AddValue(input.Kind, input.Name, input.Shape, input.Dtype));
        foreach (var weight in Weights) map[weight] = copy.AddValue(weight.Kind, weight.Name, weight.Shape, weight.Dtype, weight.Tensor);
        foreach (var node in Nodes) rewrite(copy, node, map);
        foreach (var output in Outputs) copy.Outputs.Add(map[output]);
        return copy;
    }

    /// <summary>Copies a node into a rewritten graph: the default step of <see cref="Rewrite"/>.</summary>
    /// <param name="copy">The new graph.</param>
    /// <param name="node">The old node.</param>
    /// <param name="map">From old to new values.</param>
    /// <param name="inputs">New inputs instead of the mapped old ones.</param>
    public static GraphNode CopyNode(Graph copy, GraphNode node, Dictionary<GraphValue, GraphValue> map, GraphValue?[]? inputs = null)
    {
        inputs ??= node.Inputs.Select(i => i is null ? null : map[i]).ToArray();
        var outputs = node.Outputs.Select(o => map[o] = copy.AddValue(o.Kind, o.Name, o.Shape, o.Dtype)).ToArray();
        var added = new GraphNode(node.Op, inputs, outputs, node.Name);
        copy.Nodes.Add(added);
        return added;
    }

    /// <summary>The nodes one a line.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (var node in Nodes) text.AppendLine(node.ToString());
        return text.ToString();
    }
}
