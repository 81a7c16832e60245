using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>A network's parameters and persistent buffers, each tensor object once.</summary>
internal static class NetworkState
{
    public static IReadOnlyList<KeyValuePair<string, Tensor>> Of(nn.Module network)
    {
        var seen = new HashSet<Tensor>(ReferenceEqualityComparer.Instance);
        var state = new List<KeyValuePair<string, Tensor>>();
        foreach (var (name, parameter) in network.named_parameters()) Add(name, parameter);
        foreach (var (name, buffer) in network.named_buffers()) Add(name, buffer);
        return state;

        void Add(string name, Tensor tensor)
        {
            if (seen.Add(tensor)) state.Add(new(name, tensor));
        }
    }
}

/// <summary>A copy of a network's state, kept outside the network: the best weights so far, or the last good ones.</summary>
public sealed class Snapshot : IDisposable
{
    private readonly Dictionary<string, Tensor> values;

    private Snapshot(Dictionary<string, Tensor> values) => this.values = values;

    /// <summary>The values under the network's state-dict keys.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State => values;

    /// <summary>One value.</summary>
    public Tensor this[string name] => values[name];

    /// <summary>Copies a network's state.</summary>
    public static Snapshot Of(nn.Module network) => Copy(NetworkState.Of(network));

    /// <summary>Copies named tensors.</summary>
    internal static Snapshot Copy(IEnumerable<KeyValuePair<string, Tensor>> state)
    {
        using var noGrad = no_grad();
        // Without gradients a clone is detached already; a detach of its own would be one more tensor that nobody frees.
        return new(state.ToDictionary(s => s.Key, s => s.Value.clone().DetachFromDisposeScope()));
    }

    /// <summary>Copies the values back into a network of the same architecture.</summary>
    public void CopyTo(nn.Module network)
    {
        using var noGrad = no_grad();
        foreach (var (name, tensor) in NetworkState.Of(network)) tensor.copy_(values[name]);
    }

    /// <summary>Frees the copy.</summary>
    public void Dispose()
    {
        foreach (var tensor in values.Values) tensor.Dispose();
        values.Clear();
    }
}
