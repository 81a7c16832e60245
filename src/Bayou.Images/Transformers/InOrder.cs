using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Layers one after the other.</summary>
public static class InOrder
{
    /// <summary>
    /// Runs layers in order. In inference the memory of a layer is free for the next one, which halves the peak and, with large batches, the time: fresh memory
    /// has to be cleared by the system first. Where gradients, a capture or a tap need what the layers made, it stays.
    /// </summary>
    /// <param name="layers">The layers.</param>
    /// <param name="x">Input of the first; it stays the caller's.</param>
    public static Tensor Run(IEnumerable<Layer> layers, Tensor x)
    {
        var keep = is_grad_enabled() || Capture.IsActive || AttentionTap.IsActive || LayerTap.IsActive;
        var input = x;
        foreach (var layer in layers)
        {
            if (keep)
            {
                x = layer.call(x);
                continue;
            }
            using var scope = NewDisposeScope();
            var next = layer.call(x);
            if (ReferenceEquals(next, x)) continue;
            next.MoveToOuterDisposeScope();
            if (!ReferenceEquals(x, input)) x.Dispose();
            x = next;
        }
        return x;
    }
}
