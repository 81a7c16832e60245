using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>The first lanes of a register.</summary>
internal static unsafe class FloatParts
{
    public static Vector512<float> Load512(float* p, int lanes)
    {
        Vector512<float> part = default;
        for (var l = 0; l < lanes; l++) ((float*)&part)[l] = p[l];
        return part;
    }

    public static Vector256<float> Load256(float* p, int lanes)
    {
        Vector256<float> part = default;
        for (var l = 0; l < lanes; l++) ((float*)&part)[l] = p[l];
        return part;
    }

    public static Vector128<float> Load128(float* p, int lanes)
    {
        Vector128<float> part = default;
        for (var l = 0; l < lanes; l++) ((float*)&part)[l] = p[l];
        return part;
    }

    public static void Store(float* p, float* value, int lanes)
    {
        for (var l = 0; l < lanes; l++) p[l] = value[l];
    }
}

/// <summary>Squares of floats turned around in registers.</summary>
internal static unsafe class FloatTranspose
{
    /// <summary>16 x 16: 4 x 4 squares within 128-bit parts first, then the parts among each other.</summary>
    public static void Square16(float* source, nint sourceStep, float* target, nint targetStep)
    {
        if (!Avx512F.IsSupported)
        {
            Plain(source, sourceStep, target, targetStep, 16);
            return;
        }
        // Rows 4g..4g+3 give registers t[4g + j] whose part q is column 4q + j of those rows.
        var t = stackalloc Vector512<float>[16];
        for (var g = 0; g < 4; g++)
        {
            var p = source + 4 * g * sourceStep;
            Vector512<float> a = Vector512.Load(p), b = Vector512.Load(p + sourceStep), c = Vector512.Load(p + 2 * sourceStep), d = Vector512.Load(p + 3 * sourceStep);
            var (abLow, abHigh) = (Avx512F.UnpackLow(a, b).AsDouble(), Avx512F.UnpackHigh(a, b).AsDouble());
            var (cdLow, cdHigh) = (Avx512F.UnpackLow(c, d).AsDouble(), Avx512F.UnpackHigh(c, d).AsDouble());
            t[4 * g] = Avx512F.UnpackLow(abLow, cdLow).AsSingle();
            t[4 * g + 1] = Avx512F.UnpackHigh(abLow, cdLow).AsSingle();
            t[4 * g + 2] = Avx512F.UnpackLow(abHigh, cdHigh).AsSingle();
            t[4 * g + 3] = Avx512F.UnpackHigh(abHigh, cdHigh).AsSingle();
        }
        for (var j = 0; j < 4; j++)
        {
            Vector512<float> a = t[j], b = t[4 + j], c = t[8 + j], d = t[12 + j];
            // Parts 0, 2 and 1, 3 of two registers side by side, twice: a 4 x 4 transpose of parts.
            Vector512<float> ab02 = Avx512F.Shuffle4x128(a, b, 0b10_00_10_00), ab13 = Avx512F.Shuffle4x128(a, b, 0b11_01_11_01);
            Vector512<float> cd02 = Avx512F.Shuffle4x128(c, d, 0b10_00_10_00), cd13 = Avx512F.Shuffle4x128(c, d, 0b11_01_11_01);
            Avx512F.Shuffle4x128(ab02, cd02, 0b10_00_10_00).Store(target + j * targetStep);
            Avx512F.Shuffle4x128(ab13, cd13, 0b10_00_10_00).Store(target + (4 + j) * targetStep);
            Avx512F.Shuffle4x128(ab02, cd02, 0b11_01_11_01).Store(target + (8 + j) * targetStep);
            Avx512F.Shuffle4x128(ab13, cd13, 0b11_01_11_01).Store(target + (12 + j) * targetStep);
        }
    }

    /// <summary>8 x 8.</summary>
    public static void Square8(float* source, nint sourceStep, float* target, nint targetStep)
    {
        if (!Avx.IsSupported)
        {
            Plain(source, sourceStep, target, targetStep, 8);
            return;
        }
        var t = stackalloc Vector256<float>[8];
        for (var g = 0; g < 2; g++)
        {
            var p = source + 4 * g * sourceStep;
            Vector256<float> a = Vector256.Load(p), b = Vector256.Load(p + sourceStep), c = Vector256.Load(p + 2 * sourceStep), d = Vector256.Load(p + 3 * sourceStep);
            var (abLow, abHigh) = (Avx.UnpackLow(a, b).AsDouble(), Avx.UnpackHigh(a, b).AsDouble());
            var (cdLow, cdHigh) = (Avx.UnpackLow(c, d).AsDouble(), Avx.UnpackHigh(c, d).AsDouble());
            t[4 * g] = Avx.UnpackLow(abLow, cdLow).AsSingle();
            t[4 * g + 1] = Avx.UnpackHigh(abLow, cdLow).AsSingle();
            t[4 * g + 2] = Avx.UnpackLow(abHigh, cdHigh).AsSingle();
            t[4 * g + 3] = Avx.UnpackHigh(abHigh, cdHigh).AsSingle();
        }
        for (var j = 0; j < 4; j++)
        {
            Avx.Permute2x128(t[j], t[4 + j], 0x20).Store(target + j * targetStep);
            Avx.Permute2x128(t[j], t[4 + j], 0x31).Store(target + (4 + j) * targetStep);
        }
    }

    /// <summary>4 x 4.</summary>
    public static void Square4(float* source, nint sourceStep, float* target, nint targetStep) => Plain(source, sourceStep, target, targetStep, 4);

    private static void Plain(float* source, nint sourceStep, float* target, nint targetStep, int count)
    {
        for (var i = 0; i < count; i++)
        {
            for (var j = 0; j < count; j++) target[j * targetStep + i] = source[i * sourceStep + j];
        }
    }
}
