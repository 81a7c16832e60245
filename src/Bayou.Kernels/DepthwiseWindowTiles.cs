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

internal readonly struct Nine : ITileSize
{
    public static int Count => 9;
}

internal readonly struct Ten : ITileSize
{
    public static int Count => 10;
}

internal readonly struct Eleven : ITileSize
{
    public static int Count => 11;
}

internal readonly struct Twelve : ITileSize
{
    public static int Count => 12;
}

internal readonly struct Thirteen : ITileSize
{
    public static int Count => 13;
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
    /// A row of 8 to 16 sums, kernels of 3, 5, ... 13 columns: the weights of a kernel row stay in registers, and each input column, loaded once, gives to all sums
    /// it meets. Columns outside the picture are left out. Neighbouring columns give to the same sums, so that those of two halves take turns.
    /// </summary>
    [MethodImpl(Hot)]
    public static void Window<TTaps, TColumns>(in DirectTile<Lanes512> tile) where TTaps : struct, ITileSize where TColumns : struct, ITileSize
    {
        V a0 = tile.Start.Value, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
        V a8 = a0, a9 = a0, a10 = a0, a11 = a0, a12 = a0, a13 = a0, a14 = a0, a15 = a0;
        var y = tile.Output;
        var to = tile.OutputPixel;
        var valid = tile.Outputs;
        if (tile.Continue)
        {
            a0 = Vector512.Load(y);
            if (valid > 1) a1 = Vector512.Load(y + to);
            if (valid > 2) a2 = Vector512.Load(y + 2 * to);
            if (valid > 3) a3 = Vector512.Load(y + 3 * to);
            if (valid > 4) a4 = Vector512.Load(y + 4 * to);
            if (valid > 5) a5 = Vector512.Load(y + 5 * to);
            if (valid > 6) a6 = Vector512.Load(y + 6 * to);
            if (valid > 7) a7 = Vector512.Load(y + 7 * to);
            if (TColumns.Count > 8 && valid > 8) a8 = Vector512.Load(y + 8 * to);
            if (TColumns.Count > 8 && valid > 9) a9 = Vector512.Load(y + 9 * to);
            if (TColumns.Count > 10 && valid > 10) a10 = Vector512.Load(y + 10 * to);
            if (TColumns.Count > 10 && valid > 11) a11 = Vector512.Load(y + 11 * to);
            if (TColumns.Count > 12 && valid > 12) a12 = Vector512.Load(y + 12 * to);
            if (TColumns.Count > 12 && valid > 13) a13 = Vector512.Load(y + 13 * to);
            if (TColumns.Count > 14 && valid > 14) a14 = Vector512.Load(y + 14 * to);
            if (TColumns.Count > 14 && valid > 15) a15 = Vector512.Load(y + 15 * to);
        }
        nint step = tile.InputPixel, tap = tile.KernelPixel;
        int left = tile.Left, width = tile.Width;
        float* input = tile.Input + left * step, kernel = tile.Kernel;
        if (tile.IsFar)
        {
            for (var j = 0; j < TColumns.Count; j++) Sse.Prefetch0(y + j * to);
            var next = input + tile.NextRow;
            for (var r = tile.Next; r > 0; r--, next += tile.InputRow)
                for (var j = 0; j < TColumns.Count; j++) Sse.Prefetch1(next + j * step);
        }
        for (var row = tile.Rows; row > 0; row--, input += tile.InputRow, kernel += tile.KernelRow)
        {
            V k0 = Vector512.Load(kernel), k1 = Vector512.Load(kernel + tap), k2 = Vector512.Load(kernel + 2 * tap);
            V k3 = k0, k4 = k0, k5 = k0, k6 = k0, k7 = k0, k8 = k0, k9 = k0, k10 = k0, k11 = k0, k12 = k0;
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
            if (TTaps.Count > 7)
            {
                k7 = Vector512.Load(kernel + 7 * tap);
                k8 = Vector512.Load(kernel + 8 * tap);
            }
            if (TTaps.Count > 9)
            {
                k9 = Vector512.Load(kernel + 9 * tap);
                k10 = Vector512.Load(kernel + 10 * tap);
            }
            if (TTaps.Count > 11)
            {
                k11 = Vector512.Load(kernel + 11 * tap);
                k12 = Vector512.Load(kernel + 12 * tap);
            }
            float* x = input, far = input + 8 * step;
            if ((uint)left < (uint)width)
            {
                var s = Vector512.Load(x);
                a0 = FusedMultiplyAdd(s, k0, a0);
            }
            x += step;
            if ((uint)(left + 8) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 7) a0 = FusedMultiplyAdd(s, k8, a0);
                if (TTaps.Count > 7) a1 = FusedMultiplyAdd(s, k7, a1);
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
                if (TTaps.Count > 9) a0 = FusedMultiplyAdd(s, k9, a0);
                if (TTaps.Count > 7) a1 = FusedMultiplyAdd(s, k8, a1);
                if (TTaps.Count > 7) a2 = FusedMultiplyAdd(s, k7, a2);
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
                if (TTaps.Count > 9) a0 = FusedMultiplyAdd(s, k10, a0);
                if (TTaps.Count > 9) a1 = FusedMultiplyAdd(s, k9, a1);
                if (TTaps.Count > 7) a2 = FusedMultiplyAdd(s, k8, a2);
                if (TTaps.Count > 7) a3 = FusedMultiplyAdd(s, k7, a3);
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
                if (TTaps.Count > 11) a0 = FusedMultiplyAdd(s, k11, a0);
                if (TTaps.Count > 9) a1 = FusedMultiplyAdd(s, k10, a1);
                if (TTaps.Count > 9) a2 = FusedMultiplyAdd(s, k9, a2);
                if (TTaps.Count > 7) a3 = FusedMultiplyAdd(s, k8, a3);
                if (TTaps.Count > 7) a4 = FusedMultiplyAdd(s, k7, a4);
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
                if (TTaps.Count > 11) a0 = FusedMultiplyAdd(s, k12, a0);
                if (TTaps.Count > 11) a1 = FusedMultiplyAdd(s, k11, a1);
                if (TTaps.Count > 9) a2 = FusedMultiplyAdd(s, k10, a2);
                if (TTaps.Count > 9) a3 = FusedMultiplyAdd(s, k9, a3);
                if (TTaps.Count > 7) a4 = FusedMultiplyAdd(s, k8, a4);
                if (TTaps.Count > 7) a5 = FusedMultiplyAdd(s, k7, a5);
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
                if (TTaps.Count > 11) a1 = FusedMultiplyAdd(s, k12, a1);
                if (TTaps.Count > 11) a2 = FusedMultiplyAdd(s, k11, a2);
                if (TTaps.Count > 9) a3 = FusedMultiplyAdd(s, k10, a3);
                if (TTaps.Count > 9) a4 = FusedMultiplyAdd(s, k9, a4);
                if (TTaps.Count > 7) a5 = FusedMultiplyAdd(s, k8, a5);
                if (TTaps.Count > 7) a6 = FusedMultiplyAdd(s, k7, a6);
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
                if (TTaps.Count > 11) a2 = FusedMultiplyAdd(s, k12, a2);
                if (TTaps.Count > 11) a3 = FusedMultiplyAdd(s, k11, a3);
                if (TTaps.Count > 9) a4 = FusedMultiplyAdd(s, k10, a4);
                if (TTaps.Count > 9) a5 = FusedMultiplyAdd(s, k9, a5);
                if (TTaps.Count > 7) a6 = FusedMultiplyAdd(s, k8, a6);
                if (TTaps.Count > 7) a7 = FusedMultiplyAdd(s, k7, a7);
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
                if (TTaps.Count > 7) a0 = FusedMultiplyAdd(s, k7, a0);
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
                if (TTaps.Count > 11) a3 = FusedMultiplyAdd(s, k12, a3);
                if (TTaps.Count > 11) a4 = FusedMultiplyAdd(s, k11, a4);
                if (TTaps.Count > 9) a5 = FusedMultiplyAdd(s, k10, a5);
                if (TTaps.Count > 9) a6 = FusedMultiplyAdd(s, k9, a6);
                if (TTaps.Count > 7) a7 = FusedMultiplyAdd(s, k8, a7);
                if (TTaps.Count > 7 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k7, a8);
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
                if (TTaps.Count > 11) a4 = FusedMultiplyAdd(s, k12, a4);
                if (TTaps.Count > 11) a5 = FusedMultiplyAdd(s, k11, a5);
                if (TTaps.Count > 9) a6 = FusedMultiplyAdd(s, k10, a6);
                if (TTaps.Count > 9) a7 = FusedMultiplyAdd(s, k9, a7);
                if (TTaps.Count > 7 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k8, a8);
                if (TTaps.Count > 7 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k7, a9);
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
                if (TTaps.Count > 11) a5 = FusedMultiplyAdd(s, k12, a5);
                if (TTaps.Count > 11) a6 = FusedMultiplyAdd(s, k11, a6);
                if (TTaps.Count > 9) a7 = FusedMultiplyAdd(s, k10, a7);
                if (TTaps.Count > 9 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k9, a8);
                if (TTaps.Count > 7 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k8, a9);
                if (TTaps.Count > 7 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k7, a10);
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
                if (TTaps.Count > 11) a6 = FusedMultiplyAdd(s, k12, a6);
                if (TTaps.Count > 11) a7 = FusedMultiplyAdd(s, k11, a7);
                if (TTaps.Count > 9 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k10, a8);
                if (TTaps.Count > 9 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k9, a9);
                if (TTaps.Count > 7 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k8, a10);
                if (TTaps.Count > 7 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k7, a11);
                if (TTaps.Count > 5 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k6, a12);
                if (TTaps.Count > 5 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k5, a13);
                if (TTaps.Count > 3 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k4, a14);
                if (TTaps.Count > 3 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k3, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 20 && (uint)(left + 19) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11) a7 = FusedMultiplyAdd(s, k12, a7);
                if (TTaps.Count > 11 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k11, a8);
                if (TTaps.Count > 9 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k10, a9);
                if (TTaps.Count > 9 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k9, a10);
                if (TTaps.Count > 7 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k8, a11);
                if (TTaps.Count > 7 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k7, a12);
                if (TTaps.Count > 5 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k6, a13);
                if (TTaps.Count > 5 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k5, a14);
                if (TTaps.Count > 3 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k4, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 21 && (uint)(left + 20) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 8) a8 = FusedMultiplyAdd(s, k12, a8);
                if (TTaps.Count > 11 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k11, a9);
                if (TTaps.Count > 9 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k10, a10);
                if (TTaps.Count > 9 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k9, a11);
                if (TTaps.Count > 7 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k8, a12);
                if (TTaps.Count > 7 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k7, a13);
                if (TTaps.Count > 5 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k6, a14);
                if (TTaps.Count > 5 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k5, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 22 && (uint)(left + 21) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 8) a9 = FusedMultiplyAdd(s, k12, a9);
                if (TTaps.Count > 11 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k11, a10);
                if (TTaps.Count > 9 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k10, a11);
                if (TTaps.Count > 9 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k9, a12);
                if (TTaps.Count > 7 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k8, a13);
                if (TTaps.Count > 7 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k7, a14);
                if (TTaps.Count > 5 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k6, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 23 && (uint)(left + 22) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 10) a10 = FusedMultiplyAdd(s, k12, a10);
                if (TTaps.Count > 11 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k11, a11);
                if (TTaps.Count > 9 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k10, a12);
                if (TTaps.Count > 9 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k9, a13);
                if (TTaps.Count > 7 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k8, a14);
                if (TTaps.Count > 7 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k7, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 24 && (uint)(left + 23) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 10) a11 = FusedMultiplyAdd(s, k12, a11);
                if (TTaps.Count > 11 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k11, a12);
                if (TTaps.Count > 9 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k10, a13);
                if (TTaps.Count > 9 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k9, a14);
                if (TTaps.Count > 7 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k8, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 25 && (uint)(left + 24) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 12) a12 = FusedMultiplyAdd(s, k12, a12);
                if (TTaps.Count > 11 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k11, a13);
                if (TTaps.Count > 9 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k10, a14);
                if (TTaps.Count > 9 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k9, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 26 && (uint)(left + 25) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 12) a13 = FusedMultiplyAdd(s, k12, a13);
                if (TTaps.Count > 11 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k11, a14);
                if (TTaps.Count > 9 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k10, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 27 && (uint)(left + 26) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 14) a14 = FusedMultiplyAdd(s, k12, a14);
                if (TTaps.Count > 11 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k11, a15);
            }
            far += step;
            if (TColumns.Count + TTaps.Count > 28 && (uint)(left + 27) < (uint)width)
            {
                var s = Vector512.Load(far);
                if (TTaps.Count > 11 && TColumns.Count > 14) a15 = FusedMultiplyAdd(s, k12, a15);
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
        a0.Store(y);
        if (valid > 1) a1.Store(y + to);
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
