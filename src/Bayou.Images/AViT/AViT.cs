using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>When tokens halt: h = sigmoid(Scale * channel 0 - Center) after every layer; a token stops once the sum of its h exceeds 1 - Eps.</summary>
/// <param name="Scale">gamma of the paper; a constant, not trained.</param>
/// <param name="Center">-beta of the paper; large values keep all tokens at the start of a training.</param>
/// <param name="Eps">What is missing from 1 when a token stops.</param>
public sealed record HaltingGate(double Scale = 10, double Center = 30, double Eps = 0.01);

/// <summary>One layer of a pass with masks.</summary>
/// <param name="Active">[N, T]: 1 = the token takes part in the layer.</param>
/// <param name="Halting">[N, T]: h after the layer, before the last layer's is set to 1.</param>
/// <param name="Output">[N, T, C]: the block's output, halted tokens included.</param>
public sealed record HaltingLayer(Tensor Active, Tensor Halting, Tensor Output);

/// <summary>What a pass with masks did.</summary>
/// <param name="Logits">[N, classes].</param>
/// <param name="Depth">[N, T]: layers that each token ran through, 1 to the depth; class token first.</param>
/// <param name="Ponder">[N, T]: layers and remainder, the cost that training punishes.</param>
/// <param name="Layers">Layer by layer.</param>
public sealed record HaltingTrace(Tensor Logits, Tensor Depth, Tensor Ponder, IReadOnlyList<HaltingLayer> Layers);

/// <summary>
/// A-ViT (Yin et al., CVPR 2022, arXiv 2112.07658): a DeiT whose tokens halt one by one, each at its own depth; channel 0 of a block's output is the halting
/// logit, so that the weights are DeiT's, key by key. In eval mode halted tokens are really removed and time falls with them; captured or in training they are
/// masked, with the same logits. [N, C, H, W] -> logits [N, classes].
/// </summary>
public sealed partial class AViT : VisionTransformer
{
    // What a masked key gets on its logit: the exponential underflows to 0.
    private const double MaskedKey = -1000;

    /// <summary>Builds the network with DeiT's initialisation.</summary>
    /// <param name="config">The transformer; it must have a class token and no distillation token.</param>
    /// <param name="gate">When tokens halt.</param>
    public AViT(VisionTransformerConfig config, HaltingGate gate) : base(config)
    {
        if (!config.ClassToken || config.DistillationToken) throw new BayouException("A-ViT reads its answer from a class token and has no distillation token");
        if (gate.Eps is <= 0 or >= 1) throw new BayouException($"A-ViT: eps {gate.Eps} must be between 0 and 1");
        Gate = gate;
    }

    /// <summary>When tokens halt.</summary>
    public HaltingGate Gate { get; set; }

    /// <summary>Whether eval mode removes halted tokens (default). Off: they are masked, as the official code does; the logits are the same.</summary>
    public bool Removes { get; set; } = true;

    /// <summary>Whether tokens halt at all; off, it is the plain transformer.</summary>
    public bool Halts { get; set; } = true;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (!Halts) return base.forward(x);
        var watched = AttentionTap.IsActive || LayerTap.IsActive;      // who looks at layers wants all tokens in their places
        return training || watched || Capture.IsActive || !Removes ? Masked(x).Logits : Removing(x).Logits;
    }

    /// <summary>Runs all layers on all tokens with masks (the paper's algorithm 1): what training differentiates and what is exported.</summary>
    public HaltingTrace Masked(Tensor x)
    {
        x = Embed(x);
        var zero = Scale(Channel(x, 0), 0);                     // [N, T]
        var (sum, rest, ponder, depth) = (zero, Scale(zero, 1, 1), zero, Scale(zero, 1, 1));
        var active = rest;
        Tensor? answer = null;
        var layers = new List<HaltingLayer>();
        for (var l = 0; l < Blocks.Count; l++)
        {
            var mask = Reshape(active, 0, -1, 1);
            x = Block(Blocks[l], MaskValues(x, mask), mask);
            var h = Activate(Scale(Channel(x, 0), Gate.Scale, -Gate.Center), Activation.Sigmoid);
            layers.Add(new(active, h, x));
            if (l == Blocks.Count - 1) h = Scale(zero, 1, 1);
            sum = Add(sum, h);
            ponder = Add(ponder, active);
            var reached = Mul(Above(sum, 1 - Gate.Eps), active);
            var going = Above(Scale(sum, -1), Gate.Eps - 1);
            ponder = Add(ponder, Mul(rest, reached));
            // A token's output is the mean of its layers' outputs weighted by h, the last one by what is left; only the class token's is read.
            var share = Add(Mul(rest, reached), Mul(h, going));
            var part = Mul(Slice(share, 1, 0, 1), Reshape(Slice(Mul(x, mask), 1, 0, 1), 0, -1));
            answer = answer is null ? part : Add(answer, part);
            rest = Sub(rest, Mul(h, going));
            depth = Add(depth, going);
            active = going;
        }
        return new(Head.call(Norm.call(answer!)), depth, ponder, layers);
    }

    private static Tensor Block(Block block, Tensor x, Tensor mask)
    {
        var keys = Scale(Reshape(mask, 0, 1, 1, -1), -MaskedKey, MaskedKey);
        var attention = (Attention)block.Attn;
        x = Add(x, block.DropPath.call(attention.Call(Mul(block.Norm1.call(Mul(x, mask)), mask), keys)));
        return Add(x, block.DropPath.call(block.Mlp.call(Mul(block.Norm2.call(Mul(x, mask)), mask))));
    }

    // [N, T, C] -> [N, T]
    private static Tensor Channel(Tensor x, long channel) => Reshape(Slice(x, -1, channel, channel + 1), 0, -1);
}
