using System.Numerics;

namespace Bayou.Data;

/// <summary>Generated indoor rooms with furniture, seen by a scanner on a tripod.</summary>
public static class SyntheticRooms
{
    /// <summary>Classes in label order.</summary>
    public static IReadOnlyList<string> Classes { get; } = ["floor", "ceiling", "wall", "door", "table", "chair", "sofa", "bookcase"];

    /// <summary>A room; equal seeds and domains give equal rooms. Labels and instances are the generator's own: synthetic.</summary>
    public static (SyntheticScene Scene, PointCloud Cloud, Vector3 Sensor) Make(int seed, SceneDomain? domain = null)
    {
        domain ??= SceneDomain.Source;
        var random = new SampleRandom(StableHash.Mix((ulong)(long)seed, 0x0A00));
        var scene = new SyntheticScene(Classes, domain, random);
        float width = R(3.5, 7), depth = R(3, 6), height = R(2.4, 3), thick = 0.05f;
        Vector3 pale = new(0.85f, 0.83f, 0.78f), wood = new(0.55f, 0.38f, 0.22f);
        scene.Fixed("floor", new(0, 0, -thick), new(width / 2, depth / 2, thick), new(0.5f, 0.42f, 0.35f));
        scene.Fixed("ceiling", new(0, 0, height + thick), new(width / 2, depth / 2, thick), new(0.93f));
        foreach (var side in (float[])[-1, 1])
        {
            scene.Fixed("wall", new(side * (width / 2 + thick), 0, height / 2), new(thick, depth / 2, height / 2), pale);
            scene.Fixed("wall", new(0, side * (depth / 2 + thick), height / 2), new(width / 2, thick, height / 2), pale);
        }
        scene.Fixed("door", new(R(-width / 3, width / 3), -depth / 2 + 0.02f, 1), new(0.45f, 0.02f, 1), wood);

        // Furniture stands apart: a place is taken only if nothing else is near.
        var taken = new List<(float X, float Y, float Radius)> { (0, 0, 0.5f) };
        var s = (float)domain.ObjectScale;
        var wanted = (int)Math.Round(R(5, 9) * domain.Crowding);
        for (var i = 0; i < wanted; i++)
        {
            var kind = random.NextInt(4);
            var radius = s * (kind switch { 0 => 0.75f, 1 => 0.4f, 2 => 0.95f, _ => 0.6f });
            var (x, y) = Place(radius);
            if (float.IsNaN(x)) continue;
            var yaw = kind == 3 ? 0 : R(-Math.PI, Math.PI);
            switch (kind)
            {
                case 0: Table(scene, new(x, y, 0), yaw, s * R(0.9, 1.4), s * R(0.6, 0.9), s * R(0.68, 0.78), wood); break;
                case 1: Chair(scene, new(x, y, 0), yaw, s * R(0.4, 0.5), s * R(0.42, 0.5), new(R(0.1, 0.7), R(0.1, 0.5), R(0.1, 0.7))); break;
                case 2: Sofa(scene, new(x, y, 0), yaw, s * R(1.4, 1.8), s * R(0.75, 0.9), new(R(0.3, 0.7), R(0.2, 0.4), R(0.2, 0.4))); break;
                default: Bookcase(scene, new(x, y, 0), yaw, s * R(0.8, 1.1), s * R(1.2, 1.9), wood * 0.8f); break;
            }
        }
        var sensor = new Vector3(0, 0, R(1.3, 1.6));
        return (scene, scene.Scan([sensor], -1.35, 1.35, 30), sensor);

        float R(double from, double to) => (float)random.Uniform(from, to);

        (float, float) Place(float radius)
        {
            for (var attempt = 0; attempt < 30; attempt++)
            {
                var (x, y) = (R(-width / 2 + radius, width / 2 - radius), R(-depth / 2 + radius, depth / 2 - radius));
                if (taken.Any(t => (t.X - x) * (t.X - x) + (t.Y - y) * (t.Y - y) < (t.Radius + radius) * (t.Radius + radius))) continue;
                taken.Add((x, y, radius));
                return (x, y);
            }
            return (float.NaN, float.NaN);
        }
    }

    private static void Table(SyntheticScene scene, Vector3 foot, float yaw, float l, float w, float h, Vector3 colour)
    {
        var bodies = new List<(ScenePart, Vector3, Vector3, Vector3)> { (ScenePart.Box, new(0, 0, h - 0.02f), new(l / 2, w / 2, 0.02f), colour) };
        foreach (var (x, y) in Corners(l - 0.1f, w - 0.1f)) bodies.Add((ScenePart.Box, new(x, y, h / 2 - 0.02f), new(0.03f, 0.03f, h / 2 - 0.02f), colour));
        scene.Object("table", foot, yaw, new(l, w, h), [.. bodies]);
    }

    private static void Chair(SyntheticScene scene, Vector3 foot, float yaw, float w, float seat, Vector3 colour)
    {
        var bodies = new List<(ScenePart, Vector3, Vector3, Vector3)>
        {
            (ScenePart.Box, new(0, 0, seat), new(w / 2, w / 2, 0.03f), colour),
            (ScenePart.Box, new(-w / 2 + 0.02f, 0, seat + 0.25f), new(0.02f, w / 2, 0.24f), colour),
        };
        foreach (var (x, y) in Corners(w - 0.06f, w - 0.06f)) bodies.Add((ScenePart.Cylinder, new(x, y, seat / 2), new(0.02f, 0.02f, seat / 2), colour * 0.5f));
        scene.Object("chair", foot, yaw, new(w, w, seat + 0.49f), [.. bodies]);
    }

    private static void Sofa(SyntheticScene scene, Vector3 foot, float yaw, float l, float w, Vector3 colour) =>
        scene.Object("sofa", foot, yaw, new(l, w, 0.8f),
        (ScenePart.Box, new(0, 0, 0.21f), new(l / 2, w / 2, 0.21f), colour), (ScenePart.Box, new(0, -w / 2 + 0.1f, 0.6f), new(l / 2, 0.1f, 0.2f), colour),
        (ScenePart.Box, new(-l / 2 + 0.08f, 0, 0.5f), new(0.08f, w / 2, 0.1f), colour),
        (ScenePart.Box, new(l / 2 - 0.08f, 0, 0.5f), new(0.08f, w / 2, 0.1f), colour));

    private static void Bookcase(SyntheticScene scene, Vector3 foot, float yaw, float l, float h, Vector3 colour)
    {
        var bodies = new List<(ScenePart, Vector3, Vector3, Vector3)> { (ScenePart.Box, new(0, 0.14f, h / 2), new(l / 2, 0.01f, h / 2), colour) };
        foreach (var side in (float[])[-1, 1]) bodies.Add((ScenePart.Box, new(side * (l / 2 - 0.01f), 0, h / 2), new(0.01f, 0.15f, h / 2), colour));
        for (var z = 0.02f; z < h; z += 0.35f) bodies.Add((ScenePart.Box, new(0, 0, z), new(l / 2, 0.15f, 0.015f), colour));
        scene.Object("bookcase", foot, yaw, new(l, 0.3f, h), [.. bodies]);
    }

    private static IEnumerable<(float, float)> Corners(float l, float w) => [(-l / 2, -w / 2), (l / 2, -w / 2), (-l / 2, w / 2), (l / 2, w / 2)];
}
