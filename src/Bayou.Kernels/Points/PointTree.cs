using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// A tree of boxes over the points of one cloud in Z-curve order, for exact neighbour searches: 16 points a leaf, 16 boxes a node. Squared distances are
/// float32, (dx dx + dy dy) + dz dz without fused steps; box bounds use the same operations in the same order, and rounding is monotonic, so pruning never
/// loses a point. Read-only after it is built: any number of threads may search.
/// </summary>
public sealed class PointTree
{
    private const int Lanes = 16;

    // x, y, z of 16 points; low x, high x, low y, ... of 16 boxes.
    private const int Leaf = 3 * Lanes, Node = 6 * Lanes;

    private readonly int[] order;           // position -> index in the cloud
    private readonly float[] points;        // leaf after leaf; places beyond the last point are infinitely far away
    private readonly float[][] levels;      // nodes over the leaves, nodes over those, ..., one node; places without a child hold an empty box

    /// <summary>Builds the tree.</summary>
    /// <param name="xyz">[n, 3], finite; n may be 0.</param>
    public PointTree(ReadOnlySpan<float> xyz)
    {
        Count = xyz.Length / 3;
        order = MortonOrder.Of(xyz);
        var leaves = (Count + Lanes - 1) / Lanes;
        points = new float[leaves * Leaf];
        Array.Fill(points, float.PositiveInfinity);
        for (var p = 0; p < Count; p++)
        {
            var place = p / Lanes * Leaf + p % Lanes;
            var point = xyz.Slice(3 * order[p], 3);
            (points[place], points[place + Lanes], points[place + 2 * Lanes]) = (point[0], point[1], point[2]);
        }
        var made = new List<float[]>();
        for (var children = leaves; made.Count == 0 || children > 1; children = (children + Lanes - 1) / Lanes)
        {
            var nodes = new float[Math.Max(1, (children + Lanes - 1) / Lanes) * Node];
            for (var child = 0; child < nodes.Length / Node * Lanes; child++) Enclose(nodes, child, child < children ? made.Count == 0 ? null : made[^1] : []);
            made.Add(nodes);
        }
        levels = [.. made];
    }

    /// <summary>Points of the cloud.</summary>
    public int Count { get; }

    // Writes a child's box into its parent; below: the level of the child, null for a leaf, empty where there is no child.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Enclose(float[] nodes, int child, float[]? below)
    {
        var place = child / Lanes * Node + child % Lanes;
        for (var axis = 0; axis < 3; axis++, place += 2 * Lanes)
        {
            var (low, high) = (float.PositiveInfinity, float.NegativeInfinity);
            for (var i = 0; i < Lanes && below is not []; i++)
            {
                if (below is null && child * Lanes + i >= Count) break;
                var from = below is null ? child * Leaf + axis * Lanes + i : child * Node + 2 * axis * Lanes + i;
                var (a, b) = below is null ? (points[from], points[from]) : (below[from], below[from + Lanes]);
                (low, high) = (a < low ? a : low, b > high ? b : high);
            }
            (nodes[place], nodes[place + Lanes]) = (low, high);
        }
    }

    /// <summary>The nearest points of one query, nearest first, of equally near ones the lowest index first.</summary>
    /// <param name="qx">Query.</param>
    /// <param name="qy">Query.</param>
    /// <param name="qz">Query.</param>
    /// <param name="distances">Squared distances, written.</param>
    /// <param name="indices">Indices in the cloud, written; as long as <paramref name="distances"/>.</param>
    /// <returns>How many were found: fewer than asked for when the cloud is smaller.</returns>
    public int Nearest(float qx, float qy, float qz, Span<float> distances, Span<int> indices)
    {
        var wanted = Math.Min(Count, distances.Length);
        if (wanted == 0) return 0;
        var found = new Found(distances[..wanted], indices[..wanted]);
        Nearest(levels.Length - 1, 0, new Query(qx, qy, qz), ref found);
        return wanted;
    }

    // Children by their distance, as long as one can hold a nearer point.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Nearest(int level, int node, in Query query, ref Found found)
    {
        var bounds = query.Bounds(levels[level], node * Node);
        while (true)
        {
            var nearest = Smallest(bounds);
            if (nearest > found.Furthest || nearest == float.PositiveInfinity) return;
            var lane = BitOperations.TrailingZeroCount(Vector512.Equals(bounds, Vector512.Create(nearest)).ExtractMostSignificantBits());
            bounds = Vector512.ConditionalSelect(Vector512.Equals(Vector512<int>.Indices, Vector512.Create(lane)).AsSingle(),
                Vector512.Create(float.PositiveInfinity), bounds);
            var child = node * Lanes + lane;
            if (level > 0)
            {
                Nearest(level - 1, child, query, ref found);
                continue;
            }
            var squared = query.Squared(points, child * Leaf);
            for (var hit = Vector512.LessThanOrEqual(squared, Vector512.Create(found.Furthest)).ExtractMostSignificantBits(); hit != 0; hit &= hit - 1)
            {
                var i = BitOperations.TrailingZeroCount(hit);
                if (child * Lanes + i < Count) found.Insert(squared[i], order[child * Lanes + i]);
            }
        }
    }

    /// <summary>Every point whose squared distance is strictly below a bound, in no particular order.</summary>
    /// <param name="qx">Query.</param>
    /// <param name="qy">Query.</param>
    /// <param name="qz">Query.</param>
    /// <param name="squaredRadius">r r in float32.</param>
    /// <param name="found">Receives (bits of the squared distance, index): as unsigned numbers they order by distance, then index.</param>
    public void Within(float qx, float qy, float qz, float squaredRadius, List<ulong> found) =>
        Within(levels.Length - 1, 0, new Query(qx, qy, qz), squaredRadius, found);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Within(int level, int node, in Query query, float squaredRadius, List<ulong> found)
    {
        var limit = Vector512.Create(squaredRadius);
        for (var near = Vector512.LessThan(query.Bounds(levels[level], node * Node), limit).ExtractMostSignificantBits(); near != 0; near &= near - 1)
        {
            var child = node * Lanes + BitOperations.TrailingZeroCount(near);
            if (level > 0)
            {
                Within(level - 1, child, query, squaredRadius, found);
                continue;
            }
            var squared = query.Squared(points, child * Leaf);
            for (var hit = Vector512.LessThan(squared, limit).ExtractMostSignificantBits(); hit != 0; hit &= hit - 1)
            {
                var i = BitOperations.TrailingZeroCount(hit);
                if (child * Lanes + i < Count) found.Add((ulong)BitConverter.SingleToUInt32Bits(squared[i]) << 32 | (uint)order[child * Lanes + i]);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Smallest(Vector512<float> values)
    {
        var half = Vector256.MinNative(values.GetLower(), values.GetUpper());
        var quarter = Vector128.MinNative(half.GetLower(), half.GetUpper());
        quarter = Vector128.MinNative(quarter, Vector128.Shuffle(quarter, Vector128.Create(2, 3, 0, 1)));
        return Vector128.MinNative(quarter, Vector128.Shuffle(quarter, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    private readonly struct Query(float x, float y, float z)
    {
        // Squared distances to the 16 boxes of a node.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector512<float> Bounds(float[] boxes, int at)
        {
            var dx = Outside(Load(boxes, at), Vector512.Create(x), Load(boxes, at + Lanes));
            var dy = Outside(Load(boxes, at + 2 * Lanes), Vector512.Create(y), Load(boxes, at + 3 * Lanes));
            var dz = Outside(Load(boxes, at + 4 * Lanes), Vector512.Create(z), Load(boxes, at + 5 * Lanes));
            return dx * dx + dy * dy + dz * dz;
        }

        // Squared distances to the 16 points of a leaf.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector512<float> Squared(float[] points, int at)
        {
            var dx = Vector512.Create(x) - Load(points, at);
            var dy = Vector512.Create(y) - Load(points, at + Lanes);
            var dz = Vector512.Create(z) - Load(points, at + 2 * Lanes);
            return dx * dx + dy * dy + dz * dz;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector512<float> Outside(Vector512<float> low, Vector512<float> point, Vector512<float> high) =>
            Vector512.MaxNative(Vector512.MaxNative(low - point, point - high), Vector512<float>.Zero);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector512<float> Load(float[] values, int at) => Vector512.LoadUnsafe(ref values[at]);
    }

    /// <summary>The nearest so far, ascending; of equals the lower index first.</summary>
    private readonly ref struct Found
    {
        private readonly Span<float> distances;
        private readonly Span<int> indices;

        public Found(Span<float> distances, Span<int> indices)
        {
            distances.Fill(float.PositiveInfinity);
            indices.Fill(int.MaxValue);
            this.distances = distances;
            this.indices = indices;
        }

        public float Furthest => distances[^1];

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Insert(float distance, int index)
        {
            var place = distances.Length - 1;
            if (distance > distances[place] || (distance == distances[place] && index >= indices[place])) return;
            for (; place > 0 && (distances[place - 1] > distance || (distances[place - 1] == distance && indices[place - 1] > index)); place--)
                (distances[place], indices[place]) = (distances[place - 1], indices[place - 1]);
            (distances[place], indices[place]) = (distance, index);
        }
    }
}
