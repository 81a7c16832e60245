using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// A tensor that a forward pass would compute anew each time from small weights, kept while these hold the same values (they are compared, so that loading and
/// training need no notice). Where gradients are recorded, a graph is captured or the weights are no plain float tensors, it is computed each time.
/// </summary>
public sealed class DerivedTensor
{
    private sealed record Kept(Tensor Value, float[][] From);

    private Kept? kept;

    /// <summary>The kept value, or a new one; it belongs to this object and must not be changed.</summary>
    /// <param name="compute">Computes it from <paramref name="from"/> alone.</param>
    /// <param name="from">What it depends on.</param>
    public Tensor Of(Func<Tensor> compute, params ReadOnlySpan<Tensor?> from)
    {
        if (Capture.IsActive || is_grad_enabled()) return compute();
        foreach (var source in from)
            if (source is not null && !TensorMemory.IsPlain(source)) return compute();
        if (kept is { } k && Same(k.From, from)) return k.Value;
        var values = new float[from.Length][];
        for (var i = 0; i < from.Length; i++) values[i] = from[i] is { } source ? TensorMemory.Values(source).ToArray() : [];
        using var scope = NewDisposeScope();
        var value = compute().DetachFromDisposeScope();
        kept = new(value, values);       // the one before may still be read by another thread: it goes with the last who holds it
        return value;
    }

    private static bool Same(float[][] values, ReadOnlySpan<Tensor?> from)
    {
        if (values.Length != from.Length) return false;
        for (var i = 0; i < from.Length; i++)
        {
            var now = from[i] is { } source ? TensorMemory.Values(source) : default;
            if (!now.SequenceEqual(values[i])) return false;
        }
        return true;
    }
}
