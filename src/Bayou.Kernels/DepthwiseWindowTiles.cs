using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using static System.Runtime.Intrinsics.X86.Avx512F;
using V = System.Runtime.Intrinsics.Vector512<float>;

namespace Bayou.Kernels;

/// <summary>A number known to the compiler.</summary>
internal interface ITileSize
{
    static abstract int Count { get; }
}

internal readonly struct Three : ITileSize
{
    public static int Count => 3;
}

internal readonly struct Four : ITileSize
{
    public static int Count => 4;
}

internal readonly struct Five : ITileSize
{
    public static int Count => 5;
}

internal readonly struct Six : ITileSize
{
    public static int Count => 6;
}

internal readonly struct Seven : ITileSize
{
    public static int Count => 7;
}

internal readonly struct Eight : ITileSize
{
    public static int Count => 8;
}

internal readonly struct Ten : ITileSize
{
    public static int Count => 10;
}

internal readonly struct Twelve : ITileSize
{
    public static int Count => 12;
}

internal readonly struct Fourteen : ITileSize
{
    public static int Count => 14;
}

internal readonly struct Sixteen : ITileSize
{
    public static int Count => 16;
}

internal static unsafe partial class DepthwiseTiles
{
    /// <summary>
    /// A row of 8 to 16 sums, kernels of 3, 5 or 7 columns: the weights of a kernel row stay in registers, and each input column, loaded once, gives to all sums
    /// it meets. Columns outside the picture are left out. Neighbouring columns give to the same sums, so that those of two halves take turns.
    /// </summary>
    [MethodImpl(Hot)]
    public static void Window<TTaps, TColumns>(in DirectTile<Lanes512> tile) where TTaps : struct, ITileSize where TColumns : struct, ITileSize
    {
        V a0 = tile.Start.Value, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
        V a8 = a0, a9 = a0, a10 = a0, a11 = a0, a12 = a0, a13 = a0, a14 = a0, a15 = a0;
        nint step = tile.InputPixel, tap = tile.KernelPixel;
        int left = tile.Left, width = tile.Width;
        float* input = tile.Input + left * step, kernel = tile.Kernel;
        if (tile.IsFar)
        {
            for (var j = 0; j < TColumns.Count; j++) Sse.Prefetch0(tile.Output + j * tile.OutputPixel);
            var next = input + tile.NextRow;
            for (var r = tile.Next; r > 0; r--, next += tile.InputRow)
                for (var j = 0; j < TColumns.Count; j++) Sse.Prefetch1(next + j * step);
        }
        for (var row = tile.Rows; row > 0; row--, input += tile.InputRow, kernel += tile.KernelRow)
        {
            V k0 = Vector512.Load(kernel), k1 = Vector512.Load(kernel + tap), k2 = Vector512.Load(kernel + 2 * tap);
            V k3 = k0, k4 = k0, k5 = k0, k6 = k0;
            if (TTaps.Count > 3)
            {
                k3 = Vector512.Load(kernel + 3 * tap);
                k4 = Vector512.Load(kernel + 4 * tap);
            }
            if (TTaps.Count > 5)
            {
                k5 = Vector512.Load(kernel + 5 * tap);
                k6 = Vector512.Load(kernel + 6 * tap);
            }
            float* x = input, far = input + 8 * step;
            if ((uint)(left + 0) < (uint)width)
            {
                var s = Vector512.Load(x);
                a0 = FusedMultiplyAdd(s, k0, a0);
            }
            x += step;
            if ((uint)(left + 8) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5) a2 = FusedMultiplyAdd(s, k6, a2);
                if (TTaps.Count > 5) a3 = FusedMultiplyAdd(s, k5, a3);
                if (TTaps.Count > 3) a4 = FusedMultiplyAdd(s, k4, a4);
                if (TTaps.Count > 3) a5 = FusedMultiplyAdd(s, k3, a5);
                a6 = FusedMultiplyAdd(s, k2, a6);
                a7 = FusedMultiplyAdd(s, k1, a7);
                if (TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k0, a8);
            }
            far += step;
            if ((uint)(left + 1) < (uint)width)
            {
                var s = Vector512.Load(x);
                a0 = FusedMultiplyAdd(s, k1, a0);
                a1 = FusedMultiplyAdd(s, k0, a1);
            }
            x += step;
            if ((uint)(left + 9) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5) a3 = FusedMultiplyAdd(s, k6, a3);
                if (TTaps.Count > 5) a4 = FusedMultiplyAdd(s, k5, a4);
                if (TTaps.Count > 3) a5 = FusedMultiplyAdd(s, k4, a5);
                if (TTaps.Count > 3) a6 = FusedMultiplyAdd(s, k3, a6);
                a7 = FusedMultiplyAdd(s, k2, a7);
                if (TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k1, a8);
                if (TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k0, a9);
            }
            far += step;
            if ((uint)(left + 2) < (uint)width)
            {
                var s = Vector512.Load(x);
                a0 = FusedMultiplyAdd(s, k2, a0);
                a1 = FusedMultiplyAdd(s, k1, a1);
                a2 = FusedMultiplyAdd(s, k0, a2);
            }
            x += step;
            if (TColumns.Count + TTaps.Count > 11 && (uint)(left + 10) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5) a4 = FusedMultiplyAdd(s, k6, a4);
                if (TTaps.Count > 5) a5 = FusedMultiplyAdd(s, k5, a5);
                if (TTaps.Count > 3) a6 = FusedMultiplyAdd(s, k4, a6);
                if (TTaps.Count > 3) a7 = FusedMultiplyAdd(s, k3, a7);
                if (TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k2, a8);
                if (TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k1, a9);
                if (TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k0, a10);
            }
            far += step;
            if ((uint)(left + 3) < (uint)width)
            {
                var s = Vector512.Load(x);
                if (TTaps.Count > 3) a0 = FusedMultiplyAdd(s, k3, a0);
                a1 = FusedMultiplyAdd(s, k2, a1);
                a2 = FusedMultiplyAdd(s, k1, a2);
                a3 = FusedMultiplyAdd(s, k0, a3);
            }
            x += step;
            if (TColumns.Count + TTaps.Count > 12 && (uint)(left + 11) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5) a5 = FusedMultiplyAdd(s, k6, a5);
                if (TTaps.Count > 5) a6 = FusedMultiplyAdd(s, k5, a6);
                if (TTaps.Count > 3) a7 = FusedMultiplyAdd(s, k4, a7);
                if (TTaps.Count > 3 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k3, a8);
                if (TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k2, a9);
                if (TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k1, a10);
                if (TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k0, a11);
            }
            far += step;
            if ((uint)(left + 4) < (uint)width)
            {
                var s = Vector512.Load(x);
                if (TTaps.Count > 3) a0 = FusedMultiplyAdd(s, k4, a0);
                if (TTaps.Count > 3) a1 = FusedMultiplyAdd(s, k3, a1);
                a2 = FusedMultiplyAdd(s, k2, a2);
                a3 = FusedMultiplyAdd(s, k1, a3);
                a4 = FusedMultiplyAdd(s, k0, a4);
            }
            x += step;
            if (TColumns.Count + TTaps.Count > 13 && (uint)(left + 12) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5) a6 = FusedMultiplyAdd(s, k6, a6);
                if (TTaps.Count > 5) a7 = FusedMultiplyAdd(s, k5, a7);
                if (TTaps.Count > 3 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k4, a8);
                if (TTaps.Count > 3 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k3, a9);
                if (TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k2, a10);
                if (TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k1, a11);
                if (TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k0, a12);
            }
            far += step;
            if ((uint)(left + 5) < (uint)width)
            {
                var s = Vector512.Load(x);
                if (TTaps.Count > 5) a0 = FusedMultiplyAdd(s, k5, a0);
                if (TTaps.Count > 3) a1 = FusedMultiplyAdd(s, k4, a1);
                if (TTaps.Count > 3) a2 = FusedMultiplyAdd(s, k3, a2);
                a3 = FusedMultiplyAdd(s, k2, a3);
                a4 = FusedMultiplyAdd(s, k1, a4);
                a5 = FusedMultiplyAdd(s, k0, a5);
            }
            x += step;
            if (TColumns.Count + TTaps.Count > 14 && (uint)(left + 13) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5) a7 = FusedMultiplyAdd(s, k6, a7);
                if (TTaps.Count > 5 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k5, a8);
                if (TTaps.Count > 3 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k4, a9);
                if (TTaps.Count > 3 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k3, a10);
                if (TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k2, a11);
                if (TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k1, a12);
                if (TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k0, a13);
            }
            far += step;
            if ((uint)(left + 6) < (uint)width)
            {
                var s = Vector512.Load(x);
                if (TTaps.Count > 5) a0 = FusedMultiplyAdd(s, k6, a0);
                if (TTaps.Count > 5) a1 = FusedMultiplyAdd(s, k5, a1);
                if (TTaps.Count > 3) a2 = FusedMultiplyAdd(s, k4, a2);
                if (TTaps.Count > 3) a3 = FusedMultiplyAdd(s, k3, a3);
                a4 = FusedMultiplyAdd(s, k2, a4);
                a5 = FusedMultiplyAdd(s, k1, a5);
                a6 = FusedMultiplyAdd(s, k0, a6);
            }
            x += step;
            if (TColumns.Count + TTaps.Count > 15 && (uint)(left + 14) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k6, a8);
                if (TTaps.Count > 5 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k5, a9);
                if (TTaps.Count > 3 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k4, a10);
                if (TTaps.Count > 3 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k3, a11);
                if (TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k2, a12);
                if (TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k1, a13);
                if (TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k0, a14);
            }
            far += step;
            if ((uint)(left + 7) < (uint)width)
            {
                var s = Vector512.Load(x);
                if (TTaps.Count > 5) a1 = FusedMultiplyAdd(s, k6, a1);
                if (TTaps.Count > 5) a2 = FusedMultiplyAdd(s, k5, a2);
                if (TTaps.Count > 3) a3 = FusedMultiplyAdd(s, k4, a3);
                if (TTaps.Count > 3) a4 = FusedMultiplyAdd(s, k3, a4);
                a5 = FusedMultiplyAdd(s, k2, a5);
                a6 = FusedMultiplyAdd(s, k1, a6);
                a7 = FusedMultiplyAdd(s, k0, a7);
            }
            x += step;
            if (TColumns.Count + TTaps.Count > 16 && (uint)(left + 15) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k6, a9);
                if (TTaps.Count > 5 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k5, a10);
                if (TTaps.Count > 3 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k4, a11);
                if (TTaps.Count > 3 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k3, a12);
                if (TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k2, a13);
                if (TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k1, a14);
                if (TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k0, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 17 && (uint)(left + 16) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k6, a10);
                if (TTaps.Count > 5 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k5, a11);
                if (TTaps.Count > 3 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k4, a12);
                if (TTaps.Count > 3 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k3, a13);
                if (TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k2, a14);
                if (TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k1, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 18 && (uint)(left + 17) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k6, a11);
                if (TTaps.Count > 5 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k5, a12);
                if (TTaps.Count > 3 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k4, a13);
                if (TTaps.Count > 3 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k3, a14);
                if (TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k2, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 19 && (uint)(left + 18) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k6, a12);
                if (TTaps.Count > 5 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k5, a13);
                if (TTaps.Count > 3 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k4, a14);
                if (TTaps.Count > 3 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k3, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 20 && (uint)(left + 19) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k6, a13);
                if (TTaps.Count > 5 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k5, a14);
                if (TTaps.Count > 3 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k4, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 21 && (uint)(left + 20) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k6, a14);
                if (TTaps.Count > 5 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k5, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 22 && (uint)(left + 21) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 5 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k6, a15);
            }
        }
        if (tile.Relu)
        {
            a0 = Positive(a0);
            a1 = Positive(a1);
            a2 = Positive(a2);
            a3 = Positive(a3);
            a4 = Positive(a4);
            a5 = Positive(a5);
            a6 = Positive(a6);
            a7 = Positive(a7);
            a8 = Positive(a8);
            a9 = Positive(a9);
            a10 = Positive(a10);
            a11 = Positive(a11);
            a12 = Positive(a12);
            a13 = Positive(a13);
            a14 = Positive(a14);
            a15 = Positive(a15);
        }
        var y = tile.Output;
        var to = tile.OutputPixel;
        var valid = tile.Outputs;
        if (valid > 0) a0.Store(y);
        if (valid > 1) a1.Store(y + 1 * to);
        if (valid > 2) a2.Store(y + 2 * to);
        if (valid > 3) a3.Store(y + 3 * to);
        if (valid > 4) a4.Store(y + 4 * to);
        if (valid > 5) a5.Store(y + 5 * to);
        if (valid > 6) a6.Store(y + 6 * to);
        if (valid > 7) a7.Store(y + 7 * to);
        if (TColumns.Count > 8 && valid > 8) a8.Store(y + 8 * to);
        if (TColumns.Count > 8 && valid > 9) a9.Store(y + 9 * to);
        if (TColumns.Count > 10 && valid > 10) a10.Store(y + 10 * to);
        if (TColumns.Count > 10 && valid > 11) a11.Store(y + 11 * to);
        if (TColumns.Count > 12 && valid > 12) a12.Store(y + 12 * to);
        if (TColumns.Count > 12 && valid > 13) a13.Store(y + 13 * to);
        if (TColumns.Count > 14 && valid > 14) a14.Store(y + 14 * to);
        if (TColumns.Count > 14 && valid > 15) a15.Store(y + 15 * to);
    }

    // Zero for what is negative; NaN stays.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Positive(V v) => Vector512.ConditionalSelect(Vector512.LessThan(v, V.Zero), V.Zero, v);
}
