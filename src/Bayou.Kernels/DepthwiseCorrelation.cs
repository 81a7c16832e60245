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
    int lanes, float* sums, DepthwiseAhead ahead = default)
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
        var tall = TileRows(kernel.Height) == 4 ? from + (to - from) / 4 * 4 : from;
        if (tall > from) Bands(from, tall, 4);
        if (to > tall) Bands(tall, to, 2);
    }

    // Tiles of the same form beside each other are one call; what a call needs to know is the same for all rows.
    private void Bands(int from, int to, int tileRows)
    {
        var across = new DepthwiseAxis(input.Width, kernel.Width, output.Width, offsetX);
        for (var x = 0; x < output.Width;)
        {
            var columns = across.Columns<T>(output.Width - x, tileRows == 4);
            // The last tile overlaps the one before it, unless sums would be added twice.
            if (x + columns > output.Width && x > 0 && !accumulate) x = output.Width - columns;
            // Kernel columns that meet the picture from at least one column of the tile.
            var (left, width) = across.Meet(x, columns);
            if (tileRows == 4)
            {
                for (var y = from; y < to; y += 4) Tall(y, x, columns, left, width);
                x += columns;
                continue;
            }
            var tiles = 1;
            for (int next; (next = x + tiles * columns) + columns <= output.Width && across.Columns<T>(output.Width - next, false) == columns
                && across.Meet(next, columns) == (left, width);) tiles++;
            Flat(from, to, x, columns, tiles, left, width);
            x += tiles * columns;
        }
    }

    // All rows, two by two, of some tiles.
    private void Flat(int from, int to, int x, int columns, int tiles, int left, int width)
    {
        var valid = Math.Min(columns, output.Width - x);
        var direct = valid == columns && lanes == T.Count;
        var work = new PairWork<T>
        {
            Start = start,
            Continue = accumulate,
            To = sums,
            ToRow = direct ? output.Row : columns * T.Count,
            ToPixel = direct ? output.Pixel : T.Count,
            InputRow = input.Row,
            KernelRow = kernel.Row,
            KernelPixel = kernel.Pixel,
            Tiles = direct ? tiles : 1,
        };
        for (var y = from; y < to; y += 2)
        {
            var rows = Math.Min(2, to - y);
            work.IsPair = rows == 2;
            for (var tile = 0; tile < tiles; tile += work.Tiles)
            {
                var first = x + tile * columns;
                var target = output.Data + y * output.Row + first * output.Pixel;
                if (direct) work.To = target;
                else if (accumulate) Load(target, rows, columns, valid);
                work.Ahead = ahead.At((y - from) * output.Width + 2 * first);
                Two(work, y - offsetY, first + left - offsetX, left, width, columns, 0, input.Height);
                if (!direct) Store(target, rows, columns, valid);
            }
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

/// <summary>One direction of a correlation.</summary>
/// <param name="Input">Elements of the input.</param>
/// <param name="Kernel">Taps.</param>
/// <param name="Output">Outputs.</param>
/// <param name="Offset">Tap that meets input 0 at output 0.</param>
internal readonly record struct DepthwiseAxis(int Input, int Kernel, int Output, int Offset)
{
    /// <summary>First and number of the taps that tiles of <paramref name="columns"/> outputs go through.</summary>
    public (int Left, int Width) Meet(int x, int columns)
    {
        // Where the whole kernel stays within the margin, no column is left out: equal tiles are worth more.
        if (Offset - x <= DepthwiseTuning.Margin && x + columns - 1 + Kernel - Offset <= Input + DepthwiseTuning.Margin) return (0, Kernel);
        var left = Math.Max(0, Offset - x - (columns - 1));
        return (left, Math.Max(0, Math.Min(Kernel, Input + Offset - x) - left));
    }

    /// <summary>
    /// How wide a tile is that begins <paramref name="left"/> outputs before the end: what leaves least over. A kernel wider than the map meets it from every
    /// column, but each tile also sees as many columns of padding as it is wide: narrow tiles then.
    /// </summary>
    public int Columns<T>(int left, bool tall) where T : struct, IFloatLanes<T>
    {
        if (tall && Kernel >= Input) return 4;
        if (tall || T.Count < 16) return left <= 4 || left is 7 or 8 or 14 or 16 ? 4 : 6;
        if (Kernel >= Input + 4) return left <= 4 || left is 8 or 14 or 16 ? 4 : 6;
        return left switch { <= 4 => 4, <= 6 or 10 or 12 or 14 or 18 or 20 => 6, _ => 8 };
    }

    /// <summary>
    /// About how many cycles a correlation takes in this way, columns across and rows down: two multiply-adds a cycle, those with padding included, and what
    /// tiles cost beside them.
    /// </summary>
    public static long Cycles(DepthwiseAxis rows, DepthwiseAxis columns)
    {
        var tall = rows.Kernel >= DepthwiseTuning.TallKernel;
        long down = 0, across = 0;
        for (var y = 0; y < rows.Output; y++) down += Math.Max(0, Math.Min(rows.Kernel, rows.Input + rows.Offset - y) - Math.Max(0, rows.Offset - y));
        var tiles = 0;
        for (int x = 0, width; x < columns.Output; x += width, tiles++)
        {
            width = columns.Columns<Lanes512>(columns.Output - x, tall);
            across += width * columns.Meet(x, width).Width;
        }
        return down * across / 2 + tiles * (long)rows.Output * (tall ? DepthwiseTuning.TallTile / 4 : DepthwiseTuning.FlatTile / 2);
    }
}

/// <summary>Sizes that the inner loops of <see cref="DepthwiseCorrelation{T}"/> rest on.</summary>
internal static class DepthwiseTuning
{
    /// <summary>Columns of zeros the input must have on either side: tiles reach over the edge.</summary>
    public const int Margin = 7;

    /// <summary>Output rows for which input rows are packed at a time, where the kernel has few rows; a multiple of every tile's.</summary>
    public const int Strip = 8;

    /// <summary>Strips a plane has room for before rows are moved up in it.</summary>
    public const int StripsHeld = 3;

    /// <summary>Output rows at a time where a unit has a group of registers of channels.</summary>
    public const int GroupStrip = 4;

    // Floats of a group that stay in the second-level cache, and of a picture that does.
    private const int GroupFloats = 150_000, NearPicture = 450_000;

    /// <summary>Rows of input that a group holds.</summary>
    public static int GroupHeld(int kernelRows) => 2 * GroupStrip + kernelRows - 1;

    /// <summary>
    /// Registers of channels of a group in channels-last memory: their rows of input and output stay in the second-level cache and need no more room than two
    /// whole planes of one register. One where a register is a cache line of its own and the picture is near anyway.
    /// </summary>
    public static int Group(DepthwiseShape s, int kernelRows, int lanes)
    {
        if (s.C % lanes == 0 && (long)s.C * s.H * s.W < NearPicture) return 1;
        var row = s.W + 2 * Margin;
        var one = Math.Min(s.H, GroupHeld(kernelRows)) * row + GroupStrip * s.OutW;
        return Math.Max(1, Math.Min(GroupFloats / (one * lanes), 2 * s.H * row / one));
    }

    /// <summary>Floats a tile of sums needs.</summary>
    public const int TileLength = 24 * 16;

    /// <summary>Kernel rows from which tiles of four rows are faster than tiles of two.</summary>
    public const int TallKernel = 12;

    /// <summary>Cycles a tile of four rows costs beside its multiply-adds, measured.</summary>
    public const int TallTile = 300;

    /// <summary>Where exchanging rows and columns pays: it costs the fast packing of rows and their dealing out to threads.</summary>
    public const double Turning = 0.9;

    /// <summary>Cycles a tile of two rows costs beside its multiply-adds, measured.</summary>
    public const int FlatTile = 60;
}
