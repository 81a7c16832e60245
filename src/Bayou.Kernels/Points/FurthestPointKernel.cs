using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// Furthest point sampling (PointNet++, section 3.2), exact, without looking at every point in every round: points lie along the Z-curve in leaves of 16,
/// leaves in nodes of 16, nodes in nodes of 16, each with its box and its largest remaining distance; a new sample descends only where a box is nearer than
/// that. The bound is computed with the same float operations in the same order as the distances, and rounding is monotonic, so what is left out could not have
/// changed: results equal the plain algorithm's bit for bit.
/// </summary>
public static unsafe class FurthestPointKernel
{
    // One vector of points, one vector of boxes.
    private const int Lanes = 16;

    // x, y, z and squared distance to the nearest sample of 16 points; and the six bounds and largest distance of 16 children.
    private const int Leaf = 4 * Lanes, Node = 7 * Lanes;

    /// <summary>The tie rule's thread count for a cloud (or the largest cloud of a stacked batch) of n points: 2^floor(log2 n), at most 1024.</summary>
    public static int TieThreads(int n) => n < 1 ? 1 : Math.Min(1024, 1 << BitOperations.Log2((uint)n));

    /// <summary>Picks points, the first one first, each next one furthest (squared distance in float32) from all before it.</summary>
    /// <param name="xyz">[n, 3], finite.</param>
    /// <param name="picked">Indices, written. More samples than points repeat points.</param>
    /// <param name="tieThreads">
    /// Among equally far points the official kernels take the smallest bit-reversed (index mod threads), then the smallest index div threads: see
    /// <see cref="TieThreads"/>. 0 takes the lowest index.
    /// </param>
    /// <exception cref="ArgumentException">No points, or a thread count that is not a power of two.</exception>
    public static void Sample(ReadOnlySpan<float> xyz, Span<int> picked, int tieThreads)
    {
        var n = xyz.Length / 3;
        if (n == 0 || xyz.Length % 3 != 0) throw new ArgumentException($"{xyz.Length} coordinates are no cloud of points", nameof(xyz));
        if (tieThreads < 0 || (tieThreads & (tieThreads - 1)) != 0)
            throw new ArgumentException($"{tieThreads} threads: a power of two is needed", nameof(tieThreads));
        if (picked.IsEmpty) return;
        picked[0] = 0;
        if (picked.Length == 1) return;
        var tie = new TieOrder(n, tieThreads);
        var leaves = (n + Lanes - 1) / Lanes;
        var ranks = ArrayPool<int>.Shared.Rent(leaves * Lanes);
        var values = ArrayPool<float>.Shared.Rent(checked(leaves * Leaf + Tree.NodesOver(leaves) * Node + Lanes));
        fixed (float* points = xyz, first = values)
        fixed (int* rank = ranks)
        {
            var start = (float*)(((nint)first + 63) & ~63);     // a vector across two cache lines costs twice
            Fill(points, n, tie, start, rank);
            var tree = new Tree(start, rank, leaves);
            for (int i = 1, last = 0; i < picked.Length; i++)
            {
                tree.Add(points + 3 * last);
                picked[i] = last = tie.Index(tree.LowestRankOfFurthest());
            }
        }
        ArrayPool<float>.Shared.Return(values);
        ArrayPool<int>.Shared.Return(ranks);
    }

    // Points in cell order, a leaf after the other; the last leaf is filled up with points that are never the furthest.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Fill(float* xyz, int n, TieOrder tie, float* points, int* rank)
    {
        var leaves = (n + Lanes - 1) / Lanes;
        var order = ArrayPool<int>.Shared.Rent(leaves * Lanes);
        CellOrder.Of(xyz, n, order.AsSpan(0, n));
        Array.Fill(order, order[n - 1], n, leaves * Lanes - n);
        fixed (int* index = order)
        {
            for (int p = 0, leaf = 0; leaf < leaves; leaf++, points += Leaf)
            {
                for (var lane = 0; lane < Lanes; lane++, p++)
                {
                    var point = xyz + 3 * (nint)index[p];
                    points[lane] = point[0];
                    points[Lanes + lane] = point[1];
                    points[2 * Lanes + lane] = point[2];
                    rank[p] = tie.Rank(index[p]);
                }
                Vector512.Create(1e10f).Store(points + 3 * Lanes);
            }
        }
        new Span<float>(points - Leaf + 3 * Lanes + (n - (leaves - 1) * Lanes), leaves * Lanes - n).Fill(-1);
        ArrayPool<int>.Shared.Return(order);
    }

    /// <summary>What decides between equally far points: every index has a rank of its own, the lowest wins.</summary>
    private readonly struct TieOrder(int n, int threads)
    {
        private readonly int bits = threads <= 1 ? 0 : BitOperations.Log2((uint)threads);
        private readonly int rounds = threads <= 1 ? n : (n + threads - 1) / threads;

        public int Rank(int index) => bits == 0 ? index : Reversed(index & ((1 << bits) - 1)) * rounds + (index >> bits);

        public int Index(int rank) => bits == 0 ? rank : (rank % rounds << bits) + Reversed(rank / rounds);

        private int Reversed(int value)
        {
            var v = (uint)value;
            v = (v >> 1 & 0x55555555) | (v & 0x55555555) << 1;
            v = (v >> 2 & 0x33333333) | (v & 0x33333333) << 2;
            v = (v >> 4 & 0x0F0F0F0F) | (v & 0x0F0F0F0F) << 4;
            return (int)(BinaryPrimitives.ReverseEndianness(v) >> (32 - bits));
        }
    }

    /// <summary>The leaves and the nodes over them, level over level until one is left, in memory that the caller owns.</summary>
    private readonly struct Tree
    {
        private const int MostLevels = 8;       // 16^8 points

        private readonly float* points;
        private readonly int* ranks;
        private readonly Levels nodes;
        private readonly int top;

        public Tree(float* points, int* ranks, int leaves)
        {
            this.points = points;
            this.ranks = ranks;
            var free = points + (nint)leaves * Leaf;
            for (var (children, level) = (leaves, 0); level == 0 || children > 1; level++)
            {
                var count = (children + Lanes - 1) / Lanes;
                nodes[level] = (nint)free;
                for (var child = 0; child < count * Lanes; child++) Enclose(level, child, child < children);
                free += (nint)count * Node;
                (children, top) = (count, level);
            }
        }

        public static int NodesOver(int leaves)
        {
            var total = 0;
            for (var count = leaves; total == 0 || count > 1; total += count) count = (count + Lanes - 1) / Lanes;
            return total;
        }

        // Writes a child's box into its parent; one that is not there is never near.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Enclose(int level, int child, bool there)
        {
            var parent = (float*)nodes[level] + (nint)(child / Lanes) * Node + child % Lanes;
            for (var axis = 0; axis < 3; axis++)
            {
                if (!there) (parent[2 * axis * Lanes], parent[(2 * axis + 1) * Lanes]) = (float.PositiveInfinity, float.NegativeInfinity);
                else if (level == 0)
                {
                    var values = Vector512.Load(points + (nint)child * Leaf + axis * Lanes);
                    (parent[2 * axis * Lanes], parent[(2 * axis + 1) * Lanes]) = (-Largest(-values), Largest(values));
                }
                else
                {
                    var box = (float*)nodes[level - 1] + (nint)child * Node + 2 * axis * Lanes;
                    (parent[2 * axis * Lanes], parent[(2 * axis + 1) * Lanes]) = (-Largest(-Vector512.Load(box)), Largest(Vector512.Load(box + Lanes)));
                }
            }
            parent[6 * Lanes] = there ? 1e10f : -1;
        }

        /// <summary>Takes a sample into account.</summary>
        public void Add(float* sample) => Add(top, 0, sample);

        // Returns the largest distance left under the node.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private float Add(int level, int index, float* sample)
        {
            var node = (float*)nodes[level] + (nint)index * Node;
            Vector512<float> px = Vector512.Create(sample[0]), py = Vector512.Create(sample[1]), pz = Vector512.Create(sample[2]);
            var dx = Outside(Vector512.Load(node), px, Vector512.Load(node + Lanes));
            var dy = Outside(Vector512.Load(node + 2 * Lanes), py, Vector512.Load(node + 3 * Lanes));
            var dz = Outside(Vector512.Load(node + 4 * Lanes), pz, Vector512.Load(node + 5 * Lanes));
            var bound = dx * dx + dy * dy + dz * dz;
            var most = node + 6 * Lanes;
            for (var near = Vector512.LessThan(bound, Vector512.Load(most)).ExtractMostSignificantBits(); near != 0; near &= near - 1)
            {
                var lane = BitOperations.TrailingZeroCount(near);
                var child = index * Lanes + lane;
                if (level > 0)
                {
                    most[lane] = Add(level - 1, child, sample);
                    continue;
                }
                var leaf = points + (nint)child * Leaf;
                Vector512<float> x = Vector512.Load(leaf) - px, y = Vector512.Load(leaf + Lanes) - py, z = Vector512.Load(leaf + 2 * Lanes) - pz;
                var left = Vector512.MinNative(Vector512.Load(leaf + 3 * Lanes), x * x + y * y + z * z);
                left.Store(leaf + 3 * Lanes);
                most[lane] = Largest(left);
            }
            return Largest(Vector512.Load(most));
        }

        /// <summary>Of the furthest points the lowest rank.</summary>
        public int LowestRankOfFurthest()
        {
            var lowest = Vector512.Create(int.MaxValue);
            Search(top, 0, Largest(Vector512.Load((float*)nodes[top] + 6 * Lanes)), ref lowest);
            var half = Vector256.Min(lowest.GetLower(), lowest.GetUpper());
            var quarter = Vector128.Min(half.GetLower(), half.GetUpper());
            return Math.Min(Math.Min(quarter[0], quarter[1]), Math.Min(quarter[2], quarter[3]));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Search(int level, int index, float furthest, ref Vector512<int> lowest)
        {
            var wanted = Vector512.Create(furthest);
            for (var equal = Vector512.Equals(Vector512.Load((float*)nodes[level] + (nint)index * Node + 6 * Lanes), wanted)
                .ExtractMostSignificantBits(); equal != 0; equal &= equal - 1)
            {
                var child = index * Lanes + BitOperations.TrailingZeroCount(equal);
                if (level > 0)
                {
                    Search(level - 1, child, furthest, ref lowest);
                    continue;
                }
                var here = Vector512.Equals(Vector512.Load(points + (nint)child * Leaf + 3 * Lanes), wanted).AsInt32();
                lowest = Vector512.Min(lowest, Vector512.ConditionalSelect(here, Vector512.Load(ranks + (nint)child * Lanes), Vector512.Create(int.MaxValue)));
            }
        }

        // How far the point lies outside the interval along an axis.
        private static Vector512<float> Outside(Vector512<float> low, Vector512<float> point, Vector512<float> high) =>
            Vector512.MaxNative(Vector512.MaxNative(low - point, point - high), Vector512<float>.Zero);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static float Largest(Vector512<float> values)
        {
            var half = Vector256.MaxNative(values.GetLower(), values.GetUpper());
            var quarter = Vector128.MaxNative(half.GetLower(), half.GetUpper());
            quarter = Vector128.MaxNative(quarter, Vector128.Shuffle(quarter, Vector128.Create(2, 3, 0, 1)));
            return Vector128.MaxNative(quarter, Vector128.Shuffle(quarter, Vector128.Create(1, 0, 3, 2))).ToScalar();
        }

        // First node of every level.
        [InlineArray(MostLevels)]
        private struct Levels
        {
            private nint first;
        }
    }
}
