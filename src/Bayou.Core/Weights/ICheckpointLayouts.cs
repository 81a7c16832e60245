using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// A network that also reads checkpoints of another layout than its own: of older code, or of another picture size. Every way of loading weights asks it
/// (<see cref="ModuleWeights.Load"/>, <see cref="WeightFile.LoadInto"/>, commands).
/// </summary>
public interface ICheckpointLayouts
{
    /// <summary>
    /// The network's own keys for a key of a checkpoint: several where an older tensor holds them one after the other along its first axis in equal parts; null
    /// where the key is the network's own.
    /// </summary>
    IReadOnlyList<string>? KeysOf(string key) => null;

    /// <summary>A tensor of another shape than the network's, brought to it; null where that has no meaning.</summary>
    /// <param name="key">The network's key.</param>
    /// <param name="value">The checkpoint's value.</param>
    /// <param name="own">The network's tensor; it must not be changed.</param>
    Tensor? Resized(string key, Tensor value, Tensor own) => null;

    /// <summary>Whether a buffer follows from the network's configuration alone: a checkpoint may lack it, or have it for another size.</summary>
    bool IsDerived(string key) => false;
}

/// <summary>A weight source under the keys of a network that knows other layouts.</summary>
internal sealed class RearrangedSource : IWeightSource
{
    private readonly IWeightSource file;
    private readonly Dictionary<string, Part> parts = [];

    public RearrangedSource(IWeightSource file, ICheckpointLayouts layouts)
    {
        this.file = file;
        var keys = new List<string>();
        foreach (var fileKey in file.Keys)
        {
            var own = layouts.KeysOf(fileKey) ?? [fileKey];
            for (var i = 0; i < own.Count; i++)
            {
                if (!parts.TryAdd(own[i], new(fileKey, i, own.Count)))
                    throw new BayouException($"{file.Where}: the keys '{parts[own[i]].FileKey}' and '{fileKey}' both hold '{own[i]}'");
                keys.Add(own[i]);
            }
        }
        Keys = keys;
    }

    public string Where => file.Where;

    public IReadOnlyList<string> Keys { get; }

    public TensorInfo Info(string key)
    {
        var part = parts[key];
        var info = file.Info(part.FileKey);
        if (part.Count == 1) return info;
        if (info.Shape.Count == 0 || info.Shape[0] % part.Count != 0)
            throw new BayouException($"{file.Where}: '{part.FileKey}' [{string.Join(", ", info.Shape)}] cannot be cut into {part.Count} equal parts along its first axis");
        return new(info.DType, [info.Shape[0] / part.Count, .. info.Shape.Skip(1)]);
    }

    public bool SameElements(string a, string b) =>
        parts[a].Index == parts[b].Index && parts[a].Count == parts[b].Count && file.SameElements(parts[a].FileKey, parts[b].FileKey);

    public void CopyTo(string key, Tensor target)
    {
        var part = parts[key];
        if (part.Count == 1)
        {
            file.CopyTo(part.FileKey, target);
            return;
        }
        var info = file.Info(part.FileKey);
        using var whole = empty([.. info.Shape], info.DType);
        file.CopyTo(part.FileKey, whole);
        var rows = info.Shape[0] / part.Count;
        target.copy_(whole.narrow(0, part.Index * rows, rows));
    }

    private sealed record Part(string FileKey, int Index, int Count);
}
