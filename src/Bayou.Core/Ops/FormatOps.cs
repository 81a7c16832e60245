using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Puts a tensor onto the values of a number format: y = scale * (nearest value of the format to x / scale), see <see cref="NumberFormat.Cast"/>. Inputs: x;
/// scale, a scalar or [C] along
/// <paramref name="Axis"/>. Gradients pass straight through where x is within the format's range. It has no ONNX form: no runtime computes in arbitrary
/// formats.
/// </summary>
/// <param name="Format">The format.</param>
/// <param name="Axis">The axis that the scale runs over, or -1 for one scale; of formats with blocks the axis along which they lie.</param>
public sealed record FormatCastOp(NumberFormat Format, int Axis) : Op, IQuantizeOp
{
    /// <inheritdoc/>
    public int Bits => Format.Bits;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        Tensor value = x[0]!, scale = x[1]!, y;
        using (no_grad()) y = Cast(value, scale);
        if (!value.requires_grad || !is_grad_enabled()) return y;
        // The scale of a block follows its values: none is out of range.
        if (Format.Block > 0) return y.Plus(value - value.detach());
        using (no_grad())
        {
            var limit = (Axis < 0 ? scale : scale.reshape(Broadcast(value))).mul(Number.Of((double)Format.Max));
            scale = value.abs().le(limit).to(value.dtype);
        }
        return y.Plus((value - value.detach()) * scale);
    }

    private Tensor Cast(Tensor value, Tensor scale)
    {
        using var scope = NewDisposeScope();
        if (Format.Block > 0) return Blocks(value).MoveToOuterDisposeScope();
        if (Axis < 0) return Whole(value.contiguous(), scale.to(float32).item<float>()).MoveToOuterDisposeScope();
        var rows = value.transpose(0, Axis).contiguous();
        var scales = TensorMemory.ToArray<float>(scale);
        var y = empty_like(rows);
        for (var c = 0; c < scales.Length; c++) Format.Cast(Floats(rows[c]), Floats(y[c]), scales[c]);
        return y.transpose(0, Axis).contiguous().MoveToOuterDisposeScope();
    }

    // Blocks end with the axis: a row at a time.
    private Tensor Blocks(Tensor value)
    {
        var rows = value.transpose(Axis, -1).contiguous();
        var y = empty_like(rows);
        var length = (int)rows.shape[^1];
        var from = Floats(rows);
        for (var start = 0; start < from.Length; start += length) Format.Cast(from.Slice(start, length), Floats(y).Slice(start, length));
        return y.transpose(Axis, -1).contiguous();
    }

    private Tensor Whole(Tensor value, float scale)
    {
        var y = empty_like(value);
        Format.Cast(Floats(value), Floats(y), scale);
        return y;
    }

    private static unsafe Span<float> Floats(Tensor t) => new(TensorMemory.Floats(t), checked((int)t.numel()));

    private long[] Broadcast(Tensor value)
    {
        var shape = new long[value.dim()];
        Array.Fill(shape, 1);
        shape[Axis] = -1;
        return shape;
    }
}
