using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What mixes the channels of a FAN block: the paper's attention, or one of the ablations its claim compares.</summary>
public enum FanChannelMixing
{
    /// <summary>Efficient channel attention (<see cref="ChannelAttention"/>).</summary>
    Attention,

    /// <summary>The same value path with a constant gate of 0.5.</summary>
    FixedGate,

    /// <summary>The transformer's MLP.</summary>
    Mlp,
}

/// <summary>Shape of a FAN-ViT or FAN-Hybrid.</summary>
public sealed record FanConfig
{
    /// <summary>Width of every block; where it changes an <see cref="OverlapEmbed"/> halves the grid.</summary>
    public required int[] Dims { get; init; }

    /// <summary>Heads of every block, for tokens and channels alike.</summary>
    public required int[] Heads { get; init; }

    /// <summary>Patch of the convolutional stem: 4, 8 or 16.</summary>
    public int Patch { get; init; } = 16;

    /// <summary>Depths of the ConvNeXt stages of the hybrid stem; null: the convolutional stem of FAN-ViT.</summary>
    public int[]? StemDepths { get; init; }

    /// <summary>Widths of the ConvNeXt stages of the hybrid stem.</summary>
    public int[] StemDims { get; init; } = [128, 256];

    /// <summary>Class-attention blocks.</summary>
    public int ClassLayers { get; init; } = 2;

    /// <summary>Hidden width of the MLPs over C.</summary>
    public double MlpRatio { get; init; } = 4;

    /// <summary>Bias of the q, k, v projections.</summary>
    public bool QkvBias { get; init; } = true;

    /// <summary>Initial layer scale; null: none.</summary>
    public double? Eta { get; init; } = 1;

    /// <summary>Whether class-attention blocks norm the patch tokens too.</summary>
    public bool TokensNorm { get; init; } = true;

    /// <summary>Whether tokens get the Fourier encoding.</summary>
    public bool Positions { get; init; } = true;

    /// <summary>Frequencies in pairs, as in the classification code; false for weights of the official detection and segmentation code.</summary>
    public bool FlooredPositions { get; init; } = true;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head; 0: no norm and head (the dense backbones).</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stochastic-depth rate of every block (constant, not a ramp).</summary>
    public double DropPath { get; init; }

    /// <summary>Factor on the head's initial weights (0.001 for FAN-Hybrid-L).</summary>
    public double HeadInitScale { get; init; } = 1;

    /// <summary>Block whose map is the last but one feature; -1: the last.</summary>
    public int OutIndex { get; init; } = -1;

    /// <summary>Width of the last feature after a further 3x3 stride 2 convolution (detection: 768); 0: the last tokens as they are.</summary>
    public int FeatureDownsample { get; init; }

    /// <summary>What mixes channels.</summary>
    public FanChannelMixing Mixing { get; init; }

    /// <summary>Initial weights with deviation 1 / sqrt(fan-in) instead of 0.02.</summary>
    public bool FanInInit { get; init; }
}

/// <summary>
/// FAN-ViT and FAN-Hybrid, "Understanding The Robustness in Vision Transformers" (Zhou et al., ICML 2022, arXiv 2204.12451). [N, C, H, W] -> logits [N,
/// classes]; any size whose
/// sides the stem divides. State-dict keys are those of the official repository.
/// </summary>
public sealed class Fan : Layer, IFeatureNetwork, ICheckpointLayouts
{
    private readonly Parameter cls_token;
    private readonly FanStem patch_embed;
    private readonly FourierPositions? pos_embed;
    private readonly LayerList<Block> blocks;
    private readonly LayerList<ClassAttentionBlock> cls_attn_blocks;
    private readonly LayerNorm? norm;
    private readonly Linear? head;
    private readonly Conv2d? learnable_downsample;

    /// <summary>Builds the network.</summary>
    public Fan(FanConfig config)
    {
        Config = config;
        Check(config);
        var (dims, last) = (config.Dims, config.Dims[^1]);
        patch_embed = config.StemDepths is { } depths
            ? new FanHybridStem(config.InChannels, dims[0], depths, config.StemDims) : new FanConvStem(config.InChannels, dims[0], config.Patch);
        if (config.Positions) pos_embed = new FourierPositions(dims[0], config.FlooredPositions);
        blocks = new LayerList<Block>();
        for (var b = 0; b < dims.Length; b++)
        {
            var next = b + 1 < dims.Length && dims[b + 1] != dims[b] ? new OverlapEmbed(dims[b], dims[b + 1]) : null;
            blocks.Add(new Block(dims[b], new FanTokenMixing(dims[b], config.Heads[b], config.QkvBias), ChannelMixing(config, b), config.DropPath, 1e-6,
                config.Eta ?? 0, next));
        }
        cls_token = NewParameter(empty(1, 1, last));
        Init.TruncatedNormal(cls_token, std: 0.02);
        cls_attn_blocks = new LayerList<ClassAttentionBlock>();
        for (var b = 0; b < config.ClassLayers; b++)
            cls_attn_blocks.Add(new ClassAttentionBlock(last, config.Heads[^1], config.MlpRatio, config.QkvBias, config.Eta, config.TokensNorm));
        if (config.Classes > 0)
        {
            norm = new LayerNorm(last, eps: 1e-6);
            head = new Linear(last, config.Classes);
        }
        if (config.FeatureDownsample > 0) learnable_downsample = new Conv2d(last, config.FeatureDownsample, 3, stride: 2, padding: 1);
        RegisterComponents();
        TransformerInit.Apply(this, config.FanInInit);
        if (head is not null && config.HeadInitScale != 1)
        {
            Init.ScaleBy(head.Weight, config.HeadInitScale);
            Init.ScaleBy(head.Bias!, config.HeadInitScale);
        }
    }

    /// <summary>What it was built from.</summary>
    public FanConfig Config { get; }

    /// <summary>The FAN blocks in running order.</summary>
    public LayerList<Block> Blocks => blocks;

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x)
    {
        if (head is null) throw new BayouException("FAN: a backbone without classes has no logits; ask for its Features");
        x = Placed(patch_embed.call(x));
        x = InOrder.Run(blocks, x);
        x = norm!.call(ClassTokens(x));
        return head.call(Reshape(Slice(x, 1, 0, 1), 0, -1));
    }

    /// <summary>
    /// Maps [N, C, H, W] for dense heads, finest first: the stem's stages (hybrid: strides 4 and 8), block <see cref="FanConfig.OutIndex"/>, and the patch
    /// tokens after the class-attention
    /// blocks (both of stride 16, unless <see cref="FanConfig.FeatureDownsample"/> halves the last).
    /// </summary>
    public Tensor[] Features(Tensor x)
    {
        var (tokens, maps) = patch_embed.Both(x);
        x = Placed(tokens);
        var features = new List<Tensor>(maps);
        var chosen = Config.OutIndex < 0 ? blocks.Count - 1 : Config.OutIndex;
        for (var b = 0; b < blocks.Count; b++)
        {
            x = blocks[b].call(x);
            if (b == chosen) features.Add(ToChannelsFirst(x));
        }
        var last = ToChannelsFirst(Reshape(Slice(ClassTokens(x), 1, 1), 0, x.shape[1], x.shape[2], -1));
        features.Add(learnable_downsample is null ? last : learnable_downsample.call(last));
        return [.. features];
    }

    /// <summary>Keys of older published checkpoints: the positions were called pos_embeder, and class attention had one fused qkv.</summary>
    IReadOnlyList<string>? ICheckpointLayouts.KeysOf(string key)
    {
        const string positions = "pos_embeder.";
        if (key.StartsWith(positions, StringComparison.Ordinal)) return ["pos_embed." + key[positions.Length..]];
        return key.Split('.') is ["cls_attn_blocks", var block, "attn", "qkv", var kind]
            ? [.. new[] { "q", "k", "v" }.Select(p => $"cls_attn_blocks.{block}.attn.{p}.{kind}")] : null;
    }

    private Tensor Placed(Tensor tokens) => pos_embed is null ? tokens : Add(tokens, ToChannelsLast(pos_embed.call(tokens)));

    // [N, H, W, C] -> [N, 1 + H W, C]
    private Tensor ClassTokens(Tensor x)
    {
        AttentionTap.Enter(new TokenLayout((int)x.shape[1], (int)x.shape[2], 1));
        x = MultiHead.Flat(x);
        x = Concat(1, ExpandBatch(cls_token, x), x);
        foreach (var block in cls_attn_blocks) x = block.call(x);
        return x;
    }

    private static Layer ChannelMixing(FanConfig c, int block)
    {
        var (dim, heads) = (c.Dims[block], c.Heads[block]);
        return c.Mixing == FanChannelMixing.Mlp
            ? new Mlp(dim, (int)(dim * c.MlpRatio))
            : new ChannelAttention(dim, heads, c.MlpRatio, residual: true, c.Mixing == FanChannelMixing.FixedGate ? 0.5 : null);
    }

    private static void Check(FanConfig c)
    {
        if (c.Dims.Length == 0 || c.Dims.Length != c.Heads.Length)
            throw new BayouException($"FAN: {c.Dims.Length} widths and {c.Heads.Length} heads; one of each a block is needed");
        if (c.OutIndex >= c.Dims.Length) throw new BayouException($"FAN: feature of block {c.OutIndex} of {c.Dims.Length}");
        if (c.DropPath is < 0 or >= 1) throw new BayouException($"FAN: drop path rate {c.DropPath} must be in [0, 1)");
        if (c.Classes < 0 || c.InChannels <= 0) throw new BayouException("FAN: classes must not be negative, input channels must be positive");
    }
}
