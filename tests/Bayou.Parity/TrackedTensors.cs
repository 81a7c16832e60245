using System.Collections;
using System.Diagnostics.CodeAnalysis;
using Bayou.Core;
using TorchSharp;

namespace Bayou.Parity;

/// <summary>The tensors of one file of a case, read when first asked for, that remembers which were never asked for. Enumerating counts
/// as asking for all. The tensors live as long as this object, whatever dispose scopes the adapter opens.</summary>
public sealed class TrackedTensors : IReadOnlyDictionary<string, torch.Tensor>, IDisposable
{
    private readonly WeightFile? file;
    private readonly Dictionary<string, torch.Tensor> read = [];

    /// <summary>Opens the file; a file that does not exist has no tensors.</summary>
    public TrackedTensors(string path) => file = File.Exists(path) ? WeightFile.Open(path) : null;

    /// <summary>Keys whose values were never asked for.</summary>
    public IEnumerable<string> Unread => Keys.Where(k => !read.ContainsKey(k));

    public torch.Tensor this[string key] =>
        TryGetValue(key, out var tensor)
            ? tensor : throw new BayouException($"the case has no tensor '{key}'{(file is null ? "" : $" in {Path.GetFileName(file.Path)}")}");

    public IEnumerable<string> Keys => file?.Keys ?? [];

    public IEnumerable<torch.Tensor> Values => Keys.Select(k => this[k]);

    public int Count => file?.Keys.Count ?? 0;

    public bool ContainsKey(string key) => file?.Contains(key) ?? false;

    public bool TryGetValue(string key, [MaybeNullWhen(false)] out torch.Tensor value)
    {
        if (read.TryGetValue(key, out value)) return true;
        if (!ContainsKey(key)) return false;
        value = read[key] = file!.Get(key).DetachFromDisposeScope();
        return true;
    }

    public IEnumerator<KeyValuePair<string, torch.Tensor>> GetEnumerator() => Keys.Select(k => KeyValuePair.Create(k, this[k])).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public void Dispose()
    {
        foreach (var tensor in read.Values) tensor.Dispose();
        file?.Dispose();
    }
}
