using Bayou.Core;
using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>What decides between exactly equal distances.</summary>
public enum TieRule
{
    /// <summary>As the official kernels: bit-reversed thread order in sampling, heap order in k-NN (specs: point operators).</summary>
    Official,

    /// <summary>The lowest index.</summary>
    LowestIndex,
}

/// <summary>
/// Point operators with the rules of the official kernels, exact, on the CPU. "Stacked" clouds lie in one [n, 3] tensor with offsets [b] = running totals;
/// indices are then global.
/// Squared distances are float32 without fused steps. Coordinates must be finite.
/// </summary>
public static unsafe partial class PointOps
{
    /// <summary>Furthest point sampling of stacked clouds (PointNet++, section 3.2).</summary>
    /// <param name="xyz">[n, 3].</param>
    /// <param name="offset">[b] running totals of points.</param>
    /// <param name="newOffset">[b] running totals of samples; more samples than points repeat points.</param>
    /// <param name="rule">What decides between equals; the official rule depends on the largest cloud of the batch.</param>
    /// <returns>int32 [m], global indices; the first sample of a cloud is its first point.</returns>
    /// <exception cref="BayouException">Sizes do not fit, coordinates are not finite, or samples are asked of an empty cloud.</exception>
    public static Tensor FurthestPointSample(Tensor xyz, Tensor offset, Tensor newOffset, TieRule rule = TieRule.Official)
    {
        var points = Points(xyz, "xyz");
        int[] ends = Offsets(offset, points.Length / 3, "offset"), newEnds = Offsets(newOffset, -1, "new_offset");
        if (ends.Length != newEnds.Length) throw new BayouException($"furthest point sampling: {ends.Length} clouds and sample counts for {newEnds.Length}");
        return tensor(FurthestPoints(points, ends, newEnds, rule));
    }

    /// <summary>Furthest point sampling of arrays; see <see cref="FurthestPointSample(Tensor, Tensor, Tensor, TieRule)"/>.</summary>
    public static int[] FurthestPoints(ReadOnlySpan<float> xyz, ReadOnlySpan<int> offset, ReadOnlySpan<int> newOffset, TieRule rule = TieRule.Official)
    {
        var largest = 0;
        for (var c = 0; c < offset.Length; c++) largest = Math.Max(largest, offset[c] - (c == 0 ? 0 : offset[c - 1]));
        var threads = rule == TieRule.Official ? FurthestPointKernel.TieThreads(largest) : 0;
        var picked = new int[newOffset.Length == 0 ? 0 : newOffset[^1]];
        for (var c = 0; c < offset.Length; c++)
        {
            var (start, from) = c == 0 ? (0, 0) : (offset[c - 1], newOffset[c - 1]);
            var samples = picked.AsSpan(from, newOffset[c] - from);
            if (samples.IsEmpty) continue;
            if (offset[c] == start) throw new BayouException($"furthest point sampling: {samples.Length} samples of cloud {c}, which is empty");
            FurthestPointKernel.Sample(xyz[(3 * start)..(3 * offset[c])], samples, threads);
            for (var i = 0; i < samples.Length; i++) samples[i] += start;
        }
        return picked;
    }

    /// <summary>Furthest point sampling of a batch [B, N, 3] -> int32 [B, M], indices within each cloud.</summary>
    public static Tensor FurthestPointSample(Tensor xyz, int samples, TieRule rule = TieRule.Official)
    {
        var (points, b, n) = BatchOf(xyz, "xyz");
        if (samples < 0 || (samples > 0 && n == 0)) throw new BayouException($"furthest point sampling: {samples} samples of clouds of {n} points");
        var threads = rule == TieRule.Official ? FurthestPointKernel.TieThreads(n) : 0;
        var picked = new int[b * samples];
        Parallel.For(0, b, new ParallelOptions { MaxDegreeOfParallelism = KernelThreads.Count }, c =>
            FurthestPointKernel.Sample(points.AsSpan(3 * n * c, 3 * n), picked.AsSpan(c * samples, samples), threads));
        return tensor(picked, [b, samples]);
    }

    /// <summary>The k nearest points of stacked queries among stacked clouds (pointops knn_query).</summary>
    /// <param name="k">Neighbours; a query in its own cloud finds itself.</param>
    /// <param name="xyz">[n, 3].</param>
    /// <param name="newXyz">[m, 3].</param>
    /// <param name="offset">[b] running totals of xyz.</param>
    /// <param name="newOffset">[b] running totals of newXyz.</param>
    /// <param name="rule">Heap order or lowest index among equals.</param>
    /// <returns>idx int32 [m, k], global; dist float32 [m, k], ascending (not squared). Missing neighbours: the cloud's first index at distance 1e5.</returns>
    public static (Tensor Index, Tensor Distance) KNearest(int k, Tensor xyz, Tensor newXyz, Tensor offset, Tensor newOffset, TieRule rule = TieRule.Official)
    {
        float[] points = Points(xyz, "xyz"), queries = Points(newXyz, "new_xyz");
        int[] ends = Offsets(offset, points.Length / 3, "offset"), newEnds = Offsets(newOffset, queries.Length / 3, "new_offset");
        var (index, distance) = KNearest(k, points, queries, ends, newEnds, rule);
        return (tensor(index, [queries.Length / 3, k]), tensor(distance, [queries.Length / 3, k]));
    }

    /// <summary>k-NN of arrays; see <see cref="KNearest(int, Tensor, Tensor, Tensor, Tensor, TieRule)"/>.</summary>
    public static (int[] Index, float[] Distance) KNearest(
        int k, ReadOnlySpan<float> xyz, ReadOnlySpan<float> newXyz, ReadOnlySpan<int> offset, ReadOnlySpan<int> newOffset, TieRule rule = TieRule.Official)
    {
        if (k < 1) throw new BayouException($"k-NN: k is {k}, it must be at least 1");
        if (offset.Length != newOffset.Length) throw new BayouException($"k-NN: {offset.Length} clouds and queries for {newOffset.Length}");
        var m = newXyz.Length / 3;
        var (index, distance) = (new int[m * k], new float[m * k]);
        fixed (float* points = xyz, queries = newXyz, d = distance)
        fixed (int* i = index)
        {
            for (var c = 0; c < offset.Length; c++)
            {
                var (start, from) = c == 0 ? (0, 0) : (offset[c - 1], newOffset[c - 1]);
                var (n, count) = (offset[c] - start, newOffset[c] - from);
                if (count == 0) continue;
                var tree = new PointTree(xyz.Slice(3 * start, 3 * n));
                NeighbourKernel.Nearest(points + 3L * start, n, tree, queries + 3L * from, count, k, i + (long)from * k, d + (long)from * k,
                    rule == TieRule.Official);
                for (var p = from * k; p < newOffset[c] * k; p++) index[p] += start;
            }
        }
        for (var p = 0; p < distance.Length; p++) distance[p] = MathF.Sqrt(distance[p]);
        return (index, distance);
    }

    /// <summary>
    /// Ball query of a batch (PointNet++): the first points in index order with squared distance strictly below r r; the first hit pads the row, no hit gives
    /// zeros.
    /// </summary>
    /// <param name="radius">r; r r is taken in float32.</param>
    /// <param name="samples">Columns.</param>
    /// <param name="xyz">[B, N, 3].</param>
    /// <param name="newXyz">[B, M, 3].</param>
    /// <returns>int32 [B, M, samples], indices within each cloud.</returns>
    public static Tensor BallQuery(float radius, int samples, Tensor xyz, Tensor newXyz)
    {
        var ((points, b, n), (queries, b2, m)) = (BatchOf(xyz, "xyz"), BatchOf(newXyz, "new_xyz"));
        if (b != b2 || samples < 1) throw new BayouException($"ball query: {b} clouds, queries for {b2}, {samples} samples");
        var index = new int[b * m * samples];
        fixed (float* q = queries)
        fixed (int* i = index)
        {
            for (var c = 0; c < b; c++)
                NeighbourKernel.Ball(new PointTree(points.AsSpan(3 * n * c, 3 * n)), q + 3L * m * c, m, radius * radius, samples, i + (long)m * samples * c);
        }
        return tensor(index, [b, m, samples]);
    }

    /// <summary>Ball query of stacked clouds: as the batch form within every cloud, indices global (no hit: the cloud's first index).</summary>
    public static Tensor BallQuery(float radius, int samples, Tensor xyz, Tensor newXyz, Tensor offset, Tensor newOffset)
    {
        float[] points = Points(xyz, "xyz"), queries = Points(newXyz, "new_xyz");
        int[] ends = Offsets(offset, points.Length / 3, "offset"), newEnds = Offsets(newOffset, queries.Length / 3, "new_offset");
        if (ends.Length != newEnds.Length || samples < 1)
            throw new BayouException($"ball query: {ends.Length} clouds, queries for {newEnds.Length}, {samples} samples");
        var index = new int[queries.Length / 3 * samples];
        fixed (float* q = queries)
        fixed (int* i = index)
        {
            for (var c = 0; c < ends.Length; c++)
            {
                var (start, from) = c == 0 ? (0, 0) : (ends[c - 1], newEnds[c - 1]);
                NeighbourKernel.Ball(new PointTree(points.AsSpan(3 * start, 3 * (ends[c] - start))), q + 3L * from, newEnds[c] - from, radius * radius,
                    samples, i + (long)from * samples);
                for (var p = from * samples; p < newEnds[c] * samples; p++) index[p] += start;
            }
        }
        return tensor(index, [queries.Length / 3, samples]);
    }

    /// <summary>Three nearest known points of every unknown one (PointNet++ feature propagation), ties to the lowest index.</summary>
    /// <param name="unknown">[B, n, 3].</param>
    /// <param name="known">[B, m, 3].</param>
    /// <returns>dist [B, n, 3] (not squared; infinite where a point is missing), idx int32 [B, n, 3], weights 1 / (d + 1e-8), normalised.</returns>
    public static (Tensor Distance, Tensor Index, Tensor Weight) ThreeNearest(Tensor unknown, Tensor known)
    {
        var ((queries, b, n), (points, b2, m)) = (BatchOf(unknown, "unknown"), BatchOf(known, "known"));
        if (b != b2 || m == 0) throw new BayouException($"three-NN: {b2} clouds of {m} known points for {b} of unknown ones");
        var (index, distance) = (new int[b * n * 3], new float[b * n * 3]);
        fixed (float* q = queries, d = distance)
        fixed (int* i = index)
        {
            for (var c = 0; c < b; c++)
                NeighbourKernel.ThreeNearest(new PointTree(points.AsSpan(3 * m * c, 3 * m)), q + 3L * n * c, n, i + 3L * n * c, d + 3L * n * c);
        }
        for (var p = 0; p < distance.Length; p++) distance[p] = MathF.Sqrt(distance[p]);
        return (tensor(distance, [b, n, 3]), tensor(index, [b, n, 3]), tensor(InverseDistanceWeights(distance, 3), [b, n, 3]));
    }

    /// <summary>1 / (d + 1e-8), normalised over every k neighbours.</summary>
    public static float[] InverseDistanceWeights(ReadOnlySpan<float> distance, int k)
    {
        var weights = new float[distance.Length];
        for (var from = 0; from < weights.Length; from += k)
        {
            var sum = 0f;
            for (var i = from; i < from + k; i++) sum += weights[i] = 1 / (distance[i] + 1e-8f);
            for (var i = from; i < from + k; i++) weights[i] /= sum;
        }
        return weights;
    }

    private static float[] Points(Tensor xyz, string name)
    {
        if (xyz.dim() != 2 || xyz.shape[1] != 3) throw new BayouException($"{name} is {new Ints(xyz.shape)}; points [n, 3] are needed");
        return Finite(TensorMemory.ToArray<float>(xyz), name);
    }

    private static (float[] Points, int Batch, int Count) BatchOf(Tensor xyz, string name)
    {
        if (xyz.dim() != 3 || xyz.shape[2] != 3) throw new BayouException($"{name} is {new Ints(xyz.shape)}; a batch of clouds [B, N, 3] is needed");
        return (Finite(TensorMemory.ToArray<float>(xyz), name), (int)xyz.shape[0], (int)xyz.shape[1]);
    }

    private static float[] Finite(float[] values, string name)
    {
        for (var i = 0; i < values.Length; i++)
        {
            if (!float.IsFinite(values[i])) throw new BayouException($"{name}: point {i / 3} has a coordinate that is {values[i]}; remove such points first");
        }
        return values;
    }

    private static int[] Offsets(Tensor offset, int total, string name)
    {
        var ends = TensorMemory.ToArray<int>(offset);
        for (var c = 0; c < ends.Length; c++)
        {
            if (ends[c] < (c == 0 ? 0 : ends[c - 1])) throw new BayouException($"{name}: running totals must not fall, and entry {c} is {ends[c]}");
        }
        if (total >= 0 && (ends.Length == 0 ? 0 : ends[^1]) != total)
            throw new BayouException($"{name} ends at {(ends.Length == 0 ? 0 : ends[^1])}, there are {total} points");
        return ends;
    }
}
