using Bayou.Core;
using TorchSharp;

namespace Bayou.Parity;

/// <summary>Loads a case's weights the way a user loads a checkpoint.</summary>
public static class CaseWeights
{
    /// <summary>Loads weights.safetensors, or the keys of it below a prefix, into a module through <see cref="WeightFile"/>; every key must fit.</summary>
    public static T LoadWeights<T>(this ParityCase c, T module, string prefix = "")
        where T : torch.nn.Module
    {
        using var file = WeightFile.Open(Path.Combine(c.Folder, "weights.safetensors"));
        file.LoadInto(module, mapKey: key => key.StartsWith(prefix, StringComparison.Ordinal) ? key[prefix.Length..] : null);
        foreach (var key in c.Weights.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal)).ToList()) _ = c.Weights[key];
        return module;
    }
}
