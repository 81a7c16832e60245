using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Points;

namespace Bayou.Fit;

/// <summary>Every model of every room, by name.</summary>
public static class Catalog
{
    /// <summary>The composed catalog.</summary>
    public static ModelCatalog Models { get; } = new(ImageModels.All, PointModels.All);

    /// <summary>How a model's published weights see pictures, at a size.</summary>
    public static Preprocessing PreprocessingOf(ModelEntry entry, int size, int channels = 3)
    {
        var usual = Preprocessing.For(size, channels);
        return channels == 3 && entry.Normalisation is { } n ? usual with { Mean = n.Mean, Std = n.Std } : usual;
    }

    /// <summary>Makes a network with fresh weights; load a published checkpoint with <c>.Load(path)</c>.</summary>
    public static Layer Create(string name, int classes = 1000, int inChannels = 3) => Models.Create(name, new ModelOptions(classes, inChannels));
}
