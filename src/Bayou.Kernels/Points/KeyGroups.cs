namespace Bayou.Kernels;

/// <summary>Rows with equal keys, grouped: the basis of every voxelisation. Groups come in the order of their first row, or of their key.</summary>
public sealed class KeyGroups
{
    private KeyGroups(int[] inverse, int[] first, int[] count) => (Inverse, First, Count) = (inverse, first, count);

    /// <summary>Group of every row.</summary>
    public int[] Inverse { get; }

    /// <summary>First row of every group.</summary>
    public int[] First { get; }

    /// <summary>Rows of every group.</summary>
    public int[] Count { get; }

    /// <summary>Groups rows.</summary>
    /// <param name="keys">A key a row; sorted by this call.</param>
    /// <param name="sorted">True numbers the groups by ascending key, false by first appearance.</param>
    public static KeyGroups Of(Span<ulong> keys, bool sorted)
    {
        var rows = new int[keys.Length];
        for (var i = 0; i < rows.Length; i++) rows[i] = i;
        RadixSort.Sort(keys, rows);
        var groups = 0;
        for (var i = 0; i < rows.Length; i++) if (i == 0 || keys[i] != keys[i - 1]) groups++;
        var (inverse, first, count) = (new int[rows.Length], new int[groups], new int[groups]);
        for (int i = 0, g = -1; i < rows.Length; i++)
        {
            if (i == 0 || keys[i] != keys[i - 1]) first[++g] = rows[i];     // the sort is stable: the first of a run is its lowest row
            count[g]++;
            inverse[rows[i]] = g;
        }
        if (sorted) return new(inverse, first, count);

        // Number the groups by their first rows.
        var number = new int[groups];
        var next = 0;
        var (newFirst, newCount) = (new int[groups], new int[groups]);
        for (var i = 0; i < rows.Length; i++)
        {
            var g = inverse[i];
            if (first[g] == i)
            {
                (number[g], newFirst[next], newCount[next]) = (next, i, count[g]);
                next++;
            }
            inverse[i] = number[g];
        }
        return new(inverse, newFirst, newCount);
    }
}
