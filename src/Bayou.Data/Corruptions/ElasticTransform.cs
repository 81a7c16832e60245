using Bayou.Core;
using Bayou.Kernels;
using static Bayou.Data.CorruptionPixels;

namespace Bayou.Data;

/// <summary>The elastic transform: a small affine map (224 and 32 constants only), then a smooth random displacement of every pixel.</summary>
internal static class ElasticTransform
{
    /// <summary>
    /// Constants of the 224 and 32 sets: strength alpha, deviation of the smoothing, range of the anchors' shifts, all in pixels. Any size: alpha alone.
    /// </summary>
    public static void Apply(ImageBuffer x, double[] c, CorruptionSet set, CorruptionDraws draws, ImageBuffer result)
    {
        int height = x.Height, width = x.Width, channels = x.Channels;
        using var imageScratch = new Scratch<float>(x.Pixels.Length);
        var image = imageScratch.Span;
        for (var i = 0; i < image.Length; i++) image[i] = UnitSingle[x.Pixels[i]];
        using var warped = new Scratch<float>(x.Pixels.Length);
        double alpha = c[0], sigmaY = 0.01 * height, sigmaX = 0.01 * width, range = 0.005 * height;
        var source = image;
        if (set != CorruptionSet.AnySize)
        {
            (sigmaY, sigmaX, range) = (c[1], c[1], 1);
            Warp(image, height, width, channels, Affine(height, width, c[2], draws), warped.Span);
            source = warped.Span;
        }
        using var dxScratch = new Scratch<double>(height * width);
        using var dyScratch = new Scratch<double>(height * width);
        Span<double> dx = dxScratch.Span, dy = dyScratch.Span;
        Field(dx, alongX: true);
        Field(dy, alongX: false);
        for (var y = 0; y < height; y++)
        {
            for (var column = 0; column < width; column++)
            {
                var i = y * width + column;
                Sample(source, height, width, channels, y + dy[i], column + dx[i], result.Pixels.AsSpan(i * channels, channels));
            }
        }

        void Field(Span<double> field, bool alongX)
        {
            draws.ElasticField(alongX, range, field);
            GaussianFilter.Apply(field, height, width, 1, sigmaY, sigmaX, 3, FilterBorder.Reflect);
            foreach (ref var value in field) value = (float)(value * alpha);
        }
    }

    // Bilinear at (y, x), mirrored at the edges, rounded to float as the picture is.
    private static void Sample(ReadOnlySpan<float> image, int height, int width, int channels, double y, double x, Span<byte> to)
    {
        double floorY = Math.Floor(y), floorX = Math.Floor(x), ty = y - floorY, tx = x - floorX;
        int top = (int)floorY, left = (int)floorX;
        int upper = FilterBorder.Reflect.Index(top, height) * width, lower = FilterBorder.Reflect.Index(top + 1, height) * width;
        int near = FilterBorder.Reflect.Index(left, width), far = FilterBorder.Reflect.Index(left + 1, width);
        int a = (upper + near) * channels, b = (upper + far) * channels, d = (lower + near) * channels, e = (lower + far) * channels;
        for (var k = 0; k < channels; k++)
        {
            var value = image[a + k] * (1 - ty) * (1 - tx) + image[b + k] * (1 - ty) * tx + image[d + k] * ty * (1 - tx) + image[e + k] * ty * tx;
            to[k] = ToByte((float)value);
        }
    }

    // The map that takes the three anchors to their shifted places, as [2, 3] from output to input pixels.
    private static double[] Affine(int height, int width, double range, CorruptionDraws draws)
    {
        Span<double> shifts = stackalloc double[6];
        draws.ElasticShifts(range, shifts);
        float centreX = width / 2, centreY = height / 2, side = Math.Min(height, width) / 3;
        Span<float> from = [centreX + side, centreY + side, centreX + side, centreY - side, centreX - side, centreY - side];
        Span<float> to = stackalloc float[6];
        for (var i = 0; i < 6; i++) to[i] = from[i] + (float)shifts[i];
        // Two edges of the triangle before and after give the linear part.
        double ux = from[0] - from[2], uy = from[1] - from[3], vx = from[4] - from[2], vy = from[5] - from[3];
        double px = (double)to[0] - to[2], py = (double)to[1] - to[3], qx = (double)to[4] - to[2], qy = (double)to[5] - to[3];
        var determinant = ux * vy - uy * vx;
        double m0 = (px * vy - qx * uy) / determinant, m1 = (qx * ux - px * vx) / determinant;
        double m3 = (py * vy - qy * uy) / determinant, m4 = (qy * ux - py * vx) / determinant;
        double m2 = to[2] - m0 * from[2] - m1 * from[3], m5 = to[3] - m3 * from[2] - m4 * from[3];
        var area = m0 * m4 - m1 * m3;
        if (area == 0) throw new BayouException($"Elastic transform: the recorded shifts of the anchors flatten a picture of {width}x{height}.");
        double i0 = m4 / area, i1 = -m1 / area, i3 = -m3 / area, i4 = m0 / area;
        return [i0, i1, -i0 * m2 - i1 * m5, i3, i4, -i3 * m2 - i4 * m5];
    }

    // OpenCV's warpAffine: positions in 1/1024 pixels, rounded to 1/32; mirrored about the outermost pixels.
    private static void Warp(ReadOnlySpan<float> image, int height, int width, int channels, double[] m, Span<float> to)
    {
        const int fine = 1024, steps = 32, perStep = fine / steps;
        static int Rounded(double value) => (int)Math.Round(Math.Clamp(value, int.MinValue, int.MaxValue));
        for (var y = 0; y < height; y++)
        {
            int startX = Rounded((m[1] * y + m[2]) * fine) + perStep / 2, startY = Rounded((m[4] * y + m[5]) * fine) + perStep / 2;
            for (var x = 0; x < width; x++)
            {
                int fineX = (startX + Rounded(m[0] * x * fine)) >> 5, fineY = (startY + Rounded(m[3] * x * fine)) >> 5;
                float tx = (fineX & (steps - 1)) / (float)steps, ty = (fineY & (steps - 1)) / (float)steps;
                int left = fineX >> 5, top = fineY >> 5;
                int upper = FilterBorder.Reflect101.Index(top, height) * width, lower = FilterBorder.Reflect101.Index(top + 1, height) * width;
                int near = FilterBorder.Reflect101.Index(left, width), far = FilterBorder.Reflect101.Index(left + 1, width);
                int a = (upper + near) * channels, b = (upper + far) * channels, c = (lower + near) * channels, d = (lower + far) * channels;
                var at = (y * width + x) * channels;
                for (var k = 0; k < channels; k++)
                    to[at + k] = image[a + k] * ((1 - ty) * (1 - tx)) + image[b + k] * ((1 - ty) * tx) + image[c + k] * (ty * (1 - tx))
                        + image[d + k] * (ty * tx);
            }
        }
    }
}
