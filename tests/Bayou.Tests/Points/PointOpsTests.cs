using Bayou.Core;
using Bayou.Data;
using Bayou.Kernels;
using Bayou.Points;
using static TorchSharp.torch;

namespace Bayou.Tests.Points;

/// <summary>Point operators against plain searches over all points, on random, lattice and duplicate-heavy clouds.</summary>
public sealed class PointOpsTests
{
    internal static float[] Cloud(string kind, int n, ulong seed)
    {
        var random = new SampleRandom(seed);
        var xyz = new float[3 * n];
        for (var i = 0; i < xyz.Length; i++)
        {
            xyz[i] = kind switch
            {
                "random" => (float)random.Uniform(-5, 5),
                "lattice" => random.NextInt(6) * 0.5f,
                "flat" => i % 3 == 2 ? -1e6f : random.NextInt(4) * 1e4f,        // far from the origin, no height
                _ => i >= 30 ? xyz[i % 30] : (float)random.Uniform(0, 1),       // ten points, again and again
            };
        }
        return xyz;
    }

    private static float Squared(ReadOnlySpan<float> a, int i, ReadOnlySpan<float> b, int j)
    {
        var (dx, dy, dz) = (a[3 * i] - b[3 * j], a[3 * i + 1] - b[3 * j + 1], a[3 * i + 2] - b[3 * j + 2]);
        return dx * dx + dy * dy + dz * dz;
    }

    // The official kernel as the spec tells it: T threads, each keeps its first strict maximum, a halving tree prefers the lower position.
    private static int[] FurthestReference(float[] xyz, int samples, int threads)
    {
        var n = xyz.Length / 3;
        var left = Enumerable.Repeat(1e10f, n).ToArray();
        var picked = new int[samples];
        for (var s = 1; s < samples; s++)
        {
            for (var k = 0; k < n; k++) left[k] = MathF.Min(left[k], Squared(xyz, k, xyz, picked[s - 1]));
            if (threads == 0)
            {
                picked[s] = Array.IndexOf(left, left.Max());
                continue;
            }
            var (best, where) = (new float[threads], new int[threads]);
            for (var t = 0; t < threads; t++)
            {
                best[t] = -1;
                for (var k = t; k < n; k += threads) if (left[k] > best[t]) (best[t], where[t]) = (left[k], k);
            }
            for (var half = threads / 2; half >= 1; half /= 2)
                for (var t = 0; t < half; t++) if (best[t + half] > best[t]) (best[t], where[t]) = (best[t + half], where[t + half]);
            picked[s] = where[0];
        }
        return picked;
    }

    [Theory]
    [InlineData("random", 700, 200)]
    [InlineData("lattice", 500, 120)]
    [InlineData("duplicates", 90, 60)]
    [InlineData("random", 1, 3)]
    [InlineData("random", 16, 16)]
    [InlineData("random", 257, 60)]
    [InlineData("random", 5000, 40)]        // three levels of nodes
    [InlineData("lattice", 4500, 40)]
    [InlineData("flat", 300, 100)]
    public void FurthestPointsEqualThePlainAlgorithmUnderBothTieRules(string kind, int n, int samples)
    {
        var xyz = Cloud(kind, n, 1);
        foreach (var threads in (int[])[0, FurthestPointKernel.TieThreads(n), 256])
        {
            var picked = new int[samples];
            FurthestPointKernel.Sample(xyz, picked, threads);
            Assert.Equal(FurthestReference(xyz, samples, threads), picked);
        }
    }

    [Fact]
    public void FurthestPointsCoverWithinTwiceTheOptimum()
    {
        // Eight corners of a cube with noise: the best eight centres cover within the noise.
        var random = new SampleRandom(3);
        var xyz = new float[3 * 400];
        for (var i = 0; i < 400; i++) for (var d = 0; d < 3; d++) xyz[3 * i + d] = (i % 8 >> d & 1) * 10 + (float)random.Uniform(-0.5, 0.5);
        var picked = PointOps.FurthestPoints(xyz, [400], [8]);
        var worst = Enumerable.Range(0, 400).Max(i => picked.Min(p => MathF.Sqrt(Squared(xyz, i, xyz, p))));
        Assert.True(worst <= 2 * Math.Sqrt(3) * 0.5 + 1e-4, $"covering radius {worst}");
    }

    [Theory]
    [InlineData("random", 900, 7)]
    [InlineData("lattice", 400, 16)]
    [InlineData("duplicates", 120, 20)]
    [InlineData("random", 5, 9)]
    public unsafe void NearestEqualsTheHeapOverAllPoints(string kind, int n, int k)
    {
        float[] xyz = Cloud(kind, n, 2), queries = Cloud(kind, 60, 5);
        var (index, distance) = PointOps.KNearest(k, xyz, queries, [n], [60]);
        var (expectedIndex, expected) = (new int[k], new float[k]);
        fixed (float* points = xyz, q = queries)
        {
            for (var i = 0; i < 60; i++)
            {
                NeighbourKernel.Heap(points, n, q + 3 * i, expectedIndex, expected);
                Assert.Equal(expectedIndex, index[(i * k)..((i + 1) * k)]);
                Assert.Equal(expected.Select(MathF.Sqrt), distance[(i * k)..((i + 1) * k)]);
            }
        }
        if (n < k) Assert.Equal(1e5f, distance[n]);
        // Lowest index among equals: sorted by (distance, index).
        var (low, _) = PointOps.KNearest(k, xyz, queries, [n], [60], TieRule.LowestIndex);
        for (var i = 0; i < 60; i++)
        {
            var wanted = Enumerable.Range(0, n).OrderBy(p => Squared(queries, i, xyz, p)).ThenBy(p => p).Take(k).ToArray();
            Assert.Equal(wanted, low[(i * k)..(i * k + wanted.Length)]);
        }
    }

    [Theory]
    [InlineData("random", 1.3f)]
    [InlineData("lattice", 1f)]
    [InlineData("duplicates", 0.3f)]
    public void BallQueryTakesTheFirstHitsInIndexOrder(string kind, float radius)
    {
        float[] xyz = Cloud(kind, 300, 4), queries = Cloud(kind, 40, 6);
        queries[0] = 100;       // nobody near
        var index = TensorMemory.ToArray<int>(PointOps.BallQuery(radius, 9, tensor(xyz, [1, 300, 3]), tensor(queries, [1, 40, 3])));
        for (var q = 0; q < 40; q++)
        {
            var hits = Enumerable.Range(0, 300).Where(p => Squared(queries, q, xyz, p) < radius * radius).Take(9).ToArray();
            var expected = Enumerable.Range(0, 9).Select(s => hits.Length == 0 ? 0 : s < hits.Length ? hits[s] : hits[0]);
            Assert.Equal(expected, index[(9 * q)..(9 * q + 9)]);
        }
    }

    [Fact]
    public void RadiusNeighboursAreCompleteSortedAndPadded()
    {
        float[] xyz = Cloud("random", 500, 8), queries = Cloud("random", 50, 9);
        var (q, s) = (tensor(queries, [50, 3]), tensor(xyz, [500, 3]));
        var found = PointOps.RadiusNeighbours(q, s, tensor(new[] { 20, 30 }), tensor(new[] { 200, 300 }), 1.5f);
        var (rows, width) = (TensorMemory.ToArray<int>(found), (int)found.shape[1]);
        var largest = 0;
        for (var i = 0; i < 50; i++)
        {
            var (from, to) = i < 20 ? (0, 200) : (200, 500);
            var expected = Enumerable.Range(from, to - from).Where(p => Squared(queries, i, xyz, p) < 1.5f * 1.5f).OrderBy(p => Squared(queries, i, xyz, p))
                .ToArray();
            largest = Math.Max(largest, expected.Length);
            Assert.Equal([.. expected, .. Enumerable.Repeat(500, width - expected.Length)], rows[(i * width)..((i + 1) * width)]);
        }
        Assert.Equal(largest, width);
        var (dense, distance) = PointOps.PartialDenseBall(q, s, tensor(new[] { 20, 30 }), tensor(new[] { 200, 300 }), 1.5f, 4);
        var (nearest, squared) = (TensorMemory.ToArray<int>(dense), TensorMemory.ToArray<float>(distance));
        for (var i = 0; i < 200; i++) Assert.Equal(rows[i / 4 * width + i % 4] == 500 ? -1 : rows[i / 4 * width + i % 4], nearest[i]);
        Assert.Equal(Array.ConvertAll(nearest, v => v < 0), Array.ConvertAll(squared, v => v == -1));
    }

    [Fact]
    public void InterpolationIsExactAtTheSupportsAndHasTheRightGradient()
    {
        var xyz = tensor(Cloud("random", 40, 10), [40, 3]);
        var features = randn(40, 5).requires_grad_();
        var (offset, again) = (tensor(new[] { 25, 40 }), tensor(new[] { 25, 40 }));
        TensorAssert.Close(features.detach(), PointOps.Interpolate(xyz, xyz, features, offset, again).detach(), 1e-4, 1e-4);
        var y = PointOps.Interpolate(xyz, tensor(Cloud("random", 12, 11), [12, 3]), features, offset, tensor(new[] { 6, 12 }));
        y.sum().backward();
        // Weights of every row sum to one.
        Assert.Equal(12.0, features.grad!.sum().item<float>() / 5, 4);
    }

    [Fact]
    public void GridSubsamplingKeepsBarycentresAndMajorities()
    {
        float[] xyz = [0.1f, 0.1f, 0.1f, 0.3f, 0.1f, 0.1f, 1.0f, 0.2f, 0.2f, 0.2f, 0.3f, 0.1f];     // x = 1 lies on a border: the upper cell
        var (points, lengths, features, labels, unique) =
            PointOps.GridSubsample(tensor(xyz, [4, 3]), tensor(new[] { 4 }), 0.5f, tensor(new[] { 1f, 2, 10, 6 }, [4, 1]), tensor(new[] { 7, 3, 5, 3 }));
        TensorAssert.Close(tensor(new[] { 0.2f, 1 / 6f, 0.1f, 1, 0.2f, 0.2f }, [2, 3]), points, 1e-6, 1e-6);
        TensorAssert.Close(tensor(new[] { 3f, 10 }, [2, 1]), features!, 1e-6, 0);
        Assert.Equal([3, 5], TensorMemory.ToArray<int>(labels!));
        Assert.Equal([2], TensorMemory.ToArray<int>(lengths));
        Assert.True(unique!.all().item<bool>());
    }

    [Fact]
    public void BadCloudsAreErrors()
    {
        var one = tensor(new[] { 1 });
        Assert.Contains("nan", Assert.Throws<BayouException>(() => PointOps.FurthestPointSample(tensor(new[] { float.NaN, 0, 0 }, [1, 3]), one, one)).Message,
            StringComparison.OrdinalIgnoreCase);
        Assert.Throws<BayouException>(() => PointOps.FurthestPointSample(zeros(4, 3), tensor(new[] { 3 }), one));
        Assert.Throws<BayouException>(() => PointOps.FurthestPointSample(zeros(4, 3), tensor(new[] { 0, 4 }), tensor(new[] { 1, 2 })));
        Assert.Throws<BayouException>(() => PointOps.KNearest(0, zeros(4, 3), zeros(1, 3), tensor(new[] { 4 }), one));
        Assert.Throws<BayouException>(() => PointOps.BallQuery(1, 4, zeros(2, 4, 3), zeros(1, 4, 3)));
        Assert.Throws<BayouException>(() => PointOps.GridSubsample(zeros(4, 3), tensor(new[] { 4 }), 0));
        Assert.Throws<ArgumentException>(() => VoxelKernel.RavelHash([long.MinValue / 4, 0, 0, long.MaxValue / 4, long.MaxValue / 4, long.MaxValue / 4], 3));
    }

    [Fact]
    public void RadixSortIsAStableSort()
    {
        var random = new SampleRandom(12);
        var keys = Enumerable.Range(0, 5000).Select(i => i % 3 == 0 ? random.NextBits() : (ulong)random.NextInt(50)).ToArray();
        var values = Enumerable.Range(0, keys.Length).ToArray();
        var expected = values.OrderBy(i => keys[i]).ToArray();      // LINQ's is stable
        RadixSort.Sort(keys, values);
        Assert.Equal(expected, values);
    }
}
