using Bayou.Kernels;

namespace Bayou.Data;

/// <summary>The disk of defocus blur: float weights whose sum is 1, softened by a 3x3 (radius up to 8) or 5x5 Gaussian.</summary>
internal sealed class DiskKernel
{
    private readonly int[] rows, columns;

    private DiskKernel(int radius, int[] rows, int[] columns, double[] weights) =>
        (Radius, this.rows, this.columns, Weights) = (radius, rows, columns, weights);

    /// <summary>The kernel reaches this far from its middle.</summary>
    public int Radius { get; }

    /// <summary>Weights that are not 0.</summary>
    public double[] Weights { get; }

    /// <summary>Where each tap's stretch begins in a padded picture whose rows have this length.</summary>
    public int[] Offsets(int row, int channels) => [.. rows.Zip(columns, (y, x) => y * row + x * channels)];

    /// <summary>The kernel of a radius and an edge.</summary>
    /// <param name="radius">In pixels.</param>
    /// <param name="alias">Deviation of the Gaussian that softens the edge, in pixels.</param>
    public static DiskKernel Create(double radius, double alias)
    {
        var reach = radius <= 8 ? 8 : (int)radius;
        var side = 2 * reach + 1;
        var inside = 0;
        var disk = new float[side * side];
        for (var y = -reach; y <= reach; y++)
        {
            for (var x = -reach; x <= reach; x++)
            {
                if (x * x + y * y > radius * radius) continue;
                disk[(y + reach) * side + x + reach] = 1;
                inside++;
            }
        }
        for (var i = 0; i < disk.Length; i++) disk[i] /= inside;
        var soft = Soften(disk, side, radius <= 8 ? 3 : 5, alias);
        var (rows, columns, weights) = (new List<int>(), new List<int>(), new List<double>());
        for (var i = 0; i < soft.Length; i++)
        {
            if (soft[i] == 0) continue;
            rows.Add(i / side);
            columns.Add(i % side);
            weights.Add(soft[i]);
        }
        return new DiskKernel(reach, [.. rows], [.. columns], [.. weights]);
    }

    // Float arithmetic throughout: the published kernel is float32.
    private static float[] Soften(float[] disk, int side, int taps, double sigma)
    {
        var middle = taps / 2;
        var exact = new double[taps];
        for (var i = 0; i < taps; i++) exact[i] = Math.Exp(-(i - middle) * (i - middle) / (2 * sigma * sigma));
        var weights = Array.ConvertAll(exact, w => (float)(w / exact.Sum()));
        float[] Pass(float[] from, int step, int other)
        {
            var to = new float[from.Length];
            for (var line = 0; line < side; line++)
            {
                for (var i = 0; i < side; i++)
                {
                    float At(int k) => from[line * other + FilterBorder.Reflect101.Index(i + k, side) * step];
                    var sum = At(0) * weights[middle];
                    for (var k = 1; k <= middle; k++) sum += (At(-k) + At(k)) * weights[middle + k];
                    to[line * other + i * step] = sum;
                }
            }
            return to;
        }
        return Pass(Pass(disk, 1, side), side, 1);
    }
}

/// <summary>
/// Motion blur (ImageMagick's): 2 r + 1 samples along a line that begins at the pixel, with one-sided Gaussian weights; sample i lies ceil(i cos t - 1/2)
/// pixels to the right and ceil(i sin t - 1/2) down.
/// </summary>
internal sealed class MotionKernel
{
    private readonly double[] weights;
    private readonly int[] dx, dy;

    /// <summary>The samples of a radius (pixels), a deviation (pixels) and an angle (degrees).</summary>
    public MotionKernel(int radius, double sigma, double angle)
    {
        var count = 2 * radius + 1;
        weights = new double[count];
        dx = new int[count];
        dy = new int[count];
        double radians = angle * Math.PI / 180, cos = Math.Cos(radians), sin = Math.Sin(radians);
        for (var i = 0; i < count; i++)
        {
            weights[i] = Math.Exp(-((double)i * i) / (2 * sigma * sigma)) / (Math.Sqrt(2 * Math.PI) * sigma);
            dx[i] = (int)Math.Ceiling(i * cos - 0.5);
            dy[i] = (int)Math.Ceiling(i * sin - 0.5);
        }
        var sum = PairwiseSum.Of(weights);
        for (var i = 0; i < count; i++) weights[i] /= sum;
    }

    /// <summary>Blurs in place; samples outside read the nearest pixel.</summary>
    /// <param name="values">[height, width, channels].</param>
    /// <param name="height">Rows.</param>
    /// <param name="width">Pixels of a row.</param>
    /// <param name="channels">Values of a pixel.</param>
    /// <param name="stopAtBorder">The any-size rule: the first sample that lies a whole picture away ends the line, and what the weights then lack is not made
    /// up for.</param>
    public void Apply(Span<double> values, int height, int width, int channels, bool stopAtBorder)
    {
        var count = 0;
        while (count < weights.Length && !(stopAtBorder && (Math.Abs(dx[count]) >= width || Math.Abs(dy[count]) >= height))) count++;
        int left = 0, right = 0, up = 0, down = 0;
        for (var i = 0; i < count; i++)
        {
            (left, right) = (Math.Max(left, -dx[i]), Math.Max(right, dx[i]));
            (up, down) = (Math.Max(up, -dy[i]), Math.Max(down, dy[i]));
        }
        int row = width * channels, paddedRow = (width + left + right) * channels;
        using var scratch = new Scratch<double>((height + up + down) * paddedRow);
        var padded = scratch.Span;
        for (var y = -up; y < height + down; y++)
        {
            var from = values.Slice(Math.Clamp(y, 0, height - 1) * row, row);
            var to = padded.Slice((y + up) * paddedRow, paddedRow);
            from.CopyTo(to[(left * channels)..]);
            for (var x = 0; x < left; x++) from[..channels].CopyTo(to[(x * channels)..]);
            for (var x = 0; x < right; x++) from[^channels..].CopyTo(to[((left + width + x) * channels)..]);
        }
        var offsets = new int[count];
        for (var i = 0; i < count; i++) offsets[i] = (dy[i] + up) * paddedRow + (dx[i] + left) * channels;
        for (var y = 0; y < height; y++) RowFilter.Sum(padded[(y * paddedRow)..], offsets, weights.AsSpan(0, count), values.Slice(y * row, row));
    }

    /// <summary>A sum on the 0..255 scale to 8 bits as ImageMagick does with 16 bits inside: rounded to 1/257, then cut down.</summary>
    public static byte Quantise(double value) => (byte)(Math.Clamp((int)Math.Floor(257 * value + 0.5), 0, 65535) / 257);
}

/// <summary>The geometry of the published clipped zoom: which middle part of a picture is enlarged, and which window of the result is used.</summary>
internal readonly struct ClippedZoom
{
    /// <param name="height">Rows of the picture.</param>
    /// <param name="width">Pixels of a row.</param>
    /// <param name="factor">Zoom, at least 1.</param>
    /// <param name="centred">The 224 rule: the middle of the zoomed part is used. The any-size rule takes its top left corner, so that the centre
    /// drifts.</param>
    public ClippedZoom(int height, int width, double factor, bool centred)
    {
        Factor = factor;
        CropHeight = (int)Math.Ceiling(height / factor);
        CropWidth = (int)Math.Ceiling(width / factor);
        CropTop = (height - CropHeight) / 2;
        CropLeft = (width - CropWidth) / 2;
        ZoomedHeight = BilinearZoom.Length(CropHeight, factor);
        ZoomedWidth = BilinearZoom.Length(CropWidth, factor);
        Rows = Math.Min(height, ZoomedHeight);
        Columns = Math.Min(width, ZoomedWidth);
        Top = centred ? (ZoomedHeight - Rows) / 2 : 0;
        Left = centred ? (ZoomedWidth - Columns) / 2 : 0;
    }

    public double Factor { get; }

    public int CropTop { get; }

    public int CropLeft { get; }

    public int CropHeight { get; }

    public int CropWidth { get; }

    /// <summary>Size after the zoom.</summary>
    public int ZoomedHeight { get; }

    public int ZoomedWidth { get; }

    /// <summary>The window of the zoomed part that is used; smaller than the picture only where rounding makes the zoomed part so.</summary>
    public int Top { get; }

    public int Left { get; }

    public int Rows { get; }

    public int Columns { get; }
}
