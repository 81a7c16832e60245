using System.Diagnostics;
using Bayou.Core;
using Bayou.Data;
using Bayou.Kernels;
using Bayou.Points;

namespace Bayou.Claims;

/// <summary>Point operators: equal to plain searches over all points, with the official tie rules, and faster.</summary>
public sealed class PointOpsClaim : IClaim
{
    /// <inheritdoc/>
    public string Name => "point-ops";

    /// <inheritdoc/>
    public string Paper =>
        "PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space, NeurIPS 2017, arXiv 1706.02413 (and the official kernels)";

    /// <inheritdoc/>
    public string Statement =>
        "Sampling and neighbour searches through trees give exactly what the official kernels' searches over all points give, ties and padding included, at a fraction of the time.";

    /// <inheritdoc/>
    public string Data =>
        "random, lattice and duplicate-heavy clouds for exactness; the real scan semantickitti-mini filled up to 100,000 points (or a generated street, synthetic, where it is absent) for speed";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        foreach (var kind in (string[])["random", "lattice", "duplicates"])
        {
            context.Check($"furthest points, {kind} cloud of 1,500, 400 samples", "differing indices",
                ("buckets", context.Measure($"fps.{kind}", () => FurthestDifferences(kind))), ("plain algorithm", 0));
            context.Check($"16 nearest, {kind} cloud of 1,500", "differing indices", ("tree", context.Measure($"knn.{kind}", () => NearestDifferences(kind))),
                ("plain search", 0));
            context.Check($"radius search, {kind} cloud of 1,500", "differing rows",
                ("tree", context.Measure($"radius.{kind}", () => RadiusDifferences(kind))), ("plain search", 0));
        }
        Speed(context);
    }

    private static float[] Cloud(string kind, int n, ulong seed)
    {
        var random = new SampleRandom(seed);
        var xyz = new float[3 * n];
        for (var i = 0; i < xyz.Length; i++)
            xyz[i] = kind == "random"
            ? (float)random.Uniform(-5, 5) : kind == "lattice" ? random.NextInt(10) * 0.5f : i >= 300 ? xyz[i % 300] : (float)random.NextDouble();
        return xyz;
    }

    private static float Squared(float[] a, int i, float[] b, int j)
    {
        var (dx, dy, dz) = (a[3 * i] - b[3 * j], a[3 * i + 1] - b[3 * j + 1], a[3 * i + 2] - b[3 * j + 2]);
        return dx * dx + dy * dy + dz * dz;
    }

    private static double FurthestDifferences(string kind)
    {
        var xyz = Cloud(kind, 1500, 1);
        var picked = PointOps.FurthestPoints(xyz, [1500], [400], TieRule.LowestIndex);
        return Furthest(xyz, 400).Zip(picked, (a, b) => a == b ? 0 : 1).Sum();
    }

    private static int[] Furthest(float[] xyz, int samples)
    {
        var left = Enumerable.Repeat(1e10f, xyz.Length / 3).ToArray();
        var picked = new int[samples];
        for (var s = 1; s < samples; s++)
        {
            var best = 0;
            for (var k = 0; k < left.Length; k++)
            {
                left[k] = MathF.Min(left[k], Squared(xyz, k, xyz, picked[s - 1]));
                if (left[k] > left[best]) best = k;
            }
            picked[s] = best;
        }
        return picked;
    }

    private static double NearestDifferences(string kind)
    {
        float[] xyz = Cloud(kind, 1500, 2), queries = Cloud(kind, 200, 3);
        var (index, _) = PointOps.KNearest(16, xyz, queries, [1500], [200], TieRule.LowestIndex);
        var differing = 0;
        for (var q = 0; q < 200; q++)
        {
            var expected = Enumerable.Range(0, 1500).OrderBy(p => Squared(queries, q, xyz, p)).ThenBy(p => p).Take(16).ToArray();
            for (var i = 0; i < 16; i++) if (expected[i] != index[16 * q + i]) differing++;
        }
        return differing;
    }

    private static double RadiusDifferences(string kind)
    {
        float[] xyz = Cloud(kind, 1500, 4), queries = Cloud(kind, 200, 5);
        var tree = new PointTree(xyz);
        var (found, differing) = (new List<ulong>(), 0);
        for (var q = 0; q < 200; q++)
        {
            found.Clear();
            tree.Within(queries[3 * q], queries[3 * q + 1], queries[3 * q + 2], 1, found);
            var expected = Enumerable.Range(0, 1500).Where(p => Squared(queries, q, xyz, p) < 1);
            if (!expected.SequenceEqual(found.Select(f => (int)(uint)f).Order())) differing++;
        }
        return differing;
    }

    private static void Speed(ClaimContext context)
    {
        var path = DataCatalog.SamplesFolder is { } samples ? Path.Combine(samples, "semantickitti-mini/000000.bin") : "";
        var scan = File.Exists(path) ? PointFiles.Read(path).Positions : SyntheticStreets.Make(1).Cloud.Positions;
        var xyz = new float[300_000];
        // the rest is the scan's beginning, shifted by a little
        for (var i = 0; i < xyz.Length; i++) xyz[i] = scan[i % scan.Length] + (i < scan.Length ? 0 : 0.013f);
        var picked = new int[1024];
        var seconds = context.Measure("speed.fps", () => Best(3, () => FurthestPointKernel.Sample(xyz, picked, 1024)));
        context.Check("furthest points, 100,000 -> 1,024, one thread", "s", ("buckets", seconds), ("spec", 1));

        // Every hundredth point asks; brute force over all points is timed on as many.
        var tree = Best(3, () => RadiusAll(xyz, 100));
        var ratio = context.Measure("speed.radius", () => Best(2, () => RadiusPlain(xyz, 1000)) / tree);
        context.Check("radius search 0.5 m among 100,000 points, by the plain search", "times", ("tree", ratio), ("spec", 20), atMost: false);
    }

    private static long RadiusAll(float[] xyz, int step)
    {
        var (tree, found, total) = (new PointTree(xyz), new List<ulong>(), 0L);
        for (var q = 0; q < xyz.Length / 3; q += step)
        {
            found.Clear();
            tree.Within(xyz[3 * q], xyz[3 * q + 1], xyz[3 * q + 2], 0.25f, found);
            total += found.Count;
        }
        return total;
    }

    private static long RadiusPlain(float[] xyz, int queries)
    {
        var (n, total) = (xyz.Length / 3, 0L);
        for (var q = 0; q < queries; q++) for (var p = 0; p < n; p++) if (Squared(xyz, q * (n / queries), xyz, p) < 0.25f) total++;
        return total;
    }

    private static double Best<T>(int runs, Func<T> run) => Enumerable.Range(0, runs).Min(_ =>
    {
        var start = Stopwatch.GetTimestamp();
        run();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    });

    private static double Best(int runs, Action run) => Best(runs, () =>
    {
        run();
        return 0;
    });
}
