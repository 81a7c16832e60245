using Bayou.Kernels;
using static Bayou.Data.CorruptionPixels;

namespace Bayou.Data;

/// <summary>Drops on the lens: water (mild severities) with highlights along its edges, or mud.</summary>
internal static class SpatterCorruption
{
    private static readonly float[] water = [175 / 255f, 238 / 255f, 238 / 255f];
    private static readonly float[] mud = [63 / 255f, 42 / 255f, 20 / 255f];

    /// <summary>Constants: mean and deviation of the field, its smoothing, threshold, intensity (water) or second smoothing (mud), 1 for mud.</summary>
    public static void Apply(ImageBuffer x, double[] c, CorruptionDraws draws, ImageBuffer result)
    {
        int height = x.Height, width = x.Width;
        using var scratch = new Scratch<double>(height * width);
        var liquid = scratch.Span;
        draws.PixelNormals(liquid);
        foreach (ref var z in liquid) z = c[0] + c[1] * z;
        GaussianFilter.Apply(liquid, height, width, 1, c[2], c[2]);
        foreach (ref var value in liquid) value = value < c[3] ? 0 : value;
        if (c[5] == 0) Water(x, liquid, (float)c[4], result);
        else Mud(x, liquid, c[3], c[4], result);
    }

    private static void Water(ImageBuffer x, ReadOnlySpan<double> liquid, float intensity, ImageBuffer result)
    {
        int height = x.Height, width = x.Width, pixels = height * width;
        var layer = new byte[pixels];
        for (var i = 0; i < pixels; i++) layer[i] = (byte)(int)(liquid[i] * 255);
        var light = Highlights(layer, height, width);
        var strongest = 0f;
        for (var i = 0; i < pixels; i++) strongest = Math.Max(strongest, layer[i] * light[i]);
        for (var i = 0; i < pixels; i++)
        {
            // A layer without a single drop leaves the picture as it is.
            var m = strongest == 0 ? 0 : layer[i] * light[i] / strongest * intensity;
            for (var k = 0; k < 3; k++) result.Pixels[i * 3 + k] = ToByte(UnitSingle[x.Pixels[i * 3 + k]] + m * water[k]);
        }
    }

    // Bright near the edges of the drops, darker on their lower right: distances from the edges, equalised, embossed and smoothed.
    private static float[] Highlights(byte[] layer, int height, int width)
    {
        var distance = ChamferDistance.To(CannyEdges.Find(layer, height, width, 50, 150), height, width);
        for (var i = 0; i < distance.Length; i++) distance[i] = Math.Min(distance[i], 20f);
        var near = new byte[distance.Length];
        Window(height, width, (at, i) =>
        {
            double sum = 0;
            foreach (var position in at) sum += distance[position];
            near[i] = (byte)(float)(sum * (1.0 / 9));
        });
        Equalise(near);
        var embossed = new byte[near.Length];
        // [-2 -1 0; -1 1 1; 0 1 2]: light from the lower right.
        Window(height, width, (at, i) => embossed[i] = (byte)Math.Clamp(
            near[at[4]] + near[at[5]] + near[at[7]] + 2 * near[at[8]] - 2 * near[at[0]] - near[at[1]] - near[at[3]], 0, 255));
        var light = new float[near.Length];
        Window(height, width, (at, i) =>
        {
            var sum = 0;
            foreach (var position in at) sum += embossed[position];
            light[i] = (sum + 4) / 9;       // rounded: a ninth is never half way
        });
        return light;
    }

    private delegate void NineAction(ReadOnlySpan<int> at, int i);

    // Positions of the 3x3 neighbours of each pixel, mirrored about the outermost pixels.
    private static void Window(int height, int width, NineAction action)
    {
        Span<int> at = stackalloc int[9];
        for (var y = 0; y < height; y++)
        {
            int above = FilterBorder.Reflect101.Index(y - 1, height) * width, row = y * width, below = FilterBorder.Reflect101.Index(y + 1, height) * width;
            for (var x = 0; x < width; x++)
            {
                int left = x > 0 ? x - 1 : FilterBorder.Reflect101.Index(-1, width),
                    right = x + 1 < width ? x + 1 : FilterBorder.Reflect101.Index(width, width);
                (at[0], at[1], at[2]) = (above + left, above + x, above + right);
                (at[3], at[4], at[5]) = (row + left, row + x, row + right);
                (at[6], at[7], at[8]) = (below + left, below + x, below + right);
                action(at, row + x);
            }
        }
    }

    // Histogram equalisation: the darkest value that occurs becomes 0, the brightest 255.
    private static void Equalise(byte[] values)
    {
        Span<int> histogram = stackalloc int[256];
        histogram.Clear();
        foreach (var value in values) histogram[value]++;
        var first = 0;
        while (histogram[first] == 0) first++;
        if (histogram[first] == values.Length) return;
        var scale = 255f / (values.Length - histogram[first]);
        Span<byte> table = stackalloc byte[256];
        table.Clear();
        var sum = 0;
        for (var v = first + 1; v < 256; v++)
        {
            sum += histogram[v];
            table[v] = (byte)Math.Clamp(MathF.Round(sum * scale), 0, 255);
        }
        for (var i = 0; i < values.Length; i++) values[i] = table[values[i]];
    }

    private static void Mud(ImageBuffer x, Span<double> liquid, double threshold, double sigma, ImageBuffer result)
    {
        foreach (ref var value in liquid) value = value > threshold ? 1 : 0;
        GaussianFilter.Apply(liquid, x.Height, x.Width, 1, sigma, sigma);
        for (var i = 0; i < liquid.Length; i++)
        {
            var m = (float)liquid[i];
            if (m < 0.8f) m = 0;
            for (var k = 0; k < 3; k++) result.Pixels[i * 3 + k] = ToByte(UnitSingle[x.Pixels[i * 3 + k]] * (1 - m) + m * mud[k]);
        }
    }
}
