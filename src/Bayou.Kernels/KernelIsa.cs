using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

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
        HasVector512 ? KernelIsaLevel.Vector512
        : Vector256.IsHardwareAccelerated ? KernelIsaLevel.Vector256
        : Vector128.IsHardwareAccelerated ? KernelIsaLevel.Vector128
        : KernelIsaLevel.Scalar;

    /// <summary>
    /// Whether there are 512-bit vectors. <see cref="Vector512.IsHardwareAccelerated"/> is no answer: it is false on Intel's first processors with AVX-512 (Skylake to
    /// Cascade Lake), which lower their clock for it, so that short loops lose. Loops as long and as dense as a kernel's gain there.
    /// </summary>
    public static bool HasVector512 => Avx512F.IsSupported && Avx512F.VL.IsSupported && Avx512BW.IsSupported && Avx512DQ.IsSupported && Avx512CD.IsSupported;

    /// <summary>What a kernel called on this thread uses now.</summary>
    public static KernelIsaLevel Current => (KernelIsaLevel)Math.Min((int)Available, (int)Max);

    /// <summary>Floats in a register of <see cref="Current"/>.</summary>
    public static int Lanes => Current switch { KernelIsaLevel.Vector512 => 16, KernelIsaLevel.Vector256 => 8, KernelIsaLevel.Vector128 => 4, _ => 1 };

    /// <summary>Upper limit for kernels called on this thread: the tests force the narrower paths with it and compare.</summary>
    internal static KernelIsaLevel Max
    {
        get => cap == 0 ? KernelIsaLevel.Vector512 : (KernelIsaLevel)(cap - 1);
        set => cap = 1 + (int)value;
    }
}
