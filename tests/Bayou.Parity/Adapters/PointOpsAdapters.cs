using Bayou.Core;
using Bayou.Kernels;
using Bayou.Points;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>point-ops/fps: furthest point sampling of stacked clouds and of a batch.</summary>
public sealed class FurthestPointAdapter : IParityAdapter
{
    public string Name => "point-ops/fps";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        foreach (var set in c.Inputs.Keys.Select(k => k.Split('.')[0]).Distinct())
        {
            var xyz = c.Inputs[$"{set}.xyz"];
            if (c.Inputs.ContainsKey($"{set}.npoint"))
            {
                ours[$"{set}.idx"] = PointOps.FurthestPointSample(xyz, (int)c.Inputs[$"{set}.npoint"].item<long>());
                continue;
            }
            var (offset, newOffset) = (c.Inputs[$"{set}.offset"], c.Inputs[$"{set}.new_offset"]);
            ours[$"{set}.idx"] = PointOps.FurthestPointSample(xyz, offset, newOffset);
            ours[$"{set}.idx_lowest_index_rule"] = PointOps.FurthestPointSample(xyz, offset, newOffset, TieRule.LowestIndex);
        }
        return ours;
    }
}

/// <summary>point-ops/neighbours: k-NN, interpolation, ball query and three-NN.</summary>
public sealed class NeighboursAdapter : IParityAdapter
{
    public string Name => "point-ops/neighbours";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        var samples = (int)c.Config.GetProperty("args").Number("ball_query_nsample", 12);
        foreach (var set in c.Inputs.Keys.Select(k => k.Split('.')[0]).Distinct())
        {
            if (c.Inputs.ContainsKey($"{set}.known"))
            {
                var (d, i, w) = PointOps.ThreeNearest(c.Inputs[$"{set}.unknown"].unsqueeze(0), c.Inputs[$"{set}.known"].unsqueeze(0));
                (ours[$"{set}.dist"], ours[$"{set}.idx"], ours[$"{set}.weight"]) = (d.squeeze(0), i.squeeze(0), w.squeeze(0));
                continue;
            }
            var (xyz, queries, offset, newOffset) =
                (c.Inputs[$"{set}.xyz"], c.Inputs[$"{set}.new_xyz"], c.Inputs[$"{set}.offset"], c.Inputs[$"{set}.new_offset"]);
            (ours[$"{set}.knn_idx"], ours[$"{set}.knn_dist"]) = PointOps.KNearest((int)c.Inputs[$"{set}.k"].item<long>(), xyz, queries, offset, newOffset);
            ours[$"{set}.interp3"] = PointOps.Interpolate(xyz, queries, c.Inputs[$"{set}.feat"], offset, newOffset);
            // The batch forms are run on the first cloud.
            var first = xyz.slice(0, 0, TensorMemory.ToArray<int>(offset)[0], 1).unsqueeze(0);
            var asked = queries.slice(0, 0, TensorMemory.ToArray<int>(newOffset)[0], 1).unsqueeze(0);
            ours[$"{set}.ball_query"] = PointOps.BallQuery(c.Inputs[$"{set}.radius"].item<float>(), samples, first, asked).squeeze(0);
            var (distance, index, weight) = PointOps.ThreeNearest(asked, first);
            (ours[$"{set}.three_nn_dist"], ours[$"{set}.three_nn_idx"], ours[$"{set}.three_nn_weight"]) =
                (distance.squeeze(0), index.squeeze(0), weight.squeeze(0));
        }
        return ours;
    }
}

/// <summary>point-ops/grid-voxel: grid subsampling, radius neighbours, hashed voxels, grid clusters, hard and dynamic voxels.</summary>
public sealed class GridVoxelAdapter : IParityAdapter
{
    public string Name => "point-ops/grid-voxel";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        var (points, features, args) = (c.Inputs["points"], c.Inputs["features"], c.Config.GetProperty("args"));
        var n = points.shape[0];
        var (sub, _, means, classes, unique) =
            PointOps.GridSubsample(points, tensor(new[] { (int)n }), c.Inputs["dl"].item<float>(), features, c.Inputs["classes"]);
        // The case writes rows in lexicographic order of the point, ours come in order of first appearance.
        var order = tensor(Lexicographic(sub, 0, (int)sub.shape[0]));
        (ours["sub_points"], ours["sub_features"]) = (sub.index_select(0, order), means!.index_select(0, order));
        (ours["sub_classes"], ours["sub_class_unique"]) = (classes!.index_select(0, order), unique!.index_select(0, order));

        var lengths = c.Inputs["batch_lengths"];
        var (batchSub, batchLengths, _, _, _) = PointOps.GridSubsample(points, lengths, c.Inputs["batch_dl"].item<float>());
        var batchOrder = new List<long>();
        foreach (var length in TensorMemory.ToArray<int>(batchLengths)) batchOrder.AddRange(Lexicographic(batchSub, batchOrder.Count, length));
        (ours["batch_sub_points"], ours["batch_sub_lengths"]) = (batchSub.index_select(0, tensor(batchOrder.ToArray())), batchLengths);
        ours["radius_neighbors"] = PointOps.RadiusNeighbours(c.Inputs["query_points"], points, batchLengths, lengths, c.Inputs["radius"].item<float>());

        Hashes(c, ours);
        var positions = cat([points, c.Inputs["batch"].to(float32).unsqueeze(1)], 1);
        var size = args.Floats("cluster_size");
        var plain = TensorMemory.ToArray<float>(positions);
        ours["cluster.grid"] = tensor(VoxelKernel.GridCluster(plain, size));
        var start = TensorMemory.ToArray<float>(positions.min(0).values);
        ours["cluster.grid_shift"] = tensor(VoxelKernel.GridCluster(TensorMemory.ToArray<float>(positions + 0.2), size, start));

        var rows = TensorMemory.ToArray<float>(cat([points, features], 1));
        var (range, voxel, width) = (args.Floats("point_cloud_range"), args.Floats("hard_voxel_size"), (int)(points.shape[1] + features.shape[1]));
        var maxPoints = (int)args.Number("max_points", 4);
        var hard = VoxelKernel.Hard(rows, width, voxel, range, maxPoints, (int)args.Number("max_voxels", 60));
        ours["hard.voxels"] = tensor(hard.Values, [hard.Counts.Length, maxPoints, width]);
        (ours["hard.coors_zyx"], ours["hard.num_points"]) = (tensor(hard.Coordinates, [hard.Counts.Length, 3]), tensor(hard.Counts));
        ours["dynamic.coors_zyx"] = tensor(VoxelKernel.Dynamic(rows, width, voxel, range), [n, 3]);
        return ours;
    }

    private static void Hashes(ParityCase c, Dictionary<string, Tensor> ours)
    {
        var points = c.Inputs["points"];
        var shifted = points - points.min(0).values;
        var cells = VoxelKernel.Cells(TensorMemory.ToArray<double>(shifted), c.Inputs["voxel_size"].item<float>());
        var hashes = VoxelKernel.FnvHash(cells, 3);
        var (order, counts) = VoxelKernel.SortByKey(hashes);
        ours["voxel.fnv_hash"] = tensor(hashes.Select(h => unchecked((long)h)).ToArray());
        ours["voxel.idx_sort"] = tensor(order.Select(i => (long)i).ToArray());
        ours["voxel.count"] = tensor(counts.Select(i => (long)i).ToArray());
        var parts = Enumerable.Range(0, counts.Max()).SelectMany(p => VoxelKernel.Sweep(order, counts, p)).Select(i => (long)i).ToArray();
        ours["voxel.test_parts"] = tensor(parts, [counts.Max(), counts.Length]);
    }

    private static IEnumerable<long> Rows(int from, int count) => Enumerable.Range(from, count).Select(i => (long)i);

    private static long[] Lexicographic(Tensor points, int from, int count)
    {
        var p = TensorMemory.ToArray<float>(points);
        return [.. Rows(from, count).OrderBy(i => p[3 * i]).ThenBy(i => p[3 * i + 1]).ThenBy(i => p[3 * i + 2])];
    }
}
