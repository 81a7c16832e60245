using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>What a user may choose when a catalog model is made.</summary>
/// <param name="Classes">Number of classes of the head.</param>
/// <param name="InChannels">Channels of the input.</param>
/// <param name="DropPath">Largest stochastic-depth rate; it grows linearly over the blocks.</param>
/// <param name="LayerScale">Initial layer scale; null takes the entry's own.</param>
/// <param name="InputSize">Side of the pictures, for networks with weights that are tied to a grid of tokens; null takes the entry's own. Others take any size
/// anyway.</param>
public sealed record ModelOptions(int Classes = 1000, int InChannels = 3, double DropPath = 0, double? LayerScale = null, int? InputSize = null);

/// <summary>One published model of the catalog.</summary>
/// <param name="Name">Unique lower-case name with underscores, e.g. convnext_tiny.</param>
/// <param name="System">The system (folder) it belongs to.</param>
/// <param name="Paper">Title, venue, arXiv number.</param>
/// <param name="Create">Makes the network with fresh weights.</param>
/// <param name="InputSize">Side of the square input it was published for.</param>
/// <param name="Parameters">Published parameter count with 1000 classes and 3 channels.</param>
/// <param name="Figures">Published figures, e.g. "ImageNet-1K top-1 82.1 % at 224, 4.5 GMAC".</param>
/// <param name="WeightsFile">Name of the official checkpoint file, where one is published.</param>
/// <param name="WeightsLicence">Licence of the official weights.</param>
public sealed record ModelEntry(
    string Name,
    string System,
    string Paper,
    Func<ModelOptions, Layer> Create,
    int InputSize,
    long Parameters,
    string Figures,
    string? WeightsFile = null,
    string? WeightsLicence = null)
{
    /// <summary>For a family of networks: the entry of a variant, which the catalog finds as NAME:VARIANT; null when the entry is one network.</summary>
    public Func<string, ModelEntry>? Variant { get; init; }

    /// <summary>Mean and deviation per colour channel that the published weights expect; null: ImageNet's.</summary>
    public (float[] Mean, float[] Std)? Normalisation { get; init; }
}

/// <summary>A network that gives its features at every stage, for dense heads and for explanations.</summary>
public interface IFeatureNetwork
{
    /// <summary>Features after every stage, [N, C_i, H_i, W_i], finest first.</summary>
    Tensor[] Features(Tensor x);
}

/// <summary>Model entries of several rooms, found by name. Rooms expose lists; who needs a catalog composes them.</summary>
public sealed class ModelCatalog
{
    private readonly Dictionary<string, ModelEntry> entries = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Composes a catalog.</summary>
    public ModelCatalog(params IEnumerable<ModelEntry>[] lists)
    {
        foreach (var entry in lists.SelectMany(l => l))
        {
            if (!entries.TryAdd(entry.Name, entry)) throw new BayouException($"Catalog: two models are named '{entry.Name}'");
        }
    }

    /// <summary>All entries by name.</summary>
    public IEnumerable<ModelEntry> Entries => entries.Values.OrderBy(e => e.Name, StringComparer.Ordinal);

    /// <summary>Finds an entry; an unknown name is an error with the nearest names.</summary>
    public ModelEntry Find(string name)
    {
        if (entries.TryGetValue(name, out var entry)) return entry;
        if (name.IndexOf(':') is var colon and > 0 && entries.TryGetValue(name[..colon], out var family)
            && family.Variant is { } variant) return variant(name[(colon + 1)..]);
        var near = entries.Keys.OrderBy(k => Distance(k.ToLowerInvariant(), name.ToLowerInvariant())).Take(3);
        throw new BayouException($"no model is named '{name}'; near: {string.Join(", ", near)} (`bayou models` lists all)");
    }

    /// <summary>Makes a network with fresh weights.</summary>
    public Layer Create(string name, ModelOptions? options = null) => Find(name).Create(options ?? new ModelOptions());

    // Levenshtein distance.
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var cost = Math.Min(Math.Min(row[j] + 1, row[j - 1] + 1), diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = row[j];
                row[j] = cost;
            }
        }
        return row[b.Length];
    }
}
