using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Train;

namespace Bayou.Points;

/// <summary>How a trained network on points sees its input; stored with its weights.</summary>
/// <param name="Model">Catalog name.</param>
/// <param name="Classes">Class names.</param>
/// <param name="Channels">Channels of a point or voxel.</param>
/// <param name="Points">Points of a cloud (PointNets).</param>
/// <param name="Voxel">Side of a voxel (sparse networks).</param>
/// <param name="Colour">Whether voxels carry colours instead of height and intensity.</param>
public sealed record PointSetup(string Model, string[] Classes, int Channels, int Points, float Voxel, bool Colour)
{
    private const string Key = "bayou.points";

    /// <summary>What the network takes.</summary>
    public PointTask Task => PointModels.TaskOf(Model);

    /// <summary>Settings of a voxel source.</summary>
    public VoxelOptions Voxels(bool training = false, int seed = 0) => new()
    {
        Side = Voxel,
        Features = Colour ? VoxelFeatures.Colour : VoxelFeatures.HeightIntensity,
        Training = training,
        Seed = seed,
        Augmentation = training ? PointAugmentation.Scans with { Elastic = [], Scale = (0.9, 1.1) } : null,
    };

    /// <summary>A source of batches as the network wants them.</summary>
    public IBatchSource Source(IReadOnlyList<ShapeSample> samples, int batch, bool training, int seed)
    {
        if (Task == PointTask.Voxels) return new VoxelSource([.. samples.Select(s => s.Cloud)], Classes.Length, batch, Voxels(training, seed));
        return new ShapeSource(samples, Classes.Length, batch, Shapes(training, seed));
    }

    /// <summary>Settings of a source of clouds.</summary>
    public ShapeOptions Shapes(bool training = false, int seed = 0) => new()
    {
        Points = Points,
        Channels = Channels,
        Segment = Task == PointTask.SegmentPoints,
        Normalize = true,
        Training = training,
        Seed = seed,
        Augmentation = !training
            ? null : Task == PointTask.SegmentPoints
            ? new PointAugmentation { RotateZ = Math.PI, Jitter = 0.005 } : PointAugmentation.Shapes with { Drop = 0.5 },
    };

    /// <summary>Makes the network with fresh weights.</summary>
    public Layer Create() =>
        PointModels.All.First(e => e.Name.Equals(Model, StringComparison.OrdinalIgnoreCase)).Create(new ModelOptions(Classes.Length, Channels));

    /// <summary>Writes weights and setup.</summary>
    public void Save(Layer network, string path) => network.Save(path, new Dictionary<string, string>
    {
        ["bayou.model"] = Model,
        ["bayou.labels"] = JsonSerializer.Serialize(Classes),
        [Key] = JsonSerializer.Serialize(this),
    });

    /// <summary>Opens weights that were saved with their setup.</summary>
    /// <exception cref="BayouException">The file holds no network on points.</exception>
    public static (PointSetup Setup, Layer Network) Load(string path)
    {
        using var file = WeightFile.Open(path);
        if (!file.Metadata.TryGetValue(Key, out var text))
            throw new BayouException($"'{path}' holds no network on points; `bayou train MODEL DATA` writes one");
        PointSetup setup;
        try
        {
            setup = JsonSerializer.Deserialize<PointSetup>(text) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new BayouException($"'{path}': its setup is damaged ({e.Message})", e);
        }
        var network = setup.Create();
        file.LoadInto(network);
        network.eval();
        return (setup, network);
    }

    /// <summary>Whether a file is a .safetensors of a network on points.</summary>
    public static bool IsModel(string path)
    {
        if (!path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) || !File.Exists(path)) return false;
        using var file = WeightFile.Open(path);
        return file.Metadata.ContainsKey(Key);
    }
}
