namespace Bayou.Kernels;

/// <summary>Between pictures as they lie in memory and planes of registers: [y][x][channel lane].</summary>
internal static unsafe class DepthwisePacking
{
    /// <summary>
    /// A packed plane. With stride s in a direction, every s-th row (column) of the picture forms a view of its own; the columns of a view lie side by side
    /// with <see cref="DepthwiseTuning.Margin"/> zero columns on either side, so that a view reads like a plane of stride 1.
    /// </summary>
    public readonly struct Plane(int height, int width, int strideH, int strideW, int lanes)
    {
        private readonly int segment = (width + strideW - 1) / strideW + 2 * DepthwiseTuning.Margin;

        /// <summary>Whether a row is one view.</summary>
        public bool IsWhole => strideW == 1;

        public int Row => segment * strideW * lanes;

        /// <summary>Floats.</summary>
        public int Length => checked(height * Row);

        /// <summary>Where a pixel lies.</summary>
        public int At(int y, int x) =>
            y * Row + (strideW == 1 ? DepthwiseTuning.Margin + x : x % strideW * segment + DepthwiseTuning.Margin + x / strideW) * lanes;

        /// <summary>Rows phaseY, phaseY + stride, ... and columns likewise.</summary>
        public LaneGrid View(float* plane, int phaseY, int phaseX) => new(
            plane + phaseY * Row + (phaseX * segment + DepthwiseTuning.Margin) * lanes, (nint)strideH * Row, lanes,
            (height - phaseY + strideH - 1) / strideH, (width - phaseX + strideW - 1) / strideW);
    }

    /// <summary>Zeros beside the views of the rows; they stay, because packing writes only pixels.</summary>
    public static void ClearMargins<T>(float* plane, Plane layout) where T : struct, IFloatLanes<T>
    {
        if (!layout.IsWhole)
        {
            new Span<float>(plane, layout.Length).Clear();
            return;
        }
        // The margins of two rows lie side by side.
        var zero = T.Create(0);
        for (var i = 0; i < DepthwiseTuning.Margin; i++) T.Store(plane + i * T.Count, zero);
        for (var end = plane + layout.Row; end < plane + layout.Length; end += layout.Row)
            for (var i = -DepthwiseTuning.Margin; i < DepthwiseTuning.Margin; i++) T.Store(end + i * T.Count, zero);
        for (var i = 1; i <= DepthwiseTuning.Margin; i++) T.Store(plane + layout.Length - i * T.Count, zero);
    }

    /// <summary>
    /// Packs rows [from, to) of <paramref name="lanes"/> channels of a picture. Lanes beyond them hold anything. A turned plane has the picture's columns as
    /// rows.
    /// </summary>
    public static void Pack<T>(float* source, DepthwisePlanes memory, int from, int to, int width, int lanes, float* plane, Plane layout, bool turned,
        float* block)
        where T : struct, IFloatLanes<T>
    {
        source += from * memory.Row;
        if (memory.IsPlanar(width) && !turned && layout.IsWhole && lanes == T.Count && width >= T.Count - DepthwiseTuning.Margin
            && (to - from) * width >= T.Count)
        {
            PackRows<T>(source, (nint)memory.Channel, to - from, width, plane + layout.At(from, 0), layout.Row, block);
            return;
        }
        if (memory.IsPlanar(width))
        {
            PackPlanar<T>(source, memory.Channel, from, to, width, lanes, plane, layout, turned, block);
            return;
        }
        for (var y = from; y < to; y++, source += memory.Row)
        {
            if (layout.IsWhole && memory.Channel == 1 && lanes == T.Count)
            {
                var (pixel, step) = ((nint)memory.Pixel, turned ? (nint)layout.Row : T.Count);
                float* next = source, place = plane + (turned ? layout.At(0, y) : layout.At(y, 0));
                for (var x = width; x > 0; x--, next += pixel, place += step) T.Store(place, T.Load(next));
                continue;
            }
            for (var x = 0; x < width; x++)
            {
                float* pixel = source + x * memory.Pixel, target = plane + (turned ? layout.At(x, y) : layout.At(y, x));
                for (var l = 0; l < lanes; l++) target[l] = pixel[l * memory.Channel];
            }
        }
    }

    /// <summary>
    /// Packs rows [from, to) of a group of registers of channels-last pixels, in the order of memory: the last register begins where its last channel is the
    /// picture's.
    /// </summary>
    public static void PackGroup<T>(DepthwisePlanes memory, int image, int first, int last, int from, int to, int width, int size, float* plane,
        Plane layout) where T : struct, IFloatLanes<T>
    {
        nint step = layout.Length;
        for (var y = from; y < to; y++)
        {
            float* source = memory.At(image, first) + y * memory.Row, target = plane + layout.At(y, 0);
            for (var x = 0; x < width; x++, source += memory.Pixel, target += T.Count)
            {
                float* next = source, place = target;
                for (var g = 1; g < size; g++, next += T.Count, place += step) T.Store(place, T.Load(next));
                T.Store(place, T.Load(source + last - first));
            }
        }
    }

    /// <summary>The reverse, for rows [from, to) of the output, which begin with row 0 of the planes.</summary>
    public static void UnpackGroup<T>(float* plane, nint step, DepthwisePlanes memory, int image, int first, int last, int from, int to, int width, int size)
        where T : struct, IFloatLanes<T>
    {
        for (var y = from; y < to; y++)
        {
            var target = memory.At(image, first) + y * memory.Row;
            for (var x = 0; x < width; x++, target += memory.Pixel, plane += T.Count)
            {
                float* next = target, place = plane;
                for (var g = 1; g < size; g++, next += T.Count, place += step) T.Store(next, T.Load(place));
                T.Store(target + last - first, T.Load(place));
            }
        }
    }

    // Row by row, T.Count pixels of all channels at a time turned around in place.
    private static void PackRows<T>(float* source, nint channel, int height, int width, float* target, nint row, float* block) where T : struct, IFloatLanes<T>
    {
        var zero = T.Create(0);
        for (var y = 0; y < height; y++, source += width, target += row)
        {
            if (width >= T.Count)
            {
                // The last square overlaps the one before.
                for (var x = 0; x + T.Count <= width; x += T.Count) T.Transpose(source + x, channel, target + x * T.Count, T.Count);
                if (width % T.Count != 0) T.Transpose(source + width - T.Count, channel, target + (width - T.Count) * T.Count, T.Count);
                continue;
            }
            if (y + 1 < height)
            {
                // The square reaches into the next row; what it leaves in the margin is cleared.
                T.Transpose(source, channel, target, T.Count);
                for (var x = width; x < T.Count; x++) T.Store(target + x * T.Count, zero);
                continue;
            }
            // The last row: nothing may be read beyond it.
            var before = T.Count - width;
            T.Transpose(source - before, channel, block, T.Count);
            for (var x = 0; x < width; x++) T.Store(target + x * T.Count, T.Load(block + (before + x) * T.Count));
        }
    }

    // T.Count pixels of all channels at a time are turned around in a block, then put where they belong.
    private static void PackPlanar<T>(float* source, long channel, int from, int to, int width, int lanes, float* plane, Plane layout, bool turned,
        float* block) where T : struct, IFloatLanes<T>
    {
        var pixels = (to - from) * width;
        var end = source + (lanes - 1) * channel + pixels;
        int x = 0, y = from;
        for (var i = 0; i < pixels; i += T.Count)
        {
            var count = Math.Min(T.Count, pixels - i);
            Turn<T>(source + i, channel, count, lanes, block, end);
            for (var j = 0; j < count; j++)
            {
                T.Store(plane + (turned ? layout.At(x, y) : layout.At(y, x)), T.Load(block + j * T.Count));
                if (++x < width) continue;
                x = 0;
                y++;
            }
        }
    }

    /// <summary>
    /// [lane][pixel] with any step between lanes -> [pixel][lane] without gaps, for any number of pixels. The target has room for whole squares.
    /// </summary>
    public static void ToLanes<T>(float* source, long channel, int pixels, int lanes, float* target, float* end) where T : struct, IFloatLanes<T>
    {
        for (var i = 0; i < pixels; i += T.Count, target += T.Count * T.Count) Turn<T>(source + i, channel, Math.Min(T.Count, pixels - i), lanes, target, end);
    }

    /// <summary>[pixel][lane] without gaps -> [lane][pixel] with any step between lanes.</summary>
    public static void FromLanes<T>(float* source, float* target, long channel, int pixels, int lanes) where T : struct, IFloatLanes<T>
    {
        if (lanes == T.Count && pixels >= T.Count)
        {
            var i = 0;
            for (; i + T.Count <= pixels; i += T.Count) T.Transpose(source + i * T.Count, T.Count, target + i, (nint)channel);
            // The last square overlaps the one before.
            if (i < pixels) T.Transpose(source + (pixels - T.Count) * T.Count, T.Count, target + pixels - T.Count, (nint)channel);
            return;
        }
        for (var l = 0; l < lanes; l++)
        {
            var line = target + l * channel;
            for (var j = 0; j < pixels; j++) line[j] = source[j * T.Count + l];
        }
    }

    // A square of pixels and lanes. Beyond the last pixel whatever follows in memory is read, where there is memory.
    private static void Turn<T>(float* source, long channel, int pixels, int lanes, float* block, float* end) where T : struct, IFloatLanes<T>
    {
        if (lanes == T.Count && (pixels == T.Count || source + (lanes - 1) * channel + T.Count <= end))
        {
            T.Transpose(source, (nint)channel, block, T.Count);
            return;
        }
        for (var l = 0; l < lanes; l++)
        {
            var line = source + l * channel;
            for (var j = 0; j < pixels; j++) block[j * T.Count + l] = line[j];
        }
    }
}

/// <summary>
/// A plane with room for a few rows of a picture, moved down over it: what stays in reach stays packed, and the caches hold it.
/// </summary>
/// <param name="plane">Where the rows lie.</param>
/// <param name="step">Floats from a row to the next.</param>
/// <param name="room">Rows it holds.</param>
/// <param name="first">Row of the picture to begin with.</param>
/// <param name="planes">How many planes move together.</param>
/// <param name="between">Floats from a plane to the next.</param>
internal unsafe struct RowWindow(float* plane, nint step, int room, int first, int planes = 1, nint between = 0)
{
    private int first = first;

    /// <summary>The row after the last.</summary>
    public int End { get; private set; } = first;

    /// <summary>Where row 0 of the picture would lie.</summary>
    public readonly float* Data => plane - first * step;

    /// <summary>Makes room for rows [from, to), which begin and end no earlier than the last ones did; only where there is none are rows moved.</summary>
    /// <returns>Those of them that have to be packed.</returns>
    public (int From, int To) Slide(int from, int to)
    {
        var packed = Math.Max(from, End);
        if (to - first > room)
        {
            if (from > first && from < End)
            {
                var bytes = (long)(End - from) * step * sizeof(float);
                var target = plane;
                for (var i = 0; i < planes; i++, target += between) Buffer.MemoryCopy(target + (from - first) * step, target, bytes, bytes);
            }
            first = from;
        }
        End = Math.Max(packed, to);
        return (packed, End);
    }
}
