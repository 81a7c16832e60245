using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// A file of named tensors, opened for reading: safetensors, or a PyTorch checkpoint (.pth, .pt; zip and legacy form). The format is told
/// from the content, not from the name. The file is memory-mapped: opening reads only its index, <see cref="Get"/> only one tensor.
/// <para>
/// PyTorch checkpoints are pickles, that is programs. Here only tensors, containers, numbers and text are rebuilt; every other class becomes
/// an inert placeholder. Nothing is imported and nothing is called; only asking for a weight that is such a placeholder is an error.
/// </para>
/// <para>
/// Training checkpoints wrap the weights: the first of <c>model</c>, <c>state_dict</c>, <c>model_state</c>, <c>model_state_dict</c>,
/// <c>model_ema</c> that is a dict of tensors is taken (also one level further in), otherwise the file's own dict; then the prefix
/// <c>module.</c> (DataParallel) is removed if every key has it. Safetensors keys are left as they are.
/// </para>
/// Reading from several threads at once is safe. While it is open the file must not be shortened by others.
/// </summary>
public sealed class WeightFile : IDisposable
{
    private readonly MappedFile file;
    private readonly OrderedDictionary<string, StoredTensor> tensors;

    private WeightFile(MappedFile file, IEnumerable<KeyValuePair<string, StoredTensor>> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        this.file = file;
        this.tensors = new OrderedDictionary<string, StoredTensor>(tensors);
        Keys = [.. this.tensors.Keys];
        Metadata = metadata;
    }

    /// <summary>Opens a weight file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="section">PyTorch checkpoints only: the key of the dict to take instead of looking for one, such as <c>model_ema</c>.</param>
    /// <exception cref="BayouException">The file cannot be opened, is damaged, is of another kind, or holds no weights.</exception>
    public static WeightFile Open(string path, string? section = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        var file = new MappedFile(path);
        try
        {
            if (TorchCheckpoint.LooksLikeZip(file)) return new WeightFile(file, TorchCheckpoint.ReadZip(file, section), new Dictionary<string, string>());
            if (TorchCheckpoint.LooksLikeLegacy(file)) return new WeightFile(file, TorchCheckpoint.ReadLegacy(file, section), new Dictionary<string, string>());
            if (!SafetensorsReader.LooksLike(file)) throw NotWeights(file);
            if (section is not null) throw new BayouException($"'{path}' is a safetensors file, which has no section '{section}'");
            var (entries, metadata) = SafetensorsReader.Read(file);
            return new WeightFile(file, entries, metadata);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The file's path, as given.</summary>
    public string Path => file.Path;

    /// <summary>The keys in the file's order. Some may be refused when asked for: those whose value is not a tensor but an object of some class.</summary>
    public IReadOnlyList<string> Keys { get; }

    /// <summary>The free text of a safetensors header; empty for PyTorch checkpoints.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Whether the file has the key.</summary>
    public bool Contains(string key) => tensors.ContainsKey(key);

    /// <summary>Element type and shape of a tensor.</summary>
    /// <exception cref="BayouException">The key is missing or its value is refused.</exception>
    public TensorInfo Info(string key) => Entry(key).Info!;

    /// <summary>A tensor's values: a new contiguous CPU tensor of the stored type and shape, the caller's to dispose (or its dispose scope's).</summary>
    /// <exception cref="BayouException">The key is missing or its value is refused.</exception>
    public Tensor Get(string key) => Entry(key).Read();

    /// <summary>Copies the file's values into a module's parameters and buffers; see <see cref="ModuleWeights.Load"/>.</summary>
    /// <param name="module">The module; its tensor objects stay the same.</param>
    /// <param name="strict">Whether a missing, unexpected or mismatched key is an error. Nothing is copied if it is.</param>
    /// <param name="mapKey">The module's key for a key of the file; null leaves that key out.</param>
    /// <returns>What was loaded and what was not.</returns>
    /// <exception cref="BayouException">The file does not fit (strict), or a weight the module needs is refused.</exception>
    public LoadReport LoadInto(nn.Module module, bool strict = true, Func<string, string?>? mapKey = null) =>
        ModuleLoader.Load(new Source(this), module, strict, mapKey);

    /// <summary>Writes tensors as safetensors. The file appears whole or not at all: an interrupted write leaves what was there before.</summary>
    /// <param name="path">The file to write or replace.</param>
    /// <param name="tensors">Names and values; any device and layout. Tensors that share memory are written once for each name.</param>
    /// <param name="metadata">Free text for the header.</param>
    /// <exception cref="BayouException">A name is given twice, an element type has no form in the file, or the file cannot be written.</exception>
    public static void Save(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(tensors);
        SafetensorsWriter.Write(path, tensors, metadata);
    }

    /// <summary>Closes the file. Tensors already read stay valid.</summary>
    public void Dispose() => file.Dispose();

    private StoredTensor Entry(string key)
    {
        if (!tensors.TryGetValue(key, out var entry))
            throw new BayouException($"'{Path}' has no tensor '{key}'; it has {Keys.Count}{(Keys.Count == 0 ? "" : $", among them {string.Join(", ", Keys.Take(5))}")}");
        if (entry.Refusal is { } reason) throw new BayouException($"'{key}' in '{Path}' is refused: it is {reason}");
        return entry;
    }

    /// <summary>The error for a file of no known format, with the usual reason if it can be told.</summary>
    private static BayouException NotWeights(MappedFile file)
    {
        var start = file.Slice(0, (int)Math.Min(file.Length, 32));
        if (start.StartsWith("version https://git-lfs"u8))
            return new BayouException($"'{file.Path}' is a Git LFS pointer, not the weights themselves: fetch them with 'git lfs pull'");
        if (start.StartsWith("<"u8)) return new BayouException($"'{file.Path}' is a web page, not weights: the download got an error or log-in page");
        if (start[0] == 0x80)
        {
            return new BayouException($"'{file.Path}' is damaged or a Python pickle that torch.save did not write: "
                + "only torch.save checkpoints and safetensors are read");
        }
        return new BayouException($"'{file.Path}' is damaged or not a weight file: it starts neither as safetensors nor as a PyTorch checkpoint");
    }

    private sealed class Source(WeightFile file) : IWeightSource
    {
        public string Where => $"'{file.Path}'";

        public IReadOnlyList<string> Keys => file.Keys;

        public TensorInfo Info(string key) => file.Info(key);

        public bool SameElements(string a, string b) => file.tensors[a].SameElements(file.tensors[b]);

        public void CopyTo(string key, Tensor target) => target.copy_(file.Get(key));
    }
}
