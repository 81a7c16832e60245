using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>The first lanes of a register.</summary>
internal static unsafe class FloatParts
{
    /// <summary>The first lanes of a register in memory; the others are those of <paramref name="rest"/>, and nothing is read there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(float* p, int lanes, Vector512<float> rest)
    {
        if (Avx512F.IsSupported) return Avx512F.MaskLoad(p, First(lanes), rest);
        for (var l = 0; l < lanes; l++) ((float*)&rest)[l] = p[l];
        return rest;
    }

    /// <summary>Writes the first lanes only.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store512(float* p, Vector512<float> value, int lanes)
    {
        if (Avx512F.IsSupported) Avx512F.MaskStore(p, First(lanes), value);
        else Store(p, (float*)&value, lanes);
    }

    /// <summary>All bits set in the first lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> First(int lanes) => Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(lanes)).AsSingle();

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
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Square16(float* source, nint sourceStep, float* target, nint targetStep)
    {
        if (!Avx512F.IsSupported)
        {
            Plain(source, sourceStep, target, targetStep, 16);
            return;
        }
        // Rows 4g..4g+3 give registers whose part q is column 4q + j of those rows.
        Four(source, sourceStep, out var a0, out var a1, out var a2, out var a3);
        Four(source + 4 * sourceStep, sourceStep, out var b0, out var b1, out var b2, out var b3);
        Four(source + 8 * sourceStep, sourceStep, out var c0, out var c1, out var c2, out var c3);
        Four(source + 12 * sourceStep, sourceStep, out var d0, out var d1, out var d2, out var d3);
        Parts(a0, b0, c0, d0, target, targetStep);
        Parts(a1, b1, c1, d1, target + targetStep, targetStep);
        Parts(a2, b2, c2, d2, target + 2 * targetStep, targetStep);
        Parts(a3, b3, c3, d3, target + 3 * targetStep, targetStep);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Four(float* p, nint step, out Vector512<float> r0, out Vector512<float> r1, out Vector512<float> r2, out Vector512<float> r3)
        {
            Vector512<float> a = Vector512.Load(p), b = Vector512.Load(p + step), c = Vector512.Load(p + 2 * step), d = Vector512.Load(p + 3 * step);
            Vector512<double> abLow = Avx512F.UnpackLow(a, b).AsDouble(), abHigh = Avx512F.UnpackHigh(a, b).AsDouble();
            Vector512<double> cdLow = Avx512F.UnpackLow(c, d).AsDouble(), cdHigh = Avx512F.UnpackHigh(c, d).AsDouble();
            r0 = Avx512F.UnpackLow(abLow, cdLow).AsSingle();
            r1 = Avx512F.UnpackHigh(abLow, cdLow).AsSingle();
            r2 = Avx512F.UnpackLow(abHigh, cdHigh).AsSingle();
            r3 = Avx512F.UnpackHigh(abHigh, cdHigh).AsSingle();
        }

        // Parts 0, 2 and 1, 3 of two registers side by side, twice: a 4 x 4 transpose of parts.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Parts(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d, float* target, nint step)
        {
            Vector512<float> ab02 = Avx512F.Shuffle4x128(a, b, 0b10_00_10_00), ab13 = Avx512F.Shuffle4x128(a, b, 0b11_01_11_01);
            Vector512<float> cd02 = Avx512F.Shuffle4x128(c, d, 0b10_00_10_00), cd13 = Avx512F.Shuffle4x128(c, d, 0b11_01_11_01);
            Avx512F.Shuffle4x128(ab02, cd02, 0b10_00_10_00).Store(target);
            Avx512F.Shuffle4x128(ab13, cd13, 0b10_00_10_00).Store(target + 4 * step);
            Avx512F.Shuffle4x128(ab02, cd02, 0b11_01_11_01).Store(target + 8 * step);
            Avx512F.Shuffle4x128(ab13, cd13, 0b11_01_11_01).Store(target + 12 * step);
        }
    }

    /// <summary>8 x 8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Square8(float* source, nint sourceStep, float* target, nint targetStep)
    {
        if (!Avx.IsSupported)
        {
            Plain(source, sourceStep, target, targetStep, 8);
            return;
        }
        Four(source, sourceStep, out var a0, out var a1, out var a2, out var a3);
        Four(source + 4 * sourceStep, sourceStep, out var b0, out var b1, out var b2, out var b3);
        Parts(a0, b0, target, 4 * targetStep);
        Parts(a1, b1, target + targetStep, 4 * targetStep);
        Parts(a2, b2, target + 2 * targetStep, 4 * targetStep);
        Parts(a3, b3, target + 3 * targetStep, 4 * targetStep);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Four(float* p, nint step, out Vector256<float> r0, out Vector256<float> r1, out Vector256<float> r2, out Vector256<float> r3)
        {
            Vector256<float> a = Vector256.Load(p), b = Vector256.Load(p + step), c = Vector256.Load(p + 2 * step), d = Vector256.Load(p + 3 * step);
            Vector256<double> abLow = Avx.UnpackLow(a, b).AsDouble(), abHigh = Avx.UnpackHigh(a, b).AsDouble();
            Vector256<double> cdLow = Avx.UnpackLow(c, d).AsDouble(), cdHigh = Avx.UnpackHigh(c, d).AsDouble();
            r0 = Avx.UnpackLow(abLow, cdLow).AsSingle();
            r1 = Avx.UnpackHigh(abLow, cdLow).AsSingle();
            r2 = Avx.UnpackLow(abHigh, cdHigh).AsSingle();
            r3 = Avx.UnpackHigh(abHigh, cdHigh).AsSingle();
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Parts(Vector256<float> a, Vector256<float> b, float* target, nint down)
        {
            Avx.Permute2x128(a, b, 0x20).Store(target);
            Avx.Permute2x128(a, b, 0x31).Store(target + down);
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
