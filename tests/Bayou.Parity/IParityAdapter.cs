using System.Text.Json;
using TorchSharp;

namespace Bayou.Parity;

/// <summary>One golden case as read from its folder.</summary>
/// <param name="Folder">The case's folder.</param>
/// <param name="Config">config.json.</param>
/// <param name="Weights">weights.safetensors, empty when the case has none.</param>
/// <param name="Inputs">inputs.safetensors, empty when the case has none.</param>
/// <param name="Expected">outputs.safetensors, empty when the case keeps its expected values in config.json. An adapter may read names and shapes from it,
/// never values.</param>
public sealed record ParityCase(
    string Folder,
    JsonElement Config,
    IReadOnlyDictionary<string, torch.Tensor> Weights,
    IReadOnlyDictionary<string, torch.Tensor> Inputs,
    IReadOnlyDictionary<string, torch.Tensor> Expected);

/// <summary>Runs our implementation of one system on a case: one class for each value of "adapter" in config.json.</summary>
public interface IParityAdapter
{
    /// <summary>The value of "adapter" this class serves, e.g. "convnext/v1".</summary>
    string Name { get; }

    /// <summary>Our values for the tensors of outputs.safetensors, by name. For a case without outputs, expected values come from
    /// config.json: return them under "config/&lt;path&gt;" through <see cref="ExpectedFromConfig"/>.</summary>
    IReadOnlyDictionary<string, torch.Tensor> Run(ParityCase c);

    /// <summary>
    /// Expected values that the case keeps in config.json instead of outputs.safetensors, named as <see cref="Run"/> names ours; null when there are none.
    /// </summary>
    IReadOnlyDictionary<string, torch.Tensor>? ExpectedFromConfig(ParityCase c) => null;
}
