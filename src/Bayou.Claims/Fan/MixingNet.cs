using Bayou.Core;
using Bayou.Images;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>
/// One small network whose blocks differ only in what the claim is about: token mixing by depthwise convolution or by self-attention, channel mixing by MLP or
/// by FAN's attention. Stem,
/// positions, norm and head are the same for all. [N, 3, 32, 32] -> [N, 10].
/// </summary>
public sealed class MixingNet : Layer
{
    private const int Heads = 4;

    private readonly FanConvStem patch_embed;
    private readonly FourierPositions pos_embed;
    private readonly LayerList<Block> blocks;
    private readonly LayerNorm norm;
    private readonly Linear head;

    /// <summary>Builds the network.</summary>
    /// <param name="width">C.</param>
    /// <param name="depth">Blocks.</param>
    /// <param name="attention">How many of the last blocks mix tokens by self-attention; the others by a 7x7 depthwise convolution.</param>
    /// <param name="channels">Channel mixing of the attention blocks.</param>
    public MixingNet(int width, int depth, int attention, FanChannelMixing channels)
    {
        patch_embed = new FanConvStem(3, width, patch: 4);
        pos_embed = new FourierPositions(width);
        blocks = new LayerList<Block>();
        for (var b = 0; b < depth; b++)
        {
            var attends = b >= depth - attention;
            // Hidden widths that make all networks equally large within 1 %: attention has 4 C^2 of its own, FAN's gate C^2 and its depthwise convolutions
            // about C^2 at these widths.
            Layer mixing = !attends ? new Mlp(width, (int)(5.75 * width)) : channels == FanChannelMixing.Mlp
                ? new Mlp(width, (int)(4.2 * width))
                : new ChannelAttention(width, Heads, 3, residual: true, channels == FanChannelMixing.FixedGate ? 0.5 : null);
            blocks.Add(new Block(width, attends ? new FanTokenMixing(width, Heads) : new DepthwiseMixing(width), mixing, layerScale: 1));
        }
        norm = new LayerNorm(width, eps: 1e-6);
        head = new Linear(width, 10);
        RegisterComponents();
        TransformerInit.Apply(this, fanIn: true);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        x = patch_embed.call(x);
        x = Add(x, ToChannelsLast(pos_embed.call(x)));
        foreach (var block in blocks) x = block.call(x);
        return head.call(norm.call(Mean(x, new Ints(1, 2))));
    }
}

/// <summary>ConvNeXt's token mixing: depthwise 7x7. [N, H, W, C] -> the same.</summary>
public sealed class DepthwiseMixing : Layer
{
    private readonly Conv2d conv;

    /// <summary>Builds the layer.</summary>
    public DepthwiseMixing(int dim)
    {
        conv = new Conv2d(dim, dim, 7, padding: 3, groups: dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => ToChannelsLast(conv.call(ToChannelsFirst(x)));
}
