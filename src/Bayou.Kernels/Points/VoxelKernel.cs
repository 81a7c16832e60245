namespace Bayou.Kernels;

/// <summary>
/// The voxelisations of the published systems: hashed keys (PointTransformer, Stratified Transformer), grid clusters (torch_cluster), hard and dynamic voxels
/// (mmcv).
/// </summary>
public static class VoxelKernel
{
    private const ulong FnvOffset = 14695981039346656037, FnvPrime = 1099511628211;

    /// <summary>floor(x / side) of every coordinate in float64.</summary>
    /// <param name="xyz">[n, d] coordinates.</param>
    /// <param name="side">Side of a voxel.</param>
    public static long[] Cells(ReadOnlySpan<double> xyz, double side)
    {
        var cells = new long[xyz.Length];
        for (var i = 0; i < cells.Length; i++) cells[i] = (long)Math.Floor(xyz[i] / side);
        return cells;
    }

    /// <summary>64-bit hash of every row, multiply first, then xor: h = (h prime) xor value. Different cells may share one.</summary>
    /// <param name="cells">[n, d].</param>
    /// <param name="d">Columns.</param>
    public static ulong[] FnvHash(ReadOnlySpan<long> cells, int d)
    {
        var hashes = new ulong[cells.Length / d];
        for (var i = 0; i < hashes.Length; i++)
        {
            var h = FnvOffset;
            for (var c = 0; c < d; c++) h = unchecked(h * FnvPrime) ^ (ulong)cells[i * d + c];
            hashes[i] = h;
        }
        return hashes;
    }

    /// <summary>Exact keys: the rows numbered within their bounding box, first column slowest.</summary>
    /// <exception cref="ArgumentException">The box has more cells than 64 bits can number.</exception>
    public static ulong[] RavelHash(ReadOnlySpan<long> cells, int d)
    {
        var n = cells.Length / d;
        var (low, size) = (new long[d], new ulong[d]);
        var total = 1.0;
        for (var c = 0; c < d; c++)
        {
            long min = long.MaxValue, max = long.MinValue;
            for (var i = 0; i < n; i++) (min, max) = (Math.Min(min, cells[i * d + c]), Math.Max(max, cells[i * d + c]));
            (low[c], size[c]) = (min, n == 0 ? 1 : (ulong)(max - min) + 1);
            total *= size[c];
        }
        if (total > ulong.MaxValue) throw new ArgumentException($"a box of {total:G3} cells cannot be numbered with 64 bits: use larger voxels");
        var keys = new ulong[n];
        for (var i = 0; i < n; i++)
        {
            for (var c = 0; c < d; c++) keys[i] = keys[i] * size[c] + (ulong)(cells[i * d + c] - low[c]);
        }
        return keys;
    }

    /// <summary>Points in the order of their unsigned keys (equal keys keep their order) and the size of every run of equal keys.</summary>
    public static (int[] Order, int[] Counts) SortByKey(ReadOnlySpan<ulong> keys)
    {
        var (sorted, order) = (keys.ToArray(), new int[keys.Length]);
        for (var i = 0; i < order.Length; i++) order[i] = i;
        RadixSort.Sort(sorted, order);
        var counts = new List<int>();
        for (int from = 0, to; from < sorted.Length; from = to)
        {
            for (to = from + 1; to < sorted.Length && sorted[to] == sorted[from];) to++;
            counts.Add(to - from);
        }
        return (order, [.. counts]);
    }

    /// <summary>Sweep <paramref name="part"/> of a test over all points of all voxels: the (part mod count)-th point of every voxel.</summary>
    public static int[] Sweep(ReadOnlySpan<int> order, ReadOnlySpan<int> counts, int part)
    {
        var chosen = new int[counts.Length];
        for (int v = 0, from = 0; v < chosen.Length; from += counts[v++]) chosen[v] = order[from + part % counts[v]];
        return chosen;
    }

    /// <summary>Cluster ids of torch_cluster's grid: sum of trunc((p - start) / size) times strides, first axis fastest; float32.</summary>
    /// <param name="positions">[n, d].</param>
    /// <param name="size">[d] sides.</param>
    /// <param name="start">[d] corner, or empty: the minimum.</param>
    /// <param name="end">[d] far corner, or empty: the maximum.</param>
    public static long[] GridCluster(ReadOnlySpan<float> positions, ReadOnlySpan<float> size, ReadOnlySpan<float> start = default,
        ReadOnlySpan<float> end = default)
    {
        var d = size.Length;
        var n = positions.Length / d;
        var (low, stride) = (new float[d], new long[d]);
        for (long c = 0, s = 1; c < d; c++)
        {
            float min = float.PositiveInfinity, max = float.NegativeInfinity;
            for (var i = 0; i < n; i++) (min, max) = (MathF.Min(min, positions[i * d + (int)c]), MathF.Max(max, positions[i * d + (int)c]));
            low[c] = start.IsEmpty ? min : start[(int)c];
            stride[c] = s;
            s = checked(s * ((long)(((end.IsEmpty ? max : end[(int)c]) - low[c]) / size[(int)c]) + 1));
        }
        var ids = new long[n];
        for (var i = 0; i < n; i++)
        {
            for (var c = 0; c < d; c++) ids[i] += (long)((positions[i * d + c] - low[c]) / size[c]) * stride[c];
        }
        return ids;
    }

    /// <summary>Voxel (z, y, x) of every point, -1 in all three when it lies outside.</summary>
    /// <param name="points">[n, c], x y z first.</param>
    /// <param name="c">Columns.</param>
    /// <param name="size">Sides x, y, z.</param>
    /// <param name="range">Low x, y, z, high x, y, z.</param>
    public static int[] Dynamic(ReadOnlySpan<float> points, int c, ReadOnlySpan<float> size, ReadOnlySpan<float> range)
    {
        Span<int> cells = stackalloc int[3];
        for (var d = 0; d < 3; d++) cells[d] = (int)MathF.Round((range[d + 3] - range[d]) / size[d]);
        var n = points.Length / c;
        var voxels = new int[3 * n];
        for (var i = 0; i < n; i++)
        {
            var inside = true;
            for (var d = 0; d < 3; d++)
            {
                var cell = MathF.Floor((points[i * c + d] - range[d]) / size[d]);
                inside &= cell >= 0 && cell < cells[d];
                voxels[3 * i + 2 - d] = inside ? (int)cell : -1;
            }
            if (!inside) voxels.AsSpan(3 * i, 3).Fill(-1);
        }
        return voxels;
    }

    /// <summary>Hard voxels.</summary>
    /// <param name="Values">[voxels, max points, c], unused slots zero.</param>
    /// <param name="Coordinates">[voxels, 3] z, y, x.</param>
    /// <param name="Counts">[voxels] points kept.</param>
    public sealed record HardVoxels(float[] Values, int[] Coordinates, int[] Counts);

    /// <summary>
    /// Voxels numbered by first appearance, at most <paramref name="maxVoxels"/> of them, each with its first <paramref name="maxPoints"/> points.
    /// </summary>
    public static HardVoxels Hard(ReadOnlySpan<float> points, int c, ReadOnlySpan<float> size, ReadOnlySpan<float> range, int maxPoints, int maxVoxels)
    {
        var cells = Dynamic(points, c, size, range);
        var number = new Dictionary<(int, int, int), int>();
        var (values, coordinates, counts) = (new List<float>(), new List<int>(), new List<int>());
        for (var i = 0; i < points.Length / c; i++)
        {
            var cell = (cells[3 * i], cells[3 * i + 1], cells[3 * i + 2]);
            if (cell.Item1 < 0) continue;
            if (!number.TryGetValue(cell, out var v))
            {
                if (counts.Count >= maxVoxels) continue;
                number[cell] = v = counts.Count;
                coordinates.AddRange([cell.Item1, cell.Item2, cell.Item3]);
                counts.Add(0);
                for (var f = 0; f < maxPoints * c; f++) values.Add(0);
            }
            if (counts[v] >= maxPoints) continue;
            for (var f = 0; f < c; f++) values[(v * maxPoints + counts[v]) * c + f] = points[i * c + f];
            counts[v]++;
        }
        return new([.. values], [.. coordinates], [.. counts]);
    }
}
