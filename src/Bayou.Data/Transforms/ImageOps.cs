using Bayou.Kernels;

namespace Bayou.Data;

/// <summary>
/// The picture operations of PIL that augmentation is made of, with PIL's arithmetic (truncations, float blends, border rules), on 1 or 3 channels. They never
/// change their input; where nothing changes they return it.
/// </summary>
public static class ImageOps
{
    /// <summary>Mirrors left and right.</summary>
    public static ImageBuffer FlipHorizontal(ImageBuffer image)
    {
        var result = new ImageBuffer(image.Width, image.Height, image.Channels);
        int width = image.Width, channels = image.Channels;
        for (var y = 0; y < image.Height; y++)
        {
            var from = image.Pixels.AsSpan(y * width * channels, width * channels);
            var to = result.Pixels.AsSpan(y * width * channels, width * channels);
            if (channels == 1)
            {
                from.CopyTo(to);
                to.Reverse();
                continue;
            }
            for (int x = 0, f = 0, t = to.Length - 3; x < width; x++, f += 3, t -= 3)
            {
                to[t] = from[f];
                to[t + 1] = from[f + 1];
                to[t + 2] = from[f + 2];
            }
        }
        return result;
    }

    /// <summary>255 - p.</summary>
    public static ImageBuffer Invert(ImageBuffer image) => Map(image, i => 255 - i);

    /// <summary>Keeps the upper <paramref name="bits"/> bits, 0..8.</summary>
    public static ImageBuffer Posterize(ImageBuffer image, int bits) => bits >= 8 ? image : Map(image, i => i & ~((1 << (8 - bits)) - 1));

    /// <summary>Inverts from <paramref name="threshold"/> up.</summary>
    public static ImageBuffer Solarize(ImageBuffer image, int threshold) => Map(image, i => i < threshold ? i : 255 - i);

    /// <summary>Adds <paramref name="add"/> below <paramref name="threshold"/>.</summary>
    public static ImageBuffer SolarizeAdd(ImageBuffer image, int add, int threshold = 128) => Map(image, i => i < threshold ? Math.Min(255, i + add) : i);

    /// <summary>Stretches each channel to 0..255.</summary>
    public static ImageBuffer AutoContrast(ImageBuffer image) => MapChannels(image, (histogram, table) =>
    {
        var low = 0;
        while (low < 255 && histogram[low] == 0) low++;
        var high = 255;
        while (high > 0 && histogram[high] == 0) high--;
        if (high <= low) return false;
        var scale = 255.0 / (high - low);
        var offset = -low * scale;
        for (var i = 0; i < 256; i++) table[i] = (byte)Math.Clamp((int)(i * scale + offset), 0, 255);
        return true;
    });

    /// <summary>Equalises the histogram of each channel.</summary>
    public static ImageBuffer Equalize(ImageBuffer image) => MapChannels(image, (histogram, table) =>
    {
        int total = 0, used = 0, last = 0;
        foreach (var count in histogram)
        {
            if (count == 0) continue;
            total += count;
            last = count;
            used++;
        }
        var step = (total - last) / 255;
        if (used <= 1 || step == 0) return false;
        var n = step / 2;
        for (var i = 0; i < 256; i++)
        {
            table[i] = (byte)Math.Min(n / step, 255);
            n += histogram[i];
        }
        return true;
    });

    /// <summary>Saturation: 0 is grey, 1 the picture, above 1 stronger.</summary>
    public static ImageBuffer Color(ImageBuffer image, double factor) =>
        image.Channels == 1 ? image : Blend(image.WithChannels(1).WithChannels(3), image, factor);

    /// <summary>Contrast around the mean luma: 0 is flat grey, 1 the picture.</summary>
    public static ImageBuffer Contrast(ImageBuffer image, double factor)
    {
        long sum = 0;
        foreach (var value in image.WithChannels(1).Pixels) sum += value;
        var mean = (byte)((double)sum / ((long)image.Width * image.Height) + 0.5);
        var flat = new ImageBuffer(image.Width, image.Height, image.Channels);
        Array.Fill(flat.Pixels, mean);
        return Blend(flat, image, factor);
    }

    /// <summary>Brightness: 0 is black, 1 the picture.</summary>
    public static ImageBuffer Brightness(ImageBuffer image, double factor) => Blend(new ImageBuffer(image.Width, image.Height, image.Channels), image, factor);

    /// <summary>Sharpness: 0 is smoothed, 1 the picture, above 1 sharpened.</summary>
    public static ImageBuffer Sharpness(ImageBuffer image, double factor) => Blend(Smooth(image), image, factor);

    /// <summary>Turns the hue by <paramref name="shift"/> (-0.5..0.5 of the circle) through PIL's 8-bit HSV, as torchvision's adjust_hue.</summary>
    public static ImageBuffer Hue(ImageBuffer image, double shift)
    {
        if (image.Channels == 1) return image;
        var add = (byte)(int)(shift * 255);         // wraps, as the uint8 addition of the original
        var result = new ImageBuffer(image.Width, image.Height, 3);
        for (var i = 0; i < image.Pixels.Length; i += 3)
        {
            var (h, s, v) = ToHsv(image.Pixels[i], image.Pixels[i + 1], image.Pixels[i + 2]);
            (result.Pixels[i], result.Pixels[i + 1], result.Pixels[i + 2]) = FromHsv((byte)(h + add), s, v);
        }
        return result;
    }

    /// <summary>Turns by <paramref name="degrees"/> counter-clockwise around the centre, keeping the size.</summary>
    public static ImageBuffer Rotate(ImageBuffer image, double degrees, ResampleFilter filter, ReadOnlySpan<byte> fill)
    {
        degrees = ((degrees % 360.0) + 360.0) % 360.0;
        if (degrees == 0) return image;
        var angle = -(degrees * (Math.PI / 180.0));
        double cos = Math.Round(Math.Cos(angle), 15), sin = Math.Round(Math.Sin(angle), 15);
        double cx = image.Width / 2.0, cy = image.Height / 2.0;
        return Affine(image, [cos, sin, cos * -cx + sin * -cy + cx, -sin, cos, -sin * -cx + cos * -cy + cy], filter, fill);
    }

    /// <summary>Shears horizontally: x + factor * y.</summary>
    public static ImageBuffer ShearX(ImageBuffer image, double factor, ResampleFilter filter, ReadOnlySpan<byte> fill) =>
        Affine(image, [1, factor, 0, 0, 1, 0], filter, fill);

    /// <summary>Shears vertically: y + factor * x.</summary>
    public static ImageBuffer ShearY(ImageBuffer image, double factor, ResampleFilter filter, ReadOnlySpan<byte> fill) =>
        Affine(image, [1, 0, 0, factor, 1, 0], filter, fill);

    /// <summary>Shifts; positive values move the content left and up.</summary>
    public static ImageBuffer Translate(ImageBuffer image, double x, double y, ResampleFilter filter, ReadOnlySpan<byte> fill) =>
        Affine(image, [1, 0, x, 0, 1, y], filter, fill);

    /// <summary>
    /// PIL's <c>Image.transform(size, AFFINE, matrix, filter, fillcolor)</c>: output pixel centre (x, y) takes the value at (m0 x + m1 y + m2, m3 x + m4 y +
    /// m5). Bicubic is PIL's transform kernel (a = -1, unlike its resize); every other filter is bilinear.
    /// </summary>
    /// <param name="image">The picture.</param>
    /// <param name="matrix">Six numbers.</param>
    /// <param name="filter">Bicubic, or anything else for bilinear.</param>
    /// <param name="fill">One byte per channel for what comes from outside.</param>
    public static ImageBuffer Affine(ImageBuffer image, ReadOnlySpan<double> matrix, ResampleFilter filter, ReadOnlySpan<byte> fill)
    {
        int width = image.Width, height = image.Height, channels = image.Channels;
        var result = new ImageBuffer(width, height, channels);
        var source = image.Pixels;
        var to = 0;
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++, to += channels)
            {
                double px = x + 0.5, py = y + 0.5;
                var fromX = matrix[0] * px + matrix[1] * py + matrix[2];
                var fromY = matrix[3] * px + matrix[4] * py + matrix[5];
                if (!(fromX >= 0 && fromX < width && fromY >= 0 && fromY < height))
                {
                    for (var c = 0; c < channels; c++) result.Pixels[to + c] = fill[c];
                    continue;
                }
                fromX -= 0.5;
                fromY -= 0.5;
                int left = (int)Math.Floor(fromX), top = (int)Math.Floor(fromY);
                double dx = fromX - left, dy = fromY - top;
                for (var c = 0; c < channels; c++)
                {
                    result.Pixels[to + c] = filter == ResampleFilter.Bicubic
                        ? CubicAt(source, width, height, channels, left - 1, top - 1, c, dx, dy)
                        : LinearAt(source, width, height, channels, left, top, c, dx, dy);
                }
            }
        }
        return result;
    }

    private static byte LinearAt(byte[] source, int width, int height, int channels, int x, int y, int c, double dx, double dy)
    {
        int x0 = Math.Clamp(x, 0, width - 1) * channels + c, x1 = Math.Clamp(x + 1, 0, width - 1) * channels + c;
        double Row(int row) => source[row + x0] + (source[row + x1] - source[row + x0]) * dx;
        var v1 = Row(Math.Clamp(y, 0, height - 1) * width * channels);
        var v2 = y + 1 >= 0 && y + 1 < height ? Row((y + 1) * width * channels) : v1;
        return (byte)(v1 + (v2 - v1) * dy);         // this form, because equal neighbours must give their value exactly before truncation
    }

    private static byte CubicAt(byte[] source, int width, int height, int channels, int x, int y, int c, double dx, double dy)
    {
        int x0 = Math.Clamp(x, 0, width - 1) * channels + c, x1 = Math.Clamp(x + 1, 0, width - 1) * channels + c;
        int x2 = Math.Clamp(x + 2, 0, width - 1) * channels + c, x3 = Math.Clamp(x + 3, 0, width - 1) * channels + c;
        double Row(int row) => Cubic(source[row + x0], source[row + x1], source[row + x2], source[row + x3], dx);
        // A row outside the picture repeats the one above it.
        var stride = width * channels;
        var v1 = Row(Math.Clamp(y, 0, height - 1) * stride);
        var v2 = y + 1 >= 0 && y + 1 < height ? Row((y + 1) * stride) : v1;
        var v3 = y + 2 >= 0 && y + 2 < height ? Row((y + 2) * stride) : v2;
        var v4 = y + 3 >= 0 && y + 3 < height ? Row((y + 3) * stride) : v3;
        var value = Cubic(v1, v2, v3, v4, dy);
        return value <= 0.0 ? (byte)0 : value >= 255.0 ? (byte)255 : (byte)value;
    }

    private static double Cubic(double v1, double v2, double v3, double v4, double d)
    {
        var p1 = v2;
        var p2 = -v1 + v3;
        var p3 = 2 * (v1 - v2) + v3 - v4;
        var p4 = -v1 + v2 - v3 + v4;
        return p1 + d * (p2 + d * (p3 + d * p4));
    }

    // PIL's ImageFilter.SMOOTH: 3x3 of ones with 5 in the middle, over 13; the border is copied.
    private static ImageBuffer Smooth(ImageBuffer image)
    {
        var result = image.Clone();
        int channels = image.Channels, stride = image.Width * channels;
        const float one = 1f / 13f, five = 5f / 13f;
        var s = image.Pixels;
        for (var y = 1; y < image.Height - 1; y++)
        {
            for (var i = y * stride + channels; i < (y + 1) * stride - channels; i++)
            {
                var sum = 0.5f;
                sum += s[i + stride - channels] * one + s[i + stride] * one + s[i + stride + channels] * one;
                sum += s[i - channels] * one + s[i] * five + s[i + channels] * one;
                sum += s[i - stride - channels] * one + s[i - stride] * one + s[i - stride + channels] * one;
                result.Pixels[i] = sum <= 0 ? (byte)0 : sum >= 255 ? (byte)255 : (byte)sum;
            }
        }
        return result;
    }

    /// <summary>PIL's Image.blend: a + alpha (b - a) in float, truncated, clipped when alpha lies outside 0..1.</summary>
    public static ImageBuffer Blend(ImageBuffer a, ImageBuffer b, double alpha)
    {
        var factor = (float)alpha;
        if (factor == 1f) return b;
        var result = new ImageBuffer(b.Width, b.Height, b.Channels);
        byte[] first = a.Pixels, second = b.Pixels, to = result.Pixels;
        for (var i = 0; i < to.Length; i++)
        {
            var value = first[i] + factor * (second[i] - first[i]);
            to[i] = value <= 0f ? (byte)0 : value >= 255f ? (byte)255 : (byte)value;
        }
        return result;
    }

    internal static (byte H, byte S, byte V) ToHsv(byte r, byte g, byte b)
    {
        var max = Math.Max(r, Math.Max(g, b));
        var min = Math.Min(r, Math.Min(g, b));
        if (max == min) return (0, 0, max);
        float range = max - min;
        var s = range / max;
        float rc = (max - r) / range, gc = (max - g) / range, bc = (max - b) / range;
        // The sector offsets are doubles in the original, the result a float again.
        var h = r == max ? bc - gc : g == max ? (float)(2.0 + rc - bc) : (float)(4.0 + gc - rc);
        h = (float)((h / 6.0 + 1.0) % 1.0);
        return ((byte)Math.Clamp((int)(h * 255.0), 0, 255), (byte)Math.Clamp((int)(s * 255.0), 0, 255), max);
    }

    internal static (byte R, byte G, byte B) FromHsv(byte h, byte s, byte v)
    {
        if (s == 0) return (v, v, v);
        var sector = (int)Math.Floor(h * 6.0 / 255.0);
        var f = (float)(h * 6.0 / 255.0 - sector);
        var fs = (float)(s / 255.0);
        byte Level(double x) => (byte)Math.Clamp((int)Math.Round(x, MidpointRounding.AwayFromZero), 0, 255);
        byte p = Level(v * (1.0 - fs)), q = Level(v * (1.0 - fs * f)), t = Level(v * (1.0 - fs * (1.0 - f)));
        return (sector % 6) switch
        {
            0 => (v, t, p),
            1 => (q, v, p),
            2 => (p, v, t),
            3 => (p, q, v),
            4 => (t, p, v),
            _ => (v, p, q),
        };
    }

    private static ImageBuffer Map(ImageBuffer image, Func<int, int> value)
    {
        Span<byte> table = stackalloc byte[256];
        for (var i = 0; i < 256; i++) table[i] = (byte)value(i);
        var result = new ImageBuffer(image.Width, image.Height, image.Channels);
        for (var i = 0; i < result.Pixels.Length; i++) result.Pixels[i] = table[image.Pixels[i]];
        return result;
    }

    private delegate bool TableOf(ReadOnlySpan<int> histogram, Span<byte> table);

    // Each channel through a table made from its histogram; a channel whose table says "no change" stays.
    private static ImageBuffer MapChannels(ImageBuffer image, TableOf make)
    {
        var result = new ImageBuffer(image.Width, image.Height, image.Channels);
        Span<int> histogram = stackalloc int[256];
        Span<byte> table = stackalloc byte[256];
        for (var c = 0; c < image.Channels; c++)
        {
            histogram.Clear();
            for (var i = c; i < image.Pixels.Length; i += image.Channels) histogram[image.Pixels[i]]++;
            if (!make(histogram, table))
            {
                for (var i = 0; i < 256; i++) table[i] = (byte)i;
            }
            for (var i = c; i < image.Pixels.Length; i += image.Channels) result.Pixels[i] = table[image.Pixels[i]];
        }
        return result;
    }
}
