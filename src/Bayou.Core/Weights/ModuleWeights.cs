using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Loading and saving a module's weights under its official state-dict keys.</summary>
public static class ModuleWeights
{
    /// <summary>Loads a safetensors file or PyTorch checkpoint into the module and returns the module.</summary>
    /// <param name="module">The module; its parameter and buffer objects stay the same, only their values change.</param>
    /// <param name="path">The file; see <see cref="WeightFile"/> for what is read and how nested checkpoints are handled.</param>
    /// <param name="strict">Whether a missing, unexpected or mismatched key is an error; otherwise what fits is loaded. For the report use
    /// <see cref="WeightFile.LoadInto"/>.</param>
    /// <param name="mapKey">The module's key for a key of the file; null leaves that key out.</param>
    /// <exception cref="BayouException">The file cannot be read or (strict) does not fit; the module is then unchanged.</exception>
    public static T Load<T>(this T module, string path, bool strict = true, Func<string, string?>? mapKey = null) where T : nn.Module
    {
        using var file = WeightFile.Open(path);
        file.LoadInto(module, strict, mapKey);
        return module;
    }

    /// <summary>Copies named tensors into the module's parameters and buffers, with the checks and the report of <see cref="WeightFile.LoadInto"/>.</summary>
    /// <param name="module">The module; its tensor objects stay the same.</param>
    /// <param name="state">Values by key.</param>
    /// <param name="strict">Whether a missing, unexpected or mismatched key is an error. Nothing is copied if it is.</param>
    /// <param name="mapKey">The module's key for a key of <paramref name="state"/>; null leaves that key out.</param>
    /// <returns>What was loaded and what was not.</returns>
    /// <exception cref="BayouException">The tensors do not fit (strict).</exception>
    public static LoadReport LoadState(
        this nn.Module module, IEnumerable<KeyValuePair<string, Tensor>> state, bool strict = true, Func<string, string?>? mapKey = null) =>
        ModuleLoader.Load(new StateSource(state), module, strict, mapKey);

    /// <summary>Saves the module's parameters and persistent buffers as safetensors, whole or not at all. A tensor registered under several
    /// keys is written under each, as PyTorch expects it.</summary>
    /// <param name="module">The module.</param>
    /// <param name="path">The file to write or replace.</param>
    /// <param name="metadata">Free text for the header.</param>
    /// <exception cref="BayouException">The file cannot be written; what was there before is unchanged.</exception>
    public static void Save(this nn.Module module, string path, IReadOnlyDictionary<string, string>? metadata = null) =>
        WeightFile.Save(path, ModuleState.Of(module), metadata);

    private sealed class StateSource(IEnumerable<KeyValuePair<string, Tensor>> state) : IWeightSource
    {
        private readonly OrderedDictionary<string, Tensor> tensors = new(state);

        public string Where => "the given state";

        public IReadOnlyList<string> Keys => [.. tensors.Keys];

        public TensorInfo Info(string key) => new(tensors[key].dtype, tensors[key].shape);

        public bool SameElements(string a, string b) => ReferenceEquals(tensors[a], tensors[b]);

        public void CopyTo(string key, Tensor target) => target.copy_(tensors[key]);
    }
}
