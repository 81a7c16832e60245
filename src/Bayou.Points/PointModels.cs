using Bayou.Core;

namespace Bayou.Points;

/// <summary>The catalog entries of this room.</summary>
public static class PointModels
{
    /// <summary>Every model on points and voxels, system by system.</summary>
    public static IEnumerable<ModelEntry> All => [.. PointNetVariants.Entries, .. MinkUNetVariants.Entries];

    /// <summary>What a catalog model of this room takes.</summary>
    /// <exception cref="BayouException">The model is none of this room.</exception>
    public static PointTask TaskOf(string name) => Tasks.TryGetValue(name, out var task) ? task : throw new BayouException($"'{name}' is no model on points");

    /// <summary>Whether a catalog model takes points.</summary>
    public static bool Has(string name) => Tasks.ContainsKey(name);

    private static readonly Dictionary<string, PointTask> Tasks = All.ToDictionary(
        e => e.Name, e => e.System == "sparse-conv"
            ? PointTask.Voxels : e.Name.EndsWith("_seg", StringComparison.Ordinal) ? PointTask.SegmentPoints : PointTask.ClassifyShapes,
            StringComparer.OrdinalIgnoreCase);
}

/// <summary>What a network takes and gives.</summary>
public enum PointTask
{
    /// <summary>Clouds [B, C, N] -> logits [B, classes].</summary>
    ClassifyShapes,

    /// <summary>Clouds [B, C, N] -> logits [B N, classes].</summary>
    SegmentPoints,

    /// <summary>Packed voxels [n, 4 + C] -> logits [n, classes].</summary>
    Voxels,
}
