using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>
/// Exponential moving average of a network's whole state: e = d e + (1 - d) w after every optimizer step for every floating tensor, integer buffers
/// are copied. The official ConvNeXt code keeps d constant; with 0.9999 a run of a few thousand steps then stays near its initialisation, so short
/// runs set the ramp: d = min(decay, (1 + t) / (10 + t)) at update t.
/// </summary>
public sealed class Ema : IDisposable
{
    private readonly (string Name, Tensor Source, Tensor Average)[] entries;
    private readonly Dictionary<Tensor, Tensor> bySource = new(ReferenceEqualityComparer.Instance);
    private readonly double decay;
    private readonly bool ramp;

    /// <summary>Starts at the network's present state.</summary>
    /// <param name="network">The network; its tensor objects must stay the same.</param>
    /// <param name="decay">d.</param>
    /// <param name="ramp">Whether d grows from small values at the start.</param>
    public Ema(nn.Module network, double decay, bool ramp = false)
    {
        (this.decay, this.ramp) = (decay, ramp);
        using var noGrad = no_grad();
        entries = NetworkState.Of(network).Select(s => (s.Key, s.Value, s.Value.detach().contiguous().clone().DetachFromDisposeScope())).ToArray();
        foreach (var (_, source, average) in entries) bySource.TryAdd(source, average);
    }

    /// <summary>Updates made so far.</summary>
    public long Updates { get; private set; }

    /// <summary>The averages under the network's state-dict keys.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State => entries.Select(e => new KeyValuePair<string, Tensor>(e.Name, e.Average));

    /// <summary>The decay of the next update.</summary>
    public double NextDecay => ramp ? Math.Min(decay, (1.0 + Updates) / (10.0 + Updates)) : decay;

    /// <summary>The average that belongs to a parameter, for an optimizer that updates both in one pass.</summary>
    internal Tensor AverageOf(Tensor source) => bySource[source];

    /// <summary>Takes in the network's present state.</summary>
    public void Update() => UpdateExcept(null);

    /// <summary>As <see cref="Update"/>, for all tensors but those the optimizer has already taken care of.</summary>
    internal void UpdateExcept(IReadOnlySet<Tensor>? done)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var d = NextDecay;
        foreach (var (_, source, average) in entries)
        {
            if (done?.Contains(source) == true) continue;
            if (average.is_floating_point()) average.mul_(Number.Of(d)).add_(source, Number.Of(1 - d));
            else average.copy_(source);
        }
        Updates++;
    }

    /// <summary>Exchanges the network's values with the averages until disposed, bit for bit: evaluate the average inside.</summary>
    public IDisposable Swap()
    {
        Exchange();
        return new SwapBack(this);
    }

    /// <summary>Sets averages and the number of updates from a checkpoint.</summary>
    internal void Restore(Func<string, Tensor> get, long updates)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        foreach (var (name, _, average) in entries) average.copy_(get(name));
        Updates = updates;
    }

    private void Exchange()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        foreach (var (_, source, average) in entries)
        {
            var held = source.clone();
            source.copy_(average);
            average.copy_(held);
        }
    }

    /// <summary>Frees the averages.</summary>
    public void Dispose()
    {
        foreach (var (_, _, average) in entries) average.Dispose();
    }

    private sealed class SwapBack(Ema ema) : IDisposable
    {
        private bool done;

        public void Dispose()
        {
            if (done) return;
            done = true;
            ema.Exchange();
        }
    }
}
