using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static System.Runtime.Intrinsics.X86.Avx512F;
using V = System.Runtime.Intrinsics.Vector512<double>;

namespace Bayou.Kernels;

/// <summary>
/// One stage of <see cref="Fourier"/>: for p below m and q below s, the radix elements q + s (p + m j) are combined and written to q + s (radix p + k), times
/// the twiddle of p and k.
/// The last stage (m = 1) has no twiddles. Written out, because a butterfly lives in registers and the compiler keeps nothing in them that passes through a
/// call.
/// </summary>
internal static unsafe partial class FourierStages
{
    private const MethodImplOptions Hot = MethodImplOptions.AggressiveOptimization;
    private const int Element = Fourier.Element;

    /// <summary>Radix 2.</summary>
    [MethodImpl(Hot)]
    public static void Two(double* x, double* y, double* w, int m, int s, nint im)
    {
        nint step = (nint)s * m * Element, to = s * Element;
        if (m == 1)
        {
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V r0 = a0 + a1, j0 = i0 + i1, r1 = a0 - a1, j1 = i0 - i1;
                r0.Store(y);
                j0.Store(y + im);
                r1.Store(y + to);
                j1.Store(y + to + im);
            }
            return;
        }
        for (var p = m; p > 0; p--, w += 2, y += to)
        {
            V c1 = Vector512.Create(w[0]), d1 = Vector512.Create(w[1]);
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V r0 = a0 + a1, j0 = i0 + i1, r1 = a0 - a1, j1 = i0 - i1;
                r0.Store(y);
                j0.Store(y + im);
                FusedMultiplyAddNegated(j1, d1, r1 * c1).Store(y + to);
                FusedMultiplyAdd(r1, d1, j1 * c1).Store(y + to + im);
            }
        }
    }

    /// <summary>Radix 3.</summary>
    [MethodImpl(Hot)]
    public static void Three(double* x, double* y, double* w, int m, int s, nint im)
    {
        V half = Vector512.Create(0.5), sine = Vector512.Create(0.86602540378443864676);
        nint step = (nint)s * m * Element, to = s * Element;
        if (m == 1)
        {
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V sA = a1 + a2, uA = i1 + i2, hA = FusedMultiplyAddNegated(sA, half, a0), kA = FusedMultiplyAddNegated(uA, half, i0);
                V dA = (a1 - a2) * sine, eA = (i1 - i2) * sine;
                V r0 = a0 + sA, j0 = i0 + uA, r1 = hA + eA, j1 = kA - dA, r2 = hA - eA, j2 = kA + dA;
                r0.Store(y);
                j0.Store(y + im);
                r1.Store(y + to);
                j1.Store(y + to + im);
                r2.Store(y + 2 * to);
                j2.Store(y + 2 * to + im);
            }
            return;
        }
        for (var p = m; p > 0; p--, w += 4, y += 2 * to)
        {
            V c1 = Vector512.Create(w[0]), d1 = Vector512.Create(w[1]), c2 = Vector512.Create(w[2]), d2 = Vector512.Create(w[3]);
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V sA = a1 + a2, uA = i1 + i2, hA = FusedMultiplyAddNegated(sA, half, a0), kA = FusedMultiplyAddNegated(uA, half, i0);
                V dA = (a1 - a2) * sine, eA = (i1 - i2) * sine;
                V r0 = a0 + sA, j0 = i0 + uA, r1 = hA + eA, j1 = kA - dA, r2 = hA - eA, j2 = kA + dA;
                r0.Store(y);
                j0.Store(y + im);
                FusedMultiplyAddNegated(j1, d1, r1 * c1).Store(y + to);
                FusedMultiplyAdd(r1, d1, j1 * c1).Store(y + to + im);
                FusedMultiplyAddNegated(j2, d2, r2 * c2).Store(y + 2 * to);
                FusedMultiplyAdd(r2, d2, j2 * c2).Store(y + 2 * to + im);
            }
        }
    }

    /// <summary>Radix 4.</summary>
    [MethodImpl(Hot)]
    public static void Four(double* x, double* y, double* w, int m, int s, nint im)
    {
        nint step = (nint)s * m * Element, to = s * Element;
        if (m == 1)
        {
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V a3 = Vector512.Load(x + 3 * step), i3 = Vector512.Load(x + 3 * step + im);
                V sA = a0 + a2, uA = i0 + i2, dA = a0 - a2, eA = i0 - i2, fA = a1 + a3, gA = i1 + i3, hA = a1 - a3, kA = i1 - i3;
                V r0 = sA + fA, j0 = uA + gA, r1 = dA + kA, j1 = eA - hA, r2 = sA - fA, j2 = uA - gA, r3 = dA - kA, j3 = eA + hA;
                r0.Store(y);
                j0.Store(y + im);
                r1.Store(y + to);
                j1.Store(y + to + im);
                r2.Store(y + 2 * to);
                j2.Store(y + 2 * to + im);
                r3.Store(y + 3 * to);
                j3.Store(y + 3 * to + im);
            }
            return;
        }
        for (var p = m; p > 0; p--, w += 6, y += 3 * to)
        {
            V c1 = Vector512.Create(w[0]), d1 = Vector512.Create(w[1]), c2 = Vector512.Create(w[2]), d2 = Vector512.Create(w[3]);
            V c3 = Vector512.Create(w[4]), d3 = Vector512.Create(w[5]);
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V a3 = Vector512.Load(x + 3 * step), i3 = Vector512.Load(x + 3 * step + im);
                V sA = a0 + a2, uA = i0 + i2, dA = a0 - a2, eA = i0 - i2, fA = a1 + a3, gA = i1 + i3, hA = a1 - a3, kA = i1 - i3;
                V r0 = sA + fA, j0 = uA + gA, r1 = dA + kA, j1 = eA - hA, r2 = sA - fA, j2 = uA - gA, r3 = dA - kA, j3 = eA + hA;
                r0.Store(y);
                j0.Store(y + im);
                FusedMultiplyAddNegated(j1, d1, r1 * c1).Store(y + to);
                FusedMultiplyAdd(r1, d1, j1 * c1).Store(y + to + im);
                FusedMultiplyAddNegated(j2, d2, r2 * c2).Store(y + 2 * to);
                FusedMultiplyAdd(r2, d2, j2 * c2).Store(y + 2 * to + im);
                FusedMultiplyAddNegated(j3, d3, r3 * c3).Store(y + 3 * to);
                FusedMultiplyAdd(r3, d3, j3 * c3).Store(y + 3 * to + im);
            }
        }
    }

    /// <summary>Radix 5.</summary>
    [MethodImpl(Hot)]
    public static void Five(double* x, double* y, double* w, int m, int s, nint im)
    {
        V cos1 = Vector512.Create(0.30901699437494742410), cos2 = Vector512.Create(-0.80901699437494742410);
        V sin1 = Vector512.Create(0.95105651629515357212), sin2 = Vector512.Create(0.58778525229247312917);
        nint step = (nint)s * m * Element, to = s * Element;
        if (m == 1)
        {
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V a3 = Vector512.Load(x + 3 * step), i3 = Vector512.Load(x + 3 * step + im);
                V a4 = Vector512.Load(x + 4 * step), i4 = Vector512.Load(x + 4 * step + im);
                V sr = a1 + a4, si = i1 + i4, dr = a1 - a4, di = i1 - i4, tr = a2 + a3, ti = i2 + i3, er = a2 - a3, ei = i2 - i3;
                V ur = FusedMultiplyAdd(sr, cos1, FusedMultiplyAdd(tr, cos2, a0)), ui = FusedMultiplyAdd(si, cos1, FusedMultiplyAdd(ti, cos2, i0));
                V vr = FusedMultiplyAdd(sr, cos2, FusedMultiplyAdd(tr, cos1, a0)), vi = FusedMultiplyAdd(si, cos2, FusedMultiplyAdd(ti, cos1, i0));
                V fr = FusedMultiplyAdd(dr, sin1, er * sin2), fi = FusedMultiplyAdd(di, sin1, ei * sin2);
                V gr = FusedMultiplyAddNegated(er, sin1, dr * sin2), gi = FusedMultiplyAddNegated(ei, sin1, di * sin2);
                V r0 = a0 + sr + tr, j0 = i0 + si + ti, r1 = ur + fi, j1 = ui - fr, r4 = ur - fi, j4 = ui + fr, r2 = vr + gi, j2 = vi - gr;
                V r3 = vr - gi, j3 = vi + gr;
                r0.Store(y);
                j0.Store(y + im);
                r1.Store(y + to);
                j1.Store(y + to + im);
                r2.Store(y + 2 * to);
                j2.Store(y + 2 * to + im);
                r3.Store(y + 3 * to);
                j3.Store(y + 3 * to + im);
                r4.Store(y + 4 * to);
                j4.Store(y + 4 * to + im);
            }
            return;
        }
        for (var p = m; p > 0; p--, w += 8, y += 4 * to)
        {
            V c1 = Vector512.Create(w[0]), d1 = Vector512.Create(w[1]), c2 = Vector512.Create(w[2]), d2 = Vector512.Create(w[3]);
            V c3 = Vector512.Create(w[4]), d3 = Vector512.Create(w[5]), c4 = Vector512.Create(w[6]), d4 = Vector512.Create(w[7]);
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V a3 = Vector512.Load(x + 3 * step), i3 = Vector512.Load(x + 3 * step + im);
                V a4 = Vector512.Load(x + 4 * step), i4 = Vector512.Load(x + 4 * step + im);
                V sr = a1 + a4, si = i1 + i4, dr = a1 - a4, di = i1 - i4, tr = a2 + a3, ti = i2 + i3, er = a2 - a3, ei = i2 - i3;
                V ur = FusedMultiplyAdd(sr, cos1, FusedMultiplyAdd(tr, cos2, a0)), ui = FusedMultiplyAdd(si, cos1, FusedMultiplyAdd(ti, cos2, i0));
                V vr = FusedMultiplyAdd(sr, cos2, FusedMultiplyAdd(tr, cos1, a0)), vi = FusedMultiplyAdd(si, cos2, FusedMultiplyAdd(ti, cos1, i0));
                V fr = FusedMultiplyAdd(dr, sin1, er * sin2), fi = FusedMultiplyAdd(di, sin1, ei * sin2);
                V gr = FusedMultiplyAddNegated(er, sin1, dr * sin2), gi = FusedMultiplyAddNegated(ei, sin1, di * sin2);
                V r0 = a0 + sr + tr, j0 = i0 + si + ti, r1 = ur + fi, j1 = ui - fr, r4 = ur - fi, j4 = ui + fr, r2 = vr + gi, j2 = vi - gr;
                V r3 = vr - gi, j3 = vi + gr;
                r0.Store(y);
                j0.Store(y + im);
                FusedMultiplyAddNegated(j1, d1, r1 * c1).Store(y + to);
                FusedMultiplyAdd(r1, d1, j1 * c1).Store(y + to + im);
                FusedMultiplyAddNegated(j2, d2, r2 * c2).Store(y + 2 * to);
                FusedMultiplyAdd(r2, d2, j2 * c2).Store(y + 2 * to + im);
                FusedMultiplyAddNegated(j3, d3, r3 * c3).Store(y + 3 * to);
                FusedMultiplyAdd(r3, d3, j3 * c3).Store(y + 3 * to + im);
                FusedMultiplyAddNegated(j4, d4, r4 * c4).Store(y + 4 * to);
                FusedMultiplyAdd(r4, d4, j4 * c4).Store(y + 4 * to + im);
            }
        }
    }
}
