using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static System.Runtime.Intrinsics.X86.Avx512F;
using V = System.Runtime.Intrinsics.Vector512<double>;

namespace Bayou.Kernels;

/// <summary>The radices that need most registers: half the passes over memory.</summary>
internal static unsafe partial class FourierStages
{
    /// <summary>Radix 8.</summary>
    [MethodImpl(Hot)]
    public static void Eight(double* x, double* y, double* w, int m, int s, nint im)
    {
        var root = Vector512.Create(0.70710678118654752440);
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
                V a5 = Vector512.Load(x + 5 * step), i5 = Vector512.Load(x + 5 * step + im);
                V a6 = Vector512.Load(x + 6 * step), i6 = Vector512.Load(x + 6 * step + im);
                V a7 = Vector512.Load(x + 7 * step), i7 = Vector512.Load(x + 7 * step + im);
                V sA = a0 + a4, uA = i0 + i4, dA = a0 - a4, eA = i0 - i4, fA = a2 + a6, gA = i2 + i6, hA = a2 - a6, kA = i2 - i6;
                V p0 = sA + fA, q0 = uA + gA, p1 = dA + kA, q1 = eA - hA, p2 = sA - fA, q2 = uA - gA, p3 = dA - kA, q3 = eA + hA;
                V sB = a1 + a5, uB = i1 + i5, dB = a1 - a5, eB = i1 - i5, fB = a3 + a7, gB = i3 + i7, hB = a3 - a7, kB = i3 - i7;
                V v0 = sB + fB, w0 = uB + gB, v1 = dB + kB, w1 = eB - hB, v2 = sB - fB, w2 = uB - gB, v3 = dB - kB, w3 = eB + hB;
                V x1 = (v1 + w1) * root, y1 = (w1 - v1) * root, x3 = (w3 - v3) * root, y3 = (v3 + w3) * root;
                V r0 = p0 + v0, j0 = q0 + w0, r4 = p0 - v0, j4 = q0 - w0, r1 = p1 + x1, j1 = q1 + y1, r5 = p1 - x1, j5 = q1 - y1;
                V r2 = p2 + w2, j2 = q2 - v2, r6 = p2 - w2, j6 = q2 + v2, r3 = p3 + x3, j3 = q3 - y3, r7 = p3 - x3, j7 = q3 + y3;
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
                r5.Store(y + 5 * to);
                j5.Store(y + 5 * to + im);
                r6.Store(y + 6 * to);
                j6.Store(y + 6 * to + im);
                r7.Store(y + 7 * to);
                j7.Store(y + 7 * to + im);
            }
            return;
        }
        for (var p = m; p > 0; p--, w += 14, y += 7 * to)
        {
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V a3 = Vector512.Load(x + 3 * step), i3 = Vector512.Load(x + 3 * step + im);
                V a4 = Vector512.Load(x + 4 * step), i4 = Vector512.Load(x + 4 * step + im);
                V a5 = Vector512.Load(x + 5 * step), i5 = Vector512.Load(x + 5 * step + im);
                V a6 = Vector512.Load(x + 6 * step), i6 = Vector512.Load(x + 6 * step + im);
                V a7 = Vector512.Load(x + 7 * step), i7 = Vector512.Load(x + 7 * step + im);
                V sA = a0 + a4, uA = i0 + i4, dA = a0 - a4, eA = i0 - i4, fA = a2 + a6, gA = i2 + i6, hA = a2 - a6, kA = i2 - i6;
                V p0 = sA + fA, q0 = uA + gA, p1 = dA + kA, q1 = eA - hA, p2 = sA - fA, q2 = uA - gA, p3 = dA - kA, q3 = eA + hA;
                V sB = a1 + a5, uB = i1 + i5, dB = a1 - a5, eB = i1 - i5, fB = a3 + a7, gB = i3 + i7, hB = a3 - a7, kB = i3 - i7;
                V v0 = sB + fB, w0 = uB + gB, v1 = dB + kB, w1 = eB - hB, v2 = sB - fB, w2 = uB - gB, v3 = dB - kB, w3 = eB + hB;
                V x1 = (v1 + w1) * root, y1 = (w1 - v1) * root, x3 = (w3 - v3) * root, y3 = (v3 + w3) * root;
                V r0 = p0 + v0, j0 = q0 + w0, r4 = p0 - v0, j4 = q0 - w0, r1 = p1 + x1, j1 = q1 + y1, r5 = p1 - x1, j5 = q1 - y1;
                V r2 = p2 + w2, j2 = q2 - v2, r6 = p2 - w2, j6 = q2 + v2, r3 = p3 + x3, j3 = q3 - y3, r7 = p3 - x3, j7 = q3 + y3;
                r0.Store(y);
                j0.Store(y + im);
                V c1 = Vector512.Create(w[0]), d1 = Vector512.Create(w[1]);
                FusedMultiplyAddNegated(j1, d1, r1 * c1).Store(y + to);
                FusedMultiplyAdd(r1, d1, j1 * c1).Store(y + to + im);
                V c2 = Vector512.Create(w[2]), d2 = Vector512.Create(w[3]);
                FusedMultiplyAddNegated(j2, d2, r2 * c2).Store(y + 2 * to);
                FusedMultiplyAdd(r2, d2, j2 * c2).Store(y + 2 * to + im);
                V c3 = Vector512.Create(w[4]), d3 = Vector512.Create(w[5]);
                FusedMultiplyAddNegated(j3, d3, r3 * c3).Store(y + 3 * to);
                FusedMultiplyAdd(r3, d3, j3 * c3).Store(y + 3 * to + im);
                V c4 = Vector512.Create(w[6]), d4 = Vector512.Create(w[7]);
                FusedMultiplyAddNegated(j4, d4, r4 * c4).Store(y + 4 * to);
                FusedMultiplyAdd(r4, d4, j4 * c4).Store(y + 4 * to + im);
                V c5 = Vector512.Create(w[8]), d5 = Vector512.Create(w[9]);
                FusedMultiplyAddNegated(j5, d5, r5 * c5).Store(y + 5 * to);
                FusedMultiplyAdd(r5, d5, j5 * c5).Store(y + 5 * to + im);
                V c6 = Vector512.Create(w[10]), d6 = Vector512.Create(w[11]);
                FusedMultiplyAddNegated(j6, d6, r6 * c6).Store(y + 6 * to);
                FusedMultiplyAdd(r6, d6, j6 * c6).Store(y + 6 * to + im);
                V c7 = Vector512.Create(w[12]), d7 = Vector512.Create(w[13]);
                FusedMultiplyAddNegated(j7, d7, r7 * c7).Store(y + 7 * to);
                FusedMultiplyAdd(r7, d7, j7 * c7).Store(y + 7 * to + im);
            }
        }
    }

    /// <summary>Radix 9.</summary>
    [MethodImpl(Hot)]
    public static void Nine(double* x, double* y, double* w, int m, int s, nint im)
    {
        V half = Vector512.Create(0.5), sine = Vector512.Create(0.86602540378443864676), cos1 = Vector512.Create(0.76604444311897803520);
        V sin1 = Vector512.Create(0.64278760968653932632);
        V cos2 = Vector512.Create(0.17364817766693034885), sin2 = Vector512.Create(0.98480775301220805937);
        V cos4 = Vector512.Create(-0.93969262078590838405), sin4 = Vector512.Create(0.34202014332566873304);
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
                V a5 = Vector512.Load(x + 5 * step), i5 = Vector512.Load(x + 5 * step + im);
                V a6 = Vector512.Load(x + 6 * step), i6 = Vector512.Load(x + 6 * step + im);
                V a7 = Vector512.Load(x + 7 * step), i7 = Vector512.Load(x + 7 * step + im);
                V a8 = Vector512.Load(x + 8 * step), i8 = Vector512.Load(x + 8 * step + im);
                V sA = a3 + a6, uA = i3 + i6, hA = FusedMultiplyAddNegated(sA, half, a0), kA = FusedMultiplyAddNegated(uA, half, i0);
                V dA = (a3 - a6) * sine, eA = (i3 - i6) * sine;
                V p00 = a0 + sA, q00 = i0 + uA, p01 = hA + eA, q01 = kA - dA, p02 = hA - eA, q02 = kA + dA;
                V sB = a4 + a7, uB = i4 + i7, hB = FusedMultiplyAddNegated(sB, half, a1), kB = FusedMultiplyAddNegated(uB, half, i1);
                V dB = (a4 - a7) * sine, eB = (i4 - i7) * sine;
                V p10 = a1 + sB, q10 = i1 + uB, p11 = hB + eB, q11 = kB - dB, p12 = hB - eB, q12 = kB + dB;
                V sC = a5 + a8, uC = i5 + i8, hC = FusedMultiplyAddNegated(sC, half, a2), kC = FusedMultiplyAddNegated(uC, half, i2);
                V dC = (a5 - a8) * sine, eC = (i5 - i8) * sine;
                V p20 = a2 + sC, q20 = i2 + uC, p21 = hC + eC, q21 = kC - dC, p22 = hC - eC, q22 = kC + dC;
                V v11 = FusedMultiplyAdd(q11, sin1, p11 * cos1), w11 = FusedMultiplyAddNegated(p11, sin1, q11 * cos1);
                V v12 = FusedMultiplyAdd(q12, sin2, p12 * cos2), w12 = FusedMultiplyAddNegated(p12, sin2, q12 * cos2);
                V v21 = FusedMultiplyAdd(q21, sin2, p21 * cos2), w21 = FusedMultiplyAddNegated(p21, sin2, q21 * cos2);
                V v22 = FusedMultiplyAdd(q22, sin4, p22 * cos4), w22 = FusedMultiplyAddNegated(p22, sin4, q22 * cos4);
                V sD = p10 + p20, uD = q10 + q20, hD = FusedMultiplyAddNegated(sD, half, p00), kD = FusedMultiplyAddNegated(uD, half, q00);
                V dD = (p10 - p20) * sine, eD = (q10 - q20) * sine;
                V r0 = p00 + sD, j0 = q00 + uD, r3 = hD + eD, j3 = kD - dD, r6 = hD - eD, j6 = kD + dD;
                V sE = v11 + v21, uE = w11 + w21, hE = FusedMultiplyAddNegated(sE, half, p01), kE = FusedMultiplyAddNegated(uE, half, q01);
                V dE = (v11 - v21) * sine, eE = (w11 - w21) * sine;
                V r1 = p01 + sE, j1 = q01 + uE, r4 = hE + eE, j4 = kE - dE, r7 = hE - eE, j7 = kE + dE;
                V sF = v12 + v22, uF = w12 + w22, hF = FusedMultiplyAddNegated(sF, half, p02), kF = FusedMultiplyAddNegated(uF, half, q02);
                V dF = (v12 - v22) * sine, eF = (w12 - w22) * sine;
                V r2 = p02 + sF, j2 = q02 + uF, r5 = hF + eF, j5 = kF - dF, r8 = hF - eF, j8 = kF + dF;
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
                r5.Store(y + 5 * to);
                j5.Store(y + 5 * to + im);
                r6.Store(y + 6 * to);
                j6.Store(y + 6 * to + im);
                r7.Store(y + 7 * to);
                j7.Store(y + 7 * to + im);
                r8.Store(y + 8 * to);
                j8.Store(y + 8 * to + im);
            }
            return;
        }
        for (var p = m; p > 0; p--, w += 16, y += 8 * to)
        {
            for (var q = s; q > 0; q--, x += Element, y += Element)
            {
                V a0 = Vector512.Load(x), i0 = Vector512.Load(x + im);
                V a1 = Vector512.Load(x + step), i1 = Vector512.Load(x + step + im);
                V a2 = Vector512.Load(x + 2 * step), i2 = Vector512.Load(x + 2 * step + im);
                V a3 = Vector512.Load(x + 3 * step), i3 = Vector512.Load(x + 3 * step + im);
                V a4 = Vector512.Load(x + 4 * step), i4 = Vector512.Load(x + 4 * step + im);
                V a5 = Vector512.Load(x + 5 * step), i5 = Vector512.Load(x + 5 * step + im);
                V a6 = Vector512.Load(x + 6 * step), i6 = Vector512.Load(x + 6 * step + im);
                V a7 = Vector512.Load(x + 7 * step), i7 = Vector512.Load(x + 7 * step + im);
                V a8 = Vector512.Load(x + 8 * step), i8 = Vector512.Load(x + 8 * step + im);
                V sA = a3 + a6, uA = i3 + i6, hA = FusedMultiplyAddNegated(sA, half, a0), kA = FusedMultiplyAddNegated(uA, half, i0);
                V dA = (a3 - a6) * sine, eA = (i3 - i6) * sine;
                V p00 = a0 + sA, q00 = i0 + uA, p01 = hA + eA, q01 = kA - dA, p02 = hA - eA, q02 = kA + dA;
                V sB = a4 + a7, uB = i4 + i7, hB = FusedMultiplyAddNegated(sB, half, a1), kB = FusedMultiplyAddNegated(uB, half, i1);
                V dB = (a4 - a7) * sine, eB = (i4 - i7) * sine;
                V p10 = a1 + sB, q10 = i1 + uB, p11 = hB + eB, q11 = kB - dB, p12 = hB - eB, q12 = kB + dB;
                V sC = a5 + a8, uC = i5 + i8, hC = FusedMultiplyAddNegated(sC, half, a2), kC = FusedMultiplyAddNegated(uC, half, i2);
                V dC = (a5 - a8) * sine, eC = (i5 - i8) * sine;
                V p20 = a2 + sC, q20 = i2 + uC, p21 = hC + eC, q21 = kC - dC, p22 = hC - eC, q22 = kC + dC;
                V v11 = FusedMultiplyAdd(q11, sin1, p11 * cos1), w11 = FusedMultiplyAddNegated(p11, sin1, q11 * cos1);
                V v12 = FusedMultiplyAdd(q12, sin2, p12 * cos2), w12 = FusedMultiplyAddNegated(p12, sin2, q12 * cos2);
                V v21 = FusedMultiplyAdd(q21, sin2, p21 * cos2), w21 = FusedMultiplyAddNegated(p21, sin2, q21 * cos2);
                V v22 = FusedMultiplyAdd(q22, sin4, p22 * cos4), w22 = FusedMultiplyAddNegated(p22, sin4, q22 * cos4);
                V sD = p10 + p20, uD = q10 + q20, hD = FusedMultiplyAddNegated(sD, half, p00), kD = FusedMultiplyAddNegated(uD, half, q00);
                V dD = (p10 - p20) * sine, eD = (q10 - q20) * sine;
                V r0 = p00 + sD, j0 = q00 + uD, r3 = hD + eD, j3 = kD - dD, r6 = hD - eD, j6 = kD + dD;
                V sE = v11 + v21, uE = w11 + w21, hE = FusedMultiplyAddNegated(sE, half, p01), kE = FusedMultiplyAddNegated(uE, half, q01);
                V dE = (v11 - v21) * sine, eE = (w11 - w21) * sine;
                V r1 = p01 + sE, j1 = q01 + uE, r4 = hE + eE, j4 = kE - dE, r7 = hE - eE, j7 = kE + dE;
                V sF = v12 + v22, uF = w12 + w22, hF = FusedMultiplyAddNegated(sF, half, p02), kF = FusedMultiplyAddNegated(uF, half, q02);
                V dF = (v12 - v22) * sine, eF = (w12 - w22) * sine;
                V r2 = p02 + sF, j2 = q02 + uF, r5 = hF + eF, j5 = kF - dF, r8 = hF - eF, j8 = kF + dF;
                r0.Store(y);
                j0.Store(y + im);
                V c1 = Vector512.Create(w[0]), d1 = Vector512.Create(w[1]);
                FusedMultiplyAddNegated(j1, d1, r1 * c1).Store(y + to);
                FusedMultiplyAdd(r1, d1, j1 * c1).Store(y + to + im);
                V c2 = Vector512.Create(w[2]), d2 = Vector512.Create(w[3]);
                FusedMultiplyAddNegated(j2, d2, r2 * c2).Store(y + 2 * to);
                FusedMultiplyAdd(r2, d2, j2 * c2).Store(y + 2 * to + im);
                V c3 = Vector512.Create(w[4]), d3 = Vector512.Create(w[5]);
                FusedMultiplyAddNegated(j3, d3, r3 * c3).Store(y + 3 * to);
                FusedMultiplyAdd(r3, d3, j3 * c3).Store(y + 3 * to + im);
                V c4 = Vector512.Create(w[6]), d4 = Vector512.Create(w[7]);
                FusedMultiplyAddNegated(j4, d4, r4 * c4).Store(y + 4 * to);
                FusedMultiplyAdd(r4, d4, j4 * c4).Store(y + 4 * to + im);
                V c5 = Vector512.Create(w[8]), d5 = Vector512.Create(w[9]);
                FusedMultiplyAddNegated(j5, d5, r5 * c5).Store(y + 5 * to);
                FusedMultiplyAdd(r5, d5, j5 * c5).Store(y + 5 * to + im);
                V c6 = Vector512.Create(w[10]), d6 = Vector512.Create(w[11]);
                FusedMultiplyAddNegated(j6, d6, r6 * c6).Store(y + 6 * to);
                FusedMultiplyAdd(r6, d6, j6 * c6).Store(y + 6 * to + im);
                V c7 = Vector512.Create(w[12]), d7 = Vector512.Create(w[13]);
                FusedMultiplyAddNegated(j7, d7, r7 * c7).Store(y + 7 * to);
                FusedMultiplyAdd(r7, d7, j7 * c7).Store(y + 7 * to + im);
                V c8 = Vector512.Create(w[14]), d8 = Vector512.Create(w[15]);
                FusedMultiplyAddNegated(j8, d8, r8 * c8).Store(y + 8 * to);
                FusedMultiplyAdd(r8, d8, j8 * c8).Store(y + 8 * to + im);
            }
        }
    }
}
