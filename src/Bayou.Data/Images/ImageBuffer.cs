using Bayou.Core;
using Bayou.Kernels;

namespace Bayou.Data;

/// <summary>A decoded picture: 8-bit pixels, row by row, channels interleaved ([H, W, C], RGB or grey). Upright: EXIF rotation is already applied.</summary>
public sealed class ImageBuffer
{
    /// <summary>Creates a black picture.</summary>
    /// <param name="width">Width in pixels, at least 1.</param>
    /// <param name="height">Height in pixels, at least 1.</param>
    /// <param name="channels">1 (grey) or 3 (RGB).</param>
    public ImageBuffer(int width, int height, int channels) : this(width, height, channels, new byte[Bytes(width, height, channels)]) { }

    /// <summary>Wraps pixels; the array is not copied.</summary>
    /// <exception cref="BayouException">The array is not exactly width * height * channels long, or a size is out of range.</exception>
    public ImageBuffer(int width, int height, int channels, byte[] pixels)
    {
        var needed = Bytes(width, height, channels);
        if (pixels.Length != needed) throw new BayouException($"A picture of {width}x{height}x{channels} has {needed} bytes, {pixels.Length} were given.");
        (Width, Height, Channels, Pixels) = (width, height, channels, pixels);
    }

    /// <summary>Width in pixels.</summary>
    public int Width { get; }

    /// <summary>Height in pixels.</summary>
    public int Height { get; }

    /// <summary>1 (grey) or 3 (RGB).</summary>
    public int Channels { get; }

    /// <summary>The pixels, [H, W, C].</summary>
    public byte[] Pixels { get; }

    /// <summary>
    /// This picture with 1 or 3 channels: grey by ITU-R 601 luma as PIL's "L", colour by repeating the grey. The same object when nothing changes.
    /// </summary>
    public ImageBuffer WithChannels(int channels)
    {
        if (channels == Channels) return this;
        var result = new ImageBuffer(Width, Height, channels);
        if (channels == 1) ImagePixels.ToLuma(Pixels, result.Pixels);
        else ImagePixels.ToRgb(Pixels, result.Pixels);
        return result;
    }

    /// <summary>A copy with its own pixels.</summary>
    public ImageBuffer Clone() => new(Width, Height, Channels, (byte[])Pixels.Clone());

    /// <summary>This picture at another size, bit for bit as PIL's <c>Image.resize</c>. The same object when nothing changes.</summary>
    public ImageBuffer Resize(int width, int height, ResampleFilter filter = ResampleFilter.Bicubic)
    {
        if (width == Width && height == Height) return this;
        var result = new ImageBuffer(width, height, Channels);
        ImageResize.Resize(Pixels, Width, Height, Channels, result.Pixels, width, height, filter);
        return result;
    }

    /// <summary>A rectangle of this picture; what lies outside it is black (as PIL's <c>Image.crop</c>). The same object for the whole picture.</summary>
    public ImageBuffer Crop(int x, int y, int width, int height)
    {
        if (x == 0 && y == 0 && width == Width && height == Height) return this;
        var result = new ImageBuffer(width, height, Channels);
        int left = Math.Max(x, 0), right = Math.Min(x + width, Width);
        if (left >= right) return result;
        for (var row = Math.Max(y, 0); row < Math.Min(y + height, Height); row++)
        {
            Pixels.AsSpan((row * Width + left) * Channels, (right - left) * Channels)
                .CopyTo(result.Pixels.AsSpan(((row - y) * width + left - x) * Channels));
        }
        return result;
    }

    private static int Bytes(int width, int height, int channels)
    {
        if (width < 1 || height < 1 || channels is not (1 or 3))
            throw new BayouException($"A picture of {width}x{height} with {channels} channels cannot be: at least 1x1, and 1 (grey) or 3 (RGB) channels.");
        var bytes = (long)width * height * channels;
        if (bytes > Array.MaxLength) throw new BayouException($"A picture of {width}x{height} is too large: at most 2 GB of pixels.");
        return (int)bytes;
    }
}
