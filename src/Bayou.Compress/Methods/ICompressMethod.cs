using Bayou.Core;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>A way to make a trained network smaller: what `bayou compress MODEL DATA --method NAME` runs.</summary>
public interface ICompressMethod
{
    /// <summary>Name on the command line.</summary>
    string Name { get; }

    /// <summary>What it does, in a line.</summary>
    string Summary { get; }

    /// <summary>Its settings with their defaults; `--set name=value` changes them.</summary>
    IReadOnlyDictionary<string, double> Defaults { get; }

    /// <summary>Makes the smaller network.</summary>
    /// <exception cref="BayouException">The method does not know this kind of network, or lacks a teacher.</exception>
    CompressedModel Run(CompressJob job);
}

/// <summary>What a method gets.</summary>
/// <param name="Model">Catalog name of the network.</param>
/// <param name="Network">The network with its weights; it stays as it is and belongs to the caller.</param>
/// <param name="Create">Makes any catalog network for the same classes and channels.</param>
/// <param name="Teacher">Logits [N, K] of the teacher for the pictures as the network sees them; null: the network itself teaches.</param>
/// <param name="Train">Training batches.</param>
/// <param name="Val">Validation batches.</param>
/// <param name="Recipe">How to train.</param>
/// <param name="Options">Run folder, seed, progress, cancellation.</param>
/// <param name="Settings">All of the method's settings.</param>
/// <param name="Note">Told what happens.</param>
public sealed record CompressJob(
    string Model, Layer Network, Func<string, Layer> Create, Func<Tensor, Tensor>? Teacher, IBatchSource Train, IBatchSource Val, Recipe Recipe,
    TrainerOptions Options,
    IReadOnlyDictionary<string, double> Settings, Action<string> Note);

/// <summary>What came out.</summary>
/// <param name="Name">Catalog name of the smaller network: it reads the saved weights.</param>
/// <param name="Network">The smaller network, in eval mode; the caller disposes it.</param>
public sealed record CompressedModel(string Name, Layer Network);

/// <summary>All methods by name.</summary>
public static class CompressMethods
{
    /// <summary>One a method.</summary>
    public static IReadOnlyList<ICompressMethod> All { get; } =
    [
        new MiniViTCompression(),
    ];

    /// <summary>Finds a method.</summary>
    /// <exception cref="BayouException">No method has that name.</exception>
    public static ICompressMethod Find(string name) =>
        All.FirstOrDefault(m => m.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            ?? throw new BayouException($"no compression method is named '{name}'; there are: {string.Join(", ", All.Select(m => m.Name))}");

    /// <summary>A method's settings with changes such as "qkv=0.5".</summary>
    /// <exception cref="BayouException">An unknown setting, or no number.</exception>
    public static IReadOnlyDictionary<string, double> Settings(ICompressMethod method, IEnumerable<string> changes) =>
        NamedSettings.Changed(method.Name, method.Defaults, changes);
}
