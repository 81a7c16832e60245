using System.Numerics;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>Neighbour queries against one cloud with the padding and tie rules of the official kernels (pointops, PointNet++).</summary>
public static unsafe class NeighbourKernel
{
    /// <summary>What the official k-NN starts from: points at this squared distance or beyond are never found.</summary>
    public const float Far = 1e10f;

    private const int Chunk = 256;

    /// <summary>
    /// The k nearest points of every query as pointops gives them: ascending squared distance; a query that meets equal distances among its k + 1 nearest is
    /// answered by the official bounded
    /// max-heap over all points, because there the heap decides which of the equals stay and in which order. Missing neighbours are point 0 at
    /// <see cref="Far"/>.
    /// </summary>
    /// <param name="cloud">[n, 3], n at least 1; in the caller's order.</param>
    /// <param name="n">Points of the cloud.</param>
    /// <param name="tree">The tree of the same cloud.</param>
    /// <param name="queries">[m, 3].</param>
    /// <param name="m">Queries.</param>
    /// <param name="k">Neighbours, at least 1.</param>
    /// <param name="indices">[m, k], written.</param>
    /// <param name="squared">[m, k] squared distances, written.</param>
    /// <param name="heapOrder">False orders equals by their index and never runs the heap.</param>
    public static void Nearest(float* cloud, int n, PointTree tree, float* queries, int m, int k, int* indices, float* squared, bool heapOrder)
    {
        Run(queries, m, (order, from, to) =>
        {
            var distances = new float[k + 1];
            var found = new int[k + 1];
            for (var i = from; i < to; i++)
            {
                var q = order[i];
                var p = queries + 3L * q;
                var outIndex = new Span<int>(indices + (long)q * k, k);
                var outDistance = new Span<float>(squared + (long)q * k, k);
                var count = tree.Nearest(p[0], p[1], p[2], distances, found);
                if (heapOrder && HasEquals(distances.AsSpan(0, count)))
                {
                    Heap(cloud, n, p, outIndex, outDistance);
                    continue;
                }
                for (var c = 0; c < k; c++)
                    (outIndex[c], outDistance[c]) = c < count && distances[c] < Far ? (found[c], distances[c]) : (0, Far);
            }
        });
    }

    /// <summary>
    /// Ball query: the first points in index order whose squared distance is strictly below r r; the first hit fills the row, no hit leaves zeros.
    /// </summary>
    /// <param name="tree">The cloud.</param>
    /// <param name="queries">[m, 3].</param>
    /// <param name="m">Queries.</param>
    /// <param name="squaredRadius">r r, rounded to float32.</param>
    /// <param name="samples">Columns.</param>
    /// <param name="indices">[m, samples], written.</param>
    public static void Ball(PointTree tree, float* queries, int m, float squaredRadius, int samples, int* indices)
    {
        Run(queries, m, (order, from, to) =>
        {
            var hits = new List<ulong>();
            var sorted = new List<int>();
            for (var i = from; i < to; i++)
            {
                var q = order[i];
                var p = queries + 3L * q;
                hits.Clear();
                sorted.Clear();
                tree.Within(p[0], p[1], p[2], squaredRadius, hits);
                foreach (var hit in hits) sorted.Add((int)(uint)hit);
                sorted.Sort();
                for (var c = 0; c < samples; c++) indices[(long)q * samples + c] = sorted.Count == 0 ? 0 : c < sorted.Count ? sorted[c] : sorted[0];
            }
        });
    }

    /// <summary>Every neighbour strictly within r of every query, nearest first.</summary>
    /// <param name="cloud">[n, 3].</param>
    /// <param name="tree">The cloud.</param>
    /// <param name="queries">[m, 3].</param>
    /// <param name="m">Queries.</param>
    /// <param name="squaredRadius">r r, rounded to float32.</param>
    /// <param name="most">Neighbours to keep of each query; the others are left out.</param>
    /// <param name="officialOrder">Equals in the order of KPConv's C++ search (<see cref="RadiusTieOrder"/>); false: lowest index first.</param>
    /// <returns>For each query (bits of the squared distance, index).</returns>
    public static ulong[][] Radius(float* cloud, PointTree tree, float* queries, int m, float squaredRadius, int most, bool officialOrder)
    {
        var rows = new ulong[m][];
        var ties = new Lazy<RadiusTieOrder>(() => new RadiusTieOrder(new ReadOnlySpan<float>(cloud, 3 * tree.Count)));
        Run(queries, m, (order, from, to) =>
        {
            var hits = new List<ulong>();
            for (var i = from; i < to; i++)
            {
                var q = order[i];
                var p = queries + 3L * q;
                hits.Clear();
                tree.Within(p[0], p[1], p[2], squaredRadius, hits);
                hits.Sort();
                var row = hits.ToArray();
                if (officialOrder && HasEquals(row)) ties.Value.Sort(p[0], p[1], p[2], row);
                rows[q] = row.Length <= most ? row : row[..most];
            }
        });
        return rows;
    }

    /// <summary>Three-NN of PointNet++: nearest first, of equally near ones the lowest index; a missing one is index 0 at infinity.</summary>
    /// <param name="tree">Known points.</param>
    /// <param name="queries">[m, 3].</param>
    /// <param name="m">Queries.</param>
    /// <param name="indices">[m, 3], written.</param>
    /// <param name="squared">[m, 3] squared distances, written.</param>
    public static void ThreeNearest(PointTree tree, float* queries, int m, int* indices, float* squared)
    {
        Run(queries, m, (order, from, to) =>
        {
            for (var i = from; i < to; i++)
            {
                var q = order[i];
                var p = queries + 3L * q;
                var index = new Span<int>(indices + 3L * q, 3);
                var distance = new Span<float>(squared + 3L * q, 3);
                for (var c = tree.Nearest(p[0], p[1], p[2], distance, index); c < 3; c++) (index[c], distance[c]) = (0, float.PositiveInfinity);
            }
        });
    }

    /// <summary>
    /// Splits the queries over the threads in fixed pieces of neighbouring ones, which meet the same part of the tree; every query is answered alone, so
    /// results do not depend on the number of threads.
    /// </summary>
    private static void Run(float* queries, int count, Action<int[], int, int> range)
    {
        if (count == 0) return;
        var order = new int[count];
        CellOrder.Of(queries, count, order);
        var pieces = (count + Chunk - 1) / Chunk;
        if (pieces <= 1 || KernelThreads.Count == 1) range(order, 0, count);
        else Parallel.For(0, pieces, new ParallelOptions { MaxDegreeOfParallelism = KernelThreads.Count },
            i => range(order, i * Chunk, Math.Min(count, (i + 1) * Chunk)));
    }

    private static bool HasEquals(ReadOnlySpan<float> ascending)
    {
        for (var i = 1; i < ascending.Length; i++) if (ascending[i] == ascending[i - 1]) return true;
        return false;
    }

    private static bool HasEquals(ReadOnlySpan<ulong> hits)
    {
        for (var i = 1; i < hits.Length; i++) if (hits[i] >> 32 == hits[i - 1] >> 32) return true;
        return false;
    }

    /// <summary>
    /// The official search: all slots start as (point 0, <see cref="Far"/>), a point replaces the root of a max-heap when it is strictly nearer, and a heap
    /// sort orders what stays.
    /// </summary>
    internal static void Heap(float* cloud, int n, float* query, Span<int> indices, Span<float> distances)
    {
        indices.Clear();
        distances.Fill(Far);
        var (qx, qy, qz) = (query[0], query[1], query[2]);
        for (var i = 0; i < n; i++)
        {
            var (dx, dy, dz) = (qx - cloud[3L * i], qy - cloud[3L * i + 1], qz - cloud[3L * i + 2]);
            var d = dx * dx + dy * dy + dz * dz;
            if (!(d < distances[0])) continue;
            (distances[0], indices[0]) = (d, i);
            SiftDown(distances, indices);
        }
        for (var last = distances.Length - 1; last > 0; last--)
        {
            (distances[0], distances[last]) = (distances[last], distances[0]);
            (indices[0], indices[last]) = (indices[last], indices[0]);
            SiftDown(distances[..last], indices);
        }
    }

    // The root sinks below larger children; of two equal children the first moves up, and an equal child stops it only if it is not larger.
    private static void SiftDown(Span<float> heap, Span<int> indices)
    {
        for (int node = 0, child = 1; child < heap.Length; (node, child) = (child, 2 * child + 1))
        {
            if (child + 1 < heap.Length && heap[child + 1] > heap[child]) child++;
            if (heap[node] > heap[child]) return;
            (heap[node], heap[child]) = (heap[child], heap[node]);
            (indices[node], indices[child]) = (indices[child], indices[node]);
        }
    }
}
