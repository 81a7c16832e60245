using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Onnx;

/// <summary>What every op of Bayou.Core becomes in ONNX (opset 20): one line or one short function each.</summary>
internal static class OnnxOps
{
    /// <summary>Adds what the emitter's current node becomes.</summary>
    /// <exception cref="BayouException">The op has no ONNX form.</exception>
    public static void Emit(OnnxEmitter e, GraphNode node)
    {
        e.Begin(node);
        switch (node.Op)
        {
            case Conv2dOp op: Conv(e, op); break;
            case LinearOp: Linear(e); break;
            case MatMulOp: e.Add("MatMul", [e.In(0), e.In(1)], [e.Out()]); break;
            case BinaryOp op: e.Add(op.Kind.ToString(), [e.In(0), e.In(1)], [e.Out()]); break;
            case ScaleOp op: Scale(e, op); break;
            case ActivationOp op: Activate(e, op.Kind); break;
            case HardGateOp op: HardGate(e, op); break;
            case MaskValuesOp: e.Add("Mul", [e.In(0), e.In(1)], [e.Out()]); break;
            case SoftmaxOp op: e.Add("Softmax", [e.In(0)], [e.Out()], ("axis", op.Dim)); break;
            case LayerNormOp op: LayerNorm(e, op); break;
            case BatchNormOp op: BatchNorm(e, op); break;
            case DropoutOp or DropPathOp: e.Alias(); break;      // a file is for prediction
            case PermuteOp op: e.Add("Transpose", [e.In(0)], [e.Out()], ("perm", Positive(op.Dims, node))); break;
            case ReshapeOp op: e.Add("Reshape", [e.In(0), e.Longs(op.Shape.Array)], [e.Out()]); break;      // 0 and -1 mean the same there
            case ConcatOp op: e.Add("Concat", Enumerable.Range(0, node.Inputs.Count).Select(e.In).ToArray(), [e.Out()], ("axis", op.Dim)); break;
            case SliceOp op: e.Add("Slice", [e.In(0), e.Longs(op.Start), e.Longs(op.End), e.Longs(op.Dim), e.Longs(op.Step)], [e.Out()]); break;
            case SplitOp op: e.Add("Split", [e.In(0), e.Longs(op.Sizes.Array)], Enumerable.Range(0, node.Outputs.Count).Select(e.Out).ToArray(), ("axis", op.Dim)); break;
            case Pad2dOp op: Pad(e, op); break;
            case ExpandBatchOp: ExpandBatch(e); break;
            case MeanOp op: e.Add("ReduceMean", [e.In(0), e.Longs(op.Dims.Array)], [e.Out()], ("keepdims", op.KeepDim ? 1L : 0L)); break;
            case MaxPool2dOp op: e.Add("MaxPool", [e.In(0)], [e.Out()], Window(op.Kernel, op.Stride, op.Padding)); break;
            case AvgPool2dOp op:
                e.Add("AveragePool", [e.In(0)], [e.Out()], [.. Window(op.Kernel, op.Stride, op.Padding), ("count_include_pad", op.CountPadding ? 1L : 0L)]);
                break;
            case AttentionOp op: Attention(e, op); break;
            case UnaryOp op: e.Add(op.Kind.ToString(), [e.In(0)], [e.Out()]); break;
            case ReduceOp op: e.Add(op.Name, [e.In(0), e.Longs(op.Dims.Array)], [e.Out()], ("keepdims", op.KeepDim ? 1L : 0L)); break;
            case NormalizeOp op: Normalize(e, op); break;
            case ClampOp op: e.Add("Clip", [e.In(0), e.Number(op.Low, node.Output.Dtype), e.Number(op.High, node.Output.Dtype)], [e.Out()]); break;
            case StopGradientOp: e.Alias(); break;
            case GatherOp op: e.Add("Gather", [e.In(0), e.In(1)], [e.Out()], ("axis", op.Dim)); break;
            case RollOp op: Roll(e, op); break;
            case FakeQuantizeOp op: OnnxQuantize.Emit(e, op); break;
            case AqtQuantizeOp op: OnnxAqt.Emit(e, op); break;
            default:
                throw new BayouException($"ONNX export: node '{node.Name}' ({node.Op.Name}) has no ONNX form; leave it out of the exported part of the network or replace it");
        }
    }

    private static void Conv(OnnxEmitter e, Conv2dOp op)
    {
        var bias = OnnxQuantize.Bias(e, 2) ?? e.In(2);
        e.Add("Conv", [e.In(0), e.In(1), bias], [e.Out()],
            ("kernel_shape", e.Node.Inputs[1]!.ShapeAt(1)[2..]), ("strides", op.Stride.Array), ("pads", Both(op.Padding)), ("dilations", op.Dilation.Array),
            ("group", op.Groups));
    }

    // ONNX Runtime packs a constant right operand once; [I, O] is the form it takes without a Transpose.
    private static void Linear(OnnxEmitter e)
    {
        var weight = OnnxQuantize.Transposed(e, 1);
        if (e.Node.Inputs[0]!.Shape.Count == 2)
        {
            e.Add("Gemm", [e.In(0), weight, OnnxQuantize.Bias(e, 2) ?? e.In(2)], [e.Out()]);
            return;
        }
        if (e.Node.Inputs[2] is null)
        {
            e.Add("MatMul", [e.In(0), weight], [e.Out()]);
            return;
        }
        var product = e.Add("MatMul", [e.In(0), weight], [e.Temporary("product")]);
        e.Add("Add", [product, e.In(2)], [e.Out()]);
    }

    private static void Scale(OnnxEmitter e, ScaleOp op)
    {
        var type = e.Node.Output.Dtype;
        if (op is { Scale: 1, Shift: 0 }) e.Alias();
        else if (op.Shift == 0) e.Add("Mul", [e.In(0), e.Number(op.Scale, type)], [e.Out()]);
        else if (op.Scale == 1) e.Add("Add", [e.In(0), e.Number(op.Shift, type)], [e.Out()]);
        else
        {
            var scaled = e.Add("Mul", [e.In(0), e.Number(op.Scale, type)], [e.Temporary("scaled")]);
            e.Add("Add", [scaled, e.Number(op.Shift, type)], [e.Out()]);
        }
    }

    private static void Activate(OnnxEmitter e, Activation kind)
    {
        var x = e.In(0);
        switch (kind)
        {
            case Activation.Hardsigmoid:
                e.Add("HardSigmoid", [x], [e.Out()], ("alpha", 1f / 6), ("beta", 0.5f));
                break;
            case Activation.Silu:
                var gate = e.Add("Sigmoid", [x], [e.Temporary("gate")]);
                e.Add("Mul", [x, gate], [e.Out()]);
                break;
            default:
                var name = kind switch
                {
                    Activation.Relu => "Relu",
                    Activation.Gelu => "Gelu",
                    Activation.Sigmoid => "Sigmoid",
                    Activation.Tanh => "Tanh",
                    Activation.Hardswish => "HardSwish",
                    _ => throw new BayouException($"ONNX export: node '{e.Node.Name}': activation {kind} has no ONNX form here"),
                };
                e.Add(name, [x], [e.Out()]);
                break;
        }
    }

    private static void HardGate(OnnxEmitter e, HardGateOp op)
    {
        var type = e.Node.Output.Dtype;
        var above = e.Add("Greater", [e.In(0), e.Number(op.Threshold, type)], [e.Temporary("above")]);
        e.Add("Cast", [above], [e.Out()], ("to", (long)OnnxEmitter.DataType(type, e.Node.Name)));
    }

    private static void LayerNorm(OnnxEmitter e, LayerNormOp op)
    {
        var scale = e.In(1);
        if (scale.Length == 0)
        {
            using var scope = NewDisposeScope();
            scale = e.Constant("one", ones(op.Shape.Array, e.Node.Output.Dtype));       // the scale is not optional there
        }
        e.Add("LayerNormalization", [e.In(0), scale, e.In(2)], [e.Out()], ("axis", -(long)op.Shape.Count), ("epsilon", (float)op.Eps));
    }

    private static void BatchNorm(OnnxEmitter e, BatchNormOp op)
    {
        using var scope = NewDisposeScope();
        var channels = e.Node.Inputs[3]!.ShapeAt(1);
        var type = e.Node.Output.Dtype;
        var scale = e.Node.Inputs[1] is null ? e.Constant("one", ones(channels, type)) : e.In(1);
        var shift = e.Node.Inputs[2] is null ? e.Constant("zero", zeros(channels, type)) : e.In(2);
        e.Add("BatchNormalization", [e.In(0), scale, shift, e.In(3), e.In(4)], [e.Out()], ("epsilon", (float)op.Eps));
    }

    private static void Pad(OnnxEmitter e, Pad2dOp op)
    {
        var rank = e.Node.Inputs[0]!.Shape.Count;
        var pads = new long[2 * rank];       // starts of all axes, then ends of all axes
        (pads[rank - 2], pads[rank - 1], pads[2 * rank - 2], pads[2 * rank - 1]) = (op.Top, op.Left, op.Bottom, op.Right);
        e.Add("Pad", [e.In(0), e.Longs(pads), op.Value == 0 ? "" : e.Number(op.Value, e.Node.Output.Dtype)], [e.Out()]);
    }

    private static void ExpandBatch(OnnxEmitter e)
    {
        var batch = e.Add("Shape", [e.In(1)], [e.Temporary("batch")], ("start", 0L), ("end", 1L));
        var shape = e.Add("Concat", [batch, e.Longs(e.Node.Inputs[0]!.ShapeAt(1)[1..])], [e.Temporary("shape")], ("axis", 0L));
        e.Add("Expand", [e.In(0), shape], [e.Out()]);
    }

    // ONNX Runtime fuses none of these on the CPU, so that the scale goes where it is cheapest: on q, which has fewer elements than the weights.
    private static void Attention(OnnxEmitter e, AttentionOp op)
    {
        var rank = e.Node.Inputs[1]!.Shape.Count;
        var swap = Enumerable.Range(0, rank).Select(i => (long)i).ToArray();
        (swap[^1], swap[^2]) = (swap[^2], swap[^1]);
        var keys = e.Add("Transpose", [e.In(1)], [e.Temporary("keys")], ("perm", swap));
        var queries = op.Scale == 1 ? e.In(0) : e.Add("Mul", [e.In(0), e.Number(op.Scale, e.Node.Output.Dtype)], [e.Temporary("queries")]);
        var logits = e.Add("MatMul", [queries, keys], [e.Temporary("logits")]);
        if (e.Node.Inputs[3] is not null) logits = e.Add("Add", [logits, e.In(3)], [e.Temporary("biased")]);
        var weights = e.Add("Softmax", [logits], [e.Temporary("weights")], ("axis", -1L));
        e.Add("MatMul", [weights, e.In(2)], [e.Out()]);
    }

    private static void Normalize(OnnxEmitter e, NormalizeOp op)
    {
        var norm = e.Add("ReduceL2", [e.In(0), e.Longs(op.Dim)], [e.Temporary("norm")], ("keepdims", 1L));
        var bounded = e.Add("Max", [norm, e.Number(op.Eps, e.Node.Output.Dtype)], [e.Temporary("bounded")]);
        e.Add("Div", [e.In(0), bounded], [e.Out()]);
    }

    // The last elements first, then the others.
    private static void Roll(OnnxEmitter e, RollOp op)
    {
        var axis = op.Dim < 0 ? op.Dim + e.Node.Output.Shape.Count : op.Dim;
        var dim = e.Node.Output.Shape[(int)axis];
        if (dim.PerBatch) throw new BayouException($"ONNX export: node '{e.Node.Name}' rolls the batch axis, which has no fixed length");
        var shift = (op.Shift % dim.Size + dim.Size) % dim.Size;
        if (shift == 0)
        {
            e.Alias();
            return;
        }
        var last = e.Add("Slice", [e.In(0), e.Longs(dim.Size - shift), e.Longs(dim.Size), e.Longs(axis), e.Longs(1)], [e.Temporary("last")]);
        var first = e.Add("Slice", [e.In(0), e.Longs(0), e.Longs(dim.Size - shift), e.Longs(axis), e.Longs(1)], [e.Temporary("first")]);
        e.Add("Concat", [last, first], [e.Out()], ("axis", axis));
    }

    private static (string, object)[] Window(Ints kernel, Ints stride, Ints padding) =>
        [("kernel_shape", kernel.Array), ("strides", stride.Count == 0 ? kernel.Array : stride.Array),
            ("pads", Both(padding.Count == 0 ? new Ints(0, 0) : padding))];

    // [top, left] -> [top, left, bottom, right]
    private static long[] Both(Ints padding) => [.. padding.Array, .. padding.Array];

    private static long[] Positive(Ints dims, GraphNode node) => dims.Select(d => d < 0 ? d + node.Output.Shape.Count : d).ToArray();
}
