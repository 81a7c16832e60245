using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Fake quantisation as ONNX Runtime's QuantizeLinear + DequantizeLinear do it: q = clamp(round_half_even(x / scale) + zero_point, Min, Max),
/// y = (q - zero_point) * scale. Inputs: x, scale (scalar, or [C] with Axis >= 0), zero_point (same shape). Gradients pass straight through inside the range.
/// </summary>
/// <param name="Min">Smallest code, e.g. -128 (int8) or 0 (uint8).</param>
/// <param name="Max">Largest code.</param>
/// <param name="Axis">The axis that scale and zero point run over, or -1 for one scale a tensor.</param>
public sealed record FakeQuantizeOp(long Min, long Max, int Axis) : Op, IQuantizeOp
{
    /// <summary>Bits of the integers that hold the codes: 2, 4 or 8 (weights kept within 7 bits lie in bytes), else 16 or 32.</summary>
    public int Bits => (Max - Min) switch { < 4 => 2, < 16 => 4, < 256 => 8, < 65536 => 16, _ => 32 };

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        Tensor value = x[0]!, scale = x[1]!, zero = x[2]!;
        if (Axis >= 0)
        {
            var shape = new long[value.dim()];
            Array.Fill(shape, 1);
            shape[Axis] = -1;
            scale = scale.reshape(shape);
            zero = zero.reshape(shape);
        }
        var offset = zero.to(value.dtype);
        Tensor y;
        using (no_grad())
        {
            var q = clamp(round(div(value, scale)).Plus(offset), Number.Of(Min), Number.Of(Max));
            y = mul(sub(q, offset), scale);
        }
        if (!value.requires_grad || !is_grad_enabled()) return y;
        // Straight through: inside the range the gradient is 1, outside 0; the value is y.
        var inside = minimum(maximum(value, mul(sub(Min, offset), scale)), mul(sub(Max, offset), scale));
        return inside.Plus(sub(y, inside).detach());
    }
}
