using Bayou.Core;
using Bayou.Images;

namespace Bayou.Fit;

/// <summary>Every model of every room, by name.</summary>
public static class Catalog
{
    /// <summary>The composed catalog.</summary>
    public static ModelCatalog Models { get; } = new(ImageModels.All);

    /// <summary>Makes a network with fresh weights; load a published checkpoint with <c>.Load(path)</c>.</summary>
    public static Layer Create(string name, int classes = 1000, int inChannels = 3) => Models.Create(name, new ModelOptions(classes, inChannels));
}
