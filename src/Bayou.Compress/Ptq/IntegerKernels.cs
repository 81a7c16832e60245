using System.Runtime.Intrinsics.X86;

namespace Bayou.Compress;

/// <summary>What this machine's processor does with 8-bit integer products: decides whether weights must give up a bit.</summary>
public static class IntegerKernels
{
    /// <summary>Whether the processor multiplies u8 x s8 into 32-bit sums directly (AVX512-VNNI or AVX-VNNI).</summary>
    public static bool HasVnni { get; } = DetectVnni();

    /// <summary>
    /// Whether ONNX Runtime's u8 x s8 kernels can saturate here: x86 with AVX2 or AVX-512 but without VNNI adds pairs of products in 16 bits (vpmaddubsw), and
    /// 2 x 255 x 127 does not fit. 7-bit weights (|q| at most 64) cannot overflow: 2 x 255 x 64 = 32640.
    /// </summary>
    public static bool SaturatesInt8 { get; } = X86Base.IsSupported && Avx2.IsSupported && !HasVnni;

    private static bool DetectVnni()
    {
        if (!X86Base.IsSupported) return false;
        var highest = X86Base.CpuId(0, 0).Eax;
        if (highest < 7) return false;
        var leaf = X86Base.CpuId(7, 0);
        // The operating system must save the wide registers too, which is what the runtime's own flags say.
        if (Avx512F.IsSupported && (leaf.Ecx & (1 << 11)) != 0) return true;
        return Avx2.IsSupported && leaf.Eax >= 1 && (X86Base.CpuId(7, 1).Eax & (1 << 4)) != 0;
    }
}
