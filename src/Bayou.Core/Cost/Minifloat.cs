using Bayou.Kernels;

namespace Bayou.Core;

/// <summary>What a small float format does with its highest exponent and its zero (specs/ace.md, section 3).</summary>
public enum MinifloatKind
{
    /// <summary>IEEE 754: the highest exponent is for infinities and NaNs.</summary>
    Ieee,

    /// <summary>OCP "fn": no infinity; only exponent and significand all ones are NaN.</summary>
    Fn,

    /// <summary>"fnuz": no infinity, no negative zero; its code is the NaN.</summary>
    Fnuz,

    /// <summary>Every code is a finite number.</summary>
    Finite,
}

/// <summary>
/// A float format eXmY of at most 16 bits: 1 sign, X exponent, Y significand bits. Value of a code: (-1)^s 2^(E - bias) (1 + M / 2^Y), or (-1)^s 2^(1 - bias) M
/// / 2^Y for E = 0.
/// </summary>
public sealed record Minifloat
{
    private const int MaxBits = 16;

    private readonly MinifloatGrid saturating, overflowing;

    /// <summary>Defines a format.</summary>
    /// <param name="exponentBits">1..8; 8 only with float32's own bias 127.</param>
    /// <param name="mantissaBits">0..10 and at most 16 bits in all.</param>
    /// <param name="bias">Exponent bias; null takes 2^(X-1) - 1.</param>
    /// <param name="kind">What the special codes mean.</param>
    /// <exception cref="BayouException">There is no such format.</exception>
    public Minifloat(int exponentBits, int mantissaBits, int? bias = null, MinifloatKind kind = MinifloatKind.Ieee)
    {
        (ExponentBits, MantissaBits, Bias, Kind) = (exponentBits, mantissaBits, bias ?? (1 << Math.Max(0, exponentBits - 1)) - 1, kind);
        if (exponentBits is < 1 or > 8 || mantissaBits is < 0 or > 10 || Bits > MaxBits)
            throw new BayouException($"e{exponentBits}m{mantissaBits} is no float format here: 1 to 8 exponent bits, 0 to 10 significand bits and at most {MaxBits} in all");
        if (1 - Bias < -126 || TopExponent - Bias > 127 || 1 - Bias > 64)
            throw new BayouException($"e{exponentBits}m{mantissaBits} with bias {Bias} has exponents from {1 - Bias} to {TopExponent - Bias}: float32 holds -126 to 127");
        if (TopExponent < 0 || (kind == MinifloatKind.Ieee && exponentBits == 1) || (kind == MinifloatKind.Fn && MaxCode <= 0))
            throw new BayouException($"e{exponentBits}m{mantissaBits} {kind} has no finite number beside zero");
        Max = Decode(MaxCode);
        // The grid goes on one step above the largest number; from half of that step on a value overflows, at the half itself when the largest code is odd
        // (ties go to even).
        var step = MathF.ScaleB(1, Math.Max(1, MaxCode >> mantissaBits) - Bias - mantissaBits);
        var half = Max + step / 2;
        var limit = (MaxCode & 1) == 1 ? half : MathF.BitIncrement(half);
        var negativeZero = kind != MinifloatKind.Fnuz;
        saturating = new(mantissaBits, 1 - Bias, Max, float.PositiveInfinity, Max, negativeZero);
        overflowing = kind == MinifloatKind.Finite
            ? saturating : new(mantissaBits, 1 - Bias, Max, limit, kind == MinifloatKind.Ieee ? float.PositiveInfinity : float.NaN, negativeZero);
    }

    /// <summary>Exponent bits X.</summary>
    public int ExponentBits { get; }

    /// <summary>Significand bits Y.</summary>
    public int MantissaBits { get; }

    /// <summary>Exponent bias.</summary>
    public int Bias { get; }

    /// <summary>What the special codes mean.</summary>
    public MinifloatKind Kind { get; }

    /// <summary>Bits of a code.</summary>
    public int Bits => 1 + ExponentBits + MantissaBits;

    /// <summary>Largest finite value.</summary>
    public float Max { get; }

    /// <summary>Smallest positive normal value.</summary>
    public float MinNormal => MathF.ScaleB(1, 1 - Bias);

    /// <summary>Smallest positive value.</summary>
    public float MinSubnormal => MathF.ScaleB(1, 1 - Bias - MantissaBits);

    /// <summary>The code of NaN (without sign); null when every code is a number.</summary>
    public int? NanCode => Kind switch
    {
        MinifloatKind.Ieee => (((1 << ExponentBits) - 1) << MantissaBits) | (MantissaBits > 0 ? 1 << (MantissaBits - 1) : 0),
        MinifloatKind.Fn => SignBit - 1,
        MinifloatKind.Fnuz => SignBit,
        _ => null,
    };

    private int SignBit => 1 << (ExponentBits + MantissaBits);

    private int TopExponent => (1 << ExponentBits) - (Kind == MinifloatKind.Ieee ? 2 : 1);

    // The largest finite positive code.
    private int MaxCode => Kind switch
    {
        MinifloatKind.Ieee => (((1 << ExponentBits) - 1) << MantissaBits) - 1,
        MinifloatKind.Fn => SignBit - 2,
        _ => SignBit - 1,
    };

    /// <summary>The value of a code.</summary>
    /// <exception cref="BayouException">The code has more bits than the format.</exception>
    public float Decode(int code)
    {
        if (code < 0 || code >= 2 * SignBit) throw new BayouException($"{this}: code {code} is not between 0 and {2 * SignBit - 1}");
        var size = code & (SignBit - 1);
        if (Kind == MinifloatKind.Fnuz && code == SignBit) return float.NaN;
        if (Kind == MinifloatKind.Fn && size == SignBit - 1) return float.NaN;
        var (e, m) = (size >> MantissaBits, size & ((1 << MantissaBits) - 1));
        float value;
        if (Kind == MinifloatKind.Ieee && e == (1 << ExponentBits) - 1) value = m == 0 ? float.PositiveInfinity : float.NaN;
        else value = e == 0 ? MathF.ScaleB(m, 1 - Bias - MantissaBits) : MathF.ScaleB((1 << MantissaBits) + m, e - Bias - MantissaBits);
        return code >= SignBit ? -value : value;
    }

    /// <summary>The code of the nearest value. A NaN takes <see cref="NanCode"/>, or 0 where there is none.</summary>
    /// <param name="x">Any float.</param>
    /// <param name="saturate">Whether what is too large becomes the largest number, instead of infinity or NaN.</param>
    public int Encode(float x, bool saturate = true)
    {
        var value = Cast(x, saturate);
        if (float.IsNaN(value)) return NanCode ?? 0;
        var sign = float.IsNegative(value) ? SignBit : 0;
        var size = MathF.Abs(value);
        if (float.IsInfinity(size)) return sign | (((1 << ExponentBits) - 1) << MantissaBits);
        if (size < MinNormal) return sign | (int)(size / MinSubnormal);
        var bits = BitConverter.SingleToInt32Bits(size);
        return sign | (((bits >> 23) - 127 + Bias) << MantissaBits) | ((bits >> (23 - MantissaBits)) & ((1 << MantissaBits) - 1));
    }

    /// <summary>The nearest value of the format: ties to even, subnormals included.</summary>
    public float Cast(float x, bool saturate = true)
    {
        Cast(new ReadOnlySpan<float>(in x), new Span<float>(ref x), saturate);
        return x;
    }

    /// <summary>y[i] = scale * (nearest value of the format to x[i] / scale), with the widest vectors of this machine.</summary>
    /// <param name="x">Values.</param>
    /// <param name="y">Results, at least as long; may be x.</param>
    /// <param name="saturate">Whether what is too large becomes the largest number, instead of infinity or NaN.</param>
    /// <param name="scale">What the format's 1 stands for.</param>
    public void Cast(ReadOnlySpan<float> x, Span<float> y, bool saturate = true, float scale = 1) =>
        MinifloatKernel.Round(x, y, saturate ? saturating : overflowing, scale);

    /// <inheritdoc/>
    public override string ToString() => $"e{ExponentBits}m{MantissaBits} (bias {Bias}, {Kind.ToString().ToLowerInvariant()}, max {Max:G6})";
}
