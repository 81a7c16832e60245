using System.Numerics;
using System.Runtime.Intrinsics;

namespace Bayou.Bench;

/// <summary>The straightforward searches over all points, with vectors and all threads: what a user would write.</summary>
internal static class BruteForce
{
    /// <summary>Furthest point sampling over all points in every round.</summary>
    public static void Furthest(float[] xyz, int[] picked)
    {
        var (x, y, z) = Columns(xyz);
        var n = x.Length;
        var left = new float[n];
        Array.Fill(left, 1e10f);
        Array.Fill(left, -1, xyz.Length / 3, n - xyz.Length / 3);
        for (var i = 1; i < picked.Length; i++)
        {
            var last = picked[i - 1];
            var (px, py, pz) = (Vector512.Create(x[last]), Vector512.Create(y[last]), Vector512.Create(z[last]));
            var (best, where) = (Vector512.Create(-1f), Vector512<int>.Zero);
            var index = Vector512.CreateSequence(0, 1);
            for (var p = 0; p < n; p += 16)
            {
                var (dx, dy, dz) = (Vector512.LoadUnsafe(ref x[p]) - px, Vector512.LoadUnsafe(ref y[p]) - py, Vector512.LoadUnsafe(ref z[p]) - pz);
                var d = Vector512.MinNative(Vector512.LoadUnsafe(ref left[p]), dx * dx + dy * dy + dz * dz);
                d.StoreUnsafe(ref left[p]);
                var larger = Vector512.GreaterThan(d, best);
                best = Vector512.ConditionalSelect(larger, d, best);
                where = Vector512.ConditionalSelect(larger.AsInt32(), index, where);
                index += Vector512.Create(16);
            }
            var (top, at) = (-1f, int.MaxValue);
            for (var l = 0; l < 16; l++) if (best[l] > top || (best[l] == top && where[l] < at)) (top, at) = (best[l], where[l]);
            picked[i] = at;
        }
    }

    /// <summary>The k nearest of the first queries among all points.</summary>
    public static void Nearest(float[] xyz, int queries, int k, int threads)
    {
        var (x, y, z) = Columns(xyz);
        var n = xyz.Length / 3;
        Parallel.For(0, queries, new ParallelOptions { MaxDegreeOfParallelism = threads }, q =>
        {
            Span<float> distances = stackalloc float[k];
            Span<int> indices = stackalloc int[k];
            distances.Fill(float.PositiveInfinity);
            var (px, py, pz) = (Vector512.Create(x[q]), Vector512.Create(y[q]), Vector512.Create(z[q]));
            for (var p = 0; p < x.Length; p += 16)
            {
                var (dx, dy, dz) = (Vector512.LoadUnsafe(ref x[p]) - px, Vector512.LoadUnsafe(ref y[p]) - py, Vector512.LoadUnsafe(ref z[p]) - pz);
                var d = dx * dx + dy * dy + dz * dz;
                for (var hit = Vector512.LessThan(d, Vector512.Create(distances[k - 1])).ExtractMostSignificantBits(); hit != 0; hit &= hit - 1)
                {
                    var lane = BitOperations.TrailingZeroCount(hit);
                    if (d[lane] >= distances[k - 1] || p + lane >= n) continue;
                    var place = k - 1;
                    for (; place > 0 && distances[place - 1] > d[lane]; place--)
                        (distances[place], indices[place]) = (distances[place - 1], indices[place - 1]);
                    (distances[place], indices[place]) = (d[lane], p + lane);
                }
            }
        });
    }

    // Columns padded to whole vectors with points far away.
    private static (float[] X, float[] Y, float[] Z) Columns(float[] xyz)
    {
        var n = xyz.Length / 3;
        var padded = (n + 15) / 16 * 16;
        float[] x = new float[padded], y = new float[padded], z = new float[padded];
        for (var i = 0; i < padded; i++) (x[i], y[i], z[i]) = i < n ? (xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]) : (1e15f, 1e15f, 1e15f);
        return (x, y, z);
    }
}
