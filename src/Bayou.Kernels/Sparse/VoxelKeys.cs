namespace Bayou.Kernels;

/// <summary>Integer coordinates [n, 4] (batch and three axes) as single 64-bit numbers in lexicographic order.</summary>
public static class VoxelKeys
{
    /// <summary>Keys that order as the rows do and are equal exactly for equal rows. Coordinates of any range are possible.</summary>
    /// <param name="rows">[n, columns].</param>
    /// <param name="columns">1 to 4.</param>
    public static ulong[] Of(ReadOnlySpan<int> rows, int columns = 4)
    {
        var n = rows.Length / columns;
        var keys = new ulong[n];
        if (n == 0) return keys;
        var (low, size) = (new long[columns], new double[columns]);
        var total = 1.0;
        for (var c = 0; c < columns; c++)
        {
            var (min, max) = Range(rows, columns, c);
            (low[c], size[c]) = (min, (double)max - min + 1);
            total *= size[c];
        }
        if (total < 9e18)
        {
            for (var i = 0; i < n; i++)
            {
                ulong key = 0;
                for (var c = 0; c < columns; c++) key = key * (ulong)size[c] + (ulong)(rows[i * columns + c] - low[c]);
                keys[i] = key;
            }
            return keys;
        }
        // Too wide for one number: the columns so far are replaced by their rank, one column at a time; a rank and a column always fit.
        for (var c = 0; c < columns; c++)
        {
            for (var i = 0; i < n; i++) keys[i] = keys[i] << 32 | (uint)(rows[i * columns + c] - low[c]);
            if (c == columns - 1) break;
            var ranks = KeyGroups.Of(keys, sorted: true).Inverse;
            for (var i = 0; i < n; i++) keys[i] = (ulong)ranks[i];
        }
        return keys;
    }

    /// <summary>Smallest and largest value of a column.</summary>
    internal static (int Min, int Max) Range(ReadOnlySpan<int> rows, int columns, int column)
    {
        int min = int.MaxValue, max = int.MinValue;
        for (var i = column; i < rows.Length; i += columns) (min, max) = (Math.Min(min, rows[i]), Math.Max(max, rows[i]));
        return (min, max);
    }

    /// <summary>floor(c / s) s of the three axes of every row; the batch stays.</summary>
    public static int[] Floored(ReadOnlySpan<int> rows, int stride)
    {
        var floored = rows.ToArray();
        for (var i = 0; i < floored.Length; i++) if (i % 4 != 0) floored[i] -= ((floored[i] % stride) + stride) % stride;
        return floored;
    }
}
