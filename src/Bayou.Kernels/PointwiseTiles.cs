using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static System.Runtime.Intrinsics.X86.Avx512F;
using V = System.Runtime.Intrinsics.Vector512<float>;

namespace Bayou.Kernels;

/// <summary>
/// The inner loops of <see cref="PointwiseKernel"/>: a tile of sums in registers, rows of weights a number at a time against a row of packed pixels.
/// </summary>
internal static unsafe class PointwiseTiles
{
    /// <summary>Eight outputs of three registers of pixels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile3(float* w, nint wRow, float* x, int count, float* y, bool more)
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
            b0 = Vector512.Load(y + 48);
            b1 = Vector512.Load(y + 64);
            b2 = Vector512.Load(y + 80);
            c0 = Vector512.Load(y + 96);
            c1 = Vector512.Load(y + 112);
            c2 = Vector512.Load(y + 128);
            d0 = Vector512.Load(y + 144);
            d1 = Vector512.Load(y + 160);
            d2 = Vector512.Load(y + 176);
            e0 = Vector512.Load(y + 192);
            e1 = Vector512.Load(y + 208);
            e2 = Vector512.Load(y + 224);
            f0 = Vector512.Load(y + 240);
            f1 = Vector512.Load(y + 256);
            f2 = Vector512.Load(y + 272);
            g0 = Vector512.Load(y + 288);
            g1 = Vector512.Load(y + 304);
            g2 = Vector512.Load(y + 320);
            h0 = Vector512.Load(y + 336);
            h1 = Vector512.Load(y + 352);
            h2 = Vector512.Load(y + 368);
        }
        float* w3 = w + 3 * wRow, w6 = w + 6 * wRow;
        nint two = 2 * wRow;
        for (; count > 0; count--, x += 48, w++, w3++, w6++)
        {
            V s0 = Vector512.Load(x), s1 = Vector512.Load(x + 16), s2 = Vector512.Load(x + 32);
            var a = Vector512.Create(*w);
            a0 = FusedMultiplyAdd(a, s0, a0);
            a1 = FusedMultiplyAdd(a, s1, a1);
            a2 = FusedMultiplyAdd(a, s2, a2);
            var b = Vector512.Create(w[wRow]);
            b0 = FusedMultiplyAdd(b, s0, b0);
            b1 = FusedMultiplyAdd(b, s1, b1);
            b2 = FusedMultiplyAdd(b, s2, b2);
            var c = Vector512.Create(w[two]);
            c0 = FusedMultiplyAdd(c, s0, c0);
            c1 = FusedMultiplyAdd(c, s1, c1);
            c2 = FusedMultiplyAdd(c, s2, c2);
            var d = Vector512.Create(*w3);
            d0 = FusedMultiplyAdd(d, s0, d0);
            d1 = FusedMultiplyAdd(d, s1, d1);
            d2 = FusedMultiplyAdd(d, s2, d2);
            var e = Vector512.Create(w3[wRow]);
            e0 = FusedMultiplyAdd(e, s0, e0);
            e1 = FusedMultiplyAdd(e, s1, e1);
            e2 = FusedMultiplyAdd(e, s2, e2);
            var f = Vector512.Create(w3[two]);
            f0 = FusedMultiplyAdd(f, s0, f0);
            f1 = FusedMultiplyAdd(f, s1, f1);
            f2 = FusedMultiplyAdd(f, s2, f2);
            var g = Vector512.Create(*w6);
            g0 = FusedMultiplyAdd(g, s0, g0);
            g1 = FusedMultiplyAdd(g, s1, g1);
            g2 = FusedMultiplyAdd(g, s2, g2);
            var h = Vector512.Create(w6[wRow]);
            h0 = FusedMultiplyAdd(h, s0, h0);
            h1 = FusedMultiplyAdd(h, s1, h1);
            h2 = FusedMultiplyAdd(h, s2, h2);
        }
        a0.Store(y);
        a1.Store(y + 16);
        a2.Store(y + 32);
        b0.Store(y + 48);
        b1.Store(y + 64);
        b2.Store(y + 80);
        c0.Store(y + 96);
        c1.Store(y + 112);
        c2.Store(y + 128);
        d0.Store(y + 144);
        d1.Store(y + 160);
        d2.Store(y + 176);
        e0.Store(y + 192);
        e1.Store(y + 208);
        e2.Store(y + 224);
        f0.Store(y + 240);
        f1.Store(y + 256);
        f2.Store(y + 272);
        g0.Store(y + 288);
        g1.Store(y + 304);
        g2.Store(y + 320);
        h0.Store(y + 336);
        h1.Store(y + 352);
        h2.Store(y + 368);
    }

    /// <summary>Six outputs of four registers of pixels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tile4(float* w, nint wRow, float* x, int count, float* y, bool more)
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
            b0 = Vector512.Load(y + 64);
            b1 = Vector512.Load(y + 80);
            b2 = Vector512.Load(y + 96);
            b3 = Vector512.Load(y + 112);
            c0 = Vector512.Load(y + 128);
            c1 = Vector512.Load(y + 144);
            c2 = Vector512.Load(y + 160);
            c3 = Vector512.Load(y + 176);
            d0 = Vector512.Load(y + 192);
            d1 = Vector512.Load(y + 208);
            d2 = Vector512.Load(y + 224);
            d3 = Vector512.Load(y + 240);
            e0 = Vector512.Load(y + 256);
            e1 = Vector512.Load(y + 272);
            e2 = Vector512.Load(y + 288);
            e3 = Vector512.Load(y + 304);
            f0 = Vector512.Load(y + 320);
            f1 = Vector512.Load(y + 336);
            f2 = Vector512.Load(y + 352);
            f3 = Vector512.Load(y + 368);
        }
        float* w3 = w + 3 * wRow;
        nint two = 2 * wRow;
        for (; count > 0; count--, x += 64, w++, w3++)
        {
            V s0 = Vector512.Load(x), s1 = Vector512.Load(x + 16), s2 = Vector512.Load(x + 32), s3 = Vector512.Load(x + 48);
            var a = Vector512.Create(*w);
            a0 = FusedMultiplyAdd(a, s0, a0);
            a1 = FusedMultiplyAdd(a, s1, a1);
            a2 = FusedMultiplyAdd(a, s2, a2);
            a3 = FusedMultiplyAdd(a, s3, a3);
            var b = Vector512.Create(w[wRow]);
            b0 = FusedMultiplyAdd(b, s0, b0);
            b1 = FusedMultiplyAdd(b, s1, b1);
            b2 = FusedMultiplyAdd(b, s2, b2);
            b3 = FusedMultiplyAdd(b, s3, b3);
            var c = Vector512.Create(w[two]);
            c0 = FusedMultiplyAdd(c, s0, c0);
            c1 = FusedMultiplyAdd(c, s1, c1);
            c2 = FusedMultiplyAdd(c, s2, c2);
            c3 = FusedMultiplyAdd(c, s3, c3);
            var d = Vector512.Create(*w3);
            d0 = FusedMultiplyAdd(d, s0, d0);
            d1 = FusedMultiplyAdd(d, s1, d1);
            d2 = FusedMultiplyAdd(d, s2, d2);
            d3 = FusedMultiplyAdd(d, s3, d3);
            var e = Vector512.Create(w3[wRow]);
            e0 = FusedMultiplyAdd(e, s0, e0);
            e1 = FusedMultiplyAdd(e, s1, e1);
            e2 = FusedMultiplyAdd(e, s2, e2);
            e3 = FusedMultiplyAdd(e, s3, e3);
            var f = Vector512.Create(w3[two]);
            f0 = FusedMultiplyAdd(f, s0, f0);
            f1 = FusedMultiplyAdd(f, s1, f1);
            f2 = FusedMultiplyAdd(f, s2, f2);
            f3 = FusedMultiplyAdd(f, s3, f3);
        }
        a0.Store(y);
        a1.Store(y + 16);
        a2.Store(y + 32);
        a3.Store(y + 48);
        b0.Store(y + 64);
        b1.Store(y + 80);
        b2.Store(y + 96);
        b3.Store(y + 112);
        c0.Store(y + 128);
        c1.Store(y + 144);
        c2.Store(y + 160);
        c3.Store(y + 176);
        d0.Store(y + 192);
        d1.Store(y + 208);
        d2.Store(y + 224);
        d3.Store(y + 240);
        e0.Store(y + 256);
        e1.Store(y + 272);
        e2.Store(y + 288);
        e3.Store(y + 304);
        f0.Store(y + 320);
        f1.Store(y + 336);
        f2.Store(y + 352);
        f3.Store(y + 368);
    }
}
