using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Onnx;

/// <summary>
/// Fake quantisation in ONNX: QuantizeLinear + DequantizeLinear on activations, codes + DequantizeLinear for weights and biases. ONNX Runtime fuses
/// these with the Conv, Gemm or MatMul between them into integer kernels.
/// </summary>
internal static class OnnxQuantize
{
    /// <summary>Whether a graph needs opset 21: codes of more than 8 bits.</summary>
    public static bool NeedsOpset21(Graph graph) => graph.Nodes.Any(n => n.Op is FakeQuantizeOp op && CodeType(op, n) is ScalarType.Int16);

    /// <summary>Adds what a fake-quantise node becomes.</summary>
    public static void Emit(OnnxEmitter e, FakeQuantizeOp op)
    {
        var node = e.Node;
        var x = node.Inputs[0]!;
        if (x.IsWeight)
        {
            var codes = e.Variant(x, $"{e.WeightName(x)}{OnnxEmitter.Separator}codes of {node.Name}", () => Codes(node, op));
            Dequantize(e, codes, op, op.Axis, e.Out());
            return;
        }
        var input = Clamp(e, op);
        var (scale, zero) = Grid(e, op);
        var quantised = e.Add("QuantizeLinear", [input, scale, zero], [e.Temporary("codes")], Axis(op.Axis));
        e.Add("DequantizeLinear", [quantised, scale, zero], [e.Out()], Axis(op.Axis));
    }

    /// <summary>
    /// The weight of a Linear as MatMul and Gemm take it, [I, O]. A quantised one is stored as transposed codes; one that is computed gets a Transpose node.
    /// </summary>
    public static string Transposed(OnnxEmitter e, int index)
    {
        var weight = e.Node.Inputs[index]!;
        if (weight.IsWeight) return e.Variant(weight, e.WeightName(weight) + ".T", () => weight.Tensor!.t());
        if (e.Producers.GetValueOrDefault(weight) is { Op: FakeQuantizeOp op } quantise && quantise.Inputs[0]!.IsWeight)
        {
            // The node itself wrote codes as [O, I]; where nothing else reads it, that copy is dropped at the end as unread.
            var source = quantise.Inputs[0]!;
            var codes = e.Variant(source, $"{e.WeightName(source)}.T{OnnxEmitter.Separator}codes of {quantise.Name}", () => Codes(quantise, op).t());
            var reader = e.Node;
            e.Begin(quantise);
            var name = Dequantize(e, codes, op, op.Axis < 0 ? -1 : 1 - op.Axis, e.Temporary("T"));
            e.Begin(reader);
            return name;
        }
        return e.Add("Transpose", [e.In(index)], [e.Temporary("T")], ("perm", new[] { 1L, 0L }));
    }

    /// <summary>
    /// The bias of the current Conv or Gemm as its integer kernel takes it: 32-bit codes of step (input step x weight step). Null when input or weight is not
    /// quantised, when the bias is computed, or when it would not fit 32 bits.
    /// </summary>
    public static string? Bias(OnnxEmitter e, int index)
    {
        var node = e.Node;
        if (node.Inputs[index] is not { IsWeight: true } bias || StepOf(e, node.Inputs[0]!) is not { } input || StepOf(e, node.Inputs[1]!) is not { } weight)
            return null;
        if (input.Op.Axis >= 0 || weight.Op.Axis > 0) return null;
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var step = (input.Node.Inputs[1]!.Tensor! * weight.Node.Inputs[1]!.Tensor!).to(float32).cpu();
        var codes = round(bias.Tensor!.cpu().to(float64) / step.to(float64));
        if (codes.numel() == 0 || !(codes.abs().max().item<double>() < int.MaxValue)) return null;
        // One step for each output channel, or a single one.
        var perChannel = step.numel() > 1;
        var scale = e.Constant("bias step", perChannel ? step.reshape(-1) : step.reshape([]));
        var stored = e.Constant("bias codes", codes.to(int32));
        return e.Add("DequantizeLinear", [stored, scale], [e.Temporary("bias")], Axis(perChannel ? 0 : -1));
    }

    /// <summary>The fake-quantise node a value comes from, seen through nodes that only move elements.</summary>
    private static (GraphNode Node, FakeQuantizeOp Op)? StepOf(OnnxEmitter e, GraphValue value)
    {
        while (e.Producers.TryGetValue(value, out var node))
        {
            if (node.Op is FakeQuantizeOp op) return (node, op);
            if (node.Op is not (PermuteOp or ReshapeOp or DropoutOp or DropPathOp)) return null;
            value = node.Inputs[0]!;
        }
        return null;
    }

    private static string Dequantize(OnnxEmitter e, string codes, FakeQuantizeOp op, int axis, string output)
    {
        var (scale, zero) = Grid(e, op);
        return e.Add("DequantizeLinear", [codes, scale, zero], [output], Axis(axis));
    }

    private static (string, object)[] Axis(int axis) => axis < 0 ? [] : [("axis", (long)axis)];

    private static (string Scale, string Zero) Grid(OnnxEmitter e, FakeQuantizeOp op)
    {
        var (scale, zero) = Constants(e.Node);
        var code = CodeType(op, e.Node);
        // One number is written as a scalar even when the quantiser holds it as [1].
        Tensor Shape(Tensor t) => op.Axis < 0 ? t.reshape([]) : t;
        return (e.Variant(scale, e.WeightName(scale) + (op.Axis < 0 && scale.Shape.Count > 0 ? ".scalar" : ""), () => Shape(scale.Tensor!)),
            e.Variant(zero, $"{e.WeightName(zero)}{OnnxEmitter.Separator}{code}", () => Shape(zero.Tensor!).to(code)));
    }

    // A range narrower than the code type (4 bits) is not clamped by QuantizeLinear: the value is clamped before. Not so for -127..127: a clamp between the
    // layers would keep ONNX Runtime from integer kernels, and all it would change is that values below the range get the code -128 instead of -127.
    private static string Clamp(OnnxEmitter e, FakeQuantizeOp op)
    {
        if ((op.Min, op.Max) is (-128 or -127, 127) or (0, 255) or (-32768, 32767)) return e.In(0);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (scale, zero) = Constants(e.Node);
        var shape = new long[e.Node.Inputs[0]!.Shape.Count];
        Array.Fill(shape, 1);
        if (op.Axis >= 0) shape[op.Axis] = -1;
        else shape = [];
        Tensor Bound(long code) => ((Number.Of(code) - zero.Tensor!.to(float32)) * scale.Tensor!).reshape(shape);
        var low = e.Add("Max", [e.In(0), e.Constant("low", Bound(op.Min))], [e.Temporary("at least")]);
        return e.Add("Min", [low, e.Constant("high", Bound(op.Max))], [e.Temporary("at most")]);
    }

    private static Tensor Codes(GraphNode node, FakeQuantizeOp op)
    {
        var (scaleValue, zeroValue) = Constants(node);
        Tensor value = node.Inputs[0]!.Tensor!, scale = scaleValue.Tensor!, zero = zeroValue.Tensor!.to(value.dtype);
        if (op.Axis >= 0)
        {
            var shape = new long[value.dim()];
            Array.Fill(shape, 1);
            shape[op.Axis] = -1;
            (scale, zero) = (scale.reshape(shape), zero.reshape(shape));
        }
        return clamp(round(value / scale).Plus(zero), Number.Of(op.Min), Number.Of(op.Max)).to(CodeType(op, node));
    }

    private static (GraphValue Scale, GraphValue Zero) Constants(GraphNode node) =>
        node.Inputs[1] is { IsWeight: true } scale && node.Inputs[2] is { IsWeight: true } zero
        ? (scale, zero)
        : throw new BayouException($"ONNX export: scale and zero point of '{node.Name}' are computed by the network; they must be parameters or constants");

    private static ScalarType CodeType(FakeQuantizeOp op, GraphNode node) => (op.Min, op.Max) switch
    {
        ( >= -128, <= 127) => ScalarType.Int8,
        ( >= 0, <= 255) => ScalarType.Byte,
        ( >= -32768, <= 32767) => ScalarType.Int16,
        _ => throw new BayouException($"ONNX export: codes {op.Min}..{op.Max} of '{node.Name}' do not fit 16 bits"),
    };
}
