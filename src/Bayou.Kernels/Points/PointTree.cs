using System.Numerics;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// A tree of boxes over the points of one cloud in Z-curve order, for exact neighbour searches. Squared distances are float32, (dx dx + dy dy) + dz dz
/// without fused steps; box bounds use the
/// same operations in the same order, and rounding is monotonic, so pruning never loses a point. Read-only after it is built: any number of threads may search.
/// </summary>
public sealed class PointTree
{
    private const int Leaf = 16, Lanes = 8, Node = 8;

    private readonly int[] order;               // position -> index in the cloud
    private readonly float[] x, y, z;           // by position, padded to whole leaves with infinity
    private readonly float[] boxes;             // eight floats a node: low x, y, z, 0, high x, y, z, 0; node 1 is the root, children of i are 2 i and 2 i + 1
    private readonly int leaves;                // a power of two; node leaves + j is leaf j

    /// <summary>Builds the tree.</summary>
    /// <param name="xyz">[n, 3], finite; n may be 0.</param>
    public PointTree(ReadOnlySpan<float> xyz)
    {
        Count = xyz.Length / 3;
        order = MortonOrder.Of(xyz);
        leaves = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, (Count + Leaf - 1) / Leaf));
        var padded = (Count + Leaf - 1) / Leaf * Leaf;
        (x, y, z) = (new float[padded], new float[padded], new float[padded]);
        for (var p = 0; p < padded; p++)
        {
            if (p < Count) (x[p], y[p], z[p]) = (xyz[3 * order[p]], xyz[3 * order[p] + 1], xyz[3 * order[p] + 2]);
            else x[p] = y[p] = z[p] = float.PositiveInfinity;
        }
        boxes = new float[2 * Node * leaves];
        for (var leaf = 0; leaf < leaves; leaf++)
        {
            var box = boxes.AsSpan(Node * (leaves + leaf), Node);
            box[..3].Fill(float.PositiveInfinity);          // an empty box is infinitely far away
            box[4..7].Fill(float.NegativeInfinity);
            for (var p = leaf * Leaf; p < Math.Min(Count, (leaf + 1) * Leaf); p++)
            {
                (box[0], box[4]) = (MathF.Min(box[0], x[p]), MathF.Max(box[4], x[p]));
                (box[1], box[5]) = (MathF.Min(box[1], y[p]), MathF.Max(box[5], y[p]));
                (box[2], box[6]) = (MathF.Min(box[2], z[p]), MathF.Max(box[6], z[p]));
            }
        }
        for (var node = leaves - 1; node >= 1; node--)
        {
            Span<float> box = boxes.AsSpan(Node * node, Node), a = boxes.AsSpan(2 * Node * node, Node), b = boxes.AsSpan(2 * Node * node + Node, Node);
            for (var i = 0; i < 3; i++) (box[i], box[i + 4]) = (MathF.Min(a[i], b[i]), MathF.Max(a[i + 4], b[i + 4]));
        }
    }

    /// <summary>Points of the cloud.</summary>
    public int Count { get; }

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
        distances = distances[..wanted];
        distances.Fill(float.PositiveInfinity);
        indices[..wanted].Fill(int.MaxValue);
        var (vx, vy, vz) = (Vector256.Create(qx), Vector256.Create(qy), Vector256.Create(qz));
        var query = Vector128.Create(qx, qy, qz, 0);
        Span<int> nodes = stackalloc int[40];
        Span<float> bounds = stackalloc float[40];
        var depth = 1;
        (nodes[0], bounds[0]) = (1, 0);
        while (depth > 0)
        {
            var (node, bound) = (nodes[--depth], bounds[depth]);
            if (bound > distances[wanted - 1]) continue;
            while (node < leaves)
            {
                var (a, b) = (Bound(2 * node, query), Bound(2 * node + 1, query));
                var (near, far, farBound) = a <= b ? (2 * node, 2 * node + 1, b) : (2 * node + 1, 2 * node, a);
                if (farBound <= distances[wanted - 1] && farBound < float.PositiveInfinity) (nodes[depth], bounds[depth++]) = (far, farBound);
                node = near;
                bound = a <= b ? a : b;
                if (bound > distances[wanted - 1]) break;
            }
            if (node < leaves || bound > distances[wanted - 1] || bound == float.PositiveInfinity) continue;
            var from = (node - leaves) * Leaf;
            for (var p = from; p < from + Leaf; p += Lanes)
            {
                var d = SquaredDistance(p, vx, vy, vz);
                for (var hit = Vector256.LessThanOrEqual(d, Vector256.Create(distances[wanted - 1])).ExtractMostSignificantBits(); hit != 0; hit &= hit - 1)
                {
                    var lane = BitOperations.TrailingZeroCount(hit);
                    if (p + lane < Count) Insert(distances, indices, d[lane], order[p + lane]);
                }
            }
        }
        return wanted;
    }

    private static void Insert(Span<float> distances, Span<int> indices, float distance, int index)
    {
        var place = distances.Length - 1;
        if (distance > distances[place] || (distance == distances[place] && index >= indices[place])) return;
        for (; place > 0 && (distances[place - 1] > distance || (distances[place - 1] == distance && indices[place - 1] > index)); place--)
            (distances[place], indices[place]) = (distances[place - 1], indices[place - 1]);
        (distances[place], indices[place]) = (distance, index);
    }

    /// <summary>Every point whose squared distance is strictly below a bound, in no particular order.</summary>
    /// <param name="qx">Query.</param>
    /// <param name="qy">Query.</param>
    /// <param name="qz">Query.</param>
    /// <param name="squaredRadius">r r in float32.</param>
    /// <param name="found">Receives (bits of the squared distance, index): as unsigned numbers they order by distance, then index.</param>
    public void Within(float qx, float qy, float qz, float squaredRadius, List<ulong> found)
    {
        if (Count == 0) return;
        var (vx, vy, vz, limit) = (Vector256.Create(qx), Vector256.Create(qy), Vector256.Create(qz), Vector256.Create(squaredRadius));
        var query = Vector128.Create(qx, qy, qz, 0);
        Span<int> nodes = stackalloc int[40];
        var depth = 1;
        nodes[0] = 1;
        while (depth > 0)
        {
            var node = nodes[--depth];
            if (!(Bound(node, query) < squaredRadius)) continue;
            if (node < leaves)
            {
                nodes[depth++] = 2 * node + 1;
                nodes[depth++] = 2 * node;
                continue;
            }
            var from = (node - leaves) * Leaf;
            for (var p = from; p < from + Leaf; p += Lanes)
            {
                var d = SquaredDistance(p, vx, vy, vz);
                for (var hit = Vector256.LessThan(d, limit).ExtractMostSignificantBits(); hit != 0; hit &= hit - 1)
                {
                    var lane = BitOperations.TrailingZeroCount(hit);
                    if (p + lane < Count) found.Add((ulong)BitConverter.SingleToUInt32Bits(d[lane]) << 32 | (uint)order[p + lane]);
                }
            }
        }
    }

    private Vector256<float> SquaredDistance(int position, Vector256<float> qx, Vector256<float> qy, Vector256<float> qz)
    {
        var dx = qx - Vector256.LoadUnsafe(ref x[position]);
        var dy = qy - Vector256.LoadUnsafe(ref y[position]);
        var dz = qz - Vector256.LoadUnsafe(ref z[position]);
        return dx * dx + dy * dy + dz * dz;
    }

    // Squared distance of the query to a node's box.
    private float Bound(int node, Vector128<float> query)
    {
        Vector128<float> low = Vector128.LoadUnsafe(ref boxes[Node * node]), high = Vector128.LoadUnsafe(ref boxes[Node * node + 4]);
        var outside = Vector128.MaxNative(Vector128.MaxNative(low - query, query - high), Vector128<float>.Zero);
        var squared = outside * outside;
        return squared[0] + squared[1] + squared[2];
    }
}
