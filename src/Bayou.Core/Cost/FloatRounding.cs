namespace Bayou.Core;

/// <summary>How the dropped bits of a float decide.</summary>
public enum BitRounding
{
    /// <summary>To nearest, ties to even.</summary>
    NearestEven,

    /// <summary>To nearest, ties away from zero (PTX cvt.rna, which makes tf32).</summary>
    NearestAway,

    /// <summary>Dropped: the cheap variant, and what tensor cores do with float32 operands.</summary>
    Truncate,
}

/// <summary>Casts by bit patterns: bfloat16, TensorFloat-32, AQT's emulation without subnormals, stochastic rounding (specs/ace.md, section 3).</summary>
public static class FloatRounding
{
    /// <summary>bfloat16 bits: the upper half of the pattern. A NaN becomes quiet, whatever the rounding.</summary>
    public static ushort ToBf16(float x, BitRounding rounding = BitRounding.NearestEven)
    {
        var u = BitConverter.SingleToUInt32Bits(x);
        return float.IsNaN(x) && rounding != BitRounding.Truncate ? (ushort)(0x7FC0 | (u >> 16 & 0x8000)) : (ushort)(Drop(u, 16, rounding) >> 16);
    }

    /// <summary>The value of bfloat16 bits.</summary>
    public static float FromBf16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>TensorFloat-32: 10 significand bits stay. Infinities and NaN are unchanged.</summary>
    public static float ToTf32(float x, BitRounding rounding = BitRounding.NearestAway) =>
        float.IsFinite(x) ? BitConverter.UInt32BitsToSingle(Drop(BitConverter.SingleToUInt32Bits(x), 13, rounding)) : x;

    /// <summary>
    /// AQT's downcast: the significand is rounded to nearest even to <paramref name="mantissaBits"/> bits whatever the exponent, then <see cref="AqtRange"/>
    /// applies. There are no subnormals.
    /// </summary>
    public static float AqtDowncast(float x, int minExponent, int maxExponent, int mantissaBits) => float.IsFinite(x)
        ? AqtRange(BitConverter.UInt32BitsToSingle(Drop(BitConverter.SingleToUInt32Bits(x), 23 - mantissaBits, BitRounding.NearestEven)), minExponent,
            maxExponent, mantissaBits)
        : x;

    /// <summary>
    /// The range of AQT's emulated formats: sizes below 2^<paramref name="minExponent"/> become 0 with their sign, sizes above 2^<paramref name="maxExponent"/>
    /// (2 - 2^-<paramref name="mantissaBits"/>) become that; infinities and NaN stay.
    /// </summary>
    public static float AqtRange(float x, int minExponent, int maxExponent, int mantissaBits)
    {
        if (!float.IsFinite(x)) return x;
        var size = MathF.Abs(x);
        if (size < MathF.ScaleB(1, minExponent)) return MathF.CopySign(0, x);
        return MathF.CopySign(MathF.Min(size, MathF.ScaleB(2 - MathF.ScaleB(1, -mantissaBits), maxExponent)), x);
    }

    /// <summary>
    /// Stochastic rounding to a small format: uniform noise is added to the bits that the format drops, which are then cut off, so that the mean over the noise
    /// is x; then clipped and cast.
    /// </summary>
    /// <param name="x">The value.</param>
    /// <param name="noise">Uniform in [0, 2^(23 - significand bits)).</param>
    /// <param name="format">The format.</param>
    public static float Stochastic(float x, int noise, Minifloat format)
    {
        if (float.IsNaN(x)) return x;
        var drop = 23 - format.MantissaBits;
        var u = (BitConverter.SingleToUInt32Bits(x) + (uint)noise) & (~0u << drop);
        return format.Cast(Math.Clamp(BitConverter.UInt32BitsToSingle(u), -format.Max, format.Max));
    }

    private static uint Drop(uint u, int bits, BitRounding rounding) => rounding switch
    {
        BitRounding.NearestEven => u + (1u << bits >> 1) - 1 + ((u >> bits) & 1),
        BitRounding.NearestAway => u + (1u << bits >> 1),
        _ => u,
    } & (~0u << bits);
}
