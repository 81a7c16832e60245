using Bayou.Core;
using Bayou.Onnx.Proto;
using Google.Protobuf;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Onnx;

/// <summary>The ONNX graph while it grows: names, initializers, nodes. <see cref="OnnxOps"/> says what each op becomes.</summary>
internal sealed class OnnxEmitter
{
    /// <summary>Stands between a graph node's name and what the node's further ONNX nodes are called ("head::bias"); graph names never contain it.</summary>
    public const string Separator = "::";

    private readonly GraphProto proto;
    private readonly HashSet<string> valueNames = [];
    private readonly HashSet<string> nodeNames = [];
    private readonly Dictionary<GraphValue, string> names = [];                 // of values that exist in the file by now
    private readonly Dictionary<(GraphValue, string), string> variants = [];    // weights stored in another form: transposed, as codes
    private readonly Dictionary<string, string> sharedConstants = [];           // small integer lists, each once

    public OnnxEmitter(Graph graph, string name)
    {
        Graph = graph;
        proto = new GraphProto { Name = name };
        foreach (var node in graph.Nodes)
        {
            foreach (var output in node.Outputs) Producers[output] = node;
            foreach (var input in node.Inputs) if (input is not null) Readers[input] = Readers.GetValueOrDefault(input) + 1;
        }
        foreach (var output in graph.Outputs) Readers[output] = Readers.GetValueOrDefault(output) + 1;
        // Inputs and outputs keep their names; a weight keeps its state-dict name; what a node computes steps aside.
        foreach (var input in graph.Inputs)
        {
            names[input] = Claim(input.Name);
            proto.Input.Add(Describe(input, names[input]));
        }
        foreach (var output in graph.Outputs)
        {
            OutputNames.Add(Claim(output.Name));
            proto.Output.Add(Describe(output, OutputNames[^1]));
        }
        foreach (var weight in graph.Weights) names[weight] = Claim(weight.Name);
    }

    public Graph Graph { get; }

    public GraphNode Node { get; private set; } = null!;

    public List<string> OutputNames { get; } = [];

    /// <summary>Which node computes a value.</summary>
    public Dictionary<GraphValue, GraphNode> Producers { get; } = [];

    /// <summary>How many nodes (and graph outputs) read a value.</summary>
    public Dictionary<GraphValue, int> Readers { get; } = [];

    /// <summary>Adds what a graph node becomes.</summary>
    public void Begin(GraphNode node) => Node = node;

    /// <summary>Name of an input of the current node, "" when it is absent. A weight is written when it is first read.</summary>
    public string In(int index) => index < Node.Inputs.Count && Node.Inputs[index] is { } value ? Name(value) : "";

    public string Name(GraphValue value)
    {
        if (!names.TryGetValue(value, out var name))
            throw new BayouException($"ONNX export: node '{Node.Name}' reads '{value.Name}', which nothing before it computes");
        return value.IsWeight ? Variant(value, name, () => value.Tensor!) : name;
    }

    /// <summary>Name for an output of the current node: the graph's own output name where the value is one.</summary>
    public string Out(int index = 0)
    {
        var value = Node.Outputs[index];
        var output = Graph.Outputs.IndexOf(value);
        return names[value] = output >= 0 ? OutputNames[output] : Claim(value.Name);
    }

    /// <summary>The current node's output is one of its inputs: no ONNX node.</summary>
    public void Alias(int input = 0)
    {
        if (Graph.Outputs.Contains(Node.Output)) Add("Identity", [In(input)], [Out()]);
        else names[Node.Output] = In(input);
    }

    /// <summary>A new name for a value inside what the current node becomes.</summary>
    public string Temporary(string label) => Claim(Node.Name + Separator + label);

    /// <summary>Adds an ONNX node and returns the name of its (first) output.</summary>
    public string Add(string opType, string[] inputs, string[] outputs, params (string Name, object Value)[] attributes)
    {
        var node = new NodeProto { OpType = opType };
        node.Name = ClaimNode(nodeNames.Contains(Node.Name) ? Node.Name + Separator + opType : Node.Name);
        // Optional inputs at the end are left out, in the middle they are "".
        var count = inputs.Length;
        while (count > 0 && inputs[count - 1].Length == 0) count--;
        node.Input.AddRange(inputs.Take(count));
        node.Output.AddRange(outputs);
        foreach (var (name, value) in attributes) node.Attribute.Add(Attribute(name, value));
        proto.Node.Add(node);
        return outputs[0];
    }

    /// <summary>A weight in the form that <paramref name="make"/> gives, stored once however often it is read.</summary>
    public string Variant(GraphValue weight, string name, Func<Tensor> make)
    {
        if (variants.TryGetValue((weight, name), out var known)) return known;
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var stored = name == names[weight] ? name : Claim(name);
        proto.Initializer.Add(Initializer(stored, make()));
        return variants[(weight, name)] = stored;
    }

    /// <summary>The name a weight carries in the file.</summary>
    public string WeightName(GraphValue weight) => names[weight];

    /// <summary>A new initializer that belongs to the current node.</summary>
    public string Constant(string label, Tensor value)
    {
        var name = Temporary(label);
        proto.Initializer.Add(Initializer(name, value));
        return name;
    }

    /// <summary>A list of 64-bit integers; equal ones are stored once.</summary>
    public string Longs(params long[] values)
    {
        var key = "ints[" + string.Join(",", values) + "]";
        if (sharedConstants.TryGetValue(key, out var name)) return name;
        using var scope = NewDisposeScope();
        name = Claim(key);
        proto.Initializer.Add(Initializer(name, tensor(values)));
        return sharedConstants[key] = name;
    }

    /// <summary>A single number of the type of a value; equal ones are stored once.</summary>
    public string Number(double value, ScalarType type)
    {
        var key = FormattableString.Invariant($"{type}[{value:R}]");
        if (sharedConstants.TryGetValue(key, out var name)) return name;
        using var scope = NewDisposeScope();
        name = Claim(key);
        proto.Initializer.Add(Initializer(name, tensor(value, float64).to(type)));
        return sharedConstants[key] = name;
    }

    /// <summary>Finishes: outputs that no node wrote under their own name get an Identity; what nobody reads is dropped.</summary>
    public GraphProto Finish()
    {
        var written = proto.Node.SelectMany(n => n.Output).ToHashSet();
        for (var i = 0; i < OutputNames.Count; i++)
        {
            if (written.Contains(OutputNames[i])) continue;
            var node = new NodeProto { OpType = "Identity", Name = ClaimNode(OutputNames[i]) };
            node.Input.Add(Name(Graph.Outputs[i]));
            node.Output.Add(OutputNames[i]);
            proto.Node.Add(node);
        }
        var read = OutputNames.ToHashSet();
        var kept = new List<NodeProto>();
        foreach (var node in proto.Node.Reverse())
        {
            if (!node.Output.Any(read.Contains)) continue;
            read.UnionWith(node.Input);
            kept.Add(node);
        }
        kept.Reverse();
        var weights = proto.Initializer.Where(t => read.Contains(t.Name)).ToList();
        proto.Node.Clear();
        proto.Node.AddRange(kept);
        proto.Initializer.Clear();
        proto.Initializer.AddRange(weights);
        return proto;
    }

    private string Claim(string name) => Claim(valueNames, name);

    private string ClaimNode(string name) => Claim(nodeNames, name);

    private static string Claim(HashSet<string> taken, string name)
    {
        var unique = name;
        for (var k = 2; !taken.Add(unique); k++) unique = $"{name}{Separator}{k}";
        return unique;
    }

    private static ValueInfoProto Describe(GraphValue value, string name)
    {
        var type = new TypeProto.Types.Tensor { ElemType = (int)DataType(value.Dtype, name), Shape = new TensorShapeProto() };
        foreach (var dim in value.Shape)
        {
            var entry = new TensorShapeProto.Types.Dimension();
            if (dim.PerBatch) entry.DimParam = dim.Size == 1 ? "N" : $"{dim.Size}N";
            else entry.DimValue = dim.Size;
            type.Shape.Dim.Add(entry);
        }
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = type } };
    }

    private static TensorProto Initializer(string name, Tensor tensor)
    {
        var proto = new TensorProto { Name = name, DataType = (int)DataType(tensor.dtype, name) };
        proto.Dims.AddRange(tensor.shape);
        if (tensor.numel() * tensor.element_size() > int.MaxValue - 1024)
            throw new BayouException($"ONNX export: weight '{name}' alone has {tensor.numel() * tensor.element_size():N0} bytes; a single tensor above 2 GB cannot be written");
        var plain = tensor.detach().cpu().contiguous();
        // A view may start in the middle of its storage; bytes honours that, but an empty tensor has none.
        proto.RawData = plain.numel() == 0 ? ByteString.Empty : ByteString.CopyFrom(plain.bytes);
        return proto;
    }

    /// <summary>The format's number for an element type.</summary>
    public static TensorProto.Types.DataType DataType(ScalarType type, string where) => type switch
    {
        ScalarType.Float32 => TensorProto.Types.DataType.Float,
        ScalarType.Float64 => TensorProto.Types.DataType.Double,
        ScalarType.Float16 => TensorProto.Types.DataType.Float16,
        ScalarType.BFloat16 => TensorProto.Types.DataType.Bfloat16,
        ScalarType.Int64 => TensorProto.Types.DataType.Int64,
        ScalarType.Int32 => TensorProto.Types.DataType.Int32,
        ScalarType.Int16 => TensorProto.Types.DataType.Int16,
        ScalarType.Int8 => TensorProto.Types.DataType.Int8,
        ScalarType.Byte => TensorProto.Types.DataType.Uint8,
        ScalarType.Bool => TensorProto.Types.DataType.Bool,
        _ => throw new BayouException($"ONNX export: '{where}' has element type {type}, which has no ONNX form here"),
    };

    private static AttributeProto Attribute(string name, object value)
    {
        var attribute = new AttributeProto { Name = name };
        switch (value)
        {
            case long i:
                (attribute.Type, attribute.I) = (AttributeProto.Types.AttributeType.Int, i);
                break;
            case float f:
                (attribute.Type, attribute.F) = (AttributeProto.Types.AttributeType.Float, f);
                break;
            case string s:
                (attribute.Type, attribute.S) = (AttributeProto.Types.AttributeType.String, ByteString.CopyFromUtf8(s));
                break;
            case long[] list:
                attribute.Type = AttributeProto.Types.AttributeType.Ints;
                attribute.Ints.AddRange(list);
                break;
            default:
                throw new ArgumentException($"attribute {name}: {value.GetType()}");
        }
        return attribute;
    }
}
