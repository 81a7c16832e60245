using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>Runs a graph node by node, so that a variant that differs from some node on can continue from the values computed so far.</summary>
internal sealed class PartialRun
{
    private readonly Graph graph;
    private readonly Dictionary<GraphValue, int> lastReader = [];
    private readonly Dictionary<GraphValue, Tensor> live = [];
    private readonly HashSet<Tensor> borrowed = new(ReferenceEqualityComparer.Instance);    // another run's: never disposed here

    public PartialRun(Graph graph, Tensor input)
    {
        this.graph = graph;
        borrowed.Add(input);
        for (var n = 0; n < graph.Nodes.Count; n++) foreach (var v in graph.Nodes[n].Inputs) if (v is not null) lastReader[v] = n;
        foreach (var output in graph.Outputs) lastReader[output] = int.MaxValue;
        live[graph.Inputs[0]] = input;
    }

    /// <summary>The next node to run.</summary>
    public int Position { get; private set; }

    /// <summary>A value computed and not yet dropped.</summary>
    public Tensor this[GraphValue value] => live[value];

    /// <summary>The graph's outputs after its last node.</summary>
    public Tensor[] Outputs => graph.Outputs.Select(o => live[o]).ToArray();

    /// <summary>Runs up to, not including, a node.</summary>
    /// <param name="end">Its index.</param>
    public void RunTo(int end)
    {
        for (; Position < end; Position++)
        {
            var node = graph.Nodes[Position];
            var x = node.Inputs.Select(v => v is null ? null : v.Tensor ?? live[v]).ToArray();
            var y = node.Op.ForwardMany(x, false);
            for (var o = 0; o < y.Length; o++) live[node.Outputs[o]] = y[o];
            foreach (var v in node.Inputs)
            {
                if (v is not { Kind: ValueKind.Node } || lastReader[v] != Position || !live.Remove(v, out var dead)) continue;
                // Ops may return their input itself (dropout in evaluation).
                if (!borrowed.Contains(dead) && !live.Values.Any(t => ReferenceEquals(t, dead))) dead.Dispose();
            }
        }
    }

    /// <summary>A run of a rewritten graph that starts from this one's values.</summary>
    /// <param name="variant">The rewritten graph; its first nodes up to <see cref="Position"/> are this graph's.</param>
    /// <param name="values">From this graph's values to the variant's.</param>
    public PartialRun Fork(Graph variant, Dictionary<GraphValue, GraphValue> values)
    {
        var fork = new PartialRun(variant, live[graph.Inputs[0]]) { Position = Position };
        foreach (var (value, tensor) in live)
        {
            fork.live[values[value]] = tensor;
            fork.borrowed.Add(tensor);
        }
        return fork;
    }
}
