using System.Numerics;

namespace Bayou.Data;

/// <summary>Generated streets with buildings, cars, people, poles and trees, seen by a spinning LiDAR on a car's roof.</summary>
public static class SyntheticStreets
{
    /// <summary>Classes in label order.</summary>
    public static IReadOnlyList<string> Classes { get; } = ["road", "sidewalk", "building", "car", "person", "pole", "vegetation"];

    /// <summary>A street; equal seeds and domains give equal streets. Labels and instances are the generator's own: synthetic.</summary>
    public static (SyntheticScene Scene, PointCloud Cloud, Vector3 Sensor) Make(int seed, SceneDomain? domain = null)
    {
        domain ??= SceneDomain.Source with { Noise = 0.02, Rings = 64, Columns = 900 };
        var random = new SampleRandom(StableHash.Mix((ulong)(long)seed, 0x57EE7));
        var scene = new SyntheticScene(Classes, domain, random);
        float half = R(4, 6), walk = R(2, 3.5), s = (float)domain.ObjectScale;
        scene.Fixed("road", new(0, 0, -0.1f), new(60, half, 0.1f), new(0.3f, 0.3f, 0.32f));
        foreach (var side in (float[])[-1, 1])
        {
            scene.Fixed("sidewalk", new(0, side * (half + walk / 2), 0), new(60, walk / 2, 0.12f), new(0.6f, 0.58f, 0.55f));
            for (var x = -55f; x < 55;)
            {
                float length = R(8, 18), height = R(4, 12), back = R(0, 2);
                scene.Fixed("building", new(x + length / 2, side * (half + walk + back + 4), height / 2), new(length / 2, 4, height / 2),
                    new(R(0.4, 0.8), R(0.35, 0.6), R(0.3, 0.5)));
                x += length + R(0, 4);
            }
            for (var i = 0; i < Count(5); i++)
                Car(scene, new(R(-35, 35), side * (half - 1.1f * s), 0), (random.Chance(0.5) ? 0 : MathF.PI) + R(-0.05, 0.05), s,
                new(R(0.1, 0.9), R(0.1, 0.9), R(0.1, 0.9)));
            for (var i = 0; i < Count(4); i++)
                Person(scene, new(R(-25, 25), side * (half + R(0.4, walk - 0.3)), 0.12f), R(-Math.PI, Math.PI), s * R(0.9, 1.1),
                new(R(0.1, 0.7), R(0.1, 0.7), R(0.1, 0.7)));
            for (var i = 0; i < Count(3); i++)
            {
                var foot = new Vector3(R(-40, 40), side * (half + 0.4f), 0.12f);
                scene.Object("pole", foot, 0, new(0.2f, 0.2f, 6), (ScenePart.Cylinder, new(0, 0, 3), new(0.08f, 0.08f, 3), new(0.4f, 0.4f, 0.42f)));
            }
            for (var i = 0; i < Count(3); i++)
            {
                float crown = R(1.2, 2.2), trunk = R(2, 3);
                scene.Object("vegetation", new(R(-40, 40), side * (half + walk - 0.3f), 0.12f), 0, new(2 * crown, 2 * crown, trunk + 2 * crown),
                    (ScenePart.Cylinder, new(0, 0, trunk / 2), new(0.15f, 0.15f, trunk / 2), new(0.4f, 0.3f, 0.2f)),
                    (ScenePart.Foliage, new(0, 0, trunk + crown * 0.8f), new(crown, crown, crown), new(0.2f, 0.5f, 0.2f)));
            }
        }
        for (var i = 0; i < Count(2); i++)
            Car(scene, new(R(8, 40) * (random.Chance(0.5) ? 1 : -1), R(-1, 1), 0), R(-0.1, 0.1), s, new(R(0.1, 0.9), R(0.1, 0.9), R(0.1, 0.9)));
        var sensor = new Vector3(0, 0, 1.73f);
        return (scene, scene.Scan([sensor], -0.43, 0.05, 60), sensor);

        float R(double from, double to) => (float)random.Uniform(from, to);

        int Count(double mean) => (int)Math.Round(mean * domain.Crowding * random.Uniform(0.6, 1.4));
    }

    private static void Car(SyntheticScene scene, Vector3 foot, float yaw, float s, Vector3 colour)
    {
        var (l, w, h) = (4.2f * s, 1.75f * s, 1.5f * s);
        var bodies = new List<(ScenePart, Vector3, Vector3, Vector3)>
        {
            (ScenePart.Box, new(0, 0, 0.35f * h + 0.2f), new(l / 2, w / 2, 0.25f * h), colour),
            (ScenePart.Box, new(-0.05f * l, 0, 0.8f * h), new(0.28f * l, 0.45f * w, 0.2f * h), colour * 0.5f),
        };
        foreach (var (x, y) in ((float, float)[])[(-0.3f, -0.45f), (0.3f, -0.45f), (-0.3f, 0.45f), (0.3f, 0.45f)])
            bodies.Add((ScenePart.Box, new(x * l, y * w, 0.3f), new(0.3f, 0.1f, 0.3f), new(0.1f)));
        scene.Object("car", foot, yaw, new(l, w, h), [.. bodies]);
    }

    private static void Person(SyntheticScene scene, Vector3 foot, float yaw, float s, Vector3 colour) =>
        scene.Object("person", foot, yaw, new(0.5f * s, 0.6f * s, 1.75f * s),
        (ScenePart.Box, new(0, 0, 0.45f * s), new(0.12f * s, 0.16f * s, 0.45f * s), colour * 0.6f),
        (ScenePart.Box, new(0, 0, 1.18f * s), new(0.13f * s, 0.24f * s, 0.28f * s), colour),
        (ScenePart.Cylinder, new(0, 0, 1.6f * s), new(0.1f * s, 0.1f * s, 0.14f * s), new(0.8f, 0.6f, 0.5f)));
}
