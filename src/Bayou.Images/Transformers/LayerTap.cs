using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// Collects, layer by layer, the fused qkv projections and the hidden states of every transformer that runs on this thread while it is open, with their
/// gradients: what weight distillation compares. Close it after the loss.
/// </summary>
public sealed class LayerTap : IDisposable
{
    [ThreadStatic] private static LayerTap? current;

    private readonly LayerTap? outer = current;
    private readonly List<Tensor> projections = [], states = [];

    private LayerTap() => current = this;

    /// <summary>Whether a tap is open on this thread.</summary>
    public static bool IsActive => current is not null;

    /// <summary>Raw outputs of the qkv layers in running order: [N, T, 3C], or [N windows, T, 3C] where windows attend separately.</summary>
    public IReadOnlyList<Tensor> Projections => projections;

    /// <summary>Tokens after each layer in running order: [N, T, C].</summary>
    public IReadOnlyList<Tensor> States => states;

    /// <summary>Opens a tap; an outer one sees nothing until this one is closed.</summary>
    public static LayerTap Open() => new();

    /// <summary>An attention layer hands over its projection.</summary>
    public static void Qkv(Tensor x) => current?.projections.Add(Keep(x));

    /// <summary>A layer hands over its output, [N, T, C] or [N, H, W, C].</summary>
    public static void Hidden(Tensor x) => current?.states.Add(Keep(MultiHead.Flat(x)));

    /// <summary>Stops collecting; what was collected stays.</summary>
    public void Stop()
    {
        if (ReferenceEquals(current, this)) current = outer;
    }

    /// <summary>Stops and releases what was collected.</summary>
    public void Dispose()
    {
        Stop();
        foreach (var tensor in projections.Concat(states)) tensor.Dispose();
        projections.Clear();
        states.Clear();
    }

    // A tensor of its own: the layer's may go with a dispose scope.
    private static Tensor Keep(Tensor x) => x.clone().DetachFromDisposeScope();
}
