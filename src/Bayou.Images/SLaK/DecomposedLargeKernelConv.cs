using Bayou.Core;
using TorchSharp;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// A large depthwise kernel as parallel MxN, NxM and NxN ones, each with its own batch normalisation, summed (paper, section 3; "LoRA" is only a module name).
/// Merged: MxN with the NxN one added to its centre and all biases, and NxM; its cost stays linear in M. [N, C, H, W] -> [N, C, H, W].
/// </summary>
public sealed class DecomposedLargeKernelConv : Layer
{
    private readonly int channels, longEdge, shortEdge;
    private readonly bool norm;
    private ConvBn? LoRA1;                  // M rows x N columns
    private ConvBn? LoRA2;                  // N rows x M columns
    private ConvBn? small_conv;             // N x N, where N < M
    private Conv2d? LoRA1_reparam;          // merged: M x N with bias
    private Conv2d? LoRA2_reparam;          // merged: N x M

    /// <summary>Builds the training form.</summary>
    /// <param name="channels">C.</param>
    /// <param name="longEdge">M, odd.</param>
    /// <param name="shortEdge">N, odd.</param>
    /// <param name="norm">Whether the branches have a batch normalisation (crucial for accuracy, says the paper).</param>
    /// <exception cref="BayouException">An edge is even.</exception>
    public DecomposedLargeKernelConv(int channels, int longEdge, int shortEdge, bool norm = true)
    {
        if (longEdge < 1 || longEdge % 2 == 0 || shortEdge < 1 || shortEdge % 2 == 0)
            throw new BayouException($"DecomposedLargeKernelConv: edges {longEdge} and {shortEdge}: both must be odd, or the branches cannot be aligned");
        (this.channels, this.longEdge, this.shortEdge, this.norm) = (channels, longEdge, shortEdge, norm);
        (LoRA1, LoRA2, small_conv) = (Branch(longEdge, shortEdge), Branch(shortEdge, longEdge), Small());
        RegisterComponents();
    }

    /// <summary>Whether it is two convolutions.</summary>
    public bool IsMerged => LoRA1_reparam is not null;

    /// <summary>The branches of the training form: MxN, NxM and, where there is one, NxN.</summary>
    /// <exception cref="BayouException">It is merged.</exception>
    public IReadOnlyList<ConvBn> Branches =>
        IsMerged ? throw new BayouException("DecomposedLargeKernelConv: merged; its branches are gone") : small_conv is null
            ? [LoRA1!, LoRA2!] : [LoRA1!, LoRA2!, small_conv];

    /// <summary>
    /// The one MxM kernel [C, 1, M, M] (a cross) and bias [C] that equals all branches: identical output for about M / 2N times the work. In the caller's
    /// dispose scope.
    /// </summary>
    public (Tensor Weight, Tensor Bias) EquivalentKernel()
    {
        using var noGrad = no_grad();
        var parts = IsMerged
            ? [(LoRA1_reparam!.Weight.detach(), LoRA1_reparam.Bias!.detach()), (LoRA2_reparam!.Weight.detach(), zeros(channels))]
            : Branches.Select(b => b.Folded()).ToArray();
        var side = Math.Max(longEdge, shortEdge);
        var (weight, bias) = (zeros(channels, 1, side, side), zeros(channels));
        foreach (var (w, b) in parts) (weight, bias) = (weight.Plus(Centred(w, side, side)), bias.Plus(b));
        return (weight, bias);
    }

    /// <summary>Three branches become two convolutions; false takes the training form again with fresh weights.</summary>
    public void Merge(bool merged = true)
    {
        if (merged == IsMerged) return;
        using var scope = NewDisposeScope();
        Conv2d? tall = null, wide = null;
        if (merged)
        {
            using var noGrad = no_grad();
            var folded = Branches.Select(b => b.Folded()).ToArray();
            (tall, wide) = (Plain(longEdge, shortEdge, bias: true), Plain(shortEdge, longEdge, bias: false));
            tall.Weight.copy_(folded.Length < 3 ? folded[0].Weight : folded[0].Weight.Plus(Centred(folded[2].Weight, longEdge, shortEdge)));
            tall.Bias!.copy_(folded.Select(f => f.Bias).Aggregate((a, b) => a.Plus(b)));
            wide.Weight.copy_(folded[1].Weight);
        }
        Replace(nameof(LoRA1), ref LoRA1, merged ? null : Branch(longEdge, shortEdge));
        Replace(nameof(LoRA2), ref LoRA2, merged ? null : Branch(shortEdge, longEdge));
        Replace(nameof(small_conv), ref small_conv, merged ? null : Small());
        Replace(nameof(LoRA1_reparam), ref LoRA1_reparam, tall);
        Replace(nameof(LoRA2_reparam), ref LoRA2_reparam, wide);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (LoRA1_reparam is not null) return DepthwiseSum(x, [LoRA1_reparam.Weight, LoRA2_reparam!.Weight], LoRA1_reparam.Bias);
        var y = Add(LoRA1!.call(x), LoRA2!.call(x));
        return small_conv is null ? y : Add(y, small_conv.call(x));
    }

    private static Tensor Centred(Tensor weight, long height, long width)
    {
        long y = (height - weight.shape[2]) / 2, x = (width - weight.shape[3]) / 2;
        return Pad2d(weight, x, x, y, y);
    }

    private ConvBn Branch(int height, int width) => new(channels, channels, (height, width), groups: channels, norm: norm);

    private ConvBn? Small() => shortEdge < longEdge ? Branch(shortEdge, shortEdge) : null;

    private Conv2d Plain(int height, int width, bool bias) =>
        new(channels, channels, (height, width), 1, (height / 2, width / 2), groups: channels, bias: bias);
}
