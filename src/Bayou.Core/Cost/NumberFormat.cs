using System.Globalization;
using System.Text.RegularExpressions;

namespace Bayou.Core;

/// <summary>
/// A number format of an operand: its bits, which costs read, and its values, onto which <see cref="Cast"/> rounds (specs/ace.md, section 3).
/// </summary>
/// <param name="Name">Short name: fp32, bf16, e4m3, int8, ...</param>
/// <param name="Bits">Bits of an operand.</param>
public sealed partial record NumberFormat(string Name, int Bits)
{
    /// <summary>32-bit float.</summary>
    public static readonly NumberFormat Fp32 = new("fp32", 32);

    /// <summary>TensorFloat-32: float32's exponent with 10 significand bits, 19 bits in all.</summary>
    public static readonly NumberFormat Tf32 = new("tf32", 19);

    /// <summary>IEEE half precision.</summary>
    public static readonly NumberFormat Fp16 = new("fp16", 16) { Float = new Minifloat(5, 10) };

    /// <summary>bfloat16.</summary>
    public static readonly NumberFormat Bf16 = new("bf16", 16) { Float = new Minifloat(8, 7) };

    /// <summary>OCP 8-bit float for weights and activations: largest value 448, no infinity.</summary>
    public static readonly NumberFormat E4M3 = new("e4m3", 8) { Float = new Minifloat(4, 3, 7, MinifloatKind.Fn) };

    /// <summary>OCP 8-bit float for gradients: largest value 57344.</summary>
    public static readonly NumberFormat E5M2 = new("e5m2", 8) { Float = new Minifloat(5, 2, 15) };

    /// <summary>8-bit float with four significand bits: largest value 15.5.</summary>
    public static readonly NumberFormat E3M4 = new("e3m4", 8) { Float = new Minifloat(3, 4, 3) };

    /// <summary>MX 6-bit float: largest value 7.5.</summary>
    public static readonly NumberFormat E2M3 = new("e2m3", 6) { Float = new Minifloat(2, 3, 1, MinifloatKind.Finite) };

    /// <summary>MX 6-bit float: largest value 28.</summary>
    public static readonly NumberFormat E3M2 = new("e3m2", 6) { Float = new Minifloat(3, 2, 3, MinifloatKind.Finite) };

    /// <summary>MX 4-bit float: 0, 0.5, 1, 1.5, 2, 3, 4, 6 with both signs.</summary>
    public static readonly NumberFormat E2M1 = new("e2m1", 4) { Float = new Minifloat(2, 1, 1, MinifloatKind.Finite) };

    /// <summary>8-bit integer, -127..127.</summary>
    public static readonly NumberFormat Int8 = Integer("int8", 8);

    /// <summary>4-bit integer, -7..7.</summary>
    public static readonly NumberFormat Int4 = Integer("int4", 4);

    /// <summary>2-bit integer, -1..1.</summary>
    public static readonly NumberFormat Int2 = Integer("int2", 2);

    /// <summary>Binary (plus or minus one).</summary>
    public static readonly NumberFormat Binary = Integer("binary", 1);

    /// <summary>OCP Microscaling: blocks of 32 E4M3 elements that share a power of two.</summary>
    public static readonly NumberFormat MxFp8 = Microscaled("mxfp8", E4M3);

    /// <summary>Microscaling with E2M3 elements.</summary>
    public static readonly NumberFormat MxFp6 = Microscaled("mxfp6", E2M3);

    /// <summary>Microscaling with E2M1 elements.</summary>
    public static readonly NumberFormat MxFp4 = Microscaled("mxfp4", E2M1);

    /// <summary>Microscaling with 8-bit integer elements.</summary>
    public static readonly NumberFormat MxInt8 = Microscaled("mxint8", Int8);

    /// <summary>The values of a small float; null for integers, fp32 and tf32.</summary>
    public Minifloat? Float { get; init; }

    /// <summary>Whether the values are whole numbers, symmetric around zero.</summary>
    public bool IsInteger { get; private init; }

    /// <summary>
    /// Consecutive values along the axis of a sum that share a scale, a power of two in E8M0 (OCP Microscaling); 0: none. Its 8 bits a block are not counted in
    /// <see cref="Bits"/>.
    /// </summary>
    public int Block { get; private init; }

    /// <summary>Largest finite value; what a tensor's largest size is scaled to.</summary>
    public float Max => Float?.Max ?? (IsInteger ? Math.Max(1, (1 << (Bits - 1)) - 1) : float.MaxValue);

    /// <summary>
    /// Whether tensors need a scale of their own to use the format's range. Formats with float32's or half's exponents, and blocks with scales of their own, do
    /// without.
    /// </summary>
    public bool NeedsScale => Block == 0 && (IsInteger || Float is { ExponentBits: < 5 } or { ExponentBits: 5, MantissaBits: < 10 });

    /// <summary>The formats with a name of their own, widest first.</summary>
    public static IReadOnlyList<NumberFormat> Named { get; } =
        [Fp32, Tf32, Bf16, Fp16, E5M2, E4M3, E3M4, Int8, MxFp8, MxInt8, E3M2, E2M3, MxFp6, E2M1, MxFp4, Int4, Int2, Binary];

    /// <summary>
    /// Reads a format: a name of <see cref="Named"/>, fp8, fp6, fp4, int3 and the like, or any small float eXmY with fn, fnuz, ieee or fin and a bias, e.g.
    /// e4m3fnuz, e4m3b11, e3m3fin. Without these letters eXmY of 8 and more bits is as in IEEE 754 (but e4m3 is OCP's), and shorter ones have only finite
    /// values, as those of MX. With "mx" before it a format of at most 8 bits shares scales in blocks of 32: mxfp4, mxe5m2, mxint4.
    /// </summary>
    /// <exception cref="BayouException">No such format.</exception>
    public static NumberFormat Parse(string text)
    {
        var name = text.Trim().ToLowerInvariant();
        name = name switch
        {
            "fp8" or "e4m3fn" => "e4m3",
            "fp6" => "e2m3",
            "fp4" => "e2m1",
            "float16" or "half" => "fp16",
            "bfloat16" => "bf16",
            "float32" or "float" => "fp32",
            "int1" => "binary",
            _ => name
        };
        if (Named.FirstOrDefault(f => f.Name == name) is { } named) return named;
        if (name.StartsWith("mx", StringComparison.Ordinal) && name.Length > 2 && Parse(name[2..]) is { Bits: > 1 and <= 8 } element)
            return Microscaled(name, element);
        if (IntegerName().Match(name) is { Success: true } i && int.Parse(i.Groups[1].Value, CultureInfo.InvariantCulture) is var bits and >= 2 and <= 16)
            return Integer(name, bits);
        if (FloatName().Match(name) is { Success: true } m)
        {
            int Number(int group) => int.Parse(m.Groups[group].Value, CultureInfo.InvariantCulture);
            var (e, f) = (Number(1), Number(2));
            var kind = m.Groups[4].Value switch
            {
                "fn" => MinifloatKind.Fn,
                "fnuz" => MinifloatKind.Fnuz,
                "ieee" => MinifloatKind.Ieee,
                "fin" => MinifloatKind.Finite,
                _ => 1 + e + f < 8 || m.Groups[3].Success ? MinifloatKind.Finite : MinifloatKind.Ieee,
            };
            // "fnuz" formats keep one exponent more, by a bias that is one larger.
            int? bias = m.Groups[3].Success ? Number(3) : kind == MinifloatKind.Fnuz ? 1 << (e - 1) : null;
            return new NumberFormat(name, 1 + e + f) { Float = new Minifloat(e, f, bias, kind) };
        }
        throw new BayouException($"'{text}' is no number format: {string.Join(", ", Named.Select(f => f.Name))}, int2 to int16, a small float such as e4m3fnuz, e5m2, e3m3, e4m3b11, or mx and one of at most 8 bits");
    }

    /// <summary>
    /// y[i] = scale * (nearest value of the format to x[i] / scale), or with <see cref="Block"/> each block's own scale, 2^(exponent of its largest size -
    /// exponent of <see cref="Max"/>); what is too large becomes the largest value. Integers round halves to even; binary is the sign, with +1 for zero.
    /// </summary>
    /// <param name="x">Values.</param>
    /// <param name="y">Results, at least as long; may be x.</param>
    /// <param name="scale">What the format's 1 stands for: largest size / <see cref="Max"/> where <see cref="NeedsScale"/>, else 1.</param>
    public void Cast(ReadOnlySpan<float> x, Span<float> y, float scale = 1)
    {
        if (y.Length < x.Length) throw new ArgumentException($"{x.Length} values do not fit into {y.Length}", nameof(y));
        if (!float.IsFinite(scale) || scale <= 0) throw new BayouException($"{Name}: the scale is {scale}; it must be a positive number");
        if (Block > 0) CastBlocks(x, y);
        else if (Float is { } format) format.Cast(x, y, saturate: true, scale);
        else if (!IsInteger && Bits == 32) x.CopyTo(y);
        else if (!IsInteger) for (var i = 0; i < x.Length; i++) y[i] = scale * FloatRounding.ToTf32(x[i] / scale);
        else if (Bits == 1) for (var i = 0; i < x.Length; i++) y[i] = x[i] >= 0 ? scale : -scale;
        else for (var i = 0; i < x.Length; i++) y[i] = scale * Math.Clamp(MathF.Round(x[i] / scale), -Max, Max);
    }

    // OCP MX 1.0, section 6.3. A block with a value that is not finite has the scale NaN.
    private void CastBlocks(ReadOnlySpan<float> x, Span<float> y)
    {
        const int smallest = -127, largest = 127;
        var element = this with { Block = 0 };
        var top = Exponent(Max);
        for (var start = 0; start < x.Length; start += Block)
        {
            var from = x[start..Math.Min(x.Length, start + Block)];
            var to = y.Slice(start, from.Length);
            var max = 0f;
            foreach (var v in from)
            {
                // NaN stays: no size is larger.
                if (!(MathF.Abs(v) <= max)) max = float.IsNaN(max) ? max : MathF.Abs(v);
            }
            if (!float.IsFinite(max)) to.Fill(float.NaN);
            else if (max == 0) from.CopyTo(to);
            else element.Cast(from, to, MathF.ScaleB(1, Math.Clamp(Exponent(max) - top, smallest, largest)));
        }

        static int Exponent(float v) => MathF.ILogB(v);
    }

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static NumberFormat Microscaled(string name, NumberFormat element) => element with { Name = name, Block = 32 };

    private static NumberFormat Integer(string name, int bits) => new(name, bits) { IsInteger = true };

    [GeneratedRegex(@"^int(\d{1,2})$")]
    private static partial Regex IntegerName();

    [GeneratedRegex(@"^e(\d)m(\d{1,2})(?:b(\d{1,3}))?(fn|fnuz|ieee|fin)?$")]
    private static partial Regex FloatName();
}
