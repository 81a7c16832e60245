using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static System.Runtime.Intrinsics.X86.Avx512F;
using V = System.Runtime.Intrinsics.Vector512<float>;

namespace Bayou.Kernels;

/// <summary>
/// The inner loops of <see cref="PointwiseKernel"/> and <see cref="ProductKernel"/>: a tile of sums in registers, rows of weights a number at a time against a
/// row of packed columns. Steps: wRow from an output's weights to the next one's, wStep from a weight to the next, yRow from a row of sums to the next.
/// </summary>
internal static unsafe class PointwiseTiles
{
    /// <summary>Floats in a register.</summary>
    public const int Lanes = 16;

    /// <summary>Columns and rows of the tile of three registers.</summary>
    public const int Narrow = 3 * Lanes, NarrowRows = 8;

    /// <summary>Columns and rows of the tile of four registers.</summary>
    public const int Wide = 4 * Lanes, WideRows = 6;

    /// <summary>Columns of the next panel where some are left: threes, and a four or two to come out even.</summary>
    public static int Width(int columns)
    {
        var registers = (columns + Lanes - 1) / Lanes;
        return registers % 3 == 0 || registers is 5 or < 3 ? Narrow : Wide;
    }

    /// <summary>y = sums + add, or sums alone.</summary>
    public static void Store(float* sums, float* add, float* y, int count)
    {
        var i = 0;
        for (; i + Lanes <= count; i += Lanes) (add is null ? Vector512.Load(sums + i) : Vector512.Load(sums + i) + Vector512.Load(add + i)).Store(y + i);
        if (i == count) return;
        var rest = Vector512.Load(sums + i);
        FloatParts.Store512(y + i, add is null ? rest : rest + FloatParts.Load512(add + i, count - i, default), count - i);
    }

    /// <summary>Eight outputs of three registers of pixels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile3(float* w, nint wRow, nint wStep, float* x, int count, float* y, nint yRow, bool more)
    {
        V a0 = V.Zero, a1 = V.Zero, a2 = V.Zero;
        V b0 = V.Zero, b1 = V.Zero, b2 = V.Zero;
        V c0 = V.Zero, c1 = V.Zero, c2 = V.Zero;
        V d0 = V.Zero, d1 = V.Zero, d2 = V.Zero;
        V e0 = V.Zero, e1 = V.Zero, e2 = V.Zero;
        V f0 = V.Zero, f1 = V.Zero, f2 = V.Zero;
        V g0 = V.Zero, g1 = V.Zero, g2 = V.Zero;
        V h0 = V.Zero, h1 = V.Zero, h2 = V.Zero;
        if (more)
        {
            a0 = Vector512.Load(y);
            a1 = Vector512.Load(y + 16);
            a2 = Vector512.Load(y + 32);
            b0 = Vector512.Load(y + yRow);
            b1 = Vector512.Load(y + yRow + 16);
            b2 = Vector512.Load(y + yRow + 32);
            c0 = Vector512.Load(y + 2 * yRow);
            c1 = Vector512.Load(y + 2 * yRow + 16);
            c2 = Vector512.Load(y + 2 * yRow + 32);
            d0 = Vector512.Load(y + 3 * yRow);
            d1 = Vector512.Load(y + 3 * yRow + 16);
            d2 = Vector512.Load(y + 3 * yRow + 32);
            e0 = Vector512.Load(y + 4 * yRow);
            e1 = Vector512.Load(y + 4 * yRow + 16);
            e2 = Vector512.Load(y + 4 * yRow + 32);
            f0 = Vector512.Load(y + 5 * yRow);
            f1 = Vector512.Load(y + 5 * yRow + 16);
            f2 = Vector512.Load(y + 5 * yRow + 32);
            g0 = Vector512.Load(y + 6 * yRow);
            g1 = Vector512.Load(y + 6 * yRow + 16);
            g2 = Vector512.Load(y + 6 * yRow + 32);
            h0 = Vector512.Load(y + 7 * yRow);
            h1 = Vector512.Load(y + 7 * yRow + 16);
            h2 = Vector512.Load(y + 7 * yRow + 32);
        }
        float* w1 = w + wRow, w2 = w1 + wRow, w3 = w2 + wRow, w4 = w3 + wRow, w5 = w4 + wRow, w6 = w5 + wRow, w7 = w6 + wRow;
        nint i = 0;
        if (wStep == 1 && count > 1)
        {
            nint end = count & ~1;
            do
            {
                V s0 = Vector512.Load(x), s1 = Vector512.Load(x + 16), s2 = Vector512.Load(x + 32);
                var a = Vector512.Create(w[i]);
                a0 = FusedMultiplyAdd(a, s0, a0);
                a1 = FusedMultiplyAdd(a, s1, a1);
                a2 = FusedMultiplyAdd(a, s2, a2);
                var b = Vector512.Create(w1[i]);
                b0 = FusedMultiplyAdd(b, s0, b0);
                b1 = FusedMultiplyAdd(b, s1, b1);
                b2 = FusedMultiplyAdd(b, s2, b2);
                var c = Vector512.Create(w2[i]);
                c0 = FusedMultiplyAdd(c, s0, c0);
                c1 = FusedMultiplyAdd(c, s1, c1);
                c2 = FusedMultiplyAdd(c, s2, c2);
                var d = Vector512.Create(w3[i]);
                d0 = FusedMultiplyAdd(d, s0, d0);
                d1 = FusedMultiplyAdd(d, s1, d1);
                d2 = FusedMultiplyAdd(d, s2, d2);
                var e = Vector512.Create(w4[i]);
                e0 = FusedMultiplyAdd(e, s0, e0);
                e1 = FusedMultiplyAdd(e, s1, e1);
                e2 = FusedMultiplyAdd(e, s2, e2);
                var f = Vector512.Create(w5[i]);
                f0 = FusedMultiplyAdd(f, s0, f0);
                f1 = FusedMultiplyAdd(f, s1, f1);
                f2 = FusedMultiplyAdd(f, s2, f2);
                var g = Vector512.Create(w6[i]);
                g0 = FusedMultiplyAdd(g, s0, g0);
                g1 = FusedMultiplyAdd(g, s1, g1);
                g2 = FusedMultiplyAdd(g, s2, g2);
                var h = Vector512.Create(w7[i]);
                h0 = FusedMultiplyAdd(h, s0, h0);
                h1 = FusedMultiplyAdd(h, s1, h1);
                h2 = FusedMultiplyAdd(h, s2, h2);
                s0 = Vector512.Load(x + 48);
                s1 = Vector512.Load(x + 64);
                s2 = Vector512.Load(x + 80);
                a = Vector512.Create(w[i + 1]);
                a0 = FusedMultiplyAdd(a, s0, a0);
                a1 = FusedMultiplyAdd(a, s1, a1);
                a2 = FusedMultiplyAdd(a, s2, a2);
                b = Vector512.Create(w1[i + 1]);
                b0 = FusedMultiplyAdd(b, s0, b0);
                b1 = FusedMultiplyAdd(b, s1, b1);
                b2 = FusedMultiplyAdd(b, s2, b2);
                c = Vector512.Create(w2[i + 1]);
                c0 = FusedMultiplyAdd(c, s0, c0);
                c1 = FusedMultiplyAdd(c, s1, c1);
                c2 = FusedMultiplyAdd(c, s2, c2);
                d = Vector512.Create(w3[i + 1]);
                d0 = FusedMultiplyAdd(d, s0, d0);
                d1 = FusedMultiplyAdd(d, s1, d1);
                d2 = FusedMultiplyAdd(d, s2, d2);
                e = Vector512.Create(w4[i + 1]);
                e0 = FusedMultiplyAdd(e, s0, e0);
                e1 = FusedMultiplyAdd(e, s1, e1);
                e2 = FusedMultiplyAdd(e, s2, e2);
                f = Vector512.Create(w5[i + 1]);
                f0 = FusedMultiplyAdd(f, s0, f0);
                f1 = FusedMultiplyAdd(f, s1, f1);
                f2 = FusedMultiplyAdd(f, s2, f2);
                g = Vector512.Create(w6[i + 1]);
                g0 = FusedMultiplyAdd(g, s0, g0);
                g1 = FusedMultiplyAdd(g, s1, g1);
                g2 = FusedMultiplyAdd(g, s2, g2);
                h = Vector512.Create(w7[i + 1]);
                h0 = FusedMultiplyAdd(h, s0, h0);
                h1 = FusedMultiplyAdd(h, s1, h1);
                h2 = FusedMultiplyAdd(h, s2, h2);
                x += 96;
                i += 2;
            }
            while (i < end);
            count &= 1;
        }
        for (; count > 0; count--, x += 48, i += wStep)
        {
            V s0 = Vector512.Load(x), s1 = Vector512.Load(x + 16), s2 = Vector512.Load(x + 32);
            var a = Vector512.Create(w[i]);
            a0 = FusedMultiplyAdd(a, s0, a0);
            a1 = FusedMultiplyAdd(a, s1, a1);
            a2 = FusedMultiplyAdd(a, s2, a2);
            var b = Vector512.Create(w1[i]);
            b0 = FusedMultiplyAdd(b, s0, b0);
            b1 = FusedMultiplyAdd(b, s1, b1);
            b2 = FusedMultiplyAdd(b, s2, b2);
            var c = Vector512.Create(w2[i]);
            c0 = FusedMultiplyAdd(c, s0, c0);
            c1 = FusedMultiplyAdd(c, s1, c1);
            c2 = FusedMultiplyAdd(c, s2, c2);
            var d = Vector512.Create(w3[i]);
            d0 = FusedMultiplyAdd(d, s0, d0);
            d1 = FusedMultiplyAdd(d, s1, d1);
            d2 = FusedMultiplyAdd(d, s2, d2);
            var e = Vector512.Create(w4[i]);
            e0 = FusedMultiplyAdd(e, s0, e0);
            e1 = FusedMultiplyAdd(e, s1, e1);
            e2 = FusedMultiplyAdd(e, s2, e2);
            var f = Vector512.Create(w5[i]);
            f0 = FusedMultiplyAdd(f, s0, f0);
            f1 = FusedMultiplyAdd(f, s1, f1);
            f2 = FusedMultiplyAdd(f, s2, f2);
            var g = Vector512.Create(w6[i]);
            g0 = FusedMultiplyAdd(g, s0, g0);
            g1 = FusedMultiplyAdd(g, s1, g1);
            g2 = FusedMultiplyAdd(g, s2, g2);
            var h = Vector512.Create(w7[i]);
            h0 = FusedMultiplyAdd(h, s0, h0);
            h1 = FusedMultiplyAdd(h, s1, h1);
            h2 = FusedMultiplyAdd(h, s2, h2);
        }
        a0.Store(y);
        a1.Store(y + 16);
        a2.Store(y + 32);
        b0.Store(y + yRow);
        b1.Store(y + yRow + 16);
        b2.Store(y + yRow + 32);
        c0.Store(y + 2 * yRow);
        c1.Store(y + 2 * yRow + 16);
        c2.Store(y + 2 * yRow + 32);
        d0.Store(y + 3 * yRow);
        d1.Store(y + 3 * yRow + 16);
        d2.Store(y + 3 * yRow + 32);
        e0.Store(y + 4 * yRow);
        e1.Store(y + 4 * yRow + 16);
        e2.Store(y + 4 * yRow + 32);
        f0.Store(y + 5 * yRow);
        f1.Store(y + 5 * yRow + 16);
        f2.Store(y + 5 * yRow + 32);
        g0.Store(y + 6 * yRow);
        g1.Store(y + 6 * yRow + 16);
        g2.Store(y + 6 * yRow + 32);
        h0.Store(y + 7 * yRow);
        h1.Store(y + 7 * yRow + 16);
        h2.Store(y + 7 * yRow + 32);
    }

    /// <summary>Six outputs of four registers of pixels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(float* w, nint wRow, nint wStep, float* x, int count, float* y, nint yRow, bool more)
    {
        V a0 = V.Zero, a1 = V.Zero, a2 = V.Zero, a3 = V.Zero;
        V b0 = V.Zero, b1 = V.Zero, b2 = V.Zero, b3 = V.Zero;
        V c0 = V.Zero, c1 = V.Zero, c2 = V.Zero, c3 = V.Zero;
        V d0 = V.Zero, d1 = V.Zero, d2 = V.Zero, d3 = V.Zero;
        V e0 = V.Zero, e1 = V.Zero, e2 = V.Zero, e3 = V.Zero;
        V f0 = V.Zero, f1 = V.Zero, f2 = V.Zero, f3 = V.Zero;
        if (more)
        {
            a0 = Vector512.Load(y);
            a1 = Vector512.Load(y + 16);
            a2 = Vector512.Load(y + 32);
            a3 = Vector512.Load(y + 48);
            b0 = Vector512.Load(y + yRow);
            b1 = Vector512.Load(y + yRow + 16);
            b2 = Vector512.Load(y + yRow + 32);
            b3 = Vector512.Load(y + yRow + 48);
            c0 = Vector512.Load(y + 2 * yRow);
            c1 = Vector512.Load(y + 2 * yRow + 16);
            c2 = Vector512.Load(y + 2 * yRow + 32);
            c3 = Vector512.Load(y + 2 * yRow + 48);
            d0 = Vector512.Load(y + 3 * yRow);
            d1 = Vector512.Load(y + 3 * yRow + 16);
            d2 = Vector512.Load(y + 3 * yRow + 32);
            d3 = Vector512.Load(y + 3 * yRow + 48);
            e0 = Vector512.Load(y + 4 * yRow);
            e1 = Vector512.Load(y + 4 * yRow + 16);
            e2 = Vector512.Load(y + 4 * yRow + 32);
            e3 = Vector512.Load(y + 4 * yRow + 48);
            f0 = Vector512.Load(y + 5 * yRow);
            f1 = Vector512.Load(y + 5 * yRow + 16);
            f2 = Vector512.Load(y + 5 * yRow + 32);
            f3 = Vector512.Load(y + 5 * yRow + 48);
        }
        float* w1 = w + wRow, w2 = w1 + wRow, w3 = w2 + wRow, w4 = w3 + wRow, w5 = w4 + wRow;
        nint i = 0;
        if (wStep == 1 && count > 1)
        {
            nint end = count & ~1;
            do
            {
                V s0 = Vector512.Load(x), s1 = Vector512.Load(x + 16), s2 = Vector512.Load(x + 32), s3 = Vector512.Load(x + 48);
                var a = Vector512.Create(w[i]);
                a0 = FusedMultiplyAdd(a, s0, a0);
                a1 = FusedMultiplyAdd(a, s1, a1);
                a2 = FusedMultiplyAdd(a, s2, a2);
                a3 = FusedMultiplyAdd(a, s3, a3);
                var b = Vector512.Create(w1[i]);
                b0 = FusedMultiplyAdd(b, s0, b0);
                b1 = FusedMultiplyAdd(b, s1, b1);
                b2 = FusedMultiplyAdd(b, s2, b2);
                b3 = FusedMultiplyAdd(b, s3, b3);
                var c = Vector512.Create(w2[i]);
                c0 = FusedMultiplyAdd(c, s0, c0);
                c1 = FusedMultiplyAdd(c, s1, c1);
                c2 = FusedMultiplyAdd(c, s2, c2);
                c3 = FusedMultiplyAdd(c, s3, c3);
                var d = Vector512.Create(w3[i]);
                d0 = FusedMultiplyAdd(d, s0, d0);
                d1 = FusedMultiplyAdd(d, s1, d1);
                d2 = FusedMultiplyAdd(d, s2, d2);
                d3 = FusedMultiplyAdd(d, s3, d3);
                var e = Vector512.Create(w4[i]);
                e0 = FusedMultiplyAdd(e, s0, e0);
                e1 = FusedMultiplyAdd(e, s1, e1);
                e2 = FusedMultiplyAdd(e, s2, e2);
                e3 = FusedMultiplyAdd(e, s3, e3);
                var f = Vector512.Create(w5[i]);
                f0 = FusedMultiplyAdd(f, s0, f0);
                f1 = FusedMultiplyAdd(f, s1, f1);
                f2 = FusedMultiplyAdd(f, s2, f2);
                f3 = FusedMultiplyAdd(f, s3, f3);
                s0 = Vector512.Load(x + 64);
                s1 = Vector512.Load(x + 80);
                s2 = Vector512.Load(x + 96);
                s3 = Vector512.Load(x + 112);
                a = Vector512.Create(w[i + 1]);
                a0 = FusedMultiplyAdd(a, s0, a0);
                a1 = FusedMultiplyAdd(a, s1, a1);
                a2 = FusedMultiplyAdd(a, s2, a2);
                a3 = FusedMultiplyAdd(a, s3, a3);
                b = Vector512.Create(w1[i + 1]);
                b0 = FusedMultiplyAdd(b, s0, b0);
                b1 = FusedMultiplyAdd(b, s1, b1);
                b2 = FusedMultiplyAdd(b, s2, b2);
                b3 = FusedMultiplyAdd(b, s3, b3);
                c = Vector512.Create(w2[i + 1]);
                c0 = FusedMultiplyAdd(c, s0, c0);
                c1 = FusedMultiplyAdd(c, s1, c1);
                c2 = FusedMultiplyAdd(c, s2, c2);
                c3 = FusedMultiplyAdd(c, s3, c3);
                d = Vector512.Create(w3[i + 1]);
                d0 = FusedMultiplyAdd(d, s0, d0);
                d1 = FusedMultiplyAdd(d, s1, d1);
                d2 = FusedMultiplyAdd(d, s2, d2);
                d3 = FusedMultiplyAdd(d, s3, d3);
                e = Vector512.Create(w4[i + 1]);
                e0 = FusedMultiplyAdd(e, s0, e0);
                e1 = FusedMultiplyAdd(e, s1, e1);
                e2 = FusedMultiplyAdd(e, s2, e2);
                e3 = FusedMultiplyAdd(e, s3, e3);
                f = Vector512.Create(w5[i + 1]);
                f0 = FusedMultiplyAdd(f, s0, f0);
                f1 = FusedMultiplyAdd(f, s1, f1);
                f2 = FusedMultiplyAdd(f, s2, f2);
                f3 = FusedMultiplyAdd(f, s3, f3);
                x += 128;
                i += 2;
            }
            while (i < end);
            count &= 1;
        }
        for (; count > 0; count--, x += 64, i += wStep)
        {
            V s0 = Vector512.Load(x), s1 = Vector512.Load(x + 16), s2 = Vector512.Load(x + 32), s3 = Vector512.Load(x + 48);
            var a = Vector512.Create(w[i]);
            a0 = FusedMultiplyAdd(a, s0, a0);
            a1 = FusedMultiplyAdd(a, s1, a1);
            a2 = FusedMultiplyAdd(a, s2, a2);
            a3 = FusedMultiplyAdd(a, s3, a3);
            var b = Vector512.Create(w1[i]);
            b0 = FusedMultiplyAdd(b, s0, b0);
            b1 = FusedMultiplyAdd(b, s1, b1);
            b2 = FusedMultiplyAdd(b, s2, b2);
            b3 = FusedMultiplyAdd(b, s3, b3);
            var c = Vector512.Create(w2[i]);
            c0 = FusedMultiplyAdd(c, s0, c0);
            c1 = FusedMultiplyAdd(c, s1, c1);
            c2 = FusedMultiplyAdd(c, s2, c2);
            c3 = FusedMultiplyAdd(c, s3, c3);
            var d = Vector512.Create(w3[i]);
            d0 = FusedMultiplyAdd(d, s0, d0);
            d1 = FusedMultiplyAdd(d, s1, d1);
            d2 = FusedMultiplyAdd(d, s2, d2);
            d3 = FusedMultiplyAdd(d, s3, d3);
            var e = Vector512.Create(w4[i]);
            e0 = FusedMultiplyAdd(e, s0, e0);
            e1 = FusedMultiplyAdd(e, s1, e1);
            e2 = FusedMultiplyAdd(e, s2, e2);
            e3 = FusedMultiplyAdd(e, s3, e3);
            var f = Vector512.Create(w5[i]);
            f0 = FusedMultiplyAdd(f, s0, f0);
            f1 = FusedMultiplyAdd(f, s1, f1);
            f2 = FusedMultiplyAdd(f, s2, f2);
            f3 = FusedMultiplyAdd(f, s3, f3);
        }
        a0.Store(y);
        a1.Store(y + 16);
        a2.Store(y + 32);
        a3.Store(y + 48);
        b0.Store(y + yRow);
        b1.Store(y + yRow + 16);
        b2.Store(y + yRow + 32);
        b3.Store(y + yRow + 48);
        c0.Store(y + 2 * yRow);
        c1.Store(y + 2 * yRow + 16);
        c2.Store(y + 2 * yRow + 32);
        c3.Store(y + 2 * yRow + 48);
        d0.Store(y + 3 * yRow);
        d1.Store(y + 3 * yRow + 16);
        d2.Store(y + 3 * yRow + 32);
        d3.Store(y + 3 * yRow + 48);
        e0.Store(y + 4 * yRow);
        e1.Store(y + 4 * yRow + 16);
        e2.Store(y + 4 * yRow + 32);
        e3.Store(y + 4 * yRow + 48);
        f0.Store(y + 5 * yRow);
        f1.Store(y + 5 * yRow + 16);
        f2.Store(y + 5 * yRow + 32);
        f3.Store(y + 5 * yRow + 48);
    }

    /// <summary>
    /// Six outputs of four single pixels, channels in the lanes: what is left where the pixels are no multiple of the register. Weights as they lie, one step apart;
    /// pixels turned around, xRow (a multiple of the register, zeros beyond count) from one to the next.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Dots(float* w, nint wRow, float* x, nint xRow, int count, float* y, nint yRow, bool more)
    {
        V a0 = V.Zero, a1 = V.Zero, a2 = V.Zero, a3 = V.Zero;
        V b0 = V.Zero, b1 = V.Zero, b2 = V.Zero, b3 = V.Zero;
        V c0 = V.Zero, c1 = V.Zero, c2 = V.Zero, c3 = V.Zero;
        V d0 = V.Zero, d1 = V.Zero, d2 = V.Zero, d3 = V.Zero;
        V e0 = V.Zero, e1 = V.Zero, e2 = V.Zero, e3 = V.Zero;
        V f0 = V.Zero, f1 = V.Zero, f2 = V.Zero, f3 = V.Zero;
        float* w1 = w + wRow, w2 = w1 + wRow, w3 = w2 + wRow, w4 = w3 + wRow, w5 = w4 + wRow, x1 = x + xRow, x2 = x1 + xRow, x3 = x2 + xRow;
        nint i = 0;
        for (nint whole = count / Lanes * Lanes; i < whole; i += Lanes)
        {
            V s0 = Vector512.Load(x + i), s1 = Vector512.Load(x1 + i), s2 = Vector512.Load(x2 + i), s3 = Vector512.Load(x3 + i);
            var a = Vector512.Load(w + i);
            a0 = FusedMultiplyAdd(a, s0, a0);
            a1 = FusedMultiplyAdd(a, s1, a1);
            a2 = FusedMultiplyAdd(a, s2, a2);
            a3 = FusedMultiplyAdd(a, s3, a3);
            var b = Vector512.Load(w1 + i);
            b0 = FusedMultiplyAdd(b, s0, b0);
            b1 = FusedMultiplyAdd(b, s1, b1);
            b2 = FusedMultiplyAdd(b, s2, b2);
            b3 = FusedMultiplyAdd(b, s3, b3);
            var c = Vector512.Load(w2 + i);
            c0 = FusedMultiplyAdd(c, s0, c0);
            c1 = FusedMultiplyAdd(c, s1, c1);
            c2 = FusedMultiplyAdd(c, s2, c2);
            c3 = FusedMultiplyAdd(c, s3, c3);
            var d = Vector512.Load(w3 + i);
            d0 = FusedMultiplyAdd(d, s0, d0);
            d1 = FusedMultiplyAdd(d, s1, d1);
            d2 = FusedMultiplyAdd(d, s2, d2);
            d3 = FusedMultiplyAdd(d, s3, d3);
            var e = Vector512.Load(w4 + i);
            e0 = FusedMultiplyAdd(e, s0, e0);
            e1 = FusedMultiplyAdd(e, s1, e1);
            e2 = FusedMultiplyAdd(e, s2, e2);
            e3 = FusedMultiplyAdd(e, s3, e3);
            var f = Vector512.Load(w5 + i);
            f0 = FusedMultiplyAdd(f, s0, f0);
            f1 = FusedMultiplyAdd(f, s1, f1);
            f2 = FusedMultiplyAdd(f, s2, f2);
            f3 = FusedMultiplyAdd(f, s3, f3);
        }
        if (i < count)
        {
            var part = count - (int)i;
            V s0 = Vector512.Load(x + i), s1 = Vector512.Load(x1 + i), s2 = Vector512.Load(x2 + i), s3 = Vector512.Load(x3 + i);
            var a = FloatParts.Load512(w + i, part, default);
            a0 = FusedMultiplyAdd(a, s0, a0);
            a1 = FusedMultiplyAdd(a, s1, a1);
            a2 = FusedMultiplyAdd(a, s2, a2);
            a3 = FusedMultiplyAdd(a, s3, a3);
            var b = FloatParts.Load512(w1 + i, part, default);
            b0 = FusedMultiplyAdd(b, s0, b0);
            b1 = FusedMultiplyAdd(b, s1, b1);
            b2 = FusedMultiplyAdd(b, s2, b2);
            b3 = FusedMultiplyAdd(b, s3, b3);
            var c = FloatParts.Load512(w2 + i, part, default);
            c0 = FusedMultiplyAdd(c, s0, c0);
            c1 = FusedMultiplyAdd(c, s1, c1);
            c2 = FusedMultiplyAdd(c, s2, c2);
            c3 = FusedMultiplyAdd(c, s3, c3);
            var d = FloatParts.Load512(w3 + i, part, default);
            d0 = FusedMultiplyAdd(d, s0, d0);
            d1 = FusedMultiplyAdd(d, s1, d1);
            d2 = FusedMultiplyAdd(d, s2, d2);
            d3 = FusedMultiplyAdd(d, s3, d3);
            var e = FloatParts.Load512(w4 + i, part, default);
            e0 = FusedMultiplyAdd(e, s0, e0);
            e1 = FusedMultiplyAdd(e, s1, e1);
            e2 = FusedMultiplyAdd(e, s2, e2);
            e3 = FusedMultiplyAdd(e, s3, e3);
            var f = FloatParts.Load512(w5 + i, part, default);
            f0 = FusedMultiplyAdd(f, s0, f0);
            f1 = FusedMultiplyAdd(f, s1, f1);
            f2 = FusedMultiplyAdd(f, s2, f2);
            f3 = FusedMultiplyAdd(f, s3, f3);
        }
        Four(a0, a1, a2, a3, y, more);
        Four(b0, b1, b2, b3, y + yRow, more);
        Four(c0, c1, c2, c3, y + 2 * yRow, more);
        Four(d0, d1, d2, d3, y + 3 * yRow, more);
        Four(e0, e1, e2, e3, y + 4 * yRow, more);
        Four(f0, f1, f2, f3, y + 5 * yRow, more);
    }

    // The sums of the lanes of four registers.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four(V a, V b, V c, V d, float* y, bool more)
    {
        V ab = UnpackLow(a, b) + UnpackHigh(a, b), cd = UnpackLow(c, d) + UnpackHigh(c, d);
        var four = Shuffle(ab, cd, 0x44) + Shuffle(ab, cd, 0xEE);
        var eight = four.GetLower() + four.GetUpper();
        var sum = eight.GetLower() + eight.GetUpper();
        (more ? Vector128.Load(y) + sum : sum).Store(y);
    }
}
