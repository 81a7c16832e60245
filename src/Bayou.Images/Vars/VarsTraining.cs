using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What VARS needs around its forward: initial templates of VARS-S and the bound that follows them while they are trained.</summary>
public static class VarsTraining
{
    /// <summary>Normal with deviation 0.06, then every channel divided by sqrt(2 sum |K|^2 / n^2); the norm is the mean divisor.</summary>
    public static (Tensor Kernel, Tensor Norm) InitialTemplates(int channels, int inner, int side)
    {
        using var scope = NewDisposeScope();
        var kernel = randn([channels, inner, 1, side, side / 2 + 1, 2]).mul(Number.Of(0.06));
        var norm = kernel.Squared().sum([1, 2, 3, 4, 5], true).mul(Number.Of(2.0 / (side * side))).sqrt();
        return (kernel.div(norm).MoveToOuterDisposeScope(), norm.mean().MoveToOuterDisposeScope());
    }

    /// <summary>The last filter: normal with deviation 0.02.</summary>
    public static Tensor InitialFilter(int channels, int side)
    {
        using var scope = NewDisposeScope();
        return randn([channels, 1, 1, side, side / 2 + 1, 2]).mul(Number.Of(0.02)).MoveToOuterDisposeScope();
    }

    /// <summary>Largest singular value of each channel's Gram matrix K K' over all frequencies, [C]: it has rank one, so that value is sum |K|^2.</summary>
    public static Tensor GramNorm(Tensor kernel)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        return kernel.detach().Squared().sum([1, 2, 5]).amax([1, 2]).MoveToOuterDisposeScope();
    }

    /// <summary>Optimizer steps between two updates of the bounds.</summary>
    public const int BoundInterval = 100;

    /// <summary>
    /// Moves a VARS-S block's bound a tenth towards its templates' present one; <see cref="Trainer"/> does so every <see cref="BoundInterval"/> steps.
    /// </summary>
    public static void UpdateBound(VarsStaticBlock block)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        block.Bound.copy_(block.Bound.mul(Number.Of(0.9)).Plus(GramNorm(block.Kernel).mul(Number.Of(0.1))));
    }
}
