using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The codes of <see cref="AqtQuantizeOp"/>.</summary>
public enum AqtCodes
{
    /// <summary>Whole numbers around zero: -(2^(p-1) - 1) .. 2^(p-1) - 1.</summary>
    Signed,

    /// <summary>Halves around zero, none of them zero: +-0.5, +-1.5, ...; one bit is +-0.5.</summary>
    HalfShift,

    /// <summary>0 .. 2^p - 1, rounded down.</summary>
    Unsigned,
}

/// <summary>
/// AQT's quantiser (specs/ace.md, section 2.2). scale = Q / (bound + 2^-23), a constant for gradients; code = the scaled value clipped and rounded (halves go
/// up); value = code / scale. Gradients pass straight through inside the clip and are 0 outside. Inputs: x; the bound (shape that broadcasts against x; where
/// it is negative x passes unchanged), or null where <see cref="Bound"/> is set or the bound is the largest size of x along all axes but <see cref="Axis"/>
/// (weights). In training a given bound follows the largest size of x, a negative one begins with it.
/// </summary>
/// <param name="Bits">p.</param>
/// <param name="Codes">Which codes.</param>
/// <param name="Bound">A fixed bound, or null.</param>
/// <param name="Axis">The axis that keeps bounds of its own when they are taken from x.</param>
/// <param name="Momentum">Share of a batch in a given bound that follows x in training; 0 keeps it.</param>
public sealed record AqtQuantizeOp(int Bits, AqtCodes Codes, double? Bound, int Axis, double Momentum = 0) : Op, IQuantizeOp
{
    /// <summary>Added to the bound, so that an all-zero tensor has a scale.</summary>
    public const double Epsilon = 1.0 / (1 << 23);

    /// <summary>The scaled range's end: Q.</summary>
    public double Range => Codes switch
    {
        AqtCodes.HalfShift => Math.ScaleB(1, Bits - 1),
        AqtCodes.Signed => Bits == 1 ? 0.25 : Math.ScaleB(1, Bits - 1) - 1,
        _ => Math.ScaleB(1, Bits),
    };

    /// <summary>Where scaled values are cut: just inside the range for halves, so that the largest code is Q - 1/2.</summary>
    public double Clip => Codes == AqtCodes.HalfShift ? Range - Math.ScaleB(1, -7) : Range;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        // A quantiser makes some ten tensors of its input's size: only the last one stays.
        using var scope = NewDisposeScope();
        Tensor value = x[0]!, y, scaled;
        var bound = x[1];
        using (no_grad())
        {
            if (training && Momentum > 0 && bound is not null) Follow(bound, value);
            var scale = Scale(value, bound);
            scaled = value * scale;
            y = Code(scaled) / scale;
            if (bound is not null) y = where(bound.lt(Number.Of(0)), value, y);
        }
        if (!value.requires_grad || !is_grad_enabled()) return y.MoveToOuterDisposeScope();
        using (no_grad())
        {
            var inside = scaled.ge(Number.Of(Codes == AqtCodes.Unsigned ? 0 : -Clip)).logical_and(scaled.le(Number.Of(Clip)));
            if (bound is not null) inside = inside.logical_or(bound.lt(Number.Of(0)));
            scaled = inside.to(value.dtype);
        }
        return y.Plus((value - value.detach()) * scaled).MoveToOuterDisposeScope();
    }

    // bound <- largest size of the batch, or the moving average of those.
    private void Follow(Tensor bound, Tensor x)
    {
        var sizes = bound.shape;
        var dims = Enumerable.Range(0, sizes.Length).Where(d => sizes[d] == 1).Select(d => (long)d).ToArray();
        var largest = dims.Length == 0 ? x.abs() : x.abs().amax(dims, keepdim: true);
        var average = bound.mul(Number.Of(1 - Momentum)).Plus(largest.mul(Number.Of(Momentum)));
        bound.copy_(where(bound.lt(Number.Of(0)), largest, average));
    }

    /// <summary>Q / (bound + 2^-23), without gradient.</summary>
    public Tensor Scale(Tensor x, Tensor? given)
    {
        using var noGrad = no_grad();
        var bound = given ?? (Bound is { } fix ? full([], Number.Of(fix), x.dtype) : LargestSize(x));
        return full([], Number.Of(Range), x.dtype).div(bound.Plus(Number.Of(Epsilon)));
    }

    /// <summary>Codes of scaled values, without gradient.</summary>
    public Tensor Code(Tensor scaled)
    {
        using var noGrad = no_grad();
        return Codes switch
        {
            AqtCodes.HalfShift => scaled.clamp(Number.Of(-Clip), Number.Of(Clip)).floor().Plus(Number.Of(0.5)),
            AqtCodes.Signed => scaled.clamp(Number.Of(-Clip), Number.Of(Clip)).Plus(Number.Of(0.5)).floor(),
            _ => scaled.floor().clamp(Number.Of(0), Number.Of(Range - 1)),
        };
    }

    private Tensor LargestSize(Tensor x)
    {
        var axis = Axis < 0 ? Axis + (int)x.dim() : Axis;
        var dims = Enumerable.Range(0, (int)x.dim()).Where(d => d != axis).Select(d => (long)d).ToArray();
        return x.detach().abs().amax(dims, keepdim: true);
    }
}
