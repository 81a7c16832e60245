namespace Bayou.Kernels;

/// <summary>Between pictures as they lie in memory and planes of registers: [y][x][channel lane].</summary>
internal static unsafe class DepthwisePacking
{
    /// <summary>
    /// A packed plane. With stride s in a direction, every s-th row (column) of the picture forms a view of its own; the columns of a view lie side by side with
    /// <see cref="DepthwiseTuning.Margin"/> zero columns on either side, so that a view reads like a plane of stride 1.
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
        public int At(int y, int x) => y * Row + (strideW == 1 ? DepthwiseTuning.Margin + x : x % strideW * segment + DepthwiseTuning.Margin + x / strideW) * lanes;

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
        var margin = DepthwiseTuning.Margin * T.Count;
        for (var row = plane; row < plane + layout.Length; row += layout.Row)
        {
            new Span<float>(row, margin).Clear();
            new Span<float>(row + layout.Row - margin, margin).Clear();
        }
    }

    /// <summary>Packs <paramref name="lanes"/> channels of a picture. Lanes beyond them hold anything. A turned plane has the picture's columns as rows.</summary>
    public static void Pack<T>(float* source, DepthwisePlanes memory, int height, int width, int lanes, float* plane, Plane layout, bool turned, float* block) where T : struct, IFloatLanes<T>
    {
        if (memory.IsPlanar(width))
        {
            PackPlanar<T>(source, memory.Channel, height * width, width, lanes, plane, layout, turned, block);
            return;
        }
        for (var y = 0; y < height; y++)
        {
            var from = source + y * memory.Row;
            for (var x = 0; x < width; x++, from += memory.Pixel)
            {
                var target = plane + (turned ? layout.At(x, y) : layout.At(y, x));
                if (memory.Channel != 1) for (var l = 0; l < lanes; l++) target[l] = from[l * memory.Channel];
                else if (lanes == T.Count) T.Store(target, T.Load(from));
                else T.Store(target, T.LoadPart(from, lanes));
            }
        }
    }

    // T.Count pixels of all channels at a time are turned around in a block, then put where they belong.
    private static void PackPlanar<T>(float* source, long channel, int pixels, int width, int lanes, float* plane, Plane layout, bool turned, float* block) where T : struct, IFloatLanes<T>
    {
        var end = source + (lanes - 1) * channel + pixels;
        int x = 0, y = 0;
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

    /// <summary>[lane][pixel] with any step between lanes -> [pixel][lane] without gaps, for any number of pixels. The target has room for whole squares.</summary>
    public static void ToLanes<T>(float* source, long channel, int pixels, int lanes, float* target, float* end) where T : struct, IFloatLanes<T>
    {
        for (var i = 0; i < pixels; i += T.Count, target += T.Count * T.Count) Turn<T>(source + i, channel, Math.Min(T.Count, pixels - i), lanes, target, end);
    }

    /// <summary>[pixel][lane] without gaps -> [lane][pixel] with any step between lanes.</summary>
    public static void FromLanes<T>(float* source, float* target, long channel, int pixels, int lanes) where T : struct, IFloatLanes<T>
    {
        for (var i = 0; i < pixels; i += T.Count, source += T.Count * T.Count, target += T.Count)
        {
            var count = Math.Min(T.Count, pixels - i);
            if (count == T.Count && lanes == T.Count)
            {
                T.Transpose(source, T.Count, target, (nint)channel);
                continue;
            }
            for (var l = 0; l < lanes; l++)
            {
                var line = target + l * channel;
                for (var j = 0; j < count; j++) line[j] = source[j * T.Count + l];
            }
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
