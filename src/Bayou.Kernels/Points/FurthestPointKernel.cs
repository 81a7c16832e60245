using System.Numerics;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// Furthest point sampling (PointNet++, section 3.2), exact, without looking at every point in every round: points lie in buckets of 64 along the Z-curve,
/// each with its box and
/// its largest remaining distance; a new sample touches only buckets whose box is nearer than that. The bound is computed with the same float operations in
/// the same order as the
/// distances, and rounding is monotonic, so a bucket that is left out could not have changed: results equal the plain algorithm's bit for bit.
/// </summary>
public static class FurthestPointKernel
{
    private const int Bucket = 64, Lanes = 8;

    /// <summary>The tie rule's thread count for a cloud (or the largest cloud of a stacked batch) of n points: 2^floor(log2 n), at most 1024.</summary>
    public static int TieThreads(int n) => n < 1 ? 1 : Math.Min(1024, 1 << BitOperations.Log2((uint)n));

    /// <summary>Picks points, the first one first, each next one furthest (squared distance in float32) from all before it.</summary>
    /// <param name="xyz">[n, 3], finite.</param>
    /// <param name="picked">Indices, written. More samples than points repeat points.</param>
    /// <param name="tieThreads">
    /// Among equally far points the official kernels take the smallest bit-reversed (index mod threads), then the smallest index div threads: see <see cref="TieThreads"/>.
    /// 0 takes the lowest index.
    /// </param>
    /// <exception cref="ArgumentException">No points, or a thread count that is not a power of two.</exception>
    public static void Sample(ReadOnlySpan<float> xyz, Span<int> picked, int tieThreads)
    {
        var n = xyz.Length / 3;
        if (n == 0 || xyz.Length % 3 != 0) throw new ArgumentException($"{xyz.Length} coordinates are no cloud of points", nameof(xyz));
        if (tieThreads < 0 || (tieThreads & (tieThreads - 1)) != 0)
            throw new ArgumentException($"{tieThreads} threads: a power of two is needed", nameof(tieThreads));
        if (picked.IsEmpty) return;
        var state = new State(xyz, tieThreads);
        picked[0] = 0;
        var last = state.PositionOfFirst;
        for (var i = 1; i < picked.Length; i++)
        {
            last = state.Next(last);
            picked[i] = state.Order[last];
        }
    }

    private ref struct State
    {
        public readonly int[] Order;
        public readonly int PositionOfFirst;
        private readonly float[] x, y, z, left;                 // points in Z-curve order, padded to whole buckets; left: squared distance to the nearest sample
        private readonly int[] rank;                            // what decides between equals
        private readonly float[] lowX, lowY, lowZ, highX, highY, highZ, most;      // of every bucket
        private readonly int[] best;                            // position of every bucket's furthest point
        private readonly int buckets;

        public State(ReadOnlySpan<float> xyz, int threads)
        {
            var n = xyz.Length / 3;
            Order = MortonOrder.Of(xyz);
            buckets = (n + Bucket - 1) / Bucket;
            var (padded, boxes) = (buckets * Bucket, (buckets + Lanes - 1) / Lanes * Lanes);
            (x, y, z, left, rank) = (new float[padded], new float[padded], new float[padded], new float[padded], new int[padded]);
            (lowX, lowY, lowZ, highX, highY, highZ) = (new float[boxes], new float[boxes], new float[boxes], new float[boxes], new float[boxes], new float[boxes]);
            (most, best) = (new float[boxes], new int[boxes]);
            Array.Fill(left, -1);       // padding is never the furthest
            Array.Fill(most, -1);
            var rounds = threads == 0 ? 1 : (n + threads - 1) / threads;
            var bits = threads <= 1 ? 0 : BitOperations.Log2((uint)threads);
            for (var p = 0; p < n; p++)
            {
                var k = Order[p];
                if (k == 0) PositionOfFirst = p;
                (x[p], y[p], z[p], left[p]) = (xyz[3 * k], xyz[3 * k + 1], xyz[3 * k + 2], 1e10f);
                rank[p] = threads == 0 ? k : Reverse(k & (threads - 1), bits) * rounds + k / threads;
            }
            for (var b = 0; b < buckets; b++)
            {
                var (from, count) = (b * Bucket, Math.Min(Bucket, n - b * Bucket));
                (lowX[b], highX[b]) = Range(x.AsSpan(from, count));
                (lowY[b], highY[b]) = Range(y.AsSpan(from, count));
                (lowZ[b], highZ[b]) = Range(z.AsSpan(from, count));
                most[b] = 1e10f;
                best[b] = from;
                for (var p = from; p < from + count; p++) if (rank[p] < rank[best[b]]) best[b] = p;
            }
        }

        /// <summary>Takes a sample into account and returns the position of the next one.</summary>
        public readonly int Next(int sample)
        {
            var (px, py, pz) = (Vector256.Create(x[sample]), Vector256.Create(y[sample]), Vector256.Create(z[sample]));
            var furthest = Vector256.Create(-1f);
            for (var b = 0; b < buckets; b += Lanes)
            {
                var dx = Vector256.MaxNative(Vector256.MaxNative(Load(lowX, b) - px, px - Load(highX, b)), Vector256<float>.Zero);
                var dy = Vector256.MaxNative(Vector256.MaxNative(Load(lowY, b) - py, py - Load(highY, b)), Vector256<float>.Zero);
                var dz = Vector256.MaxNative(Vector256.MaxNative(Load(lowZ, b) - pz, pz - Load(highZ, b)), Vector256<float>.Zero);
                var bound = dx * dx + dy * dy + dz * dz;
                for (var touched = Vector256.LessThan(bound, Load(most, b)).ExtractMostSignificantBits(); touched != 0; touched &= touched - 1)
                    Update(b + BitOperations.TrailingZeroCount(touched), px, py, pz);
                furthest = Vector256.MaxNative(furthest, Load(most, b));
            }
            var top = furthest[0];
            for (var l = 1; l < Lanes; l++) top = MathF.Max(top, furthest[l]);
            var (next, lowest) = (-1, int.MaxValue);
            var wanted = Vector256.Create(top);
            for (var b = 0; b < buckets; b += Lanes)
            {
                for (var equal = Vector256.Equals(Load(most, b), wanted).ExtractMostSignificantBits(); equal != 0; equal &= equal - 1)
                {
                    var position = best[b + BitOperations.TrailingZeroCount(equal)];
                    if (rank[position] < lowest) (next, lowest) = (position, rank[position]);
                }
            }
            return next;
        }

        private readonly void Update(int bucket, Vector256<float> px, Vector256<float> py, Vector256<float> pz)
        {
            var from = bucket * Bucket;
            var furthest = Vector256.Create(-1f);
            for (var i = from; i < from + Bucket; i += Lanes)
            {
                var (dx, dy, dz) = (Load(x, i) - px, Load(y, i) - py, Load(z, i) - pz);
                var distance = Vector256.MinNative(Load(left, i), dx * dx + dy * dy + dz * dz);
                distance.CopyTo(left, i);
                furthest = Vector256.MaxNative(furthest, distance);
            }
            var top = furthest[0];
            for (var l = 1; l < Lanes; l++) top = MathF.Max(top, furthest[l]);
            var (position, lowest) = (from, int.MaxValue);
            var wanted = Vector256.Create(top);
            for (var i = from; i < from + Bucket; i += Lanes)
            {
                for (var equal = Vector256.Equals(Load(left, i), wanted).ExtractMostSignificantBits(); equal != 0; equal &= equal - 1)
                {
                    var p = i + BitOperations.TrailingZeroCount(equal);
                    if (rank[p] < lowest) (position, lowest) = (p, rank[p]);
                }
            }
            (most[bucket], best[bucket]) = (top, position);
        }

        private static Vector256<float> Load(float[] values, int index) => Vector256.LoadUnsafe(ref values[index]);

        private static (float Low, float High) Range(ReadOnlySpan<float> values)
        {
            float low = values[0], high = values[0];
            foreach (var v in values) (low, high) = (MathF.Min(low, v), MathF.Max(high, v));
            return (low, high);
        }

        private static int Reverse(int value, int bits)
        {
            var reversed = 0;
            for (var b = 0; b < bits; b++) reversed = reversed << 1 | value >> b & 1;
            return reversed;
        }
    }
}
