namespace Bayou.Kernels;

/// <summary>
/// output[y, x] (+)= sum over a, b of kernel[a, b] input[y + a - offsetY, x + b - offsetX], every element a register of channels; what lies outside the input
/// counts as zero.
/// <para>
/// Everything a depthwise convolution needs is such a sum: forward and input gradient with the weights as kernel, the weight gradient with the output's
/// gradient as kernel and the taps as output, strides by views of every s-th element. Rows outside the picture are never touched, columns only where a tile of
/// up to eight reaches over the edge.
/// </para>
/// </summary>
internal readonly unsafe struct DepthwiseCorrelation<T>(LaneGrid input, LaneGrid kernel, LaneGrid output, int offsetY, int offsetX, T start, bool accumulate,
    int lanes, float* sums)
    where T : struct, IFloatLanes<T>
{
    /// <summary>
    /// Rows of a tile: a tall tile reads less, but the rows where only a part of it meets the kernel are slower. Sixteen registers do not hold a tall one.
    /// </summary>
    public static int TileRows(int kernelRows) => kernelRows >= DepthwiseTuning.TallKernel && T.Count == 16 ? 4 : 2;

    /// <summary>
    /// Runs rows [from, to) of the output; `from` is a multiple of <see cref="TileRows"/>, else sums are rounded in another order than in one run.
    /// </summary>
    public void Run(int from, int to)
    {
        var tall = TileRows(kernel.Height) == 4;
        for (var y = from; y < to;)
        {
            var rows = tall && y + 4 <= to ? 4 : Math.Min(2, to - y);
            for (var x = 0; x < output.Width;)
            {
                var columns = Columns(output.Width - x, rows == 4);
                // Kernel columns that meet the picture from at least one column of the tile.
                var (left, width) = Meet(x, columns);
                if (rows == 4)
                {
                    Tall(y, x, columns, left, width);
                    x += columns;
                    continue;
                }
                // Tiles of the same form are one call.
                var tiles = 1;
                if (x + columns <= output.Width)
                {
                    for (int next; (next = x + tiles * columns) + columns <= output.Width && Columns(output.Width - next, false) == columns
                        && Meet(next, columns) == (left, width);) tiles++;
                }
                Flat(y, x, rows, columns, tiles, left, width);
                x += tiles * columns;
            }
            y += rows;
        }
    }

    private (int Left, int Width) Meet(int x, int columns)
    {
        // Where the whole kernel stays within the margin, no column is left out: equal tiles are worth more.
        if (offsetX - x <= DepthwiseTuning.Margin && x + columns - 1 + kernel.Width - offsetX <= input.Width + DepthwiseTuning.Margin) return (0, kernel.Width);
        var left = Math.Max(0, offsetX - x - (columns - 1));
        return (left, Math.Max(0, Math.Min(kernel.Width, input.Width + offsetX - x) - left));
    }

    // The width that leaves least over. A kernel wider than the map meets it from every column, but each tile also sees as many columns of padding as it is
    // wide: narrow tiles then.
    private int Columns(int left, bool tall)
    {
        if (tall && kernel.Width >= input.Width) return 4;
        if (tall || T.Count < 16) return left <= 4 || left is 7 or 8 or 14 or 16 ? 4 : 6;
        if (kernel.Width >= input.Width + 4) return left <= 4 || left is 8 or 14 or 16 ? 4 : 6;
        return left switch { <= 4 => 4, <= 6 or 10 or 12 or 14 or 18 or 20 => 6, _ => 8 };
    }

    // One or two rows of some tiles.
    private void Flat(int y, int x, int rows, int columns, int tiles, int left, int width)
    {
        var valid = Math.Min(columns, output.Width - x);
        var direct = valid == columns && lanes == T.Count;
        for (var more = direct ? 1 : tiles; more > 0; more--, x += columns)
        {
            var target = output.Data + y * output.Row + x * output.Pixel;
            if (!direct && accumulate) Load(target, rows, columns, valid);
            var work = new PairWork<T>
            {
                Start = start,
                Continue = accumulate,
                To = direct ? target : sums,
                ToRow = direct ? output.Row : columns * T.Count,
                ToPixel = direct ? output.Pixel : T.Count,
                InputRow = input.Row,
                KernelRow = kernel.Row,
                KernelPixel = kernel.Pixel,
                IsPair = rows == 2,
                Tiles = direct ? tiles : 1,
            };
            Two(work, y - offsetY, x + left - offsetX, left, width, columns, 0, input.Height);
            if (!direct) Store(target, rows, columns, valid);
        }
    }

    // Four rows: the input rows that all of them meet, then those that only some see, by pairs.
    private void Tall(int y, int x, int columns, int left, int width)
    {
        var valid = Math.Min(columns, output.Width - x);
        var target = output.Data + y * output.Row + x * output.Pixel;
        if (accumulate) Load(target, 4, columns, valid);
        else for (var i = 0; i < 4 * columns; i++) T.Store(sums + i * T.Count, start);
        int top = y - offsetY, column = x + left - offsetX, all = Math.Max(0, top + 3), end = Math.Max(all, Math.Min(input.Height, top + kernel.Height));
        if (all < end && width > 0)
        {
            float* i = input.Data + all * input.Row + column * (nint)T.Count, k = kernel.Data + (all - top) * kernel.Row + left * kernel.Pixel;
            if (columns == 6) DepthwiseTiles.Tile4x6<T>(i, input.Row, k, kernel.Row, kernel.Pixel, end - all, width, sums);
            else DepthwiseTiles.Tile4x4<T>(i, input.Row, k, kernel.Row, kernel.Pixel, end - all, width, sums);
        }
        for (var r = 0; r < 4; r += 2)
        {
            var rows = sums + r * columns * T.Count;
            var work = new PairWork<T>
            {
                Continue = true,
                To = rows,
                ToRow = columns * T.Count,
                ToPixel = T.Count,
                InputRow = input.Row,
                KernelRow = kernel.Row,
                KernelPixel = kernel.Pixel,
                IsPair = true,
                Tiles = 1,
            };
            Two(work, top + r, column, left, width, columns, 0, Math.Min(all, input.Height));
            Two(work, top + r, column, left, width, columns, end, input.Height);
        }
        Store(target, 4, columns, valid);
    }

    // What input rows [from, to) give to two rows of sums; the upper meets input row i at kernel row i - top.
    private void Two(in PairWork<T> work, int top, int column, int left, int width, int columns, int from, int to)
    {
        int first = Math.Max(from, top), end = Math.Min(to, top + kernel.Height), upper = Math.Max(0, end - first), both = 0, lower = 0;
        if (work.IsPair)
        {
            int firstLower = Math.Max(from, top + 1), endLower = Math.Min(to, top + 1 + kernel.Height);
            if (upper == 0) (first, lower) = (firstLower, Math.Max(0, endLower - firstLower));
            else (upper, both, lower) = (firstLower - first, end - firstLower, Math.Max(0, endLower - Math.Max(end, firstLower)));
        }
        if (width == 0) (upper, both, lower) = (0, 0, 0);
        if (upper + both + lower == 0 && work.Continue) return;
        float* i = input.Data + first * input.Row + column * (nint)T.Count, k = kernel.Data + (first - top) * kernel.Row + left * kernel.Pixel;
        switch (columns)
        {
            case 8: DepthwiseTiles.Pair8(work, i, k, width, upper, both, lower); break;
            case 6: DepthwiseTiles.Pair6(work, i, k, width, upper, both, lower); break;
            default: DepthwiseTiles.Pair4(work, i, k, width, upper, both, lower); break;
        }
    }

    private void Load(float* source, int rows, int columns, int valid)
    {
        for (var r = 0; r < rows; r++)
        {
            for (var p = 0; p < columns; p++)
            {
                var from = source + r * output.Row + p * output.Pixel;
                T.Store(sums + (r * columns + p) * T.Count, p >= valid ? start : lanes == T.Count ? T.Load(from) : T.LoadPart(from, lanes));
            }
        }
    }

    private void Store(float* target, int rows, int columns, int valid)
    {
        for (var r = 0; r < rows; r++)
        {
            for (var p = 0; p < valid; p++)
            {
                var to = target + r * output.Row + p * output.Pixel;
                var sum = T.Load(sums + (r * columns + p) * T.Count);
                if (lanes == T.Count) T.Store(to, sum);
                else T.StorePart(to, sum, lanes);
            }
        }
    }
}

/// <summary>Sizes that the inner loops of <see cref="DepthwiseCorrelation{T}"/> rest on.</summary>
internal static class DepthwiseTuning
{
    /// <summary>Columns of zeros the input must have on either side: tiles reach over the edge.</summary>
    public const int Margin = 7;

    /// <summary>Output rows for which input rows are packed at a time, where the kernel has few rows; a multiple of every tile's.</summary>
    public const int Strip = 8;

    /// <summary>Floats a tile of sums needs.</summary>
    public const int TileLength = 24 * 16;

    /// <summary>Kernel rows from which tiles of four rows are faster than tiles of two.</summary>
    public const int TallKernel = 12;
}
