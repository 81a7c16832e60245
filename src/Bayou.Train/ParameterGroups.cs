using Bayou.Core;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>A parameter with its own share of the schedule.</summary>
/// <param name="Name">State-dict key.</param>
/// <param name="Parameter">The module's own object.</param>
/// <param name="WeightDecay">Factor on the scheduled weight decay: 0 or 1.</param>
/// <param name="LrScale">Factor on the scheduled learning rate.</param>
public sealed record ParameterSlot(string Name, Parameter Parameter, double WeightDecay, double LrScale);

/// <summary>Which parameters decay, and how fast each learns.</summary>
public static class ParameterGroups
{
    /// <summary>
    /// Every trainable parameter. Tensors with one axis and names ending in ".bias" do not decay (biases, norms, layer scale). With
    /// <paramref name="layerDecay"/> below 1 the learning rate is scaled by decay^(last id - id) by the network's own layer ids.
    /// </summary>
    /// <exception cref="BayouException">Layer-wise decay for a network that has no layer ids.</exception>
    public static IReadOnlyList<ParameterSlot> Of(nn.Module network, double layerDecay = 1)
    {
        var layers = network as ILayerwise;
        if (layerDecay != 1 && layers is null)
            throw new BayouException($"layer-wise learning-rate decay ({layerDecay}) needs a network with layer ids, and {network.GetType().Name} has none: set LayerDecay to 1");
        var slots = new List<ParameterSlot>();
        foreach (var (name, parameter) in network.named_parameters())
        {
            if (!parameter.requires_grad) continue;
            var scale = layerDecay == 1 ? 1 : LayerScale(layerDecay, layers!, name);
            slots.Add(new(name, parameter, Decays(name, parameter.shape) ? 1 : 0, scale));
        }
        return slots;
    }

    /// <summary>Whether weight decay applies to a parameter.</summary>
    public static bool Decays(string name, long[] shape) => shape.Length > 1 && !name.EndsWith(".bias", StringComparison.Ordinal);

    /// <summary>The scales of all layer ids, 0 to the last: decay^(last - id).</summary>
    public static double[] LayerScales(double layerDecay, int layerCount) =>
        Enumerable.Range(0, layerCount + 1).Select(id => Math.Pow(layerDecay, layerCount - id)).ToArray();

    private static double LayerScale(double decay, ILayerwise layers, string name)
    {
        var id = layers.LayerId(name);
        if (id < 0 || id > layers.LayerCount)
            throw new BayouException($"{layers.GetType().Name} gives parameter {name} layer id {id}, outside 0 to {layers.LayerCount}");
        return Math.Pow(decay, layers.LayerCount - id);
    }
}
