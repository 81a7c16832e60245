using System.Net;
using System.Runtime.InteropServices;
using System.Text.Json;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Points;

/// <summary>Shows a cloud: a page of its own that turns with the mouse (WebGL 2, nothing is downloaded), and a picture.</summary>
public static class PointViewer
{
    /// <summary>Most points of a page; larger clouds are thinned evenly.</summary>
    public const int MostPoints = 400_000;

    /// <summary>The page, self-contained. Positions keep one part in 65,535 of the cloud's box.</summary>
    /// <param name="cloud">The points; those that are not finite are left out.</param>
    /// <param name="title">Heading.</param>
    /// <param name="classes">Names of the labels, or null.</param>
    /// <exception cref="BayouException">There is nothing to show.</exception>
    public static string Html(PointCloud cloud, string title, IReadOnlyList<string>? classes = null)
    {
        var all = cloud.Count;
        cloud = Shown(cloud);
        var (low, high) = cloud.Bounds();
        var extent = low.Zip(high, (a, b) => Math.Max(1e-6f, b - a)).ToArray();
        var positions = new ushort[3 * cloud.Count];
        for (var i = 0; i < positions.Length; i++)
            positions[i] = (ushort)Math.Clamp((cloud.Positions[i] - low[i % 3]) / extent[i % 3] * 65535 + 0.5f, 0, 65535);
        var scene = JsonSerializer.Serialize(new
        {
            positions = Convert.ToBase64String(MemoryMarshal.AsBytes(positions.AsSpan())),
            low,
            extent,
            centre = Focus(cloud).Centre,
            radius = Focus(cloud).Radius,
            colours = PointColouring.Of(cloud, classes)
                .Select(c => new { name = c.Name, rgb = Convert.ToBase64String(c.Rgb), legend = c.Legend.Select(l => new[] { l.Name, l.Colour }) }),
        });
        var facts = FormattableString.Invariant($"{all:N0} points{(cloud.Count < all ? $" ({cloud.Count:N0} shown)" : "")}<br>{extent[0]:0.##} × {extent[1]:0.##} × {extent[2]:0.##}");
        using var reader = new StreamReader(typeof(PointViewer).Assembly.GetManifestResourceStream("Bayou.Points.viewer.html")!);
        return reader.ReadToEnd().Replace("{{TITLE}}", WebUtility.HtmlEncode(title)).Replace("{{FACTS}}", facts)
            .Replace("{{SCENE}}", scene.Replace("<", "\\u003c"));
    }

    /// <summary>A picture of the cloud from the page's first point of view.</summary>
    /// <param name="cloud">The points.</param>
    /// <param name="colouring">Which <see cref="PointColouring"/> of the cloud, from 0.</param>
    /// <param name="width">Pixels.</param>
    /// <param name="height">Pixels.</param>
    public static ImageBuffer Render(PointCloud cloud, int colouring = 0, int width = 1280, int height = 800)
    {
        cloud = Shown(cloud);
        var ways = PointColouring.Of(cloud);
        var rgb = ways[Math.Clamp(colouring, 0, ways.Count - 1)].Rgb;
        var (centre, radius) = Focus(cloud);
        const double yaw = -0.9, pitch = 0.55;
        var (cy, sy, cp, sp) = (Math.Cos(yaw), Math.Sin(yaw), Math.Cos(pitch), Math.Sin(pitch));
        var (pixels, depth) = (new byte[3 * width * height], new float[width * height]);
        for (var i = 0; i < pixels.Length; i += 3) (pixels[i], pixels[i + 1], pixels[i + 2]) = (20, 23, 28);
        Array.Fill(depth, float.PositiveInfinity);
        var focal = 1.6 * height / 2;
        for (var i = 0; i < cloud.Count; i++)
        {
            double x = cloud.Positions[3 * i] - centre[0], y = cloud.Positions[3 * i + 1] - centre[1], z = cloud.Positions[3 * i + 2] - centre[2];
            double right = -sy * x + cy * y, up = -sp * cy * x - sp * sy * y + cp * z, away = 2.4 * radius - (cp * cy * x + cp * sy * y + sp * z);
            if (away < 0.01 * radius) continue;
            int u = (int)(width / 2.0 + focal * right / away), v = (int)(height / 2.0 - focal * up / away);
            for (var dy = 0; dy < 2; dy++)
            {
                for (var dx = 0; dx < 2; dx++)
                {
                    if ((uint)(u + dx) >= (uint)width || (uint)(v + dy) >= (uint)height || depth[(v + dy) * width + u + dx] <= away) continue;
                    var p = (v + dy) * width + u + dx;
                    depth[p] = (float)away;
                    rgb.AsSpan(3 * i, 3).CopyTo(pixels.AsSpan(3 * p));
                }
            }
        }
        return new ImageBuffer(width, height, 3, pixels);
    }

    // Where to look: the middle of the points, and how far nine tenths of them reach; a few far echoes of a scan do not make it small.
    private static (double[] Centre, double Radius) Focus(PointCloud cloud)
    {
        var axis = new float[cloud.Count];
        var centre = new double[3];
        for (var d = 0; d < 3; d++)
        {
            for (var i = 0; i < axis.Length; i++) axis[i] = cloud.Positions[3 * i + d];
            Array.Sort(axis);
            centre[d] = ((double)axis[axis.Length / 20] + axis[axis.Length - 1 - axis.Length / 20]) / 2;
        }
        for (var i = 0; i < axis.Length; i++) axis[i] = (float)Math.Sqrt(Enumerable.Range(0, 3).Sum(d => Math.Pow(cloud.Positions[3 * i + d] - centre[d], 2)));
        Array.Sort(axis);
        return (centre, Math.Max(1e-6, axis[(int)(0.9 * (axis.Length - 1))]));
    }

    private static PointCloud Shown(PointCloud cloud)
    {
        cloud = cloud.Finite();
        if (cloud.Count == 0) throw new BayouException("there is no point with finite coordinates to show");
        if (cloud.Count <= MostPoints) return cloud;
        return cloud.Select([.. Enumerable.Range(0, MostPoints).Select(i => (int)((long)i * cloud.Count / MostPoints))]);
    }
}
