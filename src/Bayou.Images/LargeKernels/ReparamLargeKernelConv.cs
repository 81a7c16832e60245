using Bayou.Core;
using TorchSharp;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// Depthwise KxK convolution with an optional parallel kxk one, each with its own batch normalisation, summed (RepLKNet, section 3, guideline 3); merged it is
/// one KxK convolution with bias. [N, C, H, W] -> [N, C, H / stride, W / stride].
/// </summary>
public sealed class ReparamLargeKernelConv : Layer
{
    private readonly int channels, kernel, stride;
    private readonly int? small;
    private readonly bool norm;
    private ConvBn? lkb_origin;         // K x K
    private ConvBn? small_conv;         // k x k
    private Conv2d? lkb_reparam;        // both in one

    /// <summary>Builds the training form, or the merged one with a fresh kernel.</summary>
    /// <param name="channels">C.</param>
    /// <param name="kernel">K, odd.</param>
    /// <param name="smallKernel">k, odd and at most K; null for none.</param>
    /// <param name="stride">Of both branches.</param>
    /// <param name="merged">Build the merged form.</param>
    /// <param name="norm">Whether the branches have a batch normalisation.</param>
    /// <exception cref="BayouException">A kernel is even, or the small one is larger.</exception>
    public ReparamLargeKernelConv(int channels, int kernel, int? smallKernel, int stride = 1, bool merged = false, bool norm = true)
    {
        if (kernel < 1 || kernel % 2 == 0 || smallKernel is < 1 || smallKernel % 2 == 0 || smallKernel > kernel)
            throw new BayouException($"ReparamLargeKernelConv: kernels {kernel} and {smallKernel}: both must be odd, and the small one not larger than the large one");
        (this.channels, this.kernel, small, this.stride, this.norm) = (channels, kernel, smallKernel, stride, norm);
        if (merged) lkb_reparam = Merged();
        else (lkb_origin, small_conv) = (Branch(kernel), Small());
        RegisterComponents();
    }

    /// <summary>Whether it is one convolution.</summary>
    public bool IsMerged => lkb_reparam is not null;

    /// <summary>Weight [C, 1, K, K] and bias [C] of the equivalent single convolution, in the caller's dispose scope.</summary>
    public (Tensor Weight, Tensor Bias) EquivalentKernel()
    {
        using var noGrad = no_grad();
        if (lkb_reparam is not null) return (lkb_reparam.Weight.detach().clone(), lkb_reparam.Bias!.detach().clone());
        var (weight, bias) = lkb_origin!.Folded();
        if (small_conv is null) return (weight, bias);
        var (smallWeight, smallBias) = small_conv.Folded();
        var pad = (kernel - small!.Value) / 2;
        return (weight.Plus(Pad2d(smallWeight, pad, pad, pad, pad)), bias.Plus(smallBias));
    }

    /// <summary>Both branches become one convolution; false takes the training form again with fresh weights.</summary>
    public void Merge(bool merged = true)
    {
        if (merged == IsMerged) return;
        using var scope = NewDisposeScope();
        Conv2d? single = null;
        if (merged)
        {
            using var noGrad = no_grad();
            var (weight, bias) = EquivalentKernel();
            single = Merged();
            single.Weight.copy_(weight);
            single.Bias!.copy_(bias);
        }
        Replace(nameof(lkb_origin), ref lkb_origin, merged ? null : Branch(kernel));
        Replace(nameof(small_conv), ref small_conv, merged ? null : Small());
        Replace(nameof(lkb_reparam), ref lkb_reparam, single);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (lkb_reparam is not null) return lkb_reparam.call(x);
        var y = lkb_origin!.call(x);
        return small_conv is null ? y : Add(y, small_conv.call(x));
    }

    /// <summary>activation(this), in place where it is one convolution.</summary>
    public Tensor Then(Tensor x, Activation activation) => lkb_reparam is not null ? lkb_reparam.Then(x, activation) : Activate(call(x), activation);

    private ConvBn Branch(int k) => new(channels, channels, (k, k), stride, groups: channels, norm: norm);

    private ConvBn? Small() => small is { } k ? Branch(k) : null;

    private Conv2d Merged() => new(channels, channels, kernel, stride, kernel / 2, groups: channels);
}
