using System.Numerics;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// A generated scene: bodies, what a scanner sees of them (so near things hide far ones), labels, instances, boxes and pictures. Made by
/// <see cref="SyntheticRooms"/> and
/// <see cref="SyntheticStreets"/>; every number measured on it must say "synthetic".
/// </summary>
public sealed class SyntheticScene
{
    private readonly List<ScenePrimitive> parts = [];
    private readonly List<SceneBox> boxes = [];
    private readonly SceneDomain domain;
    private readonly SampleRandom random;
    private int instances;

    internal SyntheticScene(IReadOnlyList<string> classes, SceneDomain domain, SampleRandom random) =>
        (Classes, this.domain, this.random) = (classes, domain, random);

    /// <summary>Class names in label order.</summary>
    public IReadOnlyList<string> Classes { get; }

    /// <summary>The bodies.</summary>
    public IReadOnlyList<ScenePrimitive> Parts => parts;

    /// <summary>Boxes of the objects.</summary>
    public IReadOnlyList<SceneBox> Boxes => boxes;

    internal int Label(string name) => Enumerable.Range(0, Classes.Count).First(i => Classes[i] == name);

    // A body of the surroundings.
    internal void Fixed(string label, Vector3 centre, Vector3 half, Vector3 colour, float yaw = 0) =>
        parts.Add(new(ScenePart.Box, centre, half, yaw, Label(label), 0, Tinted(colour)));

    // An object of several bodies, given relative to its foot point, before it is turned.
    internal void Object(string label, Vector3 foot, float yaw, Vector3 size, params (ScenePart Part, Vector3 Centre, Vector3 Half, Vector3 Colour)[] bodies)
    {
        var instance = ++instances;
        var (sin, cos) = MathF.SinCos(yaw);
        foreach (var (part, centre, half, colour) in bodies)
        {
            var place = foot + new Vector3(cos * centre.X - sin * centre.Y, sin * centre.X + cos * centre.Y, centre.Z);
            parts.Add(new(part, place, half, yaw, Label(label), instance, Tinted(colour)));
        }
        boxes.Add(new(Label(label), instance, foot + new Vector3(0, 0, size.Z / 2), size, yaw));
    }

    private Vector3 Tinted(Vector3 colour) =>
        Vector3.Clamp(colour + new Vector3((float)(domain.ColourShift + random.Uniform(-0.08, 0.08))), Vector3.Zero, Vector3.One);

    /// <summary>Scans from one or more places: rings from <paramref name="low"/> to <paramref name="high"/> (radians above the horizon), full turns.</summary>
    /// <param name="sensors">Where the scanner stands.</param>
    /// <param name="low">Lowest ring.</param>
    /// <param name="high">Highest ring.</param>
    /// <param name="range">Farthest echo, metres.</param>
    public PointCloud Scan(IReadOnlyList<Vector3> sensors, double low, double high, double range)
    {
        var rays = sensors.Count * domain.Rings * domain.Columns;
        var seed = random.NextBits();
        var hits = new (Vector3 Point, int Part, float Intensity)[rays];
        Parallel.For(0, sensors.Count * domain.Rings, row =>
        {
            var own = new SampleRandom(StableHash.Mix(seed, (ulong)row));
            var (origin, ring) = (sensors[row / domain.Rings], row % domain.Rings);
            var elevation = low + (high - low) * (ring + 0.5) / domain.Rings;
            for (var column = 0; column < domain.Columns; column++)
            {
                var azimuth = 2 * Math.PI * (column + own.NextDouble() * 0.5) / domain.Columns;
                var direction = new Vector3((float)(Math.Cos(elevation) * Math.Cos(azimuth)), (float)(Math.Cos(elevation) * Math.Sin(azimuth)),
                    (float)Math.Sin(elevation));
                var (part, distance, normal) = Cast(origin, direction, own);
                var noisy = distance + (float)(own.NextGaussian() * domain.Noise);
                var lost = own.Chance(domain.Dropout);
                hits[row * domain.Columns + column] = part < 0 || distance > range || lost
                    ? (default, -1, 0) : (origin + direction * noisy, part, MathF.Abs(Vector3.Dot(normal, direction)));
            }
        });
        var seen = hits.Where(h => h.Part >= 0).ToArray();
        return new PointCloud
        {
            Positions = [.. seen.SelectMany(h => new[] { h.Point.X, h.Point.Y, h.Point.Z })],
            Colours = [.. seen.SelectMany(h => new[] { parts[h.Part].Colour.X, parts[h.Part].Colour.Y, parts[h.Part].Colour.Z }).Select(v => (byte)(v * 255))],
            Intensity = [.. seen.Select(h => h.Intensity)],
            Labels = [.. seen.Select(h => parts[h.Part].Label)],
            Instances = [.. seen.Select(h => parts[h.Part].Instance)],
        };
    }

    /// <summary>A picture from a level pinhole camera, shaded by the angle of view, with the boxes of the visible objects.</summary>
    /// <param name="position">Of the camera.</param>
    /// <param name="yaw">Direction, radians.</param>
    /// <param name="width">Pixels.</param>
    /// <param name="height">Pixels.</param>
    /// <param name="fieldOfView">Across, radians.</param>
    public SceneView Picture(Vector3 position, float yaw, int width = 320, int height = 240, double fieldOfView = 1.4)
    {
        if (width < 1 || height < 1) throw new BayouException($"a picture of {width} x {height} pixels");
        var focal = (float)(width / 2.0 / Math.Tan(fieldOfView / 2));
        var (pixels, owner) = (new byte[3 * width * height], new int[width * height]);
        var seed = random.NextBits();
        var (sin, cos) = MathF.SinCos(yaw);
        Parallel.For(0, height, v =>
        {
            var own = new SampleRandom(StableHash.Mix(seed, (ulong)v));
            for (var u = 0; u < width; u++)
            {
                var ray = Vector3.Normalize(new Vector3(1, -(u + 0.5f - width / 2f) / focal, -(v + 0.5f - height / 2f) / focal));
                ray = new Vector3(cos * ray.X - sin * ray.Y, sin * ray.X + cos * ray.Y, ray.Z);
                var (part, _, normal) = Cast(position, ray, own);
                owner[v * width + u] = part;
                var colour = part < 0 ? new Vector3(0.6f, 0.75f, 0.95f) : parts[part].Colour * (0.35f + 0.65f * MathF.Abs(Vector3.Dot(normal, ray)));
                for (var c = 0; c < 3; c++) pixels[3 * (v * width + u) + c] = (byte)(Math.Clamp(colour[c], 0, 1) * 255);
            }
        });
        var visible = Enumerable.Range(0, owner.Length).Where(i => owner[i] >= 0 && parts[owner[i]].Instance > 0).GroupBy(i => parts[owner[i]].Instance)
            .OrderBy(g => g.Key)
            .Select(g => (parts[owner[g.First()]].Label, g.Key, g.Min(i => i % width), g.Min(i => i / width), g.Max(i => i % width) + 1,
                g.Max(i => i / width) + 1)).ToArray();
        return new SceneView(new ImageBuffer(width, height, 3, pixels), visible, position, yaw, focal);
    }

    private (int Part, float Distance, Vector3 Normal) Cast(Vector3 origin, Vector3 direction, SampleRandom own)
    {
        var (best, nearest, normal) = (-1, float.PositiveInfinity, Vector3.Zero);
        var luck = (float)own.NextDouble();
        for (var p = 0; p < parts.Count; p++)
        {
            var distance = parts[p].Hit(origin, direction, luck, out var n);
            if (distance < nearest) (best, nearest, normal) = (p, distance, n);
        }
        return (best, nearest, normal);
    }
}
