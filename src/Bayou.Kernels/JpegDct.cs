using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>
/// The 8x8 cosine transform of JPEG in whole numbers (Loeffler, Ligtenberg and Moschytz 1989; 13 fraction bits, two kept between the passes): the "slow
/// integer" method every decoder and encoder of the libjpeg family has by default, bit for bit. A vector holds eight columns.
/// </summary>
internal static unsafe class JpegDct
{
    private const int Fraction = 13, Kept = 2;

    // Rotations of the transform, scaled by 2^13.
    private const int C0298 = 2446, C0390 = 3196, C0541 = 4433, C0765 = 6270, C0899 = 7373, C1175 = 9633;
    private const int C1501 = 12299, C1847 = 15137, C1961 = 16069, C2053 = 16819, C2562 = 20995, C3072 = 25172;

    /// <summary>
    /// Transforms a block of 8-bit samples, divides by the table rounding to nearest, multiplies again, and transforms back: what storing it as JPEG does.
    /// </summary>
    /// <param name="block">Top left sample, replaced.</param>
    /// <param name="stride">Samples of a row.</param>
    /// <param name="table">64 divisors, row by row.</param>
    public static void RoundTrip(byte* block, int stride, int* table)
    {
        var v = stackalloc int[64];
        for (var y = 0; y < 8; y++)
        {
            var bytes = Vector128.CreateScalar(*(ulong*)(block + (long)y * stride)).AsByte();
            var (low, high) = Vector128.Widen(Vector128.WidenLower(bytes));
            (Vector256.Create(low, high).AsInt32() - Vector256.Create(128)).Store(v + y * 8);
        }
        Turn(v);
        Forward(v, last: false);        // along the rows, which lie turned
        Turn(v);
        Forward(v, last: true);
        for (var i = 0; i < 64; i += 8)
        {
            // Coefficients come out eight times too large. The quotient's distance from the next whole number is far above a float's rounding.
            var divisor = Vector256.Load(table + i);
            var scaled = divisor << 3;
            var value = Vector256.Load(v + i);
            var size = Vector256.ConvertToInt32(Vector256.ConvertToSingle(Vector256.Abs(value) + (scaled >> 1)) / Vector256.ConvertToSingle(scaled));
            (Vector256.ConditionalSelect(Vector256.LessThan(value, Vector256<int>.Zero), -size, size) * divisor).Store(v + i);
        }
        Inverse(v, Fraction - Kept);
        Turn(v);
        Inverse(v, Fraction + Kept + 3);
        Turn(v);
        for (var y = 0; y < 8; y++)
        {
            var row = Vector256.Min(Vector256.Max(Vector256.Load(v + y * 8) + Vector256.Create(128), Vector256<int>.Zero), Vector256.Create(255));
            var words = Vector128.Narrow(row.GetLower().AsUInt32(), row.GetUpper().AsUInt32());
            *(ulong*)(block + (long)y * stride) = Vector128.Narrow(words, words).AsUInt64().ToScalar();
        }
    }

    private static void Forward(int* v, bool last)
    {
        Vector256<int> d0 = Vector256.Load(v), d1 = Vector256.Load(v + 8), d2 = Vector256.Load(v + 16), d3 = Vector256.Load(v + 24);
        Vector256<int> d4 = Vector256.Load(v + 32), d5 = Vector256.Load(v + 40), d6 = Vector256.Load(v + 48), d7 = Vector256.Load(v + 56);
        Vector256<int> s0 = d0 + d7, s1 = d1 + d6, s2 = d2 + d5, s3 = d3 + d4;
        Vector256<int> e0 = s0 + s3, e1 = s1 + s2, e2 = s1 - s2, e3 = s0 - s3;
        var shift = last ? Fraction + Kept : Fraction - Kept;
        (last ? Round(e0 + e1, Kept) : (e0 + e1) << Kept).Store(v);
        (last ? Round(e0 - e1, Kept) : (e0 - e1) << Kept).Store(v + 32);
        var turn = (e2 + e3) * C0541;
        Round(turn + e3 * C0765, shift).Store(v + 16);
        Round(turn - e2 * C1847, shift).Store(v + 48);
        Odd(d3 - d4, d2 - d5, d1 - d6, d0 - d7, out var o7, out var o5, out var o3, out var o1);
        Round(o7, shift).Store(v + 56);
        Round(o5, shift).Store(v + 40);
        Round(o3, shift).Store(v + 24);
        Round(o1, shift).Store(v + 8);
    }

    private static void Inverse(int* v, int shift)
    {
        Vector256<int> c2 = Vector256.Load(v + 16), c6 = Vector256.Load(v + 48), c0 = Vector256.Load(v), c4 = Vector256.Load(v + 32);
        var turn = (c2 + c6) * C0541;
        Vector256<int> t2 = turn - c6 * C1847, t3 = turn + c2 * C0765, t0 = (c0 + c4) << Fraction, t1 = (c0 - c4) << Fraction;
        Vector256<int> e0 = t0 + t3, e1 = t1 + t2, e2 = t1 - t2, e3 = t0 - t3;
        Odd(Vector256.Load(v + 56), Vector256.Load(v + 40), Vector256.Load(v + 24), Vector256.Load(v + 8), out var o3, out var o2, out var o1, out var o0);
        Round(e0 + o0, shift).Store(v);
        Round(e1 + o1, shift).Store(v + 8);
        Round(e2 + o2, shift).Store(v + 16);
        Round(e3 + o3, shift).Store(v + 24);
        Round(e3 - o3, shift).Store(v + 32);
        Round(e2 - o2, shift).Store(v + 40);
        Round(e1 - o1, shift).Store(v + 48);
        Round(e0 - o0, shift).Store(v + 56);
    }

    // The odd half is its own transpose: the same rotations forward and back.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Odd(
        Vector256<int> a, Vector256<int> b, Vector256<int> c, Vector256<int> d,
        out Vector256<int> fromA, out Vector256<int> fromB, out Vector256<int> fromC, out Vector256<int> fromD)
    {
        Vector256<int> ac = a + c, bd = b + d, both = (ac + bd) * C1175, ad = (a + d) * C0899, bc = (b + c) * C2562;
        ac = both - ac * C1961;
        bd = both - bd * C0390;
        fromA = a * C0298 - ad + ac;
        fromB = b * C2053 - bc + bd;
        fromC = c * C3072 - bc + ac;
        fromD = d * C1501 - ad + bd;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Round(Vector256<int> x, int bits) => (x + Vector256.Create(1 << (bits - 1))) >> bits;

    private static void Turn(int* v)
    {
        if (!Avx2.IsSupported)
        {
            for (var y = 0; y < 8; y++)
            {
                for (var x = y + 1; x < 8; x++) (v[y * 8 + x], v[x * 8 + y]) = (v[x * 8 + y], v[y * 8 + x]);
            }
            return;
        }
        // Pairs of rows, then pairs of pairs, then the two halves.
        for (var half = 0; half < 2; half++)
        {
            var p = v + half * 32;
            Vector256<int> a = Vector256.Load(p), b = Vector256.Load(p + 8), c = Vector256.Load(p + 16), d = Vector256.Load(p + 24);
            Vector256<long> ab = Avx2.UnpackLow(a, b).AsInt64(), abHigh = Avx2.UnpackHigh(a, b).AsInt64();
            Vector256<long> cd = Avx2.UnpackLow(c, d).AsInt64(), cdHigh = Avx2.UnpackHigh(c, d).AsInt64();
            Avx2.UnpackLow(ab, cd).AsInt32().Store(p);
            Avx2.UnpackHigh(ab, cd).AsInt32().Store(p + 8);
            Avx2.UnpackLow(abHigh, cdHigh).AsInt32().Store(p + 16);
            Avx2.UnpackHigh(abHigh, cdHigh).AsInt32().Store(p + 24);
        }
        for (var i = 0; i < 32; i += 8)
        {
            Vector256<int> upper = Vector256.Load(v + i), lower = Vector256.Load(v + 32 + i);
            Vector256.Create(upper.GetLower(), lower.GetLower()).Store(v + i);
            Vector256.Create(upper.GetUpper(), lower.GetUpper()).Store(v + 32 + i);
        }
    }
}
