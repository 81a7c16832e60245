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

    /// <summary>Saves the module's parameters and persistent buffers as safetensors, whole or not at all. A tensor registered under several
    /// keys is written under each, as PyTorch expects it.</summary>
    /// <param name="module">The module.</param>
    /// <param name="path">The file to write or replace.</param>
    /// <param name="metadata">Free text for the header.</param>
    /// <exception cref="BayouException">The file cannot be written; what was there before is unchanged.</exception>
    public static void Save(this nn.Module module, string path, IReadOnlyDictionary<string, string>? metadata = null) =>
        WeightFile.Save(path, ModuleState.Of(module), metadata);
}
