using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>
/// How real numbers become integers (specs/mqbench.md 1.1): bits, symmetric or affine, one scale a tensor or one for each entry of axis 0, free or power-of-two
/// scales.
/// </summary>
/// <param name="Bits">Bits of a code.</param>
/// <param name="Symmetric">Codes -2^(b-1)..2^(b-1)-1 with zero point 0, else 0..2^b-1 with a zero point.</param>
/// <param name="PerChannel">One scale for each entry of axis 0.</param>
/// <param name="PowerOfTwo">Scales are rounded to powers of two.</param>
/// <param name="SymmetricRange">Leaves the lowest code out, so that -x and x are both codes.</param>
public sealed record QuantScheme(int Bits, bool Symmetric, bool PerChannel = false, bool PowerOfTwo = false, bool SymmetricRange = false)
{
    /// <summary>Lower bound of every scale: float32's epsilon, 2^-23.</summary>
    public const double Epsilon = 1.1920928955078125e-7;

    /// <summary>Smallest code.</summary>
    public long QMin => Symmetric ? -(1L << (Bits - 1)) + (SymmetricRange ? 1 : 0) : 0;

    /// <summary>Largest code.</summary>
    public long QMax => Symmetric ? (1L << (Bits - 1)) - 1 : (1L << Bits) - 1;

    /// <summary>
    /// Scale and zero point from a range (1.2). The range is widened to contain 0. A symmetric scale divides by (QMax - QMin) / 2, which is 127.5 for 8 bits:
    /// the largest value itself maps to 128 and is clipped to 127, as in MQBench; <see cref="SymmetricRange"/> has no such clipping.
    /// </summary>
    /// <param name="min">Smallest values, a scalar or [C].</param>
    /// <param name="max">Largest values, same shape.</param>
    public (Tensor Scale, Tensor ZeroPoint) FromRange(Tensor min, Tensor max)
    {
        var (low, high) = (min.clamp_max(Number.Of(0)), max.clamp_min(Number.Of(0)));
        if (Symmetric)
        {
            var symmetric = (maximum(-low, high) / Number.Of((QMax - QMin) / 2.0)).clamp_min(Number.Of(Epsilon));
            return (Round(symmetric), zeros_like(symmetric));
        }
        var scale = ((high - low) / Number.Of((double)(QMax - QMin))).clamp_min(Number.Of(Epsilon));
        var zero = (Number.Of(QMin) - (low / scale).round()).clamp(Number.Of(QMin), Number.Of(QMax));
        // The power of two is taken after the zero point was computed.
        return (Round(scale), zero);
    }

    /// <summary>The scale itself or the nearest power of two.</summary>
    internal Tensor Round(Tensor scale) => PowerOfTwo ? pow(2, scale.log2().round()) : scale;

    /// <summary>A per-channel vector in the shape that broadcasts over axis 0 of x; scalars stay.</summary>
    internal static Tensor Along(Tensor value, Tensor x) =>
        value.numel() == 1 ? value.reshape([]) : value.reshape([-1, .. Enumerable.Repeat(1L, (int)x.dim() - 1)]);

    /// <summary>
    /// The code of every element before clamping: round_half_even(x * (1 / scale)) + zero point, with the float32 reciprocal as libtorch computes it.
    /// </summary>
    internal static Tensor Codes(Tensor x, Tensor scale, Tensor zero) => (x * Along(scale, x).reciprocal()).round().Plus(Along(zero, x));

    /// <summary>Fake quantisation without gradient.</summary>
    public Tensor Quantize(Tensor x, Tensor scale, Tensor zero)
    {
        using var noGrad = no_grad();
        return (Codes(x, scale, zero).clamp(Number.Of(QMin), Number.Of(QMax)) - Along(zero, x)) * Along(scale, x);
    }

    /// <summary>
    /// Fake quantisation with the straight-through gradient (1.2): dx = dy where the code lies in the range before clamping, else 0.
    /// </summary>
    public Tensor FakeQuantize(Tensor x, Tensor scale, Tensor zero)
    {
        Tensor y, mask;
        using (no_grad())
        {
            var codes = Codes(x, scale, zero);
            mask = codes.ge(Number.Of(QMin)).logical_and(codes.le(Number.Of(QMax))).to(x.dtype);
            y = (codes.clamp(Number.Of(QMin), Number.Of(QMax)) - Along(zero, x)) * Along(scale, x);
        }
        return StraightThrough(y, x * mask);
    }

    /// <summary>A tensor with the value of one and the gradient of another (surrogate - surrogate is exactly 0).</summary>
    internal static Tensor StraightThrough(Tensor value, Tensor surrogate) => value.detach().Plus(surrogate - surrogate.detach());
}
