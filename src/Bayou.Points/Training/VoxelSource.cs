using Bayou.Core;
using Bayou.Data;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>What a voxel network sees of a point, besides where it is.</summary>
public enum VoxelFeatures
{
    /// <summary>Height, echo strength, and 1: three channels that every scan has.</summary>
    HeightIntensity,

    /// <summary>Colours in -1..1.</summary>
    Colour,
}

/// <summary>Settings of a <see cref="VoxelSource"/>.</summary>
public sealed record VoxelOptions
{
    /// <summary>Side of a voxel in the scenes' units.</summary>
    public float Side { get; init; } = 0.05f;

    /// <summary>Features of a voxel (its first point's).</summary>
    public VoxelFeatures Features { get; init; }

    /// <summary>In training only; null: none.</summary>
    public PointAugmentation? Augmentation { get; init; }

    /// <summary>Shuffles.</summary>
    public bool Training { get; init; }

    /// <summary>Of order and augmentation.</summary>
    public int Seed { get; init; }
}

/// <summary>
/// Labelled scenes as packed voxels [n, 4 + 3] for sparse networks, several scenes a batch. A voxel whose points disagree is ignored; points labelled below 0
/// are too. Samples are scenes for the order, voxels for the metrics.
/// </summary>
public sealed class VoxelSource : CloudSource
{
    private readonly IReadOnlyList<PointCloud> scenes;
    private readonly VoxelOptions options;

    /// <summary>Creates a source.</summary>
    /// <exception cref="BayouException">No scenes, one without labels, or without the colours asked for.</exception>
    public VoxelSource(IReadOnlyList<PointCloud> scenes, int classes, int batchSize, VoxelOptions options)
        : base("scenes", scenes.Count, classes, batchSize, shuffle: options.Training, dropLast: false, options.Seed)
    {
        for (var i = 0; i < scenes.Count; i++)
        {
            if (scenes[i].Count == 0 || scenes[i].Labels is null) throw new BayouException($"scene {i} has no points or no labels");
            if (options.Features == VoxelFeatures.Colour && scenes[i].Colours is null) throw new BayouException($"scene {i} has no colours");
        }
        (this.scenes, this.options) = (scenes, options);
    }

    /// <inheritdoc/>
    protected override Batch Make(int[] rows, int epoch, int number)
    {
        var (packed, labels, indices) = (new List<float>(), new List<long>(), new List<int>());
        for (var b = 0; b < rows.Length; b++)
        {
            var cloud = scenes[rows[b]];
            var (positions, colours) = ((float[])cloud.Positions.Clone(), (byte[]?)cloud.Colours?.Clone());
            if (options.Training) options.Augmentation?.Apply(positions, colours, SampleRandom.For(options.Seed, epoch, rows[b]));
            var voxels = Pack(cloud with { Positions = positions, Colours = colours }, options, b, packed);
            foreach (var label in voxels.Labels)
            {
                labels.Add(label < 0 ? -100 : label);
                indices.Add(rows[b]);
            }
        }
        return new Batch(tensor(packed.ToArray(), [labels.Count, 7]).DetachFromDisposeScope(), tensor(labels.ToArray()).DetachFromDisposeScope(),
            [.. indices], number);
    }

    /// <summary>Appends a cloud's packed voxels (batch, x, y, z, three features) to <paramref name="rows"/>.</summary>
    public static Quantized Pack(PointCloud cloud, VoxelOptions options, int batch, List<float> rows)
    {
        var voxels = SparseTensor.Quantize(cloud.Positions, options.Side, batch, cloud.Labels ?? new int[cloud.Count], ignore: -100);
        for (var v = 0; v < voxels.First.Length; v++)
        {
            var p = voxels.First[v];
            for (var c = 0; c < 4; c++) rows.Add(voxels.Coordinates[4 * v + c]);
            if (options.Features == VoxelFeatures.Colour) for (var c = 0; c < 3; c++) rows.Add(cloud.Colours![3 * p + c] / 127.5f - 1);
            else rows.AddRange([cloud.Positions[3 * p + 2], cloud.Intensity?[p] ?? 0, 1]);
        }
        return voxels;
    }

    /// <summary>Labels every point of a cloud with a voxel network.</summary>
    /// <param name="network">Packed voxels -> logits.</param>
    /// <param name="cloud">The points.</param>
    /// <param name="options">As the network was trained.</param>
    /// <returns>[n] classes.</returns>
    public static int[] Label(nn.Module<Tensor, Tensor> network, PointCloud cloud, VoxelOptions options)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        var rows = new List<float>();
        var voxels = Pack(cloud with { Labels = null }, options, 0, rows);
        var best = VoxelTraining.Best(network.call(tensor(rows.ToArray(), [voxels.First.Length, 7])));
        return Array.ConvertAll(voxels.Inverse, v => best[v]);
    }
}
