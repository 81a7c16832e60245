using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Runs a graph in TorchSharp again, with gradients: quantised networks train and evaluate through it. It shares the parameters of the model the graph was
/// captured from and registers them under their state-dict names with "/" for "." (TorchSharp refuses dots).
/// </summary>
public sealed class GraphModule : nn.Module<Tensor, Tensor>
{
    private readonly List<int>[] drops;     // by node: values nobody reads after it
    private readonly int slots;

    /// <summary>Wraps a graph with one input.</summary>
    public GraphModule(Graph graph) : base(nameof(GraphModule))
    {
        Graph = graph;
        foreach (var weight in graph.Weights)
        {
            var name = weight.Name.Replace('.', '/');
            if (weight.Tensor is TorchSharp.Modules.Parameter parameter) register_parameter(name, parameter);
            else register_buffer(name, weight.Tensor!);
        }
        slots = graph.Inputs.Concat(graph.Weights).Concat(graph.Nodes.SelectMany(n => n.Outputs)).Max(v => v.Id) + 1;
        var lastReader = new int[slots];
        for (var n = 0; n < graph.Nodes.Count; n++)
        {
            foreach (var input in graph.Nodes[n].Inputs) if (input is not null) lastReader[input.Id] = n;
        }
        foreach (var output in graph.Outputs) lastReader[output.Id] = int.MaxValue;
        drops = new List<int>[graph.Nodes.Count];
        for (var n = 0; n < drops.Length; n++)
        {
            drops[n] = graph.Nodes[n].Inputs.Where(v => v is { Kind: ValueKind.Node } && lastReader[v.Id] == n).Select(v => v!.Id).Distinct().ToList();
        }
    }

    /// <summary>The graph it runs.</summary>
    public Graph Graph { get; }

    // The parameters belong to the model that was captured: they outlive this view of it.
    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => base.Dispose(false);

    /// <summary>Runs the graph and returns its first output.</summary>
    public override Tensor forward(Tensor x) => Run([x])[0];

    /// <summary>Runs the graph.</summary>
    /// <param name="inputs">One tensor for each graph input.</param>
    /// <param name="observe">Sees every value as it is computed, before it can be dropped (observers, per-layer comparisons); may be null. What it keeps it
    /// must clone and move to the outer dispose scope.</param>
    public Tensor[] Run(Tensor[] inputs, Action<GraphValue, Tensor>? observe = null)
    {
        if (inputs.Length != Graph.Inputs.Count) throw new BayouException($"GraphModule: {inputs.Length} inputs given, the graph has {Graph.Inputs.Count}");
        using var scope = NewDisposeScope();
        var live = new Tensor?[slots];
        for (var i = 0; i < inputs.Length; i++)
        {
            var declared = Graph.Inputs[i];
            var shape = inputs[i].shape;
            if (shape.Length != declared.Shape.Count || declared.Shape.Where((d, k) => !d.PerBatch && d.Size != shape[k]).Any())
                throw new BayouException($"GraphModule: input '{declared.Name}' has shape {new Ints(shape)}, the graph was captured for {declared}");
            live[declared.Id] = inputs[i];
            observe?.Invoke(declared, inputs[i]);
        }
        for (var n = 0; n < Graph.Nodes.Count; n++)
        {
            var node = Graph.Nodes[n];
            var x = new Tensor?[node.Inputs.Count];
            for (var i = 0; i < x.Length; i++) x[i] = node.Inputs[i] is { } v ? v.Tensor ?? live[v.Id] : null;
            var y = node.Op.ForwardMany(x, training);
            for (var o = 0; o < y.Length; o++)
            {
                live[node.Outputs[o].Id] = y[o];
                observe?.Invoke(node.Outputs[o], y[o]);
            }
            foreach (var id in drops[n]) Release(live, id);
        }
        var outputs = Graph.Outputs.Select(o => live[o.Id]!).ToArray();
        foreach (var output in outputs) if (!inputs.Any(i => ReferenceEquals(i, output))) output.MoveToOuterDisposeScope();
        return outputs;
    }

    // A view shares memory with its source, not the handle: disposing a handle early is safe, and autograd keeps what it needs.
    private static void Release(Tensor?[] live, int id)
    {
        var tensor = live[id];
        live[id] = null;
        if (tensor is not null && !Array.Exists(live, t => ReferenceEquals(t, tensor))) tensor.Dispose();
    }
}
