using Bayou.Data;
using Bayou.Kernels;

namespace Bayou.Bench;

/// <summary>
/// The corruptions as one writes them down from their definitions: an array of doubles, plain loops, a function call for every value outside the picture.
/// Severity 3 of the constants for 224 and 32 pixels; the same random numbers as the library, so that results can be compared.
/// </summary>
internal sealed class PlainCorruptions(bool small)
{
    private delegate double At(int y, int x, int k);

    private int height, width;

    /// <summary>A corrupted copy; null where there is no plain version (spatter).</summary>
    public byte[]? Apply(ImageBuffer picture, Corruption corruption, CorruptionDraws draws)
    {
        (height, width) = (picture.Height, picture.Width);
        var x = Array.ConvertAll(picture.Pixels, v => v / 255.0);
        double C(double large, double little) => small ? little : large;
        switch (corruption)
        {
            case Corruption.GaussianNoise: return Bytes(Each(x, Normals(draws, x.Length), (v, z) => v + C(.18, .08) * z));
            case Corruption.SpeckleNoise: return Bytes(Each(x, Normals(draws, x.Length), (v, z) => v + v * (C(.35, .12) * z)));
            case Corruption.ShotNoise:
                var counts = new double[x.Length];
                draws.Counts(Array.ConvertAll(x, v => v * C(12, 100)), counts);
                return Bytes(Array.ConvertAll(counts, n => n / C(12, 100)));
            case Corruption.ImpulseNoise:
                var codes = new byte[x.Length];
                draws.Impulses(C(.09, .03), codes);
                return Bytes([.. x.Select((v, i) => codes[i] == 0 ? v : codes[i] - 1.0)]);
            case Corruption.GaussianBlur: return Bytes(Gaussian(x, 3, C(3, .7), 4, FilterBorder.Nearest));
            case Corruption.GlassBlur: return Glass(x, C(1, .4), (int)C(2, 1), (int)C(3, 1), draws);
            case Corruption.DefocusBlur: return Bytes(Convolve(x, Disk(C(6, .5), C(.5, .6)), 8));
            case Corruption.MotionBlur:
                var moved = Motion(Array.ConvertAll(picture.Pixels, v => (double)v), 3, (int)C(15, 6), C(8, 2), draws.Angle(-45, 45));
                return Array.ConvertAll(moved, Sixteen);
            case Corruption.ZoomBlur: return ZoomBlur(x, C(.02, .01), (int)C(11, 16));
            case Corruption.Snow: return Snow(x, draws);
            case Corruption.Frost: return Frost(picture, draws, C(.7, .9), C(.7, .4));
            case Corruption.Fog: return Fog(x, C(2.5, .75), C(1.7, 2.5), draws);
            case Corruption.Brightness: return Bytes(Colour(x, (h, s, v) => (h, s, Math.Clamp(v + C(.3, .15), 0, 1))));
            case Corruption.Saturate: return Bytes(Colour(x, (h, s, v) => (h, Math.Clamp(s * C(2, 1.5), 0, 1), v)));
            case Corruption.Contrast:
                var means = Enumerable.Range(0, 3).Select(k => x.Where((_, i) => i % 3 == k).Average()).ToArray();
                return Bytes([.. x.Select((v, i) => (v - means[i % 3]) * C(.2, .4) + means[i % 3])]);
            case Corruption.ElasticTransform: return Elastic(x, draws);
            case Corruption.Pixelate: return Pixelate(picture.Pixels, C(.4, .85));
            case Corruption.JpegCompression: return Skia.Jpeg(picture, (int)C(15, 58));
            default: return null;
        }
    }

    private static double[] Each(double[] x, double[] z, Func<double, double, double> f) => [.. x.Zip(z, f)];

    private static byte[] Bytes(double[] x) => Array.ConvertAll(x, v => (byte)(Math.Clamp(v, 0, 1) * 255));

    private static double[] Normals(CorruptionDraws draws, int count)
    {
        var z = new double[count];
        draws.ValueNormals(z);
        return z;
    }

    private double[] Map(int channels, At value)
    {
        var to = new double[height * width * channels];
        for (var y = 0; y < height; y++)
            for (var x = 0; x < width; x++)
                for (var k = 0; k < channels; k++) to[(y * width + x) * channels + k] = value(y, x, k);
        return to;
    }

    private double[] Gaussian(double[] x, int channels, double sigma, double truncate, FilterBorder border)
    {
        var r = (int)(truncate * sigma + 0.5);
        if (r == 0) return x;
        var w = Enumerable.Range(-r, 2 * r + 1).Select(k => Math.Exp(-0.5 * k * k / (sigma * sigma))).ToArray();
        var sum = w.Sum();
        double Along(Func<int, double> at)
        {
            var total = 0.0;
            for (var k = -r; k <= r; k++) total += w[k + r] / sum * at(k);
            return total;
        }
        var down = Map(channels, (y, c, k) => Along(d => x[(border.Index(y + d, height) * width + c) * channels + k]));
        return Map(channels, (y, c, k) => Along(d => down[(y * width + border.Index(c + d, width)) * channels + k]));
    }

    private double[] Convolve(double[] x, double[,] kernel, int r) => Map(3, (y, c, k) =>
    {
        var sum = 0.0;
        for (var j = -r; j <= r; j++)
            for (var i = -r; i <= r; i++)
                sum += kernel[j + r, i + r] * x[(FilterBorder.Reflect101.Index(y + j, height) * width + FilterBorder.Reflect101.Index(c + i, width)) * 3 + k];
        return sum;
    });

    // Radii up to 8: a grid of 17, an edge of 3x3.
    private static double[,] Disk(double radius, double alias)
    {
        var side = Math.Exp(-1 / (2 * alias * alias));
        double[] w = [side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side)];
        double Inside(int y, int x) => x * x + y * y <= radius * radius ? 1 : 0;
        var (kernel, sum) = (new double[17, 17], 0.0);
        for (var y = -8; y <= 8; y++)
            for (var x = -8; x <= 8; x++)
            {
                for (var j = -1; j <= 1; j++)
                    for (var i = -1; i <= 1; i++) kernel[y + 8, x + 8] += w[j + 1] * w[i + 1] * Inside(y + j, x + i);
                sum += kernel[y + 8, x + 8];
            }
        for (var i = 0; i < 289; i++) kernel[i / 17, i % 17] /= sum;
        return kernel;
    }

    private byte[] Glass(double[] x, double sigma, int d, int rounds, CorruptionDraws draws)
    {
        var pixels = Bytes(Gaussian(x, 3, sigma, 4, FilterBorder.Nearest));
        var pair = new sbyte[2];
        for (var round = 0; round < rounds; round++)
            for (var h = height - d; h > d; h--)
                for (var w = width - d; w > d; w--)
                {
                    draws.Offsets(d, pair);
                    for (var k = 0; k < 3; k++) pixels[(h * width + w) * 3 + k] = pixels[((h + pair[1]) * width + w + pair[0]) * 3 + k];
                }
        return Bytes(Gaussian(Array.ConvertAll(pixels, v => v / 255.0), 3, sigma, 4, FilterBorder.Nearest));
    }

    private double[] Motion(double[] x, int channels, int radius, double sigma, double angle)
    {
        var w = Enumerable.Range(0, 2 * radius + 1).Select(i => Math.Exp(-i * i / (2 * sigma * sigma))).ToArray();
        var (sum, t) = (w.Sum(), angle * Math.PI / 180);
        return Map(channels, (y, c, k) =>
        {
            var total = 0.0;
            for (var i = 0; i < w.Length; i++)
            {
                int row = Math.Clamp(y + (int)Math.Ceiling(i * Math.Sin(t) - 0.5), 0, height - 1),
                    column = Math.Clamp(c + (int)Math.Ceiling(i * Math.Cos(t) - 0.5), 0, width - 1);
                total += w[i] / sum * x[(row * width + column) * channels + k];
            }
            return total;
        });
    }

    private static byte Sixteen(double v) => (byte)(Math.Floor(257 * v + 0.5) / 257);

    private double[] Zoom(double[] x, int channels, double factor)
    {
        int crop = (int)Math.Ceiling(height / factor), top = (height - crop) / 2, zoomed = (int)Math.Round(crop * factor), trim = (zoomed - height) / 2;
        var step = (crop - 1.0) / Math.Max(1, zoomed - 1);
        return Map(channels, (y, c, k) =>
        {
            double sy = (y + trim) * step, sx = (c + trim) * step;
            int y0 = Math.Min((int)sy, crop - 1), x0 = Math.Min((int)sx, crop - 1), y1 = Math.Min(y0 + 1, crop - 1), x1 = Math.Min(x0 + 1, crop - 1);
            double ty = sy - y0, tx = sx - x0;
            double V(int row, int column) => x[((top + row) * width + top + column) * channels + k];
            return V(y0, x0) * (1 - ty) * (1 - tx) + V(y0, x1) * (1 - ty) * tx + V(y1, x0) * ty * (1 - tx) + V(y1, x1) * ty * tx;
        });
    }

    private byte[] ZoomBlur(double[] x, double step, int count)
    {
        var sums = (double[])x.Clone();
        for (var i = 0; i < count; i++) sums = Each(sums, Zoom(x, 3, 1 + i * step), (a, b) => a + b);
        return Bytes(Array.ConvertAll(sums, s => s / (count + 1)));
    }

    private byte[] Snow(double[] x, CorruptionDraws draws)
    {
        double[] c = small ? [.15, .3, 1.75, .55, 10, 4, .9] : [.55, .3, 4, .9, 12, 8, .7];
        var z = new double[height * width];
        draws.PixelNormals(z);
        var flakes = Zoom(Array.ConvertAll(z, v => c[0] + c[1] * v), 1, c[2]);
        flakes = Motion(Array.ConvertAll(flakes, v => Math.Floor((v < c[3] ? 0 : Math.Clamp(v, 0, 1)) * 255)), 1, (int)c[4], c[5], draws.Angle(-135, -45));
        var layer = Array.ConvertAll(flakes, v => Sixteen(v) / 255.0);
        return Bytes(Map(3, (y, w, k) =>
        {
            var i = y * width + w;
            var grey = .299 * x[i * 3] + .587 * x[i * 3 + 1] + .114 * x[i * 3 + 2];
            return c[6] * x[i * 3 + k] + (1 - c[6]) * Math.Max(x[i * 3 + k], 1.5 * grey + .5) + layer[i] + layer[layer.Length - 1 - i];
        }));
    }

    private byte[] Frost(ImageBuffer picture, CorruptionDraws draws, double a, double b)
    {
        var ice = FrostPictures.Procedural[draws.Integer(0, 5)];
        if (small)
        {
            // Bilinear to a fifth, anew for every picture, as the published script does.
            var little = new ImageBuffer((int)Math.Round(ice.Width * .2), (int)Math.Round(ice.Height * .2), 3);
            for (var i = 0; i < little.Pixels.Length; i++)
            {
                int x = i / 3 % little.Width, y = i / 3 / little.Width;
                little.Pixels[i] = ice.Pixels[((int)((y + .5) * ice.Height / little.Height) * ice.Width + (int)((x + .5) * ice.Width / little.Width)) * 3
                    + i % 3];
            }
            ice = little;
        }
        int top = draws.Integer(0, ice.Height - height), left = draws.Integer(0, ice.Width - width);
        return Array.ConvertAll(Map(3, (y, x, k) => a * picture.Pixels[(y * width + x) * 3 + k] + b * ice.Pixels[((top + y) * ice.Width + left + x) * 3 + k]),
            v => (byte)Math.Clamp(v, 0, 255));
    }

    private byte[] Fog(double[] x, double strength, double decay, CorruptionDraws draws)
    {
        var n = small ? 32 : 256;
        var (m, wibble, u) = (new double[n, n], 100.0, new double[1]);
        double Noise()
        {
            draws.FogNoise(wibble, u);
            return wibble * u[0];
        }
        for (var step = n; step >= 2; step /= 2, wibble /= decay)
        {
            var h = step / 2;
            for (var y = 0; y < n; y += step)
                for (var c = 0; c < n; c += step)
                    m[y + h, c + h] = (m[y, c] + m[(y + step) % n, c] + m[y, (c + step) % n] + m[(y + step) % n, (c + step) % n]) / 4 + Noise();
            for (var y = 0; y < n; y += step)
                for (var c = 0; c < n; c += step) m[y, c + h] = (m[y + h, c + h] + m[(y + n - h) % n, c + h] + m[y, c] + m[y, (c + step) % n]) / 4 + Noise();
            for (var y = 0; y < n; y += step)
                for (var c = 0; c < n; c += step) m[y + h, c] = (m[y + h, c + h] + m[y + h, (c + n - h) % n] + m[y, c] + m[(y + step) % n, c]) / 4 + Noise();
        }
        double low = m.Cast<double>().Min(), high = m.Cast<double>().Max(), most = x.Max();
        return Bytes(Map(3, (y, c, k) => (x[(y * width + c) * 3 + k] + strength * (m[y, c] - low) / (high - low)) * most / (most + strength)));
    }

    private double[] Colour(double[] x, Func<double, double, double, (double H, double S, double V)> change)
    {
        var to = new double[x.Length];
        for (var i = 0; i < x.Length; i += 3)
        {
            double r = x[i], g = x[i + 1], b = x[i + 2], top = Math.Max(r, Math.Max(g, b)), d = top - Math.Min(r, Math.Min(g, b));
            var hue = d == 0 ? 0 : (top == b ? 4 + (r - g) / d : top == g ? 2 + (b - r) / d : (g - b) / d) / 6;
            var (h, s, v) = change(hue - Math.Floor(hue), d == 0 ? 0 : d / top, top);
            // The closed form of the same hexcone: each channel is v reduced by a triangle of the hue.
            double Channel(double n) => v - v * s * Math.Clamp(Math.Min((n + h * 6) % 6, 4 - (n + h * 6) % 6), 0, 1);
            (to[i], to[i + 1], to[i + 2]) = (Channel(5), Channel(3), Channel(1));
        }
        return to;
    }

    private byte[] Elastic(double[] x, CorruptionDraws draws)
    {
        double[] c = small ? [32 * .08, 32 * .06, 32 * .06] : [244 * .05, 244 * .01, 244 * .02];
        var shifts = new double[6];
        draws.ElasticShifts(c[2], shifts);
        double[] Field(bool alongX)
        {
            var field = new double[height * width];
            draws.ElasticField(alongX, 1, field);
            return Array.ConvertAll(Gaussian(field, 1, c[1], 3, FilterBorder.Reflect), v => v * c[0]);
        }
        double[] dx = Field(true), dy = Field(false);
        double centre = width / 2, side = width / 3;
        // Anchors (centre + side, centre +- side) and (centre - side, centre - side): barycentric coordinates carry the affine map.
        double px(int i) => (i == 2 ? centre - side : centre + side) + shifts[2 * i];
        double py(int i) => (i == 0 ? centre + side : centre - side) + shifts[2 * i + 1];
        double ax = (px(1) - px(2)) / (2 * side), ay = (py(1) - py(2)) / (2 * side), bx = (px(0) - px(1)) / (2 * side), by = (py(0) - py(1)) / (2 * side),
            det = ax * by - bx * ay;
        double Sample(double[] from, double y, double w, int k, FilterBorder border)
        {
            int y0 = (int)Math.Floor(y), x0 = (int)Math.Floor(w);
            double ty = y - y0, tx = w - x0;
            double V(int row, int column) => from[(border.Index(row, height) * width + border.Index(column, width)) * 3 + k];
            return V(y0, x0) * (1 - ty) * (1 - tx) + V(y0, x0 + 1) * (1 - ty) * tx + V(y0 + 1, x0) * ty * (1 - tx) + V(y0 + 1, x0 + 1) * ty * tx;
        }
        var warped = Map(3, (y, w, k) =>
        {
            double ux = w - px(1), uy = y - py(1);
            double s = (ux * by - uy * bx) / det, t = (uy * ax - ux * ay) / det;
            return Sample(x, centre - side + t, centre + side + s, k, FilterBorder.Reflect101);
        });
        return Bytes(Map(3, (y, w, k) => Sample(warped, y + dy[y * width + w], w + dx[y * width + w], k, FilterBorder.Reflect)));
    }

    private byte[] Pixelate(byte[] x, double part)
    {
        var little = (int)(width * part);
        byte[] Box(byte[] from, int size, int to)
        {
            double scale = (double)size / to, reach = Math.Max(scale, 1) / 2;
            byte[] Pass(byte[] source, int rows, Func<int, int, int> index)
            {
                var result = new byte[rows * to * 3];
                for (var i = 0; i < result.Length; i++)
                {
                    int k = i % 3, column = i / 3 % to, row = i / 3 / to;
                    double middle = (column + .5) * scale, sum = 0;
                    int first = Math.Max(0, (int)(middle - reach + .5)), last = Math.Min(size, (int)(middle + reach + .5));
                    for (var j = first; j < last; j++) sum += source[index(row, j) * 3 + k];
                    result[i] = (byte)(sum / (last - first) + .5);
                }
                return result;
            }
            var along = Pass(from, size, (row, j) => row * size + j);
            var turned = Pass(along, to, (column, j) => j * to + column);
            var back = new byte[to * to * 3];
            for (var i = 0; i < back.Length; i++) back[i] = turned[((i / 3 % to) * to + i / 3 / to) * 3 + i % 3];
            return back;
        }
        return Box(Box(x, width, little), little, width);
    }
}
