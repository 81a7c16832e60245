using System.Buffers;

namespace Bayou.Kernels;

/// <summary>
/// Antialiased resize of 8-bit pictures, bit for bit what Pillow's <c>Image.resize</c> gives: two passes (horizontal first), fixed-point weights with 22
/// fraction bits, rounding and clipping to 0..255 after each pass. Pictures are rows of interleaved pixels (HWC) of 1, 3 or 4 channels; every channel is
/// resized alike (no alpha weighting). All instruction sets and thread counts give the same bytes.
/// </summary>
public static class ImageResize
{
    /// <summary>Resizes a whole picture.</summary>
    /// <param name="source">Pixels [height, width, channels].</param>
    /// <param name="width">Source width in pixels, at least 1.</param>
    /// <param name="height">Source height in pixels, at least 1.</param>
    /// <param name="channels">1, 3 or 4.</param>
    /// <param name="destination">Pixels [newHeight, newWidth, channels]; must not overlap the source.</param>
    /// <param name="newWidth">Width wanted, at least 1.</param>
    /// <param name="newHeight">Height wanted, at least 1.</param>
    /// <param name="filter">Resampling filter.</param>
    /// <param name="threads">Threads to use; 1 stays on the caller's thread, 0 means <see cref="KernelThreads.Count"/>.</param>
    /// <exception cref="ArgumentException">A size or channel count out of range, or a span too short.</exception>
    public static void Resize(
        ReadOnlySpan<byte> source, int width, int height, int channels, Span<byte> destination, int newWidth, int newHeight, ResampleFilter filter,
        int threads = 1) =>
        Resize(source, width, height, channels, 0, 0, width, height, destination, newWidth, newHeight, filter, threads);

    /// <summary>
    /// Resizes the part of a picture inside a box given in pixels, fractions allowed: <c>Image.resize(size, filter, box)</c>. Windows near the box's border
    /// read pixels outside it, as in Pillow; to crop first, use <see cref="CropResize"/>.
    /// </summary>
    /// <exception cref="ArgumentException">A size, box or channel count out of range, or a span too short.</exception>
    public static unsafe void Resize(
        ReadOnlySpan<byte> source, int width, int height, int channels, double left, double top, double right, double bottom,
        Span<byte> destination, int newWidth, int newHeight, ResampleFilter filter, int threads = 1)
    {
        CheckPicture(source.Length, width, height, channels, nameof(source));
        CheckPicture(destination.Length, newWidth, newHeight, channels, nameof(destination));
        if (!(left >= 0 && top >= 0 && right <= width && bottom <= height && right > left && bottom > top))
            throw new ArgumentException($"The box ({left}, {top}, {right}, {bottom}) does not lie inside a picture of {width}x{height}.");
        fixed (byte* from = source)
        fixed (byte* to = destination)
            Run(from, (long)width * channels, width, height, channels, left, top, right, bottom, to, newWidth, newHeight, filter, threads);
    }

    /// <summary>Cuts a rectangle out of a picture and resizes it: <c>Image.crop(...).resize(...)</c> without the copy.</summary>
    /// <exception cref="ArgumentException">A size, rectangle or channel count out of range, or a span too short.</exception>
    public static unsafe void CropResize(
        ReadOnlySpan<byte> source, int width, int height, int channels, int x, int y, int cropWidth, int cropHeight,
        Span<byte> destination, int newWidth, int newHeight, ResampleFilter filter, int threads = 1)
    {
        CheckPicture(source.Length, width, height, channels, nameof(source));
        CheckPicture(destination.Length, newWidth, newHeight, channels, nameof(destination));
        if (x < 0 || y < 0 || cropWidth < 1 || cropHeight < 1 || x > width - cropWidth || y > height - cropHeight)
            throw new ArgumentException($"The rectangle {cropWidth}x{cropHeight} at ({x}, {y}) does not lie inside a picture of {width}x{height}.");
        fixed (byte* from = source)
        fixed (byte* to = destination)
        {
            var corner = from + ((long)y * width + x) * channels;
            Run(corner, (long)width * channels, cropWidth, cropHeight, channels, 0, 0, cropWidth, cropHeight, to, newWidth, newHeight, filter, threads);
        }
    }

    private static unsafe void Run(
        byte* source, long sourceStride, int width, int height, int channels, double left, double top, double right, double bottom,
        byte* destination, int newWidth, int newHeight, ResampleFilter filter, int threads)
    {
        if (threads <= 0) threads = KernelThreads.Count;
        var rowBytes = (long)newWidth * channels;
        if (filter == ResampleFilter.Nearest)
        {
            Nearest(source, sourceStride, width, height, channels, left, top, right, bottom, destination, newWidth, newHeight);
            return;
        }
        var horizontalNeeded = newWidth != width || left != 0 || right != newWidth;
        var verticalNeeded = newHeight != height || top != 0 || bottom != newHeight;
        var isa = KernelIsa.Current;
        if (!horizontalNeeded && !verticalNeeded)
        {
            for (var y = 0; y < height; y++) Buffer.MemoryCopy(source + y * sourceStride, destination + y * rowBytes, rowBytes, rowBytes);
            return;
        }
        var vertical = verticalNeeded ? ResampleWeights.Create(height, top, bottom, newHeight, filter) : null;
        if (!horizontalNeeded)
        {
            Vertical(source, sourceStride, destination, rowBytes, newHeight, vertical!, isa, threads);
            return;
        }
        var horizontal = ResampleWeights.Create(width, left, right, newWidth, filter);
        if (vertical is null)
        {
            Horizontal(source, sourceStride, width, height, channels, destination, newWidth, horizontal, isa, threads);
            return;
        }
        // Only the rows that the vertical pass reads go through the horizontal one.
        var firstRow = vertical.Start[0];
        var lastRow = vertical.Start[newHeight - 1] + vertical.Count[newHeight - 1];
        var rows = lastRow - firstRow;
        for (var i = 0; i < newHeight; i++) vertical.Start[i] -= firstRow;
        var needed = rowBytes * rows;
        if (needed > Array.MaxLength)
            throw new ArgumentException($"Resizing {width}x{height} to {newWidth}x{newHeight} needs an intermediate picture above 2 GB.");
        var rented = ArrayPool<byte>.Shared.Rent((int)needed);
        try
        {
            fixed (byte* between = rented)
            {
                Horizontal(source + firstRow * sourceStride, sourceStride, width, rows, channels, between, newWidth, horizontal, isa, threads);
                Vertical(between, rowBytes, destination, rowBytes, newHeight, vertical, isa, threads);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static unsafe void Nearest(
        byte* source, long sourceStride, int width, int height, int channels, double left, double top, double right, double bottom,
        byte* destination, int newWidth, int newHeight)
    {
        var columns = ArrayPool<int>.Shared.Rent(newWidth);
        // Positions are accumulated, not multiplied: the same sequence of roundings as in Pillow.
        var stepX = (right - left) / newWidth;
        var position = left + stepX * 0.5;
        for (var x = 0; x < newWidth; x++, position += stepX) columns[x] = Math.Min((int)position, width - 1) * channels;
        var stepY = (bottom - top) / newHeight;
        position = top + stepY * 0.5;
        for (var y = 0; y < newHeight; y++, position += stepY)
        {
            var row = source + Math.Min((int)position, height - 1) * sourceStride;
            for (var x = 0; x < newWidth; x++)
            {
                var pixel = row + columns[x];
                for (var c = 0; c < channels; c++) *destination++ = pixel[c];
            }
        }
        ArrayPool<int>.Shared.Return(columns);
    }

    private static unsafe void Horizontal(
        byte* source, long sourceStride, int width, int rows, int channels, byte* destination, int newWidth, ResampleWeights weights, KernelIsaLevel isa,
        int threads)
    {
        fixed (int* start = weights.Start, count = weights.Count, values = weights.Weights)
        {
            var plan = new ImageResizeRows.Plan(start, count, values, weights.Stride, newWidth, width, channels);
            var rowBytes = (long)newWidth * channels;
            Bands(rows, threads, (nint)source, (nint)destination, (first, last, from, to) =>
            {
                for (var y = first; y < last; y++) ImageResizeRows.HorizontalRow((byte*)from + y * sourceStride, (byte*)to + y * rowBytes, plan, isa);
            });
        }
    }

    private static unsafe void Vertical(
        byte* source, long sourceStride, byte* destination, long rowBytes, int newHeight, ResampleWeights weights, KernelIsaLevel isa, int threads)
    {
        fixed (int* start = weights.Start, count = weights.Count, values = weights.Weights)
        {
            nint starts = (nint)start, counts = (nint)count, all = (nint)values;
            var stride = weights.Stride;
            Bands(newHeight, threads, (nint)source, (nint)destination, (first, last, from, to) =>
            {
                for (var y = first; y < last; y++)
                {
                    ImageResizeRows.VerticalRow(
                        (byte*)from + ((int*)starts)[y] * sourceStride, sourceStride, (byte*)to + y * rowBytes, rowBytes,
                        (int*)all + (long)y * stride, ((int*)counts)[y], isa);
                }
            });
        }
    }

    private delegate void Band(int first, int last, nint source, nint destination);

    private static void Bands(int rows, int threads, nint source, nint destination, Band body)
    {
        threads = Math.Min(threads, rows);
        if (threads <= 1)
        {
            body(0, rows, source, destination);
            return;
        }
        Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, t =>
            body((int)((long)rows * t / threads), (int)((long)rows * (t + 1) / threads), source, destination));
    }

    internal static void CheckPicture(int length, int width, int height, int channels, string name)
    {
        if (channels is not (1 or 3 or 4)) throw new ArgumentException($"Pictures have 1, 3 or 4 channels, not {channels}.", name);
        if (width < 1 || height < 1) throw new ArgumentException($"A picture of {width}x{height} has no pixels.", name);
        if ((long)width * height * channels > length)
            throw new ArgumentException($"{width}x{height}x{channels} needs {(long)width * height * channels} bytes, the span has {length}.", name);
    }
}
