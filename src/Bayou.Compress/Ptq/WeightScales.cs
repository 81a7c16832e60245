using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>Symmetric scales of weights, per output channel or per tensor.</summary>
public static class WeightScales
{
    /// <summary>
    /// The scales: [C] over an axis, or a scalar for axis -1. A channel of zeros takes the largest scale of the others: any would do, but a tiny one would
    /// overflow its bias.
    /// </summary>
    /// <param name="weight">The weight.</param>
    /// <param name="axis">Its output channels, or -1.</param>
    /// <param name="max">Largest code, e.g. 127.</param>
    /// <param name="observer">How the range is chosen.</param>
    /// <exception cref="BayouException">The weight holds NaN or infinity.</exception>
    public static Tensor Choose(Tensor weight, int axis, long max, WeightObserver observer)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var rows = weight.detach().to(float32);
        rows = axis < 0 ? rows.reshape(1, -1) : rows.transpose(0, axis).reshape(weight.shape[axis], -1);
        var reach = rows.abs().amax(1);
        if (!reach.isfinite().all().item<bool>()) throw new BayouException("Quantisation: a weight holds NaN or infinity; the network diverged");
        var best = reach;
        if (observer == WeightObserver.Mse)
        {
            var least = full_like(reach, Number.Of(double.PositiveInfinity));
            for (var i = 0; i < 80; i++)
            {
                // specs/mqbench.md 1.3: 80 candidates, 1 % apart, each channel on its own.
                var candidate = reach * Number.Of(1 - 0.01 * i);
                var step = (candidate / Number.Of(max)).clamp_min(Number.Of(1e-30)).unsqueeze(1);
                var error = ((rows / step).round().clamp(Number.Of(-max), Number.Of(max)) * step - rows).Squared().mean([1]);
                var better = error.lt(least);
                best = where(better, candidate, best);
                least = where(better, error, least);
            }
        }
        var scale = best / Number.Of(max);
        var largest = scale.amax().item<float>();
        var floor = largest > 0 ? largest : 1f / max;
        scale = where(scale.lt(Number.Of(largest * 1e-6)).logical_or(scale.eq(Number.Of(0))), full_like(scale, Number.Of(floor)), scale);
        return (axis < 0 ? scale.reshape([]) : scale).MoveToOuterDisposeScope();
    }
}
