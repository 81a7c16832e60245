using Bayou.Data;

namespace Bayou.Points;

/// <summary>Ways to colour a cloud.</summary>
/// <param name="Name">For people.</param>
/// <param name="Rgb">[n, 3].</param>
/// <param name="Legend">Names and colours (#rrggbb) where classes are shown.</param>
public sealed record PointColouring(string Name, byte[] Rgb, IReadOnlyList<(string Name, string Colour)> Legend)
{
    // Twelve hues that stay apart for most eyes, then again darker.
    private static readonly uint[] Palette =
        [0x4E9AF1, 0xF28E2B, 0x59A14F, 0xE15759, 0x9C6FD6, 0xEDC948, 0x76B7B2, 0xFF9DA7, 0xB07A52, 0xBAB0AC, 0x2FB5C8, 0xC3D94E];

    /// <summary>The column of a predicted cloud that holds the labels its file came with.</summary>
    public const string GivenLabels = "given_label";

    /// <summary>
    /// Every colouring the cloud's columns allow: classes, those it came with and where the two differ (<see cref="GivenLabels"/>), its own colours, instances,
    /// echo strength, height; the first is the most telling.
    /// </summary>
    /// <param name="cloud">The points.</param>
    /// <param name="classes">Names of the labels, or null.</param>
    public static IReadOnlyList<PointColouring> Of(PointCloud cloud, IReadOnlyList<string>? classes = null)
    {
        var ways = new List<PointColouring>();
        if (cloud.Labels is { } labels)
        {
            var given = cloud.Fields.TryGetValue(GivenLabels, out var column) ? Array.ConvertAll(column, v => (int)v) : null;
            ways.Add(new(given is null ? "classes" : "predicted", Map(labels, Of), Legend(labels)));
            if (given is not null)
            {
                ways.Add(new("given", Map(given, Of), Legend(given)));
                var judged = labels.Zip(given, (p, g) => g < 0 ? 0x3A4048u : p == g ? 0x7C8794u : 0xF2495Cu).ToArray();
                ways.Add(new("errors", Map([.. Enumerable.Range(0, judged.Length)], i => judged[i]),
                    [("wrong", "#f2495c"), ("right", "#7c8794"), ("not labelled", "#3a4048")]));
            }
        }
        if (cloud.Colours is { } rgb) ways.Add(new("colours", rgb, []));
        if (cloud.Instances is { } instances) ways.Add(new("instances", Map(instances, i => i == 0 ? 0x606870 : Of(i - 1)), []));
        if (cloud.Intensity is { } intensity) ways.Add(new("intensity", Ramp(intensity), []));
        ways.Add(new("height", Ramp([.. Enumerable.Range(0, cloud.Count).Select(i => cloud.Positions[3 * i + 2])]), []));
        return ways;

        (string, string)[] Legend(int[] of) =>
            [.. of.Distinct().Order().Take(64)
                .Select(l => (l < 0 ? "ignored" : classes is not null && l < classes.Count ? classes[l] : $"class {l}", Hex(Of(l))))];
    }

    /// <summary>Colour of a class.</summary>
    public static uint Of(int label)
    {
        if (label < 0) return 0x3A4048;
        var (colour, dim) = (Palette[label % Palette.Length], label / Palette.Length % 3);
        return dim == 0 ? colour : dim == 1 ? (colour >> 1) & 0x7F7F7F : ((colour >> 1) & 0x7F7F7F) + 0x707070;
    }

    private static string Hex(uint colour) => $"#{colour:x6}";

    private static byte[] Map(int[] values, Func<int, uint> colour)
    {
        var rgb = new byte[3 * values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            var c = colour(values[i]);
            (rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]) = ((byte)(c >> 16), (byte)(c >> 8), (byte)c);
        }
        return rgb;
    }

    // Blue over green to yellow between the second and the ninety-eighth percentile.
    private static byte[] Ramp(float[] values)
    {
        var sorted = values.Where(float.IsFinite).Order().ToArray();
        var (low, high) = sorted.Length == 0 ? (0f, 1f) : (sorted[sorted.Length / 50], sorted[sorted.Length - 1 - sorted.Length / 50]);
        (float R, float G, float B)[] stops =
            [(0.27f, 0.20f, 0.55f), (0.19f, 0.41f, 0.66f), (0.13f, 0.60f, 0.60f), (0.36f, 0.79f, 0.40f), (0.99f, 0.90f, 0.25f)];
        var rgb = new byte[3 * values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            var t = Math.Clamp(high > low && float.IsFinite(values[i]) ? (values[i] - low) / (high - low) : 0, 0, 1) * (stops.Length - 1);
            var k = Math.Min(stops.Length - 2, (int)t);
            var (a, b, part) = (stops[k], stops[k + 1], t - k);
            rgb[3 * i] = (byte)(255 * (a.R + (b.R - a.R) * part));
            rgb[3 * i + 1] = (byte)(255 * (a.G + (b.G - a.G) * part));
            rgb[3 * i + 2] = (byte)(255 * (a.B + (b.B - a.B) * part));
        }
        return rgb;
    }
}
