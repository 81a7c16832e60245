using Bayou.Core;
using Bayou.Data;
using Bayou.Kernels;
using Bayou.Points;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>
/// Sparse convolution: exactness against dense convolution, independence of threads, speed on real scans, and a U-Net that learns from a spatially split scan
/// and from generated rooms.
/// </summary>
public sealed class SparseConvClaim : IClaim
{
    private const int Grid = 12;

    /// <inheritdoc/>
    public string Name => "sparse-conv";

    /// <inheritdoc/>
    public string Paper =>
        "4D Spatio-Temporal ConvNets: Minkowski Convolutional Neural Networks, CVPR 2019, arXiv 1904.08755; 3D Semantic Segmentation with Submanifold Sparse Convolutional Networks, CVPR 2018";

    /// <inheritdoc/>
    public string Statement =>
        "Convolution on the occupied voxels only equals dense convolution there, and its work grows with the pairs of neighbours, not with the volume.";

    /// <inheritdoc/>
    public string Data =>
        "random grids for exactness; the real scans semantickitti-mini, scannet-mini, nuscenes-mini and kitti-mini for speed; one labelled SemanticKITTI scan cut into sectors; generated rooms (synthetic)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        foreach (var (name, size, dilation) in ((string, int, int)[])[("3x3x3", 3, 1), ("3x3x3 dilated 2", 3, 2), ("5x5x5", 5, 1)])
        {
            context.Check($"submanifold {name} against dense conv3d, {Grid}^3 grid, two batch items", "max |difference|",
                ("sparse", context.Measure($"dense.{size}.{dilation}", () => DenseDifference(size, dilation))), ("rounding", 1e-5));
        }
        context.Check("weight and input gradients against float64 of the plain formulation", "max relative difference",
            ("kernels", context.Measure("gradients", GradientDifference)), ("rounding", 1e-5));
        context.Check("results with 1 and with 2 threads", "elements that differ", ("sparse", context.Measure("threads", ThreadDifference)),
            ("the same bits", 0));
        Speed(context);
        Learning(context);
    }

    private static int[] Random(int seed, double density, int low)
    {
        var random = new SampleRandom((ulong)seed);
        var rows = new List<int>();
        for (var b = 0; b < 2; b++)
            for (var i = 0; i < Grid * Grid * Grid; i++)
                if (random.Chance(density)) rows.AddRange([b, i / (Grid * Grid) + low, i / Grid % Grid + low, i % Grid + low]);
        return [.. rows];
    }

    private static double DenseDifference(int size, int dilation)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var voxels = Random(size, 0.15, -5);        // coordinates from -5 to 6
        var n = voxels.Length / 4;
        var cells = tensor(Enumerable.Range(0, n)
            .Select(i => ((voxels[4 * i] * (long)Grid + voxels[4 * i + 1] + 5) * Grid + voxels[4 * i + 2] + 5) * Grid + voxels[4 * i + 3] + 5).ToArray());
        Tensor x = randn(n, 16), kernel = randn(size * size * size, 16, 24).mul(Number.Of(0.05));
        var y = SparseConv.Apply(KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(size, dilation)), x, kernel, null);
        var grid = zeros(2L * Grid * Grid * Grid, 16).index_add(0, cells, x, Number.Of(1)).reshape(2, Grid, Grid, Grid, 16).permute(0, 4, 1, 2, 3);
        long pad = size / 2 * dilation;
        var weight = kernel.reshape(size, size, size, 16, 24).permute(4, 3, 2, 1, 0);
        var dense = nn.functional.conv3d(grid, weight, padding: [pad, pad, pad], dilation: [dilation, dilation, dilation]).permute(0, 2, 3, 4, 1)
            .reshape(-1, 24).index_select(0, cells);
        return dense.sub(y).abs().max().item<float>();
    }

    private static double GradientDifference()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var voxels = Random(3, 0.2, 0);
        var map = KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(3));
        Tensor x = randn(voxels.Length / 4, 32), w = randn(27, 32, 32).mul(Number.Of(0.05)), dy = randn(voxels.Length / 4, 32);
        var (xf, wf) = (x.clone().requires_grad_(), w.clone().requires_grad_());
        var (xd, wd) = (x.to(float64).requires_grad_(), w.to(float64).requires_grad_());
        SparseConv.Apply(map, xf, wf, null).backward([dy]);
        SparseConv.Apply(map, xd, wd, null).backward([dy.to(float64)]);
        double Relative(Tensor a, Tensor b) => a.to(float64).sub(b).abs().max().item<double>() / b.abs().max().item<double>();
        return Math.Max(Relative(xf.grad!, xd.grad!), Relative(wf.grad!, wd.grad!));
    }

    private static double ThreadDifference()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var voxels = SparseTensor.Quantize(SyntheticRooms.Make(1).Cloud.Positions, 0.05f).Coordinates;
        var map = KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(3));
        Tensor x = randn(voxels.Length / 4, 32), w = randn(27, 32, 32), dy = randn(voxels.Length / 4, 32);
        var threads = KernelThreads.Count;
        try
        {
            var results = ((int[])[1, 2]).Select(t =>
            {
                KernelThreads.Count = t;
                var (a, b) = (x.clone().requires_grad_(), w.clone().requires_grad_());
                var y = SparseConv.Apply(map, a, b, null);
                y.backward([dy]);
                return new[] { y.detach(), a.grad!, b.grad! };
            }).ToArray();
            return results[0].Zip(results[1], (a, b) => a.ne(b).sum().item<long>()).Sum();
        }
        finally
        {
            KernelThreads.Count = threads;
        }
    }

    // Throughput on the scans of the spec's table, against gather, product and scatter offset by offset in libtorch.
    private static void Speed(ClaimContext context)
    {
        var rows = new List<string[]>();
        var worst = double.PositiveInfinity;
        foreach (var (name, file, side) in ((string, string, float)[])[("semantickitti-mini 0.05 m", "semantickitti-mini/000000.bin", 0.05f),
            ("semantickitti-mini 0.1 m", "semantickitti-mini/000000.bin", 0.1f),
            ("scannet-mini 0.05 m", "scannet-mini/scene0000_00.bin", 0.05f), ("nuscenes-mini 0.1 m", "nuscenes-mini/lidar_top.pcd.bin", 0.1f),
            ("kitti-mini 0.05 m", "kitti-mini/000008.bin", 0.05f)])
        {
            if (DataCatalog.SamplesFolder is not { } samples || !File.Exists(Path.Combine(samples, file))) continue;
            var voxels = SparseTensor.Quantize(PointFiles.Read(Path.Combine(samples, file)).Positions, side).Coordinates;
            var map = KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(3));
            foreach (var channels in (int[])[32, 64])
            {
                var times = context.Remember($"speed.{name}.{channels}",
                    () => new Times(Timed(map, voxels.Length / 4, channels, false), Timed(map, voxels.Length / 4, channels, true)));
                worst = Math.Min(worst, times.Plain / times.Ours);
                rows.Add([name, $"{voxels.Length / 4}", $"{map.Pairs}", $"{channels}", $"{times.Ours:0.0}", $"{times.Plain:0.0}",
                    $"{2.0 * map.Pairs * channels * channels / times.Ours / 1e6:0}"]);
            }
        }
        if (rows.Count == 0)
        {
            context.Note("The sample scans are not here: no speed was measured.");
            return;
        }
        context.Table("One 3x3x3 layer, kernel map cached, forward, best of several runs",
            ["scan", "voxels", "pairs", "channels", "ours, ms", "gather-mm-scatter, ms", "ours, GFLOP/s"], rows);
        context.Check("speed by libtorch's gather-mm-scatter, smallest over scans and channels", "times", ("ours", worst), ("spec", 2), atMost: false);
    }

    private sealed record Times(double Ours, double Plain);

    private static double Timed(KernelMap map, int n, int channels, bool composed)
    {
        using var scope = NewDisposeScope();
        using var guard = no_grad();
        Tensor x = randn(n, channels), w = randn(27, channels, channels);
        var best = double.PositiveInfinity;
        for (var run = 0; run < 7; run++)
        {
            using var inner = NewDisposeScope();
            var start = System.Diagnostics.Stopwatch.GetTimestamp();
            _ = composed ? SparseConv.Composed(map, x, w, null) : SparseConv.Apply(map, x, w, null);
            best = Math.Min(best, System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        return best;
    }

    // A small U-Net on parts of a scan, and of generated rooms, that it has not seen.
    private static void Learning(ClaimContext context)
    {
        var rows = new List<string[]>();
        if (DataCatalog.SamplesFolder is { } samples && File.Exists(Path.Combine(samples, "semantickitti-mini/000000.label")))
            rows.Add(Row("semantickitti-mini/000000.bin, sectors", PointData.Open(Path.Combine(samples, "semantickitti-mini/000000.bin")), 0.2f, false,
                context.Pick(12, 40)));
        rows.Add(Row("generated rooms, unseen (synthetic)", PointData.Open("synthetic-rooms"), 0.1f, true, context.Pick(4, 15)));
        context.Table("MinkUNet small, trained here; test on unseen sectors and rooms",
            ["data", "mean IoU, %", "overall accuracy, %", "always the most frequent class, %"], rows);

        string[] Row(string name, PointData data, float side, bool colour, int epochs)
        {
            var score = context.Remember($"unet.{name}.{epochs}", () =>
            {
                manual_seed(0);
                var setup = new PointSetup("minkunet_small", [.. data.Classes], 3, 0, side, colour);
                using var network = setup.Create();
                using var trained = Trainer.Train(network, setup.Source(data.Train, 2, training: true, 0), null, VoxelTraining.Recipe(epochs, 2, 6e-3),
                    new TrainerOptions { Cancellation = context.Cancel });
                var metrics = VoxelTraining.Evaluate(network, setup.Source(data.Test, 1, training: false, 0), context.Cancel);
                var counts = Enumerable.Range(0, metrics.Classes).Select(l => Enumerable.Range(0, metrics.Classes).Sum(p => metrics.Confusion[l, p])).ToArray();
                return new Learned(metrics.MeanIou, metrics.OverallAccuracy, (double)counts.Max() / counts.Sum());
            });
            return [name, $"{100 * score.Iou:0.0}", $"{100 * score.Accuracy:0.0}", $"{100 * score.Frequent:0.0}"];
        }
    }

    private sealed record Learned(double Iou, double Accuracy, double Frequent);
}
