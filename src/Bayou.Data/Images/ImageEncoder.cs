using System.Runtime.InteropServices;
using Bayou.Core;
using SkiaSharp;

namespace Bayou.Data;

/// <summary>Pixels to picture files.</summary>
public static class ImageEncoder
{
    /// <summary>A PNG file; lossless.</summary>
    public static byte[] Png(ImageBuffer image) => Encode(image, SKEncodedImageFormat.Png, 100);

    /// <summary>A JPEG file.</summary>
    /// <param name="image">The picture.</param>
    /// <param name="quality">1..100.</param>
    public static byte[] Jpeg(ImageBuffer image, int quality = 90) => Encode(image, SKEncodedImageFormat.Jpeg, Math.Clamp(quality, 1, 100));

    /// <summary>A WebP file, lossy; 100 is lossless.</summary>
    public static byte[] WebP(ImageBuffer image, int quality = 90) => Encode(image, SKEncodedImageFormat.Webp, Math.Clamp(quality, 1, 100));

    /// <summary>Writes a picture in the format of the path's extension (.png, .jpg, .jpeg, .webp).</summary>
    /// <exception cref="BayouException">Another extension, or the file cannot be written.</exception>
    public static void Save(ImageBuffer image, string path)
    {
        var bytes = Path.GetExtension(path).ToLowerInvariant() switch
        {
            ".png" => Png(image),
            ".jpg" or ".jpeg" => Jpeg(image),
            ".webp" => WebP(image),
            var other => throw new BayouException($"{path}: pictures are written as .png, .jpg or .webp, not '{other}'."),
        };
        try
        {
            File.WriteAllBytes(path, bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BayouException($"{path}: cannot be written ({e.Message})", e);
        }
    }

    private static byte[] Encode(ImageBuffer image, SKEncodedImageFormat format, int quality)
    {
        // Grey stays grey in PNG and JPEG; three channels go through Skia's four.
        var info = image.Channels == 1
            ? new SKImageInfo(image.Width, image.Height, SKColorType.Gray8, SKAlphaType.Opaque)
            : new SKImageInfo(image.Width, image.Height, SKColorType.Rgba8888, SKAlphaType.Opaque);
        var pixels = image.Channels == 1 ? image.Pixels : AddAlpha(image.Pixels);
        var pin = GCHandle.Alloc(pixels, GCHandleType.Pinned);
        try
        {
            using var map = new SKPixmap(info, pin.AddrOfPinnedObject(), info.RowBytes);
            using var data = format switch
            {
                SKEncodedImageFormat.Png => map.Encode(SKPngEncoderOptions.Default),
                SKEncodedImageFormat.Jpeg =>
                    map.Encode(new SKJpegEncoderOptions(quality, SKJpegEncoderDownsample.Downsample420, SKJpegEncoderAlphaOption.Ignore)),
                _ => map.Encode(new SKWebpEncoderOptions(quality == 100 ? SKWebpEncoderCompression.Lossless : SKWebpEncoderCompression.Lossy, quality)),
            };
            return data?.ToArray() ?? throw new BayouException($"A picture of {image.Width}x{image.Height} cannot be written as {format}.");
        }
        finally
        {
            pin.Free();
        }
    }

    private static byte[] AddAlpha(byte[] rgb)
    {
        var rgba = new byte[rgb.Length / 3 * 4];
        for (int from = 0, to = 0; from < rgb.Length; from += 3, to += 4)
        {
            rgba[to] = rgb[from];
            rgba[to + 1] = rgb[from + 1];
            rgba[to + 2] = rgb[from + 2];
            rgba[to + 3] = 255;
        }
        return rgba;
    }
}
