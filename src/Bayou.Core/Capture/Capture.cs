using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Turns a network into a <see cref="Graph"/> by running it. While a capture is active on a thread every op of <see cref="Ops"/> writes a node; a tensor that
/// reaches an op without having come from one (nor being a parameter, an input or an <see cref="Ops.Constant"/>) is an error that names the op, so nothing is
/// lost silently. The network runs at two batch sizes; what differs between the two becomes symbolic, so that graphs serve any batch.
/// </summary>
public sealed class Capture
{
    [ThreadStatic] private static Capture? current;

    // Tensor.Equals compares values: identity must be by reference.
    private readonly Dictionary<Tensor, int> values = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Tensor, string> names = new(ReferenceEqualityComparer.Instance);
    private readonly List<(ValueKind Kind, string Name, long[] Shape, ScalarType Dtype, Tensor Tensor)> entries = [];
    private readonly List<Tensor> keepAlive = [];
    private readonly List<(Op Op, int[] Inputs, int[] Outputs)> nodes = [];

    private Capture(nn.Module model)
    {
        foreach (var (name, parameter) in model.named_parameters()) names.TryAdd(parameter, name);
        foreach (var (name, buffer) in model.named_buffers()) names.TryAdd(buffer, name);
    }

    /// <summary>The capture of this thread, if any.</summary>
    internal static Capture? Current => current;

    /// <summary>Whether a capture is active on this thread.</summary>
    public static bool IsActive => current is not null;

    /// <summary>Captures a network with one input and one output.</summary>
    /// <param name="model">The network; its train/eval state is kept.</param>
    /// <param name="inputShape">Shape of one input, batch axis included (its size does not matter), e.g. [1, 3, 224, 224].</param>
    public static Graph Trace(nn.Module<Tensor, Tensor> model, params long[] inputShape) =>
        Trace(model, x => [model.call(x[0])], [("input", inputShape)], ["logits"]);

    /// <summary>Captures any function of a network, e.g. one that returns features of every stage.</summary>
    /// <param name="model">The network whose parameters it reads.</param>
    /// <param name="forward">The function.</param>
    /// <param name="inputs">Names and shapes of the inputs, batch axis first.</param>
    /// <param name="outputNames">Names for the outputs in order; missing ones are numbered.</param>
    /// <exception cref="BayouException">A tensor bypassed Ops, or the network depends on the batch in a way that no op can express.</exception>
    public static Graph Trace(nn.Module model, Func<Tensor[], Tensor[]> forward, (string Name, long[] Shape)[] inputs, string[] outputNames)
    {
        foreach (var (name, shape) in inputs)
        {
            if (shape.Length == 0 || shape.Skip(1).Any(d => d <= 0))
                throw new BayouException($"Capture: shape {new Ints(shape)} of input '{name}' must have a batch axis and positive sizes");
        }
        return Evaluating(model, () =>
        {
            var device = model.parameters().FirstOrDefault()?.device ?? CPU;
            var names = inputs.Select(i => i.Name).ToArray();
            Tensor[] Zeros(long batch) => [.. inputs.Select(i => zeros([batch, .. i.Shape[1..]], device: device))];
            var (two, outTwo) = Run(model, forward, names, () => Zeros(2));
            var (three, outThree) = Run(model, forward, names, () => Zeros(3));
            return Merge(two, outTwo, three, outThree, outputNames);
        });
    }

    /// <summary>
    /// Captures a network on one given input, for networks whose work depends on its values (which voxels are occupied). The graph holds for this input alone:
    /// its batch is not open.
    /// </summary>
    /// <param name="model">The network; its train/eval state is kept.</param>
    /// <param name="input">The input.</param>
    public static Graph TraceOn(nn.Module<Tensor, Tensor> model, Tensor input) => Evaluating(model, () =>
    {
        var (once, outputs) = Run(model, x => [model.call(x[0])], ["input"], () => [input]);
        return Merge(once, outputs, once, outputs, ["logits"]);
    });

    private static Graph Evaluating(nn.Module model, Func<Graph> capture)
    {
        if (current is not null) throw new BayouException("Capture: a capture is already active on this thread");
        var training = model.training;
        model.eval();
        try
        {
            using var noGrad = no_grad();
            return capture();
        }
        finally
        {
            model.train(training);
        }
    }

    private static (Capture, int[]) Run(nn.Module model, Func<Tensor[], Tensor[]> forward, string[] names, Func<Tensor[]> inputs)
    {
        // Merging reads shapes only: the activations of one batch size are gone before the other runs.
        using var scope = NewDisposeScope();
        var capture = new Capture(model);
        var tensors = inputs();
        for (var i = 0; i < tensors.Length; i++) capture.Add(tensors[i], ValueKind.Input, names[i]);
        current = capture;
        try
        {
            var outputs = forward(tensors);
            return (capture, outputs.Select((y, i) => capture.values.TryGetValue(y, out var id)
                ? id
                : throw new BayouException($"Capture: output {i} of the network did not come from an op of Bayou.Core.Ops")).ToArray());
        }
        finally
        {
            current = null;
        }
    }

    internal void Constant(Tensor value)
    {
        if (values.ContainsKey(value) || names.ContainsKey(value)) return;
        // The graph keeps a copy: the network's own tensor may die with a dispose scope.
        entries.Add((ValueKind.Constant, $"constant{entries.Count}", value.shape, value.dtype, value.clone().DetachFromDisposeScope()));
        values[value] = entries.Count - 1;
        keepAlive.Add(value);
    }

    internal void Record(Op op, Tensor?[] inputs, Tensor[] outputs)
    {
        var ids = new int[inputs.Length];
        for (var i = 0; i < inputs.Length; i++) ids[i] = inputs[i] is { } x ? Find(op, i, x) : -1;
        // A name may be taken again by an op that returns its input; the node's value is then the newer one.
        nodes.Add((op, ids, outputs.Select(y => Add(y, ValueKind.Node, "")).ToArray()));
    }

    private int Find(Op op, int index, Tensor x)
    {
        if (values.TryGetValue(x, out var id)) return id;
        if (names.TryGetValue(x, out var name)) return Add(x, ValueKind.Parameter, name);
        var last = nodes.Count > 0 ? $" (after node {nodes.Count}, {nodes[^1].Op.Name})" : "";
        throw new BayouException($"Capture: input {index} of {op.Name}, a tensor {new Ints(x.shape)}, came neither from an op of Bayou.Core.Ops nor from the network's parameters{last}. " +
            "Compute it with Ops, or enter it with Ops.Constant");
    }

    private int Add(Tensor tensor, ValueKind kind, string name)
    {
        // The entry keeps the object alive: a collected one could not be told from a new one.
        entries.Add((kind, name, tensor.shape, tensor.dtype, tensor));
        return values[tensor] = entries.Count - 1;
    }

    private static Graph Merge(Capture two, int[] outTwo, Capture three, int[] outThree, string[] outputNames)
    {
        if (two.nodes.Count != three.nodes.Count || two.entries.Count != three.entries.Count)
            throw new BayouException($"Capture: the network runs {two.nodes.Count} ops at batch 2 and {three.nodes.Count} at batch 3: it must not depend on the batch");
        var graph = new Graph();
        var values = new GraphValue[two.entries.Count];
        for (var i = 0; i < values.Length; i++)
        {
            var (kind, name, shape, dtype, tensor) = two.entries[i];
            var owner = kind is ValueKind.Constant or ValueKind.Parameter ? tensor : null;
            values[i] = graph.AddValue(kind, name, Dims(shape, three.entries[i].Shape, name), dtype, owner);
            if (kind == ValueKind.Input) graph.Inputs.Add(values[i]);
        }
        var path = "";
        var taken = new HashSet<string>();
        for (var n = 0; n < two.nodes.Count; n++)
        {
            var (op, inputs, outputs) = two.nodes[n];
            var (op3, inputs3, outputs3) = three.nodes[n];
            if (!inputs.AsSpan().SequenceEqual(inputs3))
                throw new BayouException($"Capture: node {n}, {op.Name}, reads other values at batch 3 than at batch 2: the network must not depend on the batch");
            var merged = op.MergeBatch(op3, outputs.Select(o => two.entries[o].Shape).ToArray(), outputs3.Select(o => three.entries[o].Shape).ToArray())
                ?? throw new BayouException($"Capture: {op} at batch 2 is {op3} at batch 3; write it so that the batch stays open (Reshape takes 0 and -1)");
            var weight = inputs.Where(i => i >= 0).Select(i => values[i]).FirstOrDefault(v => v.Kind == ValueKind.Parameter);
            string nodeName;
            if (weight is not null)
            {
                var dot = weight.Name.LastIndexOf('.');
                path = dot < 0 ? weight.Name : weight.Name[..dot];
                nodeName = path;
                if (dot >= 0 && merged is BinaryOp) nodeName = weight.Name;
            }
            else
            {
                nodeName = path.Length == 0 ? merged.Name : $"{path}/{merged.Name}";
            }
            var unique = nodeName;
            for (var k = 2; !taken.Add(unique); k++) unique = $"{nodeName}#{k}";
            var outs = outputs.Select(o => values[o]).ToArray();
            for (var o = 0; o < outs.Length; o++) outs[o].Name = outs.Length == 1 ? unique : $"{unique}:{o}";
            graph.Nodes.Add(graph.MakeNode(merged, inputs.Select(i => i < 0 ? null : values[i]).ToArray(), outs, unique));
        }
        for (var i = 0; i < outTwo.Length; i++)
        {
            var output = values[outTwo[i]];
            output.Name = i < outputNames.Length ? outputNames[i] : $"output{i}";
            graph.Outputs.Add(output);
        }
        return graph;
    }

    private static Dim[] Dims(long[] two, long[] three, string name)
    {
        if (two.Length != three.Length) throw new BayouException($"Capture: value '{name}' has {two.Length} axes at batch 2 and {three.Length} at batch 3");
        var dims = new Dim[two.Length];
        for (var i = 0; i < two.Length; i++)
        {
            if (two[i] == three[i]) dims[i] = new(two[i], false);
            else if (two[i] % 2 == 0 && three[i] == two[i] / 2 * 3) dims[i] = new(two[i] / 2, true);
            else throw new BayouException($"Capture: axis {i} of a value is {two[i]} at batch 2 and {three[i]} at batch 3; only multiples of the batch can be expressed");
        }
        return dims;
    }
}
