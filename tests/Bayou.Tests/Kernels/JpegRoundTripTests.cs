using Bayou.Data;
using Bayou.Kernels;
using SkiaSharp;

namespace Bayou.Tests;

/// <summary>JPEG without the file against a real encoder and decoder, and against the cosine transform's definition.</summary>
public sealed class JpegRoundTripTests
{
    private static ImageBuffer Smooth(int width, int height, int channels)
    {
        var image = new ImageBuffer(width, height, channels);
        for (var i = 0; i < image.Pixels.Length; i++)
        {
            int x = i / channels % width, y = i / channels / width, c = i % channels;
            image.Pixels[i] = (byte)(128 + 70 * Math.Sin(x / (4.0 + c)) + 50 * Math.Cos(y / 5.0 + c) + (x / 9 + y / 7) % 2 * 7);
        }
        return image;
    }

    [Theory]
    [InlineData(48, 32, 90)]
    [InlineData(61, 45, 25)]
    [InlineData(16, 16, 7)]
    [InlineData(7, 9, 60)]
    public void PixelsAreThoseOfAnEncoderAndDecoder(int width, int height, int quality)
    {
        var image = Smooth(width, height, 3);
        var ours = new byte[image.Pixels.Length];
        JpegRoundTrip.Apply(image.Pixels, width, height, 3, quality, ours);
        var theirs = ImageDecoder.Decode(Encode(image, quality)).Pixels;
        Assert.Equal(theirs, ours);
    }

    private static byte[] Encode(ImageBuffer image, int quality)
    {
        using var bitmap = new SKBitmap(new SKImageInfo(image.Width, image.Height, SKColorType.Rgba8888, SKAlphaType.Opaque));
        var to = bitmap.GetPixelSpan();
        for (int from = 0, at = 0; from < image.Pixels.Length; from += 3, at += 4)
            (to[at], to[at + 1], to[at + 2], to[at + 3]) = (image.Pixels[from], image.Pixels[from + 1], image.Pixels[from + 2], 255);
        using var pixmap = bitmap.PeekPixels();
        using var data = pixmap.Encode(new SKJpegEncoderOptions(quality, SKJpegEncoderDownsample.Downsample420, SKJpegEncoderAlphaOption.Ignore));
        return data!.ToArray();
    }

    [Fact]
    public void GreyBlocksAreTheCosineTransformQuantised()
    {
        var image = Smooth(24, 16, 1);
        var ours = new byte[image.Pixels.Length];
        JpegRoundTrip.Apply(image.Pixels, 24, 16, 1, 50, ours);
        int[] table = [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
            18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99];
        static double Basis(int k, int x) => (k == 0 ? Math.Sqrt(0.125) : 0.5) * Math.Cos((2 * x + 1) * k * Math.PI / 16);
        for (var top = 0; top < 16; top += 8)
        {
            for (var left = 0; left < 24; left += 8)
            {
                var coefficients = new double[64];
                for (var k = 0; k < 64; k++)
                {
                    var sum = 0.0;
                    for (var i = 0; i < 64; i++) sum += Basis(k / 8, i / 8) * Basis(k % 8, i % 8) * (image.Pixels[(top + i / 8) * 24 + left + i % 8] - 128);
                    coefficients[k] = Math.Round(sum / table[k]) * table[k];
                }
                for (var i = 0; i < 64; i++)
                {
                    var value = 128.0;
                    for (var k = 0; k < 64; k++) value += coefficients[k] * Basis(k / 8, i / 8) * Basis(k % 8, i % 8);
                    Assert.InRange(ours[(top + i / 8) * 24 + left + i % 8] - Math.Clamp(value, 0, 255), -1.01, 1.01);
                }
            }
        }
    }

    [Fact]
    public void BadArgumentsAreErrors()
    {
        var pixels = new byte[12];
        Assert.Throws<ArgumentException>(() => JpegRoundTrip.Apply(pixels, 2, 2, 3, 0, pixels));
        Assert.Throws<ArgumentException>(() => JpegRoundTrip.Apply(pixels, 2, 2, 3, 101, pixels));
        Assert.Throws<ArgumentException>(() => JpegRoundTrip.Apply(pixels, 2, 3, 3, 50, pixels));
        Assert.Throws<ArgumentException>(() => JpegRoundTrip.Apply(pixels, 3, 2, 2, 50, pixels));
    }
}
