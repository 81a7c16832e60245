using Bayou.Core;
using SkiaSharp;

namespace Bayou.Data;

/// <summary>
/// Picture files to pixels: JPEG (grey, RGB, CMYK, YCCK), PNG (also 16-bit, palette, interlaced), GIF (first frame), WebP, BMP. What comes out is what training
/// code around PIL's <c>convert("RGB")</c> expects:
/// EXIF rotation is applied; alpha is DROPPED, not composited: the colours stored under transparent pixels appear; 16 bits keep their high byte; colour
/// profiles are not applied. A grey file gives one channel, everything else three.
/// </summary>
public static class ImageDecoder
{
    /// <summary>
    /// Pictures with more pixels than this are refused before any memory is taken for them (decompression bombs). Default 178,956,970, as PIL's error limit.
    /// </summary>
    public static long MaxPixels { get; set; } = 178_956_970;

    /// <summary>Files longer than this are refused, in bytes. Default 1 GB.</summary>
    public static long MaxFileBytes { get; set; } = 1L << 30;

    /// <summary>Decodes a file.</summary>
    /// <exception cref="BayouException">The file cannot be read or is no whole picture; the message names it and says why.</exception>
    public static ImageBuffer Decode(string path) => Decode(ReadFile(path), path);

    /// <summary>Decodes a stream from its current position to its end.</summary>
    /// <param name="stream">The file's bytes.</param>
    /// <param name="name">How errors call the picture.</param>
    /// <exception cref="BayouException">The stream is no whole picture; the message names it and says why.</exception>
    public static ImageBuffer Decode(Stream stream, string name = "picture") => Decode(ReadBounded(stream, MaxFileBytes, name), name);

    /// <summary>Decodes a file in memory.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="name">How errors call the picture.</param>
    /// <exception cref="BayouException">The bytes are no whole picture; the message names it and says why.</exception>
    public static unsafe ImageBuffer Decode(ReadOnlySpan<byte> file, string name = "picture")
    {
        if (file.IsEmpty) throw new BayouException($"{name}: the file is empty.");
        fixed (byte* bytes = file)
        {
            using var data = SKData.Create((nint)bytes, file.Length);      // no copy; the codec does not outlive this method
            using var codec = Open(data, name);
            var (width, height) = CheckSize(codec, name);
            var grey = codec.Info.ColorType is SKColorType.Gray8;
            // No colour space in the target: Skia then leaves the file's numbers alone, as PIL does. Unpremultiplied: the colours under transparency survive.
            var info = new SKImageInfo(width, height, grey ? SKColorType.Gray8 : SKColorType.Rgba8888, grey ? SKAlphaType.Opaque : SKAlphaType.Unpremul);
            if (!grey && codec.Info.AlphaType == SKAlphaType.Opaque) info.AlphaType = SKAlphaType.Opaque;
            var rows = new byte[checked((int)info.BytesSize64)];
            fixed (byte* target = rows)
            {
                var result = codec.GetPixels(info, (nint)target);
                if (result is not SKCodecResult.Success) throw new BayouException($"{name}: {Explain(result)}.");
            }
            var pixels = grey ? rows : DropAlpha(rows);
            return Upright(new ImageBuffer(width, height, grey ? 1 : 3, pixels), codec.EncodedOrigin);
        }
    }

    /// <summary>Reads only the header: the size after EXIF rotation, and the format.</summary>
    /// <exception cref="BayouException">The bytes are no picture this decoder knows, or it is too large.</exception>
    public static unsafe ImageHeader ReadHeader(ReadOnlySpan<byte> file, string name = "picture")
    {
        if (file.IsEmpty) throw new BayouException($"{name}: the file is empty.");
        fixed (byte* bytes = file)
        {
            using var data = SKData.Create((nint)bytes, file.Length);
            using var codec = Open(data, name);
            var (width, height) = CheckSize(codec, name);
            if ((int)codec.EncodedOrigin >= (int)SKEncodedOrigin.LeftTop) (width, height) = (height, width);
            return new ImageHeader(width, height, codec.Info.ColorType is SKColorType.Gray8 ? 1 : 3, codec.EncodedFormat.ToString().ToLowerInvariant());
        }
    }

    private static SKCodec Open(SKData data, string name)
    {
        var codec = SKCodec.Create(new SKMemoryStream(data), out var result);       // the codec owns the stream
        if (codec is not null) return codec;
        throw new BayouException(result is SKCodecResult.Unimplemented or SKCodecResult.InvalidInput or SKCodecResult.Success
            ? $"{name}: not a picture this program can read (JPEG, PNG, GIF, WebP and BMP are)."
            : $"{name}: {Explain(result)}.");
    }

    private static (int Width, int Height) CheckSize(SKCodec codec, string name)
    {
        int width = codec.Info.Width, height = codec.Info.Height;
        if (width < 1 || height < 1) throw new BayouException($"{name}: the picture has no pixels ({width}x{height}).");
        if ((long)width * height > MaxPixels)
            throw new BayouException(
                $"{name}: {width}x{height} pixels are above the limit of {MaxPixels:N0} (a decompression bomb?). Scale it down, or raise ImageDecoder.MaxPixels.");
        return (width, height);
    }

    private static string Explain(SKCodecResult result) => result switch
    {
        SKCodecResult.IncompleteInput => "the file is truncated",
        SKCodecResult.ErrorInInput => "the file is damaged",
        SKCodecResult.InvalidInput => "not a picture this program can read (JPEG, PNG, GIF, WebP and BMP are)",
        SKCodecResult.Unimplemented => "its format or variant is not supported",
        SKCodecResult.InvalidConversion => "its pixel format cannot be converted to 8-bit RGB",
        _ => $"it cannot be decoded ({result})",
    };

    private static byte[] DropAlpha(byte[] rgba)
    {
        var rgb = new byte[rgba.Length / 4 * 3];
        for (int from = 0, to = 0; to < rgb.Length; from += 4, to += 3)
        {
            rgb[to] = rgba[from];
            rgb[to + 1] = rgba[from + 1];
            rgb[to + 2] = rgba[from + 2];
        }
        return rgb;
    }

    /// <summary>Undoes the rotation or mirroring an EXIF tag declares.</summary>
    internal static ImageBuffer Upright(ImageBuffer image, SKEncodedOrigin origin)
    {
        if (origin is SKEncodedOrigin.TopLeft or SKEncodedOrigin.Default) return image;
        int width = image.Width, height = image.Height, channels = image.Channels;
        var swap = origin is SKEncodedOrigin.LeftTop or SKEncodedOrigin.RightTop or SKEncodedOrigin.RightBottom or SKEncodedOrigin.LeftBottom;
        var result = swap ? new ImageBuffer(height, width, channels) : new ImageBuffer(width, height, channels);
        for (var y = 0; y < result.Height; y++)
        {
            for (var x = 0; x < result.Width; x++)
            {
                var (fromX, fromY) = origin switch
                {
                    SKEncodedOrigin.TopRight => (width - 1 - x, y),                     // 2: mirrored
                    SKEncodedOrigin.BottomRight => (width - 1 - x, height - 1 - y),     // 3: upside down
                    SKEncodedOrigin.BottomLeft => (x, height - 1 - y),                  // 4: mirrored, upside down
                    SKEncodedOrigin.LeftTop => (y, x),                                  // 5: transposed
                    SKEncodedOrigin.RightTop => (y, height - 1 - x),                    // 6: turned left when taken
                    SKEncodedOrigin.RightBottom => (width - 1 - y, height - 1 - x),     // 7: transverse
                    _ => (width - 1 - y, x),                                            // 8: turned right when taken
                };
                var from = (fromY * width + fromX) * channels;
                var to = (y * result.Width + x) * channels;
                for (var c = 0; c < channels; c++) result.Pixels[to + c] = image.Pixels[from + c];
            }
        }
        return result;
    }

    internal static byte[] ReadFile(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
            if (stream.CanSeek && stream.Length > MaxFileBytes)
                throw new BayouException($"{path}: {stream.Length:N0} bytes are above the limit of {MaxFileBytes:N0} for one picture.");
            return ReadBounded(stream, MaxFileBytes, path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new BayouException($"{path}: cannot be read ({e.Message})", e);
        }
    }

    internal static byte[] ReadBounded(Stream stream, long limit, string name)
    {
        var buffer = new byte[stream.CanSeek ? (int)Math.Clamp(stream.Length - stream.Position, 0, Math.Min(limit, Array.MaxLength)) : 64 * 1024];
        var length = 0;
        while (true)
        {
            if (length == buffer.Length)
            {
                var next = stream.ReadByte();           // most often the end: no copy then
                if (next < 0) break;
                if (length + 1L > limit) throw new BayouException($"{name}: more than {limit:N0} bytes, the limit for one picture.");
                Array.Resize(ref buffer, (int)Math.Min(Math.Max(buffer.Length * 2L, 4096), Math.Min(limit + 1, Array.MaxLength)));
                buffer[length++] = (byte)next;
            }
            var read = stream.Read(buffer, length, buffer.Length - length);
            if (read == 0 && length < buffer.Length) break;
            length += read;
        }
        if (length > limit) throw new BayouException($"{name}: more than {limit:N0} bytes, the limit for one picture.");
        if (length != buffer.Length) Array.Resize(ref buffer, length);
        return buffer;
    }
}

/// <summary>What a picture's header says.</summary>
/// <param name="Width">Width in pixels, upright.</param>
/// <param name="Height">Height in pixels, upright.</param>
/// <param name="Channels">1 (grey) or 3.</param>
/// <param name="Format">jpeg, png, gif, webp, bmp, ...</param>
public readonly record struct ImageHeader(int Width, int Height, int Channels, string Format);
