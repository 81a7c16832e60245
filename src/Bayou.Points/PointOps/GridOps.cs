using Bayou.Core;
using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>Grids, radius neighbours and interpolation.</summary>
public static unsafe partial class PointOps
{
    /// <summary>
    /// Grid subsampling of stacked clouds (KPConv): barycentres, mean features and majority labels of the cells, in the order in which the cells first
    /// appear.
    /// </summary>
    /// <param name="xyz">[n, 3].</param>
    /// <param name="lengths">[b] points of every cloud.</param>
    /// <param name="side">Side of a cell.</param>
    /// <param name="features">[n, c] or null.</param>
    /// <param name="labels">int [n] or null.</param>
    /// <param name="most">Cells to keep of every cloud.</param>
    /// <returns>
    /// Points [m, 3], lengths int32 [b], features [m, c] or null, labels int32 [m] or null, whether a label's majority is unique bool [m] or null.
    /// </returns>
    public static (Tensor Points, Tensor Lengths, Tensor? Features, Tensor? Labels, Tensor? LabelIsUnique) GridSubsample(
        Tensor xyz, Tensor lengths, float side, Tensor? features = null, Tensor? labels = null, int most = int.MaxValue)
    {
        if (!(side > 0)) throw new BayouException($"grid subsampling: the side of a cell is {side}, it must be above 0");
        var points = Points(xyz, "xyz");
        var (counts, n) = (TensorMemory.ToArray<int>(lengths), points.Length / 3);
        var (f, l) = (features is null ? [] : TensorMemory.ToArray<float>(features), labels is null ? [] : TensorMemory.ToArray<int>(labels));
        var c = features is null ? 0 : (int)features.shape[1];
        if (counts.Sum() != n || f.Length != n * c || (labels is not null && l.Length != n))
            throw new BayouException($"grid subsampling: {n} points, clouds of {counts.Sum()}, {f.Length} feature values for {c} channels, {l.Length} labels");
        var (outPoints, outFeatures, outLabels, unique, outLengths) =
            (new List<float>(), new List<float>(), new List<int>(), new List<bool>(), new int[counts.Length]);
        for (int cloud = 0, from = 0; cloud < counts.Length; from += counts[cloud++])
        {
            var count = counts[cloud];
            GridKernel.Subsampled sub;
            try
            {
                sub = GridKernel.Subsample(points.AsSpan(3 * from, 3 * count), f.AsSpan(c * from, c * count), labels is null ? [] : l.AsSpan(from, count),
                    side, most);
            }
            catch (ArgumentException e)
            {
                throw new BayouException($"grid subsampling of cloud {cloud}: {e.Message}", e);
            }
            outPoints.AddRange(sub.Points);
            outFeatures.AddRange(sub.Features);
            outLabels.AddRange(sub.Labels);
            unique.AddRange(sub.LabelIsUnique);
            outLengths[cloud] = sub.Points.Length / 3;
        }
        var m = outPoints.Count / 3;
        return (tensor(outPoints.ToArray(), [m, 3]), tensor(outLengths), features is null ? null : tensor(outFeatures.ToArray(), [m, c]),
            labels is null ? null : tensor(outLabels.ToArray()), labels is null ? null : tensor(unique.ToArray()));
    }

    /// <summary>
    /// Radius neighbours of stacked clouds (KPConv): strictly within r, nearest first (equals in the order of the official search), padded with the number of
    /// supports (the "shadow" index).
    /// </summary>
    /// <param name="queries">[m, 3].</param>
    /// <param name="supports">[n, 3].</param>
    /// <param name="queryLengths">[b].</param>
    /// <param name="supportLengths">[b].</param>
    /// <param name="radius">r.</param>
    /// <param name="most">Neighbours to keep of every query (the limit calibrated for a layer).</param>
    /// <returns>int32 [m, width]; width is the largest count of the batch, at most <paramref name="most"/>.</returns>
    public static Tensor RadiusNeighbours(Tensor queries, Tensor supports, Tensor queryLengths, Tensor supportLengths, float radius, int most = int.MaxValue)
    {
        var (rows, n) = RadiusRows(queries, supports, queryLengths, supportLengths, radius, most, TieRule.Official);
        var width = rows.Length == 0 ? 0 : rows.Max(r => r.Length);
        var index = new int[rows.Length * width];
        Array.Fill(index, n);
        for (var q = 0; q < rows.Length; q++) for (var i = 0; i < rows[q].Length; i++) index[q * width + i] = (int)(uint)rows[q][i];
        return tensor(index, [rows.Length, width]);
    }

    /// <summary>
    /// Radius search of torch-points-kernels (partial dense): at most <paramref name="most"/> neighbours strictly within r. The original keeps a random part
    /// when there are more; this keeps the nearest.
    /// </summary>
    /// <returns>idx int32 [m, most], padded with -1; squared distances [m, most], padded with -1.</returns>
    public static (Tensor Index, Tensor SquaredDistance) PartialDenseBall(Tensor queries, Tensor supports, Tensor queryLengths, Tensor supportLengths,
        float radius, int most)
    {
        var (rows, _) = RadiusRows(queries, supports, queryLengths, supportLengths, radius, most, TieRule.LowestIndex);
        var (index, distance) = (new int[rows.Length * most], new float[rows.Length * most]);
        Array.Fill(index, -1);
        Array.Fill(distance, -1);
        for (var q = 0; q < rows.Length; q++)
        {
            for (var i = 0; i < rows[q].Length; i++)
                (index[q * most + i], distance[q * most + i]) = ((int)(uint)rows[q][i], BitConverter.UInt32BitsToSingle((uint)(rows[q][i] >> 32)));
        }
        return (tensor(index, [rows.Length, most]), tensor(distance, [rows.Length, most]));
    }

    private static (ulong[][] Rows, int Supports) RadiusRows(Tensor queries, Tensor supports, Tensor queryLengths, Tensor supportLengths, float radius,
        int most, TieRule rule)
    {
        float[] q = Points(queries, "queries"), s = Points(supports, "supports");
        int[] ql = TensorMemory.ToArray<int>(queryLengths), sl = TensorMemory.ToArray<int>(supportLengths);
        if (ql.Length != sl.Length || ql.Sum() != q.Length / 3 || sl.Sum() != s.Length / 3)
            throw new BayouException($"radius search: {q.Length / 3} queries in clouds of {ql.Sum()}, {s.Length / 3} supports in clouds of {sl.Sum()}");
        if (!(radius > 0) || most < 1) throw new BayouException($"radius search: radius {radius}, at most {most} neighbours; both must be above 0");
        var rows = new ulong[q.Length / 3][];
        fixed (float* p = q, points = s)
        {
            for (int cloud = 0, from = 0, start = 0; cloud < ql.Length; from += ql[cloud], start += sl[cloud++])
            {
                var found = NeighbourKernel.Radius(
                    points + 3L * start, new PointTree(s.AsSpan(3 * start, 3 * sl[cloud])), p + 3L * from, ql[cloud], radius * radius, most,
                    rule == TieRule.Official);
                foreach (var row in found) for (var i = 0; i < row.Length; i++) row[i] += (ulong)start;
                found.CopyTo(rows, from);
            }
        }
        return (rows, s.Length / 3);
    }

    /// <summary>
    /// Interpolation of stacked clouds (pointops): the k nearest supports weighted by 1 / (d + 1e-8), normalised. With fewer than k supports the missing ones
    /// weigh next to nothing (their
    /// distance counts as 1e5). Differentiable in the features.
    /// </summary>
    /// <param name="xyz">[n, 3] supports.</param>
    /// <param name="newXyz">[m, 3].</param>
    /// <param name="features">[n, c].</param>
    /// <param name="offset">[b].</param>
    /// <param name="newOffset">[b].</param>
    /// <param name="k">Neighbours.</param>
    /// <returns>[m, c].</returns>
    public static Tensor Interpolate(Tensor xyz, Tensor newXyz, Tensor features, Tensor offset, Tensor newOffset, int k = 3)
    {
        float[] points = Points(xyz, "xyz"), queries = Points(newXyz, "new_xyz");
        int[] ends = Offsets(offset, points.Length / 3, "offset"), newEnds = Offsets(newOffset, queries.Length / 3, "new_offset");
        var (index, distance) = KNearest(k, points, queries, ends, newEnds);
        var m = queries.Length / 3;
        return Ops.InterpolateRows(features, Ops.Constant(tensor(index, [m, k])), Ops.Constant(tensor(InverseDistanceWeights(distance, k), [m, k])));
    }
}
