using Bayou.Core;
using TorchSharp;

namespace Bayou.Parity;

/// <summary>What most adapters begin with.</summary>
public static class ParityWeights
{
    /// <summary>Loads weights.safetensors into the module: every key must fit, in shape too. Counts as reading all weights.</summary>
    /// <param name="c">The case.</param>
    /// <param name="module">The module.</param>
    /// <param name="prefix">Only the weights whose names start so, without it; for a case with several networks.</param>
    public static T LoadWeights<T>(this ParityCase c, T module, string prefix = "") where T : torch.nn.Module
    {
        var names = c.Weights.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal));
        module.LoadState(names.Select(k => KeyValuePair.Create(k[prefix.Length..], c.Weights[k])));
        return module;
    }
}
