using Bayou.Kernels;
using static Bayou.Data.CorruptionPixels;

namespace Bayou.Data;

/// <summary>Digital: contrast, saturation, coarse pixels, JPEG. (The elastic transform has a file of its own.)</summary>
internal static class DigitalCorruptions
{
    /// <summary>Distances from each channel's mean scaled by c.</summary>
    public static void Contrast(ImageBuffer x, double[] c, ImageBuffer result)
    {
        int channels = x.Channels, pixels = x.Width * x.Height;
        var table = new byte[256];
        for (var k = 0; k < channels; k++)
        {
            long sum = 0;
            for (var i = k; i < x.Pixels.Length; i += channels) sum += x.Pixels[i];
            var mean = sum / 255.0 / pixels;
            for (var v = 0; v < 256; v++) table[v] = ToByte((Unit[v] - mean) * c[0] + mean);
            for (var i = k; i < x.Pixels.Length; i += channels) result.Pixels[i] = table[x.Pixels[i]];
        }
    }

    /// <summary>S of HSV becomes c[0] S + c[1].</summary>
    public static void Saturate(ImageBuffer x, double[] c, ImageBuffer result)
    {
        for (var i = 0; i < x.Pixels.Length; i += 3)
        {
            var (h, s, v) = Hsv.FromRgb(Unit[x.Pixels[i]], Unit[x.Pixels[i + 1]], Unit[x.Pixels[i + 2]]);
            var (r, g, b) = Hsv.ToRgb(h, Math.Clamp(s * c[0] + c[1], 0, 1), v);
            (result.Pixels[i], result.Pixels[i + 1], result.Pixels[i + 2]) = (ToByte(r), ToByte(g), ToByte(b));
        }
    }

    /// <summary>Down to a part c of both sides by averaging, then up again.</summary>
    public static void Pixelate(ImageBuffer x, double[] c, CorruptionSet set, ImageBuffer result)
    {
        var coarse = x.Resize(Math.Max(1, (int)(x.Width * c[0])), Math.Max(1, (int)(x.Height * c[0])), ResampleFilter.Box);
        var fine = coarse.Resize(x.Width, x.Height, set == CorruptionSet.AnySize ? ResampleFilter.Nearest : ResampleFilter.Box);
        fine.Pixels.CopyTo(result.Pixels, 0);
    }

    /// <summary>Stored as JPEG of quality c and read again.</summary>
    public static void Jpeg(ImageBuffer x, double[] c, ImageBuffer result) =>
        JpegRoundTrip.Apply(x.Pixels, x.Width, x.Height, x.Channels, (int)c[0], result.Pixels);
}
