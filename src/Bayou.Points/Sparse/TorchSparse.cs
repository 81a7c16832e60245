using Bayou.Core;
using Bayou.Kernels;

namespace Bayou.Points;

/// <summary>TorchSparse's helpers where they differ from MinkowskiEngine's.</summary>
public static class TorchSparse
{
    /// <summary>Sorted unique voxels of points: floor(point / side), first axis slowest.</summary>
    /// <param name="xyz">[n, 3].</param>
    /// <param name="side">Side of a voxel.</param>
    /// <returns>Coordinates [m, 3], the first point of every voxel, the voxel of every point.</returns>
    public static (int[] Coordinates, int[] Index, int[] Inverse) Quantize(ReadOnlySpan<float> xyz, float side)
    {
        if (!(side > 0)) throw new BayouException($"voxels of side {side}: it must be above 0");
        var cells = new int[xyz.Length];
        for (var i = 0; i < cells.Length; i++)
        {
            var cell = MathF.Floor(xyz[i] / side);
            if (!(MathF.Abs(cell) < 1 << 30)) throw new BayouException($"point {i / 3} is too far away, or not finite, for voxels of side {side}");
            cells[i] = (int)cell;
        }
        var groups = KeyGroups.Of(VoxelKeys.Of(cells, 3), sorted: true);
        return ([.. groups.First.SelectMany(row => cells.AsSpan(3 * row, 3).ToArray())], groups.First, groups.Inverse);
    }

    /// <summary>Hash of rows of four: FNV-1a over the 32-bit words (xor, then multiply), folded to 60 bits.</summary>
    public static long[] Hash(ReadOnlySpan<int> rows)
    {
        var hashes = new long[rows.Length / 4];
        for (var i = 0; i < hashes.Length; i++)
        {
            var h = 14695981039346656037;
            for (var c = 0; c < 4; c++) h = unchecked((h ^ (uint)rows[4 * i + c]) * 1099511628211);
            hashes[i] = (long)((h >> 60) ^ (h & 0xFFFFFFFFFFFFFFF));
        }
        return hashes;
    }

    /// <summary>
    /// Trilinear weights of the eight corners of every point (first axis slowest); corners that do not exist get 0 and the rest is divided by its sum + 1e-8.
    /// </summary>
    /// <param name="xyz">[n, 3] in units of the finest voxel.</param>
    /// <param name="index">[n, 8] rows of the corners, -1 where there is none.</param>
    /// <param name="scale">Tensor stride.</param>
    public static float[] TrilinearWeights(ReadOnlySpan<float> xyz, ReadOnlySpan<long> index, float scale)
    {
        var weights = new float[index.Length];
        Span<float> part = stackalloc float[3];
        for (var i = 0; i < xyz.Length / 3; i++)
        {
            var sum = 0f;
            for (var d = 0; d < 3; d++)
            {
                var p = xyz[3 * i + d];
                part[d] = (p - MathF.Floor(p / scale) * scale) / scale;
            }
            for (var c = 0; c < 8; c++)
            {
                var w = 1f;
                for (var d = 0; d < 3; d++) w *= (c >> (2 - d) & 1) == 1 ? part[d] : 1 - part[d];
                sum += weights[8 * i + c] = index[8 * i + c] < 0 ? 0 : w;
            }
            for (var c = 0; c < 8; c++) weights[8 * i + c] /= sum + 1e-8f;
        }
        return weights;
    }
}
