using System.Buffers;

namespace Bayou.Kernels;

/// <summary>
/// A matrix cut into blocks of rows: the unit of work of kernels that go through a matrix row by row and sum something over the rows. The cut depends on the
/// shape only, and each block has sums of its own which are added in order at the end, so results do not depend on the number of threads.
/// </summary>
internal readonly record struct RowBlocks(int Rows, int Columns)
{
    // Large enough to pay for a thread's start, small enough that a block stays in the cache.
    private const int Elements = 1 << 14;

    public int Height { get; } = Math.Max(1, Elements / Columns);

    public int Count => (Rows + Height - 1) / Height;

    /// <summary>Rows of a block.</summary>
    public (int From, int To) this[int block] => (block * Height, Math.Min(Rows, (block + 1) * Height));

    /// <summary>Runs a kernel on every block.</summary>
    /// <param name="cost">Multiply-adds an element, for the choice of threads.</param>
    /// <param name="unit">Gets first row and end.</param>
    public void Run(int cost, Action<int, int> unit)
    {
        var blocks = this;
        KernelThreads.Run(Count, (long)Rows * Columns * cost, block =>
        {
            var (from, to) = blocks[block];
            unit(from, to);
        });
    }

    /// <summary>Runs a kernel on every block and adds up what each has summed.</summary>
    /// <param name="cost">Multiply-adds an element.</param>
    /// <param name="sums">Gets the totals.</param>
    /// <param name="length">How many.</param>
    /// <param name="unit">Gets first row, end and its own cleared sums.</param>
    public unsafe void Sum(int cost, float* sums, int length, SumUnit unit)
    {
        var blocks = this;
        var parts = ArrayPool<float>.Shared.Rent(checked(Count * length));
        fixed (float* all = parts)
        {
            var first = all;
            KernelThreads.Run(Count, (long)Rows * Columns * cost, block =>
            {
                var (from, to) = blocks[block];
                var own = first + (long)block * length;
                new Span<float>(own, length).Clear();
                unit(from, to, own);
            });
            new ReadOnlySpan<float>(first, length).CopyTo(new Span<float>(sums, length));
            for (var block = 1; block < Count; block++)
            {
                var own = first + (long)block * length;
                for (var i = 0; i < length; i++) sums[i] += own[i];
            }
        }
        ArrayPool<float>.Shared.Return(parts);
    }

    /// <summary>Goes through rows from..to-1 and adds to its sums.</summary>
    public unsafe delegate void SumUnit(int from, int to, float* sums);
}
