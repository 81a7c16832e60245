namespace Bayou.Kernels;

/// <summary>
/// The pairs of a sparse convolution: for every kernel offset the (input row, output row) pairs it connects. Pairs of one offset ascend in space at both
/// ends, so that they can be cut
/// into blocks of neighbouring outputs (or inputs), one thread a block: no two threads write the same row, and sums do not depend on the number of threads.
/// </summary>
public sealed class KernelMap
{
    /// <summary>Rows of a block.</summary>
    internal const int Block = 1024;

    private readonly int[][] inRows, outRows, inStarts, outStarts;
    private readonly int[]? inOrder, outOrder;      // rows in space; null: they lie in memory as in space

    private KernelMap(int inCount, int outCount, int[][] inRows, int[][] outRows, int[][] inStarts, int[][] outStarts, int[]? inOrder, int[]? outOrder)
    {
        (InCount, OutCount, this.inRows, this.outRows, this.inStarts, this.outStarts) = (inCount, outCount, inRows, outRows, inStarts, outStarts);
        (this.inOrder, this.outOrder) = (inOrder, outOrder);
        foreach (var rows in inRows) Pairs += rows.Length;
    }

    /// <summary>Input rows.</summary>
    public int InCount { get; }

    /// <summary>Output rows.</summary>
    public int OutCount { get; }

    /// <summary>Kernel offsets.</summary>
    public int Volume => inRows.Length;

    /// <summary>Pairs of all offsets.</summary>
    public long Pairs { get; }

    /// <summary>Bytes the map holds.</summary>
    public long Bytes =>
        8 * Pairs + 4L * (inStarts.Sum(s => (long)s.Length) + outStarts.Sum(s => (long)s.Length) + (inOrder?.Length ?? 0)
        + (ReferenceEquals(inOrder, outOrder) ? 0 : outOrder?.Length ?? 0));

    /// <summary>Input rows of an offset's pairs.</summary>
    public ReadOnlySpan<int> In(int offset) => inRows[offset];

    /// <summary>Output rows of an offset's pairs.</summary>
    public ReadOnlySpan<int> Out(int offset) => outRows[offset];

    /// <summary>Where the pairs of each block of outputs start, and the end.</summary>
    internal ReadOnlySpan<int> OutStarts(int offset) => outStarts[offset];

    /// <summary>Blocks of outputs.</summary>
    internal int OutBlocks => outStarts[0].Length - 1;

    /// <summary>The output rows of a block; an empty <paramref name="rows"/> stands for <paramref name="first"/> and those after it.</summary>
    internal int OutBlock(int block, out int first, out ReadOnlySpan<int> rows)
    {
        first = block * Block;
        var count = (block == OutBlocks - 1 ? OutCount : first + Block) - first;
        rows = outOrder is null ? [] : outOrder.AsSpan(first, count);
        return count;
    }

    /// <summary>The same pairs with inputs and outputs exchanged: transposed convolution, and the gradient of the input.</summary>
    public KernelMap Transposed() => new(OutCount, InCount, outRows, inRows, outStarts, inStarts, outOrder, inOrder);

    /// <summary>Finds the pairs with input = output x scale + offset, in the batch item.</summary>
    /// <param name="inputs">[n, 4] batch and three axes, unique.</param>
    /// <param name="outputs">[m, 4], unique; the same array as <paramref name="inputs"/> for a submanifold convolution.</param>
    /// <param name="offsets">[K, 3].</param>
    /// <param name="scale">Factor on the outputs' coordinates.</param>
    /// <exception cref="ArgumentException">A coordinate occurs twice.</exception>
    public static KernelMap Build(int[] inputs, int[] outputs, ReadOnlySpan<int> offsets, int scale = 1)
    {
        var same = ReferenceEquals(inputs, outputs) && scale == 1;
        var scaled = outputs;
        if (scale != 1)
        {
            scaled = [.. outputs];
            for (var i = 0; i < scaled.Length; i++) if (i % 4 != 0) scaled[i] = checked(scaled[i] * scale);
        }
        var volume = offsets.Length / 3;
        var found = new (int[] In, int[] Out, int[] InStarts, int[] OutStarts)[volume];
        var lattice = Lattice.Over(inputs, scaled, offsets);
        var source = new Sorted(inputs, lattice);
        var target = same ? source : new Sorted(scaled, lattice);
        var deltas = new long[volume];
        for (var k = 0; k < volume; k++) deltas[k] = lattice.Delta(offsets.Slice(3 * k, 3));
        // Offsets d and -d connect the same rows the other way round when inputs and outputs are one set.
        var mirror = new int[volume];
        Array.Fill(mirror, -1);
        if (same)
        {
            for (var k = 0; k < volume; k++) for (var j = 0; j < k; j++) if (deltas[j] == -deltas[k]) mirror[k] = j;
        }
        var own = Enumerable.Range(0, volume).Where(k => mirror[k] < 0).ToArray();
        KernelThreads.Run(own.Length, long.MaxValue, i => found[own[i]] = Join(source, target, deltas[own[i]]));
        for (var k = 0; k < volume; k++)
        {
            if (mirror[k] < 0) continue;
            var (inRows, outRows, inStarts, outStarts) = found[mirror[k]];
            found[k] = (outRows, inRows, outStarts, inStarts);
        }
        return new(inputs.Length / 4, outputs.Length / 4, [.. found.Select(f => f.In)], [.. found.Select(f => f.Out)], [.. found.Select(f => f.InStarts)],
            [.. found.Select(f => f.OutStarts)], source.Order, target.Order);
    }

    /// <summary>Every input to its group: the map of a pooling whose window is its stride. Pairs of a group come in the order of their rows.</summary>
    public static KernelMap OfGroups(KeyGroups groups)
    {
        var (n, m) = (groups.Inverse.Length, groups.First.Length);
        var place = new int[m + 1];
        for (var g = 0; g < m; g++) place[g + 1] = place[g] + groups.Count[g];
        var starts = Enumerable.Range(0, (m + Block - 1) / Block).Select(b => place[b * Block]).Append(n).ToArray();
        var (inRows, outRows) = (new int[n], new int[n]);
        for (var i = 0; i < n; i++)
        {
            var p = place[groups.Inverse[i]]++;
            (inRows[p], outRows[p]) = (i, groups.Inverse[i]);
        }
        return new(n, m, [inRows], [outRows], [[0, n]], [starts], null, null);
    }

    // Both ends ascend: one walk over both sorted lists finds all pairs of an offset.
    private static (int[], int[], int[], int[]) Join(Sorted source, Sorted target, long delta)
    {
        var (a, b) = (source.Keys, target.Keys);
        var most = Math.Min(a.Length, b.Length);
        var (inRows, outRows) = (System.Buffers.ArrayPool<int>.Shared.Rent(most), System.Buffers.ArrayPool<int>.Shared.Rent(most));
        var (inStarts, outStarts) = (new int[(a.Length + Block - 1) / Block + 1], new int[(b.Length + Block - 1) / Block + 1]);
        int count = 0, inBlock = 0, i = 0;
        for (var j = 0; j < b.Length; j++)
        {
            if (j % Block == 0) outStarts[j / Block] = count;
            var wanted = b[j] + (ulong)delta;
            while (i < a.Length && a[i] < wanted) i++;
            if (i >= a.Length || a[i] != wanted) continue;
            for (; inBlock <= i / Block; inBlock++) inStarts[inBlock] = count;
            (inRows[count], outRows[count]) = (source.Rows[i], target.Rows[j]);
            count++;
        }
        for (; inBlock < inStarts.Length; inBlock++) inStarts[inBlock] = count;
        outStarts[^1] = count;
        var result = (inRows.AsSpan(0, count).ToArray(), outRows.AsSpan(0, count).ToArray(), inStarts, outStarts);
        System.Buffers.ArrayPool<int>.Shared.Return(inRows);
        System.Buffers.ArrayPool<int>.Shared.Return(outRows);
        return result;
    }

    /// <summary>Rows in the order of their lattice numbers.</summary>
    private sealed class Sorted
    {
        public readonly ulong[] Keys;
        public readonly int[] Rows;
        public readonly int[]? Order;       // null: rows ascend as they are

        public Sorted(int[] coordinates, Lattice lattice)
        {
            Rows = new int[coordinates.Length / 4];
            Keys = new ulong[Rows.Length];
            var ascending = true;
            for (var i = 0; i < Rows.Length; i++)
            {
                (Rows[i], Keys[i]) = (i, lattice.Number(coordinates.AsSpan(4 * i, 4)));
                ascending &= i == 0 || Keys[i] > Keys[i - 1];
            }
            if (ascending) return;
            Order = Rows;
            RadixSort.Sort(Keys, Rows);
            for (var i = 1; i < Rows.Length; i++)
            {
                if (Keys[i] != Keys[i - 1]) continue;
                var at = string.Join(", ", coordinates.AsSpan(4 * Rows[i], 4).ToArray());
                throw new ArgumentException($"rows {Rows[i - 1]} and {Rows[i]} have the same coordinate ({at}): voxels must be unique");
            }
        }
    }

    /// <summary>
    /// Numbers of voxels such that an offset is one addition: each axis is as wide as the voxels and the reach of the kernel need. Axes with long empty
    /// stretches are shortened to
    /// stretches just longer than the reach, which changes no neighbourhood; so coordinates may lie anywhere.
    /// </summary>
    private sealed class Lattice
    {
        private readonly long[] low = new long[4], size = new long[4], reach = new long[4];
        private readonly int[]?[] values = new int[4][];        // sorted distinct values of a shortened axis
        private readonly long[]?[] places = new long[4][];      // and where they go

        public static Lattice Over(int[] a, int[] b, ReadOnlySpan<int> offsets)
        {
            var lattice = new Lattice();
            var total = 1.0;
            for (var c = 0; c < 4; c++)
            {
                var ((lowA, highA), (lowB, highB)) = (VoxelKeys.Range(a, 4, c), VoxelKeys.Range(b, 4, c));
                long low = Math.Min(lowA, lowB), high = Math.Max(highA, highB);
                for (var k = 0; c > 0 && k < offsets.Length; k += 3) lattice.reach[c] = Math.Max(lattice.reach[c], Math.Abs((long)offsets[k + c - 1]));
                (lattice.low[c], lattice.size[c]) = (low - lattice.reach[c], Math.Max(0, high - low) + 2 * lattice.reach[c] + 1);
                total *= lattice.size[c];
            }
            if (total < 9e18) return lattice;
            total = 1;
            for (var c = 0; c < 4; c++)
            {
                lattice.Shorten(c, a, b);
                total *= lattice.size[c];
            }
            return total < 9e18 ? lattice
                : throw new ArgumentException("the voxels are spread over more cells than 63 bits can number: use larger voxels or fewer points");
        }

        private void Shorten(int c, int[] a, int[] b)
        {
            var distinct = new SortedSet<int>();
            for (var i = c; i < a.Length; i += 4) distinct.Add(a[i]);
            for (var i = c; i < b.Length; i += 4) distinct.Add(b[i]);
            values[c] = [.. distinct];
            places[c] = new long[values[c]!.Length];
            var place = reach[c];
            for (var i = 0; i < values[c]!.Length; i++)
            {
                if (i > 0) place += Math.Min((long)values[c]![i] - values[c]![i - 1], reach[c] + 1);
                places[c]![i] = place;
            }
            size[c] = place + reach[c] + 1;
        }

        public ulong Number(ReadOnlySpan<int> row)
        {
            long number = 0;
            for (var c = 0; c < 4; c++)
                number = number * size[c] + (values[c] is { } v ? places[c]![Array.BinarySearch(v, row[c])] : row[c] - low[c]);
            return (ulong)number;
        }

        public long Delta(ReadOnlySpan<int> offset) => (offset[0] * size[2] + offset[1]) * size[3] + offset[2];
    }
}
