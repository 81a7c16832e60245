using Bayou.Core;
using Bayou.Data;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What a person may choose for an explanation; a method reads what concerns it.</summary>
public sealed record ExplainOptions
{
    /// <summary>Layer, counted from 0 in running order; null: the method's own choice.</summary>
    public int? Layer { get; init; }

    /// <summary>Groups to find; null: the method's own choice.</summary>
    public int? Clusters { get; init; }
}

/// <summary>One picture to explain a model by.</summary>
/// <param name="Model">The network, in eval mode.</param>
/// <param name="Preprocessing">How pictures become its input.</param>
/// <param name="Picture">The decoded picture.</param>
/// <param name="Options">Choices.</param>
public sealed record ExplainRequest(Layer Model, Preprocessing Preprocessing, ImageBuffer Picture, ExplainOptions Options)
{
    /// <summary>The part of the picture that the network sees, at the size it sees it.</summary>
    public ImageBuffer Seen { get; } = Preprocessing.Fit(Picture);

    /// <summary>
    /// The same part for people to look at, at least <see cref="ShownSide"/> pixels a side: a network's 32 pixels are too small to see a map on.
    /// </summary>
    public ImageBuffer Shown =>
        (Preprocessing with { Size = Preprocessing.Size * Math.Max(1, (ShownSide + Preprocessing.Size - 1) / Preprocessing.Size) }).Fit(Picture);

    /// <summary>Least side of pictures that are written.</summary>
    public const int ShownSide = 384;

    /// <summary>The network's input [1, C, H, W].</summary>
    public Tensor Input() => tensor(Preprocessing.Apply(Picture), [1, Preprocessing.Channels, Preprocessing.Size, Preprocessing.Size]);
}

/// <summary>What a method found.</summary>
/// <param name="Pictures">Pictures to write, by a short name; the first is the one to look at.</param>
/// <param name="Facts">What goes into the JSON file.</param>
/// <param name="Lines">What a person reads in the terminal.</param>
/// <param name="Heat">How much each place counts, where the method says so: compared with fixation maps.</param>
public sealed record Explanation(IReadOnlyList<(string Name, ImageBuffer Picture)> Pictures, object Facts, IReadOnlyList<string> Lines,
    SaliencyMap? Heat = null);

/// <summary>A method of `bayou explain --method NAME`.</summary>
public interface IExplainer
{
    /// <summary>NAME.</summary>
    string Name { get; }

    /// <summary>What it shows, in a line.</summary>
    string Summary { get; }

    /// <summary>Explains one picture.</summary>
    /// <exception cref="BayouException">The network has nothing that this method could show.</exception>
    Explanation Explain(ExplainRequest request);
}

/// <summary>The methods of `bayou explain`.</summary>
public static class Explainers
{
    /// <summary>All methods: a further one is one class and one line here.</summary>
    public static IReadOnlyList<IExplainer> All { get; } =
    [
        new AttentionExplainer(),
        new ClusterExplainer(),
        new TokenExplainer(),
    ];

    /// <summary>Finds a method.</summary>
    /// <exception cref="BayouException">None has that name.</exception>
    public static IExplainer Find(string name) => All.FirstOrDefault(e => e.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new BayouException($"no explanation method is named '{name}'; there are: {string.Join(", ", All.Select(e => e.Name))}");
}
