using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// Augmentation of clouds. The defaults do nothing; <see cref="Shapes"/> is that of PointNet and PointNet++ for single objects, <see cref="Scans"/> that of
/// sparse networks for rooms and streets.
/// </summary>
public sealed record PointAugmentation
{
    /// <summary>Largest rotation about the vertical axis, radians, either way.</summary>
    public double RotateZ { get; init; }

    /// <summary>Factor drawn from this range.</summary>
    public (double Low, double High) Scale { get; init; } = (1, 1);

    /// <summary>Probability of mirroring each horizontal axis.</summary>
    public double Flip { get; init; }

    /// <summary>Largest shift along every axis.</summary>
    public double Shift { get; init; }

    /// <summary>Deviation of the noise on every coordinate, cut at five deviations.</summary>
    public double Jitter { get; init; }

    /// <summary>Up to this part of the points is dropped (replaced by the first, so that counts stay).</summary>
    public double Drop { get; init; }

    /// <summary>Elastic distortion: pairs (grid spacing, magnitude) in metres, one after the other.</summary>
    public IReadOnlyList<(double Spacing, double Magnitude)> Elastic { get; init; } = [];

    /// <summary>Deviation of the noise on every colour channel, of 255.</summary>
    public double ColourJitter { get; init; }

    /// <summary>Probability that all colours are taken away.</summary>
    public double ColourDrop { get; init; }

    /// <summary>PointNet and PointNet++ on shapes: any rotation about the vertical, factor 0.8 to 1.25, shift 0.1, jitter 0.01, dropout up to 0.875.</summary>
    public static PointAugmentation Shapes { get; } = new() { RotateZ = Math.PI, Scale = (0.8, 1.25), Shift = 0.1, Jitter = 0.01, Drop = 0.875 };

    /// <summary>Sparse networks on scans: any rotation about the vertical, factor 0.95 to 1.05, mirrored, elastic distortion.</summary>
    public static PointAugmentation Scans { get; } =
        new() { RotateZ = Math.PI, Scale = (0.95, 1.05), Flip = 0.5, Elastic = [(0.2, 0.4), (0.8, 1.6)], ColourJitter = 0.02, ColourDrop = 0.1 };

    /// <summary>Changes positions [n, 3] and colours [n, 3] (may be null) in place; equal generators give equal results.</summary>
    public void Apply(float[] positions, byte[]? colours, SampleRandom random)
    {
        foreach (var (spacing, magnitude) in Elastic) if (random.Chance(0.95)) ElasticDistortion(positions, spacing, magnitude, random);
        var angle = RotateZ == 0 ? 0 : random.Uniform(-RotateZ, RotateZ);
        var scale = (float)random.Uniform(Scale.Low, Scale.High);
        float cos = (float)Math.Cos(angle) * scale, sin = (float)Math.Sin(angle) * scale;
        var (mirrorX, mirrorY) = (Flip > 0 && random.Chance(Flip), Flip > 0 && random.Chance(Flip));
        float[] shift = [(float)random.Uniform(-Shift, Shift), (float)random.Uniform(-Shift, Shift), (float)random.Uniform(-Shift, Shift)];
        for (var i = 0; i < positions.Length; i += 3)
        {
            float x = mirrorX ? -positions[i] : positions[i], y = mirrorY ? -positions[i + 1] : positions[i + 1];
            positions[i] = cos * x - sin * y + shift[0];
            positions[i + 1] = sin * x + cos * y + shift[1];
            positions[i + 2] = positions[i + 2] * scale + shift[2];
            for (var d = 0; Jitter > 0 && d < 3; d++) positions[i + d] += (float)Math.Clamp(random.NextGaussian() * Jitter, -5 * Jitter, 5 * Jitter);
        }
        if (Drop > 0)
        {
            var part = random.Uniform(0, Drop);
            for (var i = 3; i < positions.Length; i += 3) if (random.Chance(part)) Array.Copy(positions, 0, positions, i, 3);
        }
        if (colours is null) return;
        if (ColourDrop > 0 && random.Chance(ColourDrop)) Array.Clear(colours);
        for (var i = 0; ColourJitter > 0 && i < colours.Length; i++)
            colours[i] = (byte)Math.Clamp(Math.Round(colours[i] + random.NextGaussian() * ColourJitter * 255), 0, 255);
    }

    // Smoothed noise on a coarse grid, interpolated at the points (Choy et al., CVPR 2019, after Simard et al.).
    private static void ElasticDistortion(float[] positions, double spacing, double magnitude, SampleRandom random)
    {
        if (positions.Length == 0) return;
        var (low, high) = new PointCloud { Positions = positions }.Bounds();
        var size = new int[3];
        var cells = 1.0;
        for (var d = 0; d < 3; d++) cells *= size[d] = (int)Math.Min(100_000, (high[d] - low[d]) / spacing) + 3;
        if (cells > 5e7)
            throw new BayouException($"elastic distortion: a cloud of {high[0] - low[0]} x {high[1] - low[1]} x {high[2] - low[2]} needs {cells:G3} cells of {spacing}: use a larger spacing");
        Span<int> cell = stackalloc int[3];
        Span<double> part = stackalloc double[3];
        int strideX = size[1] * size[2], strideY = size[2], count = (int)cells;
        var moved = new float[positions.Length];       // every channel is read at the old places
        for (var channel = 0; channel < 3; channel++)
        {
            var noise = new float[count];
            for (var i = 0; i < count; i++) noise[i] = (float)random.NextGaussian();
            for (var pass = 0; pass < 2; pass++)
                foreach (var (stride, length) in new[] { (strideX, size[0]), (strideY, size[1]), (1, size[2]) }) noise = Blur(noise, stride, length);
            for (var i = 0; i < positions.Length; i += 3)
            {
                double value = 0;
                for (var d = 0; d < 3; d++)
                {
                    var place = (positions[i + d] - low[d]) / spacing + 0.5;
                    cell[d] = Math.Clamp((int)place, 0, size[d] - 2);
                    part[d] = place - cell[d];
                }
                for (var c = 0; c < 8; c++)
                {
                    var weight = ((c & 4) != 0 ? part[0] : 1 - part[0]) * ((c & 2) != 0 ? part[1] : 1 - part[1]) * ((c & 1) != 0 ? part[2] : 1 - part[2]);
                    value += weight * noise[(cell[0] + (c >> 2)) * strideX + (cell[1] + (c >> 1 & 1)) * strideY + cell[2] + (c & 1)];
                }
                moved[i + channel] = positions[i + channel] + (float)(value * magnitude);
            }
        }
        moved.CopyTo(positions, 0);
    }

    // Mean of three neighbours along an axis, zero outside.
    private static float[] Blur(float[] noise, int stride, int length)
    {
        var blurred = new float[noise.Length];
        for (var i = 0; i < noise.Length; i++)
        {
            var at = i / stride % length;
            blurred[i] = ((at > 0 ? noise[i - stride] : 0) + noise[i] + (at < length - 1 ? noise[i + stride] : 0)) / 3;
        }
        return blurred;
    }
}
