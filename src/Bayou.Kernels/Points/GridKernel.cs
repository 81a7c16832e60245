namespace Bayou.Kernels;

/// <summary>Grid subsampling of KPConv: the barycentre of the points of every cell.</summary>
public static class GridKernel
{
    /// <summary>What is left of a cloud.</summary>
    /// <param name="Points">[m, 3] barycentres, in the order in which the cells first appear.</param>
    /// <param name="Features">[m, c] means.</param>
    /// <param name="Labels">[m] the most frequent label, of equally frequent ones the lowest.</param>
    /// <param name="LabelIsUnique">Whether no other label is as frequent.</param>
    public sealed record Subsampled(float[] Points, float[] Features, int[] Labels, bool[] LabelIsUnique);

    /// <summary>Subsamples one cloud. Cells start at floor(min / side) side; a point on a border belongs to the upper cell; all in float32.</summary>
    /// <param name="xyz">[n, 3], finite.</param>
    /// <param name="features">[n, c], or empty.</param>
    /// <param name="labels">[n], or empty.</param>
    /// <param name="side">Side of a cell.</param>
    /// <param name="most">Cells to keep, the first ones; the rest is left out.</param>
    /// <exception cref="ArgumentException">Sizes do not fit, or there are more cells than 63 bits can number.</exception>
    public static Subsampled Subsample(ReadOnlySpan<float> xyz, ReadOnlySpan<float> features, ReadOnlySpan<int> labels, float side, int most = int.MaxValue)
    {
        var n = xyz.Length / 3;
        if (!(side > 0)) throw new ArgumentException($"the side of a cell is {side}, it must be above 0", nameof(side));
        if (n > 0 && features.Length % n != 0) throw new ArgumentException($"{features.Length} features do not divide over {n} points", nameof(features));
        if (labels.Length != 0 && labels.Length != n) throw new ArgumentException($"{labels.Length} labels for {n} points", nameof(labels));
        if (n == 0) return new([], [], [], []);
        var keys = CellKeys(xyz, side);
        var groups = KeyGroups.Of(keys, sorted: false);
        var (m, c) = (Math.Min(most, groups.First.Length), features.Length / n);
        var (points, means) = (new float[3 * m], new float[c * m]);
        for (var i = 0; i < n; i++)
        {
            var g = groups.Inverse[i];
            if (g >= m) continue;
            for (var d = 0; d < 3; d++) points[3 * g + d] += xyz[3 * i + d];
            for (var d = 0; d < c; d++) means[c * g + d] += features[c * i + d];
        }
        for (var g = 0; g < m; g++)
        {
            var share = 1f / groups.Count[g];
            for (var d = 0; d < 3; d++) points[3 * g + d] *= share;
            for (var d = 0; d < c; d++) means[c * g + d] /= groups.Count[g];
        }
        var (classes, unique) = labels.IsEmpty ? ([], []) : Majority(labels, groups.Inverse, m);
        return new(points, means, classes, unique);
    }

    private static ulong[] CellKeys(ReadOnlySpan<float> xyz, float side)
    {
        var n = xyz.Length / 3;
        Span<float> low = [xyz[0], xyz[1], xyz[2]], high = [xyz[0], xyz[1], xyz[2]];
        for (var i = 0; i < xyz.Length; i++) (low[i % 3], high[i % 3]) = (MathF.Min(low[i % 3], xyz[i]), MathF.Max(high[i % 3], xyz[i]));
        Span<double> cells = stackalloc double[3];
        var inverse = 1 / side;
        for (var d = 0; d < 3; d++)
        {
            low[d] = MathF.Floor(low[d] * inverse) * side;
            cells[d] = Math.Floor((high[d] - low[d]) / side) + 1;
        }
        if (cells[0] * cells[1] * cells[2] > long.MaxValue)
            throw new ArgumentException($"{cells[0]} x {cells[1]} x {cells[2]} cells of side {side} are too many: use larger ones");
        var (nx, ny) = ((ulong)cells[0], (ulong)cells[1]);
        var keys = new ulong[n];
        for (var i = 0; i < n; i++)
        {
            var (ix, iy, iz) = (Cell(xyz[3 * i], low[0]), Cell(xyz[3 * i + 1], low[1]), Cell(xyz[3 * i + 2], low[2]));
            keys[i] = ix + nx * iy + nx * ny * iz;
        }
        return keys;

        // The rounded origin may lie a hair above the lowest point.
        ulong Cell(float value, float origin) => (ulong)Math.Max(0, MathF.Floor((value - origin) / side));
    }

    private static (int[], bool[]) Majority(ReadOnlySpan<int> labels, int[] group, int groups)
    {
        // Sorted by (group, label): runs are the counts.
        var (keys, rows) = (new ulong[labels.Length], new int[labels.Length]);
        for (var i = 0; i < labels.Length; i++) keys[i] = (ulong)group[i] << 32 | (uint)(labels[i] ^ int.MinValue);
        RadixSort.Sort(keys, rows);
        var (best, bestCount, unique) = (new int[groups], new int[groups], new bool[groups]);
        for (int from = 0, to; from < keys.Length; from = to)
        {
            for (to = from + 1; to < keys.Length && keys[to] == keys[from];) to++;
            var g = (int)(keys[from] >> 32);
            if (g >= groups || to - from < bestCount[g]) continue;
            unique[g] = to - from > bestCount[g];
            if (unique[g]) (best[g], bestCount[g]) = ((int)(uint)keys[from] ^ int.MinValue, to - from);
        }
        return (best, unique);
    }
}
