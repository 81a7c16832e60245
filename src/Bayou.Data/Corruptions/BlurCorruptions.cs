using Bayou.Kernels;
using static Bayou.Data.CorruptionPixels;

namespace Bayou.Data;

/// <summary>Blur: of a Gaussian, a lens, frosted glass, a moving and an approaching camera.</summary>
internal static class BlurCorruptions
{
    /// <summary>Gaussian filter of deviation c.</summary>
    public static void GaussianBlur(ImageBuffer x, double[] c, ImageBuffer result)
    {
        using var unit = ToUnit(x);
        GaussianFilter.Apply(unit.Span, x.Height, x.Width, x.Channels, c[0], c[0]);
        ToBytes(unit.Span, result);
    }

    /// <summary>
    /// Blur of deviation c[0], then c[2] times every pixel takes the value of one up to c[1] away, then blur again. The published statement looks like an
    /// exchange of two pixels, but the other one keeps its value; the published data have it so, and so has this.
    /// </summary>
    public static void GlassBlur(ImageBuffer x, double[] c, CorruptionDraws draws, ImageBuffer result)
    {
        int d = (int)c[1], rounds = (int)c[2], channels = x.Channels, row = x.Width * channels;
        var pixels = result.Pixels;
        GaussianBlur(x, c, result);
        int perColumn = Math.Max(0, x.Width - 2 * d), perRound = Math.Max(0, x.Height - 2 * d) * perColumn;
        using var scratch = new Scratch<sbyte>(2 * perRound * rounds);
        var pairs = scratch.Span;
        draws.Offsets(d, pairs);
        var next = 0;
        for (var round = 0; round < rounds; round++)
        {
            for (var h = x.Height - d; h > d; h--)
            {
                for (var w = x.Width - d; w > d; w--, next += 2)
                {
                    int to = h * row + w * channels, from = to + pairs[next + 1] * row + pairs[next] * channels;
                    // The published loop starts d pixels inside the far border, where h and w are still inside for d >= 1.
                    for (var k = 0; k < channels; k++) pixels[to + k] = pixels[from + k];
                }
            }
        }
        using var unit = ToUnit(result);
        GaussianFilter.Apply(unit.Span, x.Height, x.Width, channels, c[0], c[0]);
        ToBytes(unit.Span, result);
    }

    /// <summary>A disk of radius c[0] with an edge softened by a Gaussian of deviation c[1].</summary>
    public static void DefocusBlur(ImageBuffer x, double[] c, ImageBuffer result)
    {
        var disk = DiskKernel.Create(c[0], c[1]);
        int channels = x.Channels, row = x.Width * channels, r = disk.Radius, paddedRow = row + 2 * r * channels;
        using var padded = new Scratch<double>((x.Height + 2 * r) * paddedRow);
        using var sums = new Scratch<double>(row);
        var source = padded.Span;
        for (var y = -r; y < x.Height + r; y++)
        {
            var from = FilterBorder.Reflect101.Index(y, x.Height) * row;
            var to = (y + r) * paddedRow;
            for (var column = -r; column < x.Width + r; column++)
            {
                var pixel = from + FilterBorder.Reflect101.Index(column, x.Width) * channels;
                for (var k = 0; k < channels; k++) source[to++] = Unit[x.Pixels[pixel + k]];
            }
        }
        var offsets = disk.Offsets(paddedRow, channels);
        for (var y = 0; y < x.Height; y++)
        {
            RowFilter.Sum(source.Slice(y * paddedRow, (2 * r + 1) * paddedRow), offsets, disk.Weights, sums.Span);
            var to = result.Pixels.AsSpan(y * row, row);
            for (var i = 0; i < row; i++) to[i] = ToByte(sums.Span[i]);
        }
    }

    /// <summary>Motion along a random direction: radius c[0], deviation c[1], angle -45..45 degrees.</summary>
    public static void MotionBlur(ImageBuffer x, double[] c, CorruptionSet set, CorruptionDraws draws, ImageBuffer result)
    {
        var angle = draws.Angle(-45, 45);
        var motion = new MotionKernel((int)c[0], c[1], angle);
        using var scratch = new Scratch<double>(x.Pixels.Length);
        var values = scratch.Span;
        for (var i = 0; i < values.Length; i++) values[i] = x.Pixels[i];
        motion.Apply(values, x.Height, x.Width, x.Channels, stopAtBorder: set == CorruptionSet.AnySize);
        for (var i = 0; i < values.Length; i++)
            result.Pixels[i] = set == CorruptionSet.AnySize ? (byte)Math.Clamp(values[i], 0.0, 255.0) : MotionKernel.Quantise(values[i]);
    }

    /// <summary>Mean of the picture and its zooms by 1, 1 + c[0], ... (c[1] of them).</summary>
    public static void ZoomBlur(ImageBuffer x, double[] c, CorruptionSet set, ImageBuffer result)
    {
        var count = (int)c[1];
        var step = 1 + c[0] - 1;        // numpy's arange multiplies the difference of its first two values, which is not quite c[0]
        int channels = x.Channels, pixels = x.Width * x.Height;
        using var sumScratch = new Scratch<float>(pixels * 4);
        using var imageScratch = new Scratch<double>(pixels * 4);
        var image = imageScratch.Span;
        image.Clear();
        for (var i = 0; i < pixels; i++)
        {
            for (var k = 0; k < channels; k++) image[i * 4 + k] = (float)Unit[x.Pixels[i * channels + k]];
        }
        var sums = sumScratch.Span;
        sums.Clear();
        for (var i = 0; i < count; i++)
        {
            var zoom = new ClippedZoom(x.Height, x.Width, 1 + i * step, centred: set != CorruptionSet.AnySize);
            var part = image[((zoom.CropTop * x.Width + zoom.CropLeft) * 4)..];
            BilinearZoom.AddWindow4(part, x.Width, zoom.CropHeight, zoom.CropWidth, zoom.Factor, zoom.Top, zoom.Left, sums, x.Width, zoom.Rows, zoom.Columns);
        }
        for (var i = 0; i < pixels; i++)
        {
            for (var k = 0; k < channels; k++)
            {
                var at = i * channels + k;
                result.Pixels[at] = ToByte(((float)Unit[x.Pixels[at]] + sums[i * 4 + k]) / (count + 1));
            }
        }
    }
}
