using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Convolution without bias, batch normalisation, optional activation, with "same" padding (half the kernel): keys conv.weight, bn.*. [N, C, H, W] -> [N, O,
/// H', W']. Fused it is one convolution with bias: keys conv.weight, conv.bias.
/// </summary>
public sealed class ConvBn : Layer
{
    private readonly Func<bool, Conv2d> make;
    private readonly Func<BatchNorm>? makeNorm;
    private readonly Activation? activation;
    private Conv2d conv;
    private BatchNorm? bn;

    /// <summary>Square kernel.</summary>
    public ConvBn(int inChannels, int outChannels, int kernel, int stride = 1, int groups = 1, Activation? activation = null)
        : this(inChannels, outChannels, (kernel, kernel), stride, groups, activation) { }

    /// <summary>Rectangular kernel (height, width).</summary>
    /// <param name="inChannels">C.</param>
    /// <param name="outChannels">O.</param>
    /// <param name="kernel">Odd height and width.</param>
    /// <param name="stride">Of both axes.</param>
    /// <param name="groups">Groups; C makes it depthwise.</param>
    /// <param name="activation">After the normalisation; null for none.</param>
    /// <param name="norm">Whether there is a batch normalisation at all.</param>
    /// <exception cref="BayouException">An even kernel: its branches could not be aligned with others.</exception>
    public ConvBn(int inChannels, int outChannels, (int H, int W) kernel, int stride = 1, int groups = 1, Activation? activation = null, bool norm = true)
    {
        if (kernel.H % 2 == 0 || kernel.W % 2 == 0 || kernel.H < 1 || kernel.W < 1)
            throw new BayouException($"ConvBn: kernel {kernel.H}x{kernel.W}; odd sides are needed for 'same' padding");
        make = bias => new Conv2d(inChannels, outChannels, kernel, stride, (kernel.H / 2, kernel.W / 2), groups: groups, bias: bias);
        makeNorm = norm ? () => new BatchNorm(outChannels) : null;
        this.activation = activation;
        conv = make(false);
        bn = makeNorm?.Invoke();
        RegisterComponents();
    }

    /// <summary>Whether the normalisation is part of the convolution.</summary>
    public bool IsFused => conv.Bias is not null;

    /// <summary>The convolution alone.</summary>
    public Conv2d Conv => conv;

    /// <summary>activation(bn(conv(x))).</summary>
    public override Tensor forward(Tensor x) => Then(x, activation);

    /// <summary>shortcut + then(bn(conv(before(x)))): fused, in few passes over memory.</summary>
    public Tensor Then(Tensor x, Activation? then, Tensor? shortcut = null, BatchNorm? before = null)
    {
        if (bn is null) return conv.Then(x, then, shortcut, before);
        var y = bn.call(conv.call(before is null ? x : before.call(x)));
        if (then is { } kind) y = Ops.Activate(y, kind);
        return shortcut is null ? y : Ops.Add(shortcut, y);
    }

    /// <summary>
    /// Weight [O, C/groups, kh, kw] and bias [O] of the one convolution that equals this in eval mode: w' = w s, b' = beta - mean s with s = gamma /
    /// sqrt(variance + eps), computed in float64. They live in the caller's dispose scope.
    /// </summary>
    public (Tensor Weight, Tensor Bias) Folded()
    {
        using var noGrad = no_grad();
        var weight = conv.Weight.detach();
        if (conv.Bias is { } bias) return (weight.clone(), bias.detach().clone());
        if (bn is null) return (weight.clone(), zeros(weight.shape[0], weight.dtype));
        var (scale, shift) = bn.ToAffine();
        return ((weight.to(float64) * scale.reshape(-1, 1, 1, 1)).to(weight.dtype), shift.to(weight.dtype));
    }

    /// <summary>Makes the normalisation part of the convolution, or (false) takes the training form again with fresh weights.</summary>
    public void Fuse(bool fused = true)
    {
        if (fused == IsFused) return;
        using var scope = NewDisposeScope();
        var next = make(fused);
        if (fused)
        {
            using var noGrad = no_grad();
            var (weight, bias) = Folded();
            next.Weight.copy_(weight);
            next.Bias!.copy_(bias);
        }
        Replace(nameof(conv), ref conv!, next);
        Replace(nameof(bn), ref bn, fused ? null : makeNorm?.Invoke());
    }
}
