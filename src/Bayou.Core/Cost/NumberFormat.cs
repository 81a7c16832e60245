namespace Bayou.Core;

/// <summary>A number format of an operand, as far as costs are concerned: its bits.</summary>
/// <param name="Name">Short name: fp32, bf16, int8, ...</param>
/// <param name="Bits">Storage bits.</param>
public sealed record NumberFormat(string Name, int Bits)
{
    /// <summary>32-bit float.</summary>
    public static readonly NumberFormat Fp32 = new("fp32", 32);

    /// <summary>IEEE half precision.</summary>
    public static readonly NumberFormat Fp16 = new("fp16", 16);

    /// <summary>bfloat16.</summary>
    public static readonly NumberFormat Bf16 = new("bf16", 16);

    /// <summary>8-bit integer.</summary>
    public static readonly NumberFormat Int8 = new("int8", 8);

    /// <summary>4-bit integer.</summary>
    public static readonly NumberFormat Int4 = new("int4", 4);

    /// <summary>2-bit integer.</summary>
    public static readonly NumberFormat Int2 = new("int2", 2);

    /// <summary>Binary (plus or minus one).</summary>
    public static readonly NumberFormat Binary = new("binary", 1);

    /// <inheritdoc/>
    public override string ToString() => Name;
}
