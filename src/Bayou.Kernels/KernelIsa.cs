using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>The vector widths a kernel can use, narrowest first.</summary>
public enum KernelIsaLevel
{
    /// <summary>No vectors.</summary>
    Scalar,

    /// <summary>128 bits (SSE, NEON).</summary>
    Vector128,

    /// <summary>256 bits (AVX2).</summary>
    Vector256,

    /// <summary>512 bits (AVX-512).</summary>
    Vector512,
}

/// <summary>
/// Which instruction set the kernels use: the widest this machine has. A kernel reads <see cref="Current"/> once, on entry, and hands it to its threads.
/// </summary>
public static class KernelIsa
{
    [ThreadStatic] private static int cap;      // 0: no cap; otherwise 1 + level

    /// <summary>The widest vectors of this machine.</summary>
    public static KernelIsaLevel Available { get; } =
        Vector512.IsHardwareAccelerated ? KernelIsaLevel.Vector512
        : Vector256.IsHardwareAccelerated ? KernelIsaLevel.Vector256
        : Vector128.IsHardwareAccelerated ? KernelIsaLevel.Vector128
        : KernelIsaLevel.Scalar;

    /// <summary>What a kernel called on this thread uses now.</summary>
    public static KernelIsaLevel Current => (KernelIsaLevel)Math.Min((int)Available, (int)Max);

    /// <summary>Upper limit for kernels called on this thread: the tests force the narrower paths with it and compare.</summary>
    internal static KernelIsaLevel Max
    {
        get => cap == 0 ? KernelIsaLevel.Vector512 : (KernelIsaLevel)(cap - 1);
        set => cap = 1 + (int)value;
    }
}
