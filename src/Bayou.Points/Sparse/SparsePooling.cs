using Bayou.Core;
using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>Global pooling, interpolation at points, and joining of sparse tensors.</summary>
public static class SparsePooling
{
    /// <summary>Batch item of every row, int64 [n], as a constant of the network.</summary>
    public static Tensor BatchIndex(SparseTensor x) =>
        Ops.Constant(tensor(Enumerable.Range(0, x.Voxels.Count).Select(i => (long)x.Voxels.Coordinates[4 * i]).ToArray()));

    /// <summary>Pools all voxels of every batch item: [batches, C].</summary>
    public static Tensor Global(SparseTensor x, PoolKind kind)
    {
        if (kind != PoolKind.Max) return Ops.SegmentSum(x.Features, BatchIndex(x), x.Voxels.Batches, mean: kind == PoolKind.Average);
        var keys = Enumerable.Range(0, x.Voxels.Count).Select(i => (ulong)x.Voxels.Coordinates[4 * i]).ToArray();
        return Ops.SparsePooling(x.Features, KernelMap.OfGroups(KeyGroups.Of(keys, sorted: true)), PoolKind.Max);
    }

    /// <summary>
    /// Trilinear interpolation at points from the eight voxels of the tensor stride around each. MinkowskiEngine: absent corners contribute nothing and
    /// weights are not renormalised;
    /// TorchSparse (devoxelise) divides by the sum of the present weights + 1e-8.
    /// </summary>
    /// <param name="x">Features on voxels.</param>
    /// <param name="query">float [q, 4]: batch and coordinates in units of the finest voxel.</param>
    /// <param name="renormalize">TorchSparse's rule.</param>
    /// <returns>[q, C].</returns>
    public static Tensor Interpolate(SparseTensor x, Tensor query, bool renormalize = false)
    {
        var points = TensorMemory.ToArray<float>(query);
        var (index, weight) = Corners(x.Voxels, points, renormalize);
        var n = points.Length / 4;
        return Ops.InterpolateRows(x.Features, Ops.Constant(tensor(index, [n, 8])), Ops.Constant(tensor(weight, [n, 8])));
    }

    /// <summary>Rows and weights of the eight corners of every point; absent corners have weight 0 (and row 0). The first axis changes slowest.</summary>
    public static (int[] Index, float[] Weight) Corners(VoxelSet voxels, ReadOnlySpan<float> points, bool renormalize)
    {
        var (stride, n) = (voxels.Stride, points.Length / 4);
        var corners = new int[8 * n * 4];
        var weight = new float[8 * n];
        for (var i = 0; i < n; i++)
        {
            Span<int> low = [0, 0, 0];
            Span<float> part = [0, 0, 0];
            for (var d = 0; d < 3; d++)
            {
                low[d] = (int)MathF.Floor(points[4 * i + 1 + d] / stride) * stride;
                part[d] = (points[4 * i + 1 + d] - low[d]) / stride;
            }
            for (var c = 0; c < 8; c++)
            {
                var w = 1f;
                corners[4 * (8 * i + c)] = (int)points[4 * i];
                for (var d = 0; d < 3; d++)
                {
                    var upper = c >> (2 - d) & 1;
                    corners[4 * (8 * i + c) + 1 + d] = low[d] + upper * stride;
                    w *= upper == 1 ? part[d] : 1 - part[d];
                }
                weight[8 * i + c] = w;
            }
        }
        var index = Find(voxels.Coordinates, corners);
        for (var i = 0; i < n; i++)
        {
            var sum = 1e-8f;
            for (var c = 8 * i; c < 8 * i + 8; c++)
            {
                if (index[c] < 0) (index[c], weight[c]) = (0, 0);
                sum += weight[c];
            }
            if (renormalize) for (var c = 8 * i; c < 8 * i + 8; c++) weight[c] /= sum;
        }
        return (index, weight);
    }

    /// <summary>Row of every wanted coordinate among the voxels, -1 where there is none.</summary>
    public static int[] Find(ReadOnlySpan<int> voxels, ReadOnlySpan<int> wanted)
    {
        var n = voxels.Length / 4;
        var joined = new int[voxels.Length + wanted.Length];
        voxels.CopyTo(joined);
        wanted.CopyTo(joined.AsSpan(voxels.Length));
        // One numbering of both: a group whose first row is a voxel is that voxel.
        var groups = KeyGroups.Of(VoxelKeys.Of(joined), sorted: false);
        var rows = new int[wanted.Length / 4];
        for (var i = 0; i < rows.Length; i++)
        {
            var first = groups.First[groups.Inverse[n + i]];
            rows[i] = first < n ? first : -1;
        }
        return rows;
    }

    /// <summary>[n, C1 + C2 + ...] of tensors on the same voxels.</summary>
    public static SparseTensor Concat(params SparseTensor[] x)
    {
        foreach (var t in x)
            if (!ReferenceEquals(t.Voxels, x[0].Voxels))
                throw new BayouException("sparse tensors are joined on the same voxels only (U-Nets: the levels of one VoxelSpace)");
        return x[0].With(Ops.Concat(1, [.. x.Select(t => t.Features)]));
    }

    /// <summary>a + b on the same voxels.</summary>
    public static SparseTensor Add(SparseTensor a, SparseTensor b)
    {
        if (!ReferenceEquals(a.Voxels, b.Voxels)) throw new BayouException("sparse tensors are added on the same voxels only");
        return a.With(Ops.Add(a.Features, b.Features));
    }
}
