using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a robust vision transformer.</summary>
public sealed record RvtConfig
{
    /// <summary>Side of the picture; layers that are tied to a grid (VARS-SD, VARS-S, position-aware scaling) are built for it.</summary>
    public int ImageSize { get; init; } = 224;

    /// <summary>Width of a head in every stage.</summary>
    public required int[] HeadDims { get; init; }

    /// <summary>Blocks of every stage.</summary>
    public required int[] Depths { get; init; }

    /// <summary>Heads of every stage.</summary>
    public required int[] Heads { get; init; }

    /// <summary>Hidden width of the MLP over C.</summary>
    public double MlpRatio { get; init; } = 4;

    /// <summary>Bias of the q, k, v projections.</summary>
    public bool QkvBias { get; init; } = true;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stochastic-depth rate of the last block; it grows linearly from 0 at the first.</summary>
    public double DropPath { get; init; }

    /// <summary>First blocks with position-aware attention scaling (the starred models).</summary>
    public int MaskedBlocks { get; init; }

    /// <summary>Initial weights with deviation 1 / sqrt(fan-in) instead of 0.02.</summary>
    public bool FanInInit { get; init; }

    /// <summary>Stem stride: 16 as published; 4 and 8 leave out the pooling and shrink the last convolution, for small pictures.</summary>
    public int StemStride { get; init; } = 16;

    /// <summary>Makes a block of width, heads, side of the token grid and drop path; null: plain self-attention. VARS puts its blocks here.</summary>
    public Func<RvtBlockSpec, Layer>? Block { get; init; }

    /// <summary>Side of the token grid in a stage.</summary>
    public int Grid(int stage)
    {
        var side = RvtPatchEmbed.Grid(ImageSize, StemStride);
        for (var s = 0; s < stage; s++) side = (side + 1) / 2;
        return side;
    }
}

/// <summary>What a block of an <see cref="Rvt"/> is made from.</summary>
/// <param name="Index">Number of the block in the whole network.</param>
/// <param name="Dim">Width C.</param>
/// <param name="Heads">Heads.</param>
/// <param name="Grid">Side of the token grid.</param>
/// <param name="DropPath">Stochastic depth.</param>
/// <param name="Network">The network's shape.</param>
public sealed record RvtBlockSpec(int Index, int Dim, int Heads, int Grid, double DropPath, RvtConfig Network);

/// <summary>
/// RVT, "Towards Robust Vision Transformer" (Mao et al., CVPR 2022, arXiv 2105.07926) as VARS builds on it: convolutional stem, no class token, no position
/// table, convolutional MLP,
/// pooling between stages. [N, C, H, W] -> logits [N, classes]. State-dict keys are the official ones.
/// </summary>
public sealed class Rvt : Layer, IFeatureNetwork
{
    private readonly RvtPatchEmbed patch_embed;
    private readonly LayerList<RvtStage> transformers;
    private readonly LayerList<RvtPooling> pools;
    private readonly LayerNorm norm;
    private readonly Linear head;

    /// <summary>Builds the network.</summary>
    public Rvt(RvtConfig config)
    {
        Config = config;
        if (config.Depths.Length == 0 || config.Depths.Length != config.Heads.Length || config.Depths.Length != config.HeadDims.Length)
            throw new BayouException($"RVT: {config.Depths.Length} depths, {config.Heads.Length} heads and {config.HeadDims.Length} head widths; one of each a stage is needed");
        var rates = StochasticDepth.Rates(config.DropPath, config.Depths.Sum());
        int Width(int s) => config.HeadDims[s] * config.Heads[s];
        patch_embed = new RvtPatchEmbed(config.InChannels, Width(0), config.StemStride);
        transformers = new LayerList<RvtStage>();
        pools = new LayerList<RvtPooling>();
        var block = 0;
        for (var s = 0; s < config.Depths.Length; s++)
        {
            var made = Enumerable.Range(0, config.Depths[s])
                .Select(_ => new RvtBlockSpec(block, Width(s), config.Heads[s], config.Grid(s), rates[block++], config))
                .Select(config.Block ?? SelfAttentionBlock).ToArray();
            transformers.Add(new RvtStage(made));
            if (s + 1 < config.Depths.Length) pools.Add(new RvtPooling(Width(s), Width(s + 1)));
        }
        norm = new LayerNorm(Width(config.Depths.Length - 1), eps: 1e-6);
        head = new Linear(Width(config.Depths.Length - 1), config.Classes);
        RegisterComponents();
        TransformerInit.Apply(this, config.FanInInit);
    }

    /// <summary>What it was built from.</summary>
    public RvtConfig Config { get; }

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x)
    {
        x = patch_embed.call(x);
        for (var s = 0; s < transformers.Count; s++)
        {
            x = transformers[s].call(x);
            if (s < pools.Count) x = pools[s].call(x);
        }
        return head.call(norm.call(Mean(x, new Ints(1, 2))));
    }

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        x = patch_embed.call(x);
        var features = new Tensor[transformers.Count];
        for (var s = 0; s < features.Length; s++)
        {
            x = transformers[s].call(x);
            features[s] = ToChannelsFirst(x);
            if (s < pools.Count) x = pools[s].call(x);
        }
        return features;
    }

    /// <summary>The channel mixing of a block: convolutional, but the plain MLP at width 768 (as the official code has it).</summary>
    public static Layer Mlp(RvtBlockSpec b)
    {
        var hidden = (int)(b.Dim * b.Network.MlpRatio);
        return b.Dim == 768 ? new Mlp(b.Dim, hidden) : new RvtMlp(b.Dim, hidden);
    }

    private static Layer SelfAttentionBlock(RvtBlockSpec b) =>
        new Block(b.Dim, new Attention(b.Dim, b.Heads, b.Network.QkvBias, b.Index < b.Network.MaskedBlocks ? b.Grid * b.Grid : 0), Mlp(b), b.DropPath);
}

/// <summary>Blocks of one resolution. [N, H, W, C] -> the same.</summary>
public sealed class RvtStage : Layer
{
    private readonly LayerList<Layer> blocks;

    internal RvtStage(Layer[] blocks)
    {
        this.blocks = new LayerList<Layer>(blocks);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => InOrder.Run(blocks, x);
}

/// <summary>Stem: 7x7 stride 2, BatchNorm, max pooling, 4x4 stride 4. [N, C, H, W] -> [N, about H/16, W/16, D].</summary>
public sealed class RvtPatchEmbed : Layer
{
    private readonly Sequential proj;

    /// <summary>Builds the stem; stride 16 is the published one, 8 leaves the pooling out, 4 also halves the last convolution.</summary>
    public RvtPatchEmbed(int inChannels, int dim, int stride = 16)
    {
        if (stride is not (4 or 8 or 16)) throw new BayouException($"RVT: stem stride {stride} must be 4, 8 or 16");
        var last = stride == 4 ? 2 : 4;
        proj = new Sequential(
            new Conv2d(inChannels, 32, 7, stride: 2, padding: 2),
            new BatchNorm(32),
            stride == 16 ? new MaxPool2d(3, 2, 1) : new Identity(),
            new Conv2d(32, dim, last, stride: last));
        RegisterComponents();
    }

    /// <summary>Side of the token grid for a square picture.</summary>
    public static int Grid(int side, int stride)
    {
        side = (side + 4 - 7) / 2 + 1;
        if (stride == 16) side = (side + 2 - 3) / 2 + 1;
        return side / (stride == 4 ? 2 : 4);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => ToChannelsLast(proj.call(x));
}

/// <summary>Between stages: grouped 3x3 stride 2, groups = C_in. [N, H, W, C] -> [N, H/2, W/2, C'].</summary>
public sealed class RvtPooling : Layer
{
    private readonly Conv2d conv;

    /// <summary>C -> C'.</summary>
    public RvtPooling(int inChannels, int outChannels)
    {
        conv = new Conv2d(inChannels, outChannels, 3, stride: 2, padding: 1, groups: inChannels);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => ToChannelsLast(conv.call(ToChannelsFirst(x)));
}

/// <summary>Channel mixing with a depthwise 3x3 inside; every convolution is followed by BatchNorm. [N, H, W, C] -> the same.</summary>
public sealed class RvtMlp : Layer
{
    private readonly Conv2d fc1, dwconv, fc2;
    private readonly BatchNorm bn1, bn2, bn3;

    /// <summary>C -> hidden -> C.</summary>
    public RvtMlp(int dim, int hidden)
    {
        fc1 = new Conv2d(dim, hidden, 1);
        bn1 = new BatchNorm(hidden);
        dwconv = new Conv2d(hidden, hidden, 3, padding: 1, groups: hidden);
        bn2 = new BatchNorm(hidden);
        fc2 = new Conv2d(hidden, dim, 1);
        bn3 = new BatchNorm(dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        x = Gelu(bn1.call(fc1.call(ToChannelsFirst(x))));
        x = Gelu(bn2.call(dwconv.call(x)));
        return ToChannelsLast(bn3.call(fc2.call(x)));
    }
}
