using System.Diagnostics;
using Bayou.Core;
using Bayou.Data;
using Bayou.Kernels;
using Bayou.Points;
using static TorchSharp.torch;

namespace Bayou.Bench;

/// <summary>
/// Sparse convolution and point operators against plain libtorch formulations and straightforward SIMD brute force in C#. What would take minutes is measured
/// on a part of the queries and
/// extrapolated; the case says so.
/// </summary>
public sealed class PointsBenchmark : IBenchmark
{
    public string Name => "points";

    public string Summary => "sparse convolution, kernel maps, furthest points, k-NN: against libtorch and SIMD brute force";

    public void Run(BenchContext context)
    {
        Convolutions(context);
        KernelMaps(context);
        Furthest(context);
        Neighbours(context);
    }

    // --- sparse convolution, 64 -> 64, kernel map cached

    private static void Convolutions(BenchContext context)
    {
        var marks = new List<(double Peak, double Ratio)>();
        foreach (var (name, voxels) in Scenes(context).Concat([Surface(100_000, context.Seed)]))
        {
            foreach (var channels in (int[])[32, 64])
            {
                var measured = Convolution(context, name, voxels, channels);
                if (channels == 64 && name.StartsWith("surface", StringComparison.Ordinal)) marks.Add(measured);
            }
        }
        context.Mark("submanifold 3x3x3 64->64, 100k voxels, forward: share of the GEMM peak", marks[0].Peak, 0.5);
        context.Mark("submanifold 3x3x3 64->64, 100k voxels, forward and backward: by libtorch's gather-mm-scatter", marks[0].Ratio, 3);
    }

    private static (double Peak, double Ratio) Convolution(BenchContext context, string name, int[] voxels, int channels)
    {
        using var scope = NewDisposeScope();
        manual_seed(context.Seed);
        var n = voxels.Length / 4;
        var map = KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(3));
        Tensor x = randn(n, channels), w = randn(27, channels, channels) * 0.05, dy = randn(n, channels);
        var index = Enumerable.Range(0, 27).Select(k => (In: Rows(map.In(k)), Out: Rows(map.Out(k)), Weight: w[k])).ToArray();
        var work = (double)map.Pairs * channels * channels;
        var label = $"{name}, {n} voxels, {map.Pairs / (double)n:0.00} pairs a voxel, {channels}->{channels}";
        BenchRow forward;
        using (no_grad())
        {
            forward = context.Row("conv_forward", label, () => Released(() => SparseConv.Apply(map, x, w, null)),
                [("gather_mm_scatter", () => Released(() => Libtorch(index, x, n, channels)))],
                work, context.GemmPeak);
        }
        var (xg, wg) = (x.clone().requires_grad_(), w.clone().requires_grad_());
        var both = context.Row("conv_forward_backward", label, () => Trained(() => SparseConv.Apply(map, xg, wg, null), dy),
            [("gather_mm_scatter", () => Trained(() => Libtorch([.. index.Select((k, i) => (k.In, k.Out, wg[i]))], xg, n, channels), dy))], 3 * work,
            context.GemmPeak);
        return (forward.PeakShare!.Value, Math.Min(forward.RatioBestPeer!.Value, both.RatioBestPeer!.Value));

        void Trained(Func<Tensor> y, Tensor gradient) => Released(() =>
        {
            var result = y();
            result.backward([gradient]);
            xg.grad?.zero_();
            wg.grad?.zero_();
            return result;
        });
    }

    // Index tensors are made beforehand: the kernel map is cached for both.
    private static Tensor Libtorch((Tensor In, Tensor Out, Tensor Weight)[] offsets, Tensor x, long n, long channels)
    {
        var y = zeros(n, channels);
        foreach (var (inRows, outRows, weight) in offsets)
            if (inRows.shape[0] > 0) y = y.index_add_(0, outRows, x.index_select(0, inRows).mm(weight), Number.Of(1));
        return y;
    }

    private static Tensor Rows(ReadOnlySpan<int> rows) => tensor(Array.ConvertAll(rows.ToArray(), r => (long)r));

    private static void Released(Func<Tensor> run)
    {
        using var scope = NewDisposeScope();
        run();
    }

    // --- kernel maps

    private static void KernelMaps(BenchContext context)
    {
        foreach (var n in (int[])[10_000, 100_000, 1_000_000])
        {
            var (name, voxels) = Surface(n, context.Seed);
            KernelMap? map = null;
            var ours = context.Time(3, () => map = KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(3)))[0];
            var peer = context.Time(1, () => HashMap(voxels))[0];
            var count = voxels.Length / 4;
            context.Add("kernel_map", $"{name}, {count} voxels, 3x3x3", ours, new Dictionary<string, double> { ["dictionary"] = peer }, null,
                new Dictionary<string, double>
                {
                    ["pairs_per_voxel"] = map!.Pairs / (double)count,
                    ["map_bytes_per_voxel"] = map.Bytes / (double)count,
                    ["ns_per_voxel"] = ours * 1e6 / count,
                });
            if (n == 1_000_000) context.Mark("kernel map of 1M voxels: seconds below one (1 / s)", 1000 / ours, 1);
        }
    }

    // A dictionary of coordinates, a look-up for every offset.
    private static long HashMap(int[] voxels)
    {
        var rows = new Dictionary<(int, int, int, int), int>(voxels.Length / 4);
        for (var i = 0; i < voxels.Length; i += 4) rows[(voxels[i], voxels[i + 1], voxels[i + 2], voxels[i + 3])] = i / 4;
        var offsets = KernelOffsets.Minkowski(3);
        long pairs = 0;
        for (var k = 0; k < offsets.Length; k += 3)
        {
            for (var i = 0; i < voxels.Length; i += 4)
                if (rows.ContainsKey((voxels[i], voxels[i + 1] + offsets[k], voxels[i + 2] + offsets[k + 1], voxels[i + 3] + offsets[k + 2]))) pairs++;
        }
        return pairs;
    }

    // --- furthest points, k-NN

    private static void Furthest(BenchContext context)
    {
        foreach (var n in (int[])[10_000, 100_000, 1_000_000])
        {
            var points = SurfacePoints(n, context.Seed);
            var picked = new int[2048];
            var most = n <= 100_000 ? picked.Length : 128;
            var times = context.Time(2, () => FurthestPointKernel.Sample(points, picked, 0), () => BruteForce.Furthest(points, new int[most]));
            var brute = times[1] * picked.Length / most;
            var note = most < picked.Length ? ", brute force extrapolated from 128 samples" : "";
            context.Add("furthest_points", $"{n} -> 2048{note}", times[0], new Dictionary<string, double> { ["simd_brute_force"] = brute });
            if (n == 100_000) context.Mark("furthest points 100k -> 2048, exact, by SIMD brute force", brute / times[0], 10);
        }
    }

    private static unsafe void Neighbours(BenchContext context)
    {
        const int k = 16;
        foreach (var n in (int[])[10_000, 100_000, 1_000_000])
        {
            var points = SurfacePoints(n, context.Seed);
            var (index, distance) = (new int[n * k], new float[n * k]);
            var ours = context.Time(n > 500_000 ? 1 : 3, () =>
            {
                fixed (float* p = points, d = distance)
                fixed (int* i = index) NeighbourKernel.Nearest(p, n, new PointTree(points), p, n, k, i, d, heapOrder: false);
            })[0];
            var part = Math.Min(n, 2_000_000 / (n / 1000));
            var start = Stopwatch.GetTimestamp();
            BruteForce.Nearest(points, part, k, context.Threads);
            var brute = Stopwatch.GetElapsedTime(start).TotalMilliseconds * n / part;
            context.Add("knn", $"{n} x {k}, tree included, brute force extrapolated from {part} queries", ours,
                new Dictionary<string, double> { ["simd_brute_force"] = brute }, null,
                new Dictionary<string, double> { ["ns_per_query"] = ours * 1e6 / n });
            if (n == 1_000_000) context.Mark("k-NN 1M x 16, exact, by SIMD brute force", brute / ours, 10);
        }
    }

    // --- inputs

    private static IEnumerable<(string, int[])> Scenes(BenchContext context)
    {
        if (DataCatalog.SamplesFolder is not { } samples) yield break;
        foreach (var (name, file, side) in ((string, string, float)[])[("semantickitti 0.05 m", "semantickitti-mini/000000.bin", 0.05f),
            ("scannet 0.02 m", "scannet-mini/scene0000_00.bin", 0.02f)])
        {
            var path = Path.Combine(samples, file);
            if (File.Exists(path)) yield return (name, SparseTensor.Quantize(PointFiles.Read(path).Positions, side).Coordinates);
        }
    }

    /// <summary>About n voxels on wavy surfaces: each has the neighbours a scanned surface gives it.</summary>
    internal static (string Name, int[] Voxels) Surface(int n, int seed)
    {
        // Tiles of surface one above the other, thinned so that a scan's gaps are there too.
        var random = new SampleRandom((ulong)seed);
        var side = (int)Math.Ceiling(Math.Sqrt(n / 4 / 0.62));
        var voxels = new List<int>(4 * n);
        for (var x = 0; x < side; x++)
        {
            for (var y = 0; y < side; y++)
            {
                for (var layer = 0; layer < 4; layer++)
                {
                    if (!random.Chance(0.62)) continue;
                    voxels.AddRange([0, x, y, 40 * layer + (int)Math.Round(8 * Math.Sin(x * 0.05 + layer) + 6 * Math.Cos(y * 0.07))]);
                }
            }
        }
        return ("surface", [.. voxels]);
    }

    internal static float[] SurfacePoints(int n, int seed)
    {
        var random = new SampleRandom((ulong)seed);
        var points = new float[3 * n];
        for (var i = 0; i < n; i++)
        {
            double x = random.Uniform(0, 50), y = random.Uniform(0, 50);
            (points[3 * i], points[3 * i + 1], points[3 * i + 2]) =
                ((float)x, (float)y, (float)(2 * Math.Sin(x * 0.4) + Math.Cos(y * 0.6) + 4 * random.NextInt(3) + random.NextGaussian() * 0.01));
        }
        return points;
    }
}
