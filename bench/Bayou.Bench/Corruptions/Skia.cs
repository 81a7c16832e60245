using Bayou.Data;
using SkiaSharp;

namespace Bayou.Bench;

/// <summary>JPEG through a real file, as one does without a function for it.</summary>
internal static class Skia
{
    public static byte[] Jpeg(ImageBuffer image, int quality)
    {
        using var bitmap = new SKBitmap(new SKImageInfo(image.Width, image.Height, SKColorType.Rgba8888, SKAlphaType.Opaque));
        var to = bitmap.GetPixelSpan();
        for (int from = 0, at = 0; from < image.Pixels.Length; from += 3, at += 4)
            (to[at], to[at + 1], to[at + 2], to[at + 3]) = (image.Pixels[from], image.Pixels[from + 1], image.Pixels[from + 2], 255);
        using var pixmap = bitmap.PeekPixels();
        using var data = pixmap.Encode(new SKJpegEncoderOptions(quality, SKJpegEncoderDownsample.Downsample420, SKJpegEncoderAlphaOption.Ignore))
            ?? throw new InvalidOperationException("Skia encodes no JPEG here.");
        return ImageDecoder.Decode(data.AsSpan()).Pixels;
    }
}
