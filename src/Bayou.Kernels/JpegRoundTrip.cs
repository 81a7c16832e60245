using System.Buffers;
using System.Runtime.CompilerServices;

namespace Bayou.Kernels;

/// <summary>
/// What a picture looks like after it has been stored as baseline JPEG and read again, without the lossless part in between (no Huffman coding, no file): the
/// pixels are those of the libjpeg family with its default settings - chroma halved both ways, standard tables scaled by the quality, slow-integer transform,
/// smooth upsampling.
/// </summary>
public static unsafe class JpegRoundTrip
{
    private static readonly byte[] lumaTable =
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
        18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ];

    private static readonly byte[] chromaTable =
    [
        17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    ];

    /// <summary>Stores and reads a picture.</summary>
    /// <param name="source">Pixels [height, width, channels].</param>
    /// <param name="width">Width in pixels, 1..65500.</param>
    /// <param name="height">Height in pixels, 1..65500.</param>
    /// <param name="channels">1 (grey) or 3 (RGB).</param>
    /// <param name="quality">1 (worst) to 100.</param>
    /// <param name="destination">Pixels of the same size; may be the source.</param>
    /// <exception cref="ArgumentException">A size, channel count or quality out of range, or spans of other lengths.</exception>
    public static void Apply(ReadOnlySpan<byte> source, int width, int height, int channels, int quality, Span<byte> destination)
    {
        if (width is < 1 or > 65500 || height is < 1 or > 65500 || channels is not (1 or 3) || source.Length != (long)width * height * channels
            || destination.Length != source.Length)
            throw new ArgumentException($"{source.Length} and {destination.Length} bytes are no pictures of {width}x{height}x{channels} that JPEG can hold.");
        if (quality is < 1 or > 100) throw new ArgumentException($"A JPEG quality of {quality}; 1 to 100 is possible.", nameof(quality));
        int lumaWidth = Up(width), lumaHeight = Up(height), halfWidth = (width + 1) / 2, halfHeight = (height + 1) / 2, chromaWidth = Up(halfWidth),
            chromaHeight = Up(halfHeight);
        int luma = lumaWidth * lumaHeight, chroma = channels == 3 ? chromaWidth * chromaHeight : 0;
        // Full-size chroma needs an even number of rows and columns before it is halved.
        int evenWidth = 2 * chromaWidth, full = channels == 3 ? evenWidth * 2 : 0;
        var rented = ArrayPool<byte>.Shared.Rent(luma + 2 * chroma + 2 * full);
        try
        {
            fixed (byte* from = source, to = destination, planes = rented)
            {
                byte* y = planes, cb = y + luma, cr = cb + chroma;
                if (channels == 1)
                {
                    for (var row = 0; row < height; row++) Buffer.MemoryCopy(from + (long)row * width, y + (long)row * lumaWidth, width, width);
                    Pad(y, width, height, lumaWidth, lumaHeight);
                    Blocks(y, lumaWidth, lumaHeight, lumaTable, quality);
                    for (var row = 0; row < height; row++) Buffer.MemoryCopy(y + (long)row * lumaWidth, to + (long)row * width, width, width);
                    return;
                }
                byte* rowsB = cr + chroma, rowsR = rowsB + full;
                for (var half = 0; half < halfHeight; half++)
                {
                    for (var k = 0; k < 2; k++)
                    {
                        // A last single row is halved with itself.
                        var row = Math.Min(2 * half + k, height - 1);
                        ToYcc(from + (long)row * width * 3, width, y + (long)row * lumaWidth, rowsB + k * evenWidth, rowsR + k * evenWidth, evenWidth);
                    }
                    Halve(rowsB, evenWidth, cb + (long)half * chromaWidth, chromaWidth);
                    Halve(rowsR, evenWidth, cr + (long)half * chromaWidth, chromaWidth);
                }
                Pad(y, width, height, lumaWidth, lumaHeight);
                Pad(cb, chromaWidth, halfHeight, chromaWidth, chromaHeight);
                Pad(cr, chromaWidth, halfHeight, chromaWidth, chromaHeight);
                Blocks(y, lumaWidth, lumaHeight, lumaTable, quality);
                Blocks(cb, chromaWidth, chromaHeight, chromaTable, quality);
                Blocks(cr, chromaWidth, chromaHeight, chromaTable, quality);
                for (var row = 0; row < height; row++)
                {
                    Widen(cb, chromaWidth, halfWidth, halfHeight, row, rowsB);
                    Widen(cr, chromaWidth, halfWidth, halfHeight, row, rowsR);
                    ToRgb(y + (long)row * lumaWidth, rowsB, rowsR, width, to + (long)row * width * 3);
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static int Up(int size) => (size + 7) & ~7;

    private static void Blocks(byte* plane, int width, int height, byte[] standard, int quality)
    {
        var scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
        var table = stackalloc int[64];
        for (var i = 0; i < 64; i++) table[i] = Math.Clamp((standard[i] * scale + 50) / 100, 1, 255);
        for (var y = 0; y < height; y += 8)
        {
            for (var x = 0; x < width; x += 8) JpegDct.RoundTrip(plane + (long)y * width + x, width, table);
        }
    }

    // Repeats the last column and the last row up to whole blocks.
    private static void Pad(byte* plane, int width, int height, int stride, int rows)
    {
        for (var y = 0; y < height; y++) new Span<byte>(plane + (long)y * stride + width, stride - width).Fill(plane[(long)y * stride + width - 1]);
        for (var y = height; y < rows; y++) Buffer.MemoryCopy(plane + (long)(height - 1) * stride, plane + (long)y * stride, stride, stride);
    }

    // ITU-R 601 with 16 fraction bits; chroma is rounded half down.
    private static void ToYcc(byte* rgb, int width, byte* y, byte* cb, byte* cr, int padded)
    {
        for (var x = 0; x < width; x++, rgb += 3)
        {
            int r = rgb[0], g = rgb[1], b = rgb[2];
            y[x] = (byte)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
            cb[x] = (byte)((-11059 * r - 21709 * g + 32768 * b + (128 << 16) + 32767) >> 16);
            cr[x] = (byte)((32768 * r - 27439 * g - 5329 * b + (128 << 16) + 32767) >> 16);
        }
        for (var x = width; x < padded; x++) (cb[x], cr[x]) = (cb[width - 1], cr[width - 1]);
    }

    // Mean of 2x2, rounded down and up in turn so that no side is favoured.
    private static void Halve(byte* rows, int stride, byte* to, int width)
    {
        for (var x = 0; x < width; x++) to[x] = (byte)((rows[2 * x] + rows[2 * x + 1] + rows[stride + 2 * x] + rows[stride + 2 * x + 1] + 1 + (x & 1)) >> 2);
    }

    // One row at full size: a triangle filter, 3/4 of the nearer and 1/4 of the farther sample in each direction.
    private static void Widen(byte* plane, int stride, int width, int height, int row, byte* to)
    {
        var near = plane + (long)(row / 2) * stride;
        if (width <= 2)
        {
            for (var x = 0; x < width; x++) to[2 * x] = to[2 * x + 1] = near[x];
            return;
        }
        var far = plane + (long)Math.Clamp(row / 2 + ((row & 1) == 0 ? -1 : 1), 0, height - 1) * stride;
        int last = 3 * near[0] + far[0], current = last, next;
        for (var x = 0; x < width; x++, last = current, current = next)
        {
            var end = x == width - 1;
            next = end ? current : 3 * near[x + 1] + far[x + 1];
            to[2 * x] = (byte)((3 * current + last + 8) >> 4);
            to[2 * x + 1] = (byte)((3 * current + next + 7) >> 4);
        }
    }

    private static void ToRgb(byte* y, byte* cb, byte* cr, int width, byte* rgb)
    {
        for (var x = 0; x < width; x++, rgb += 3)
        {
            int light = y[x], blue = cb[x] - 128, red = cr[x] - 128;
            rgb[0] = Byte(light + ((91881 * red + 32768) >> 16));
            rgb[1] = Byte(light + ((-22554 * blue - 46802 * red + 32768) >> 16));
            rgb[2] = Byte(light + ((116130 * blue + 32768) >> 16));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte Byte(int value) => (byte)((uint)value <= 255 ? value : value < 0 ? 0 : 255);
}
