using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a Mini-DeiT.</summary>
public sealed record MiniDeiTConfig
{
    /// <summary>Side of the picture the position table is for.</summary>
    public int ImageSize { get; init; } = 224;

    /// <summary>Side of a patch.</summary>
    public int Patch { get; init; } = 16;

    /// <summary>Width C.</summary>
    public required int Dim { get; init; }

    /// <summary>Layers that run; <see cref="Share"/> of them have one set of weights.</summary>
    public int Depth { get; init; } = 12;

    /// <summary>Heads; must divide the width.</summary>
    public required int Heads { get; init; }

    /// <summary>Layers in a row that share attention and MLP weights; must divide the depth.</summary>
    public int Share { get; init; } = 2;

    /// <summary>Whether every layer keeps layer norms of its own.</summary>
    public bool SeparateNorms { get; init; } = true;

    /// <summary>Whether every layer transforms its attention across the heads, before and after the softmax.</summary>
    public bool Transform { get; init; } = true;

    /// <summary>Whether every layer has relative positions.</summary>
    public bool RelativePositions { get; init; } = true;

    /// <summary>Whether the heads share the table of relative positions.</summary>
    public bool SharedHeadPositions { get; init; } = true;

    /// <summary>Where position buckets begin to widen, in tokens.</summary>
    public double PositionRatio { get; init; } = 1.9;

    /// <summary>Whether a class token is read out instead of the mean of the patches.</summary>
    public bool ClassToken { get; init; }

    /// <summary>Hidden width of the MLP over C.</summary>
    public double MlpRatio { get; init; } = 4;

    /// <summary>Bias of the fused qkv projection.</summary>
    public bool QkvBias { get; init; } = true;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stochastic-depth rate of the last layer.</summary>
    public double DropPath { get; init; }

    /// <summary>
    /// Initial weights with deviation 1 / sqrt(fan-in), and transformations that start as the identity: for narrow networks in short trainings.
    /// </summary>
    public bool FanInInit { get; init; }
}

/// <summary>
/// Mini-DeiT (MiniViT, Zhang et al., CVPR 2022, arXiv 2204.07154): a DeiT whose consecutive layers share attention and MLP weights; small unshared parts (layer
/// norms, transformations across the heads, relative positions) give each layer back a character of its own. [N, C, H, W] -> logits [N, classes].
/// </summary>
public sealed class MiniDeiT : Layer
{
    private readonly PatchEmbed patch_embed;
    private readonly Parameter? cls_token;
    private readonly Parameter pos_embed;                   // [1, T, C]
    private readonly LayerList<MiniDeiTBlock> blocks;
    private readonly LayerNorm norm;
    private readonly Linear head;

    /// <summary>Builds the network with the official initialisation.</summary>
    public MiniDeiT(MiniDeiTConfig config)
    {
        Config = config;
        if (config.ImageSize <= 0 || config.Patch <= 0 || config.ImageSize % config.Patch != 0)
            throw new BayouException($"Mini-DeiT: image size {config.ImageSize} must be a multiple of the patch {config.Patch}");
        if (config.Share <= 0 || config.Depth <= 0 || config.Depth % config.Share != 0)
            throw new BayouException($"Mini-DeiT: {config.Depth} layers cannot be cut into groups of {config.Share} that share their weights");
        if (config.Heads <= 0 || config.Dim <= 0 || config.Dim % config.Heads != 0)
            throw new BayouException($"Mini-DeiT: {config.Heads} heads do not divide {config.Dim} channels");
        var grid = config.ImageSize / config.Patch;
        patch_embed = new PatchEmbed(config.InChannels, config.Dim, config.Patch);
        if (config.ClassToken) cls_token = Normal(1, 1, config.Dim);
        pos_embed = Normal(1, grid * grid + (config.ClassToken ? 1 : 0), config.Dim);
        var rates = StochasticDepth.Rates(config.DropPath, config.Depth);
        blocks = new LayerList<MiniDeiTBlock>();
        for (var b = 0; b < config.Depth / config.Share; b++) blocks.Add(new MiniDeiTBlock(config, rates.Skip(b * config.Share).Take(config.Share).ToArray()));
        norm = new LayerNorm(config.Dim, eps: 1e-6);
        head = new Linear(config.Dim, config.Classes);
        RegisterComponents();
        TransformerInit.Apply(this, config.FanInInit);
        foreach (var block in blocks) block.Shared.InitTransforms(identity: config.FanInInit);
    }

    /// <summary>What it was built from.</summary>
    public MiniDeiTConfig Config { get; }

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x)
    {
        x = patch_embed.call(x);
        var (rows, columns) = ((int)x.shape[1], (int)x.shape[2]);
        var (prefix, side) = (cls_token is null ? 0 : 1, Config.ImageSize / Config.Patch);
        AttentionTap.Enter(new TokenLayout(rows, columns, prefix));
        x = MultiHead.Flat(x);
        if (cls_token is not null) x = Concat(1, ExpandBatch(cls_token, x), x);
        x = Add(x, PositionTable.Resize(pos_embed, prefix, (side, side), (rows, columns)));
        foreach (var block in blocks)
        {
            for (var r = 0; r < Config.Share; r++) x = block.Shared.Repeat(x, r, rows, columns);
        }
        x = norm.call(x);
        return head.call(cls_token is null ? Mean(x, new Ints(1)) : Reshape(Slice(x, 1, 0, 1), 0, -1));
    }

    private static Parameter Normal(params long[] shape)
    {
        var parameter = NewParameter(empty(shape));
        Init.TruncatedNormal(parameter, std: 0.02);
        return parameter;
    }
}

/// <summary>Some layers with one set of weights, under the key "block".</summary>
public sealed class MiniDeiTBlock : Layer
{
    private readonly MiniDeiTLayer block;

    internal MiniDeiTBlock(MiniDeiTConfig c, double[] dropPath)
    {
        block = new MiniDeiTLayer(c, dropPath);
        RegisterComponents();
    }

    /// <summary>The shared layer.</summary>
    public MiniDeiTLayer Shared => block;

    /// <summary>The first repeat on tokens [N, T, C] of one row.</summary>
    public override Tensor forward(Tensor x) => block.call(x);
}

/// <summary>One transformer layer whose repeats differ in their norms, head transformations and relative positions. [N, T, C] -> the same.</summary>
public sealed class MiniDeiTLayer : Layer
{
    private readonly Repeated<LayerNorm> norm1, norm2;
    private readonly MiniDeiTAttention attn;
    private readonly Mlp mlp;
    private readonly LayerList<DropPath> drop_path;

    internal MiniDeiTLayer(MiniDeiTConfig c, double[] dropPath)
    {
        var norms = c.SeparateNorms ? c.Share : 1;
        norm1 = new Repeated<LayerNorm>(norms, () => new LayerNorm(c.Dim, eps: 1e-6));
        norm2 = new Repeated<LayerNorm>(norms, () => new LayerNorm(c.Dim, eps: 1e-6));
        attn = new MiniDeiTAttention(c);
        mlp = new Mlp(c.Dim, (int)(c.Dim * c.MlpRatio));
        drop_path = new LayerList<DropPath>([.. dropPath.Select(p => new DropPath(p))]);
        RegisterComponents();
    }

    /// <summary>Runs as repeat r on tokens of a grid.</summary>
    public Tensor Repeat(Tensor x, int r, int rows, int columns)
    {
        x = Add(x, drop_path[r].call(attn.Repeat(norm1[r].call(x), r, rows, columns)));
        x = Add(x, drop_path[r].call(mlp.call(norm2[r].call(x))));
        LayerTap.Hidden(x);
        return x;
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Repeat(x, 0, 1, (int)x.shape[1]);

    internal void InitTransforms(bool identity) => attn.InitTransforms(identity);
}

/// <summary>Attention with shared projections and, for every repeat, relative positions and mixtures of the heads before and after the softmax.</summary>
public sealed class MiniDeiTAttention : Layer
{
    private readonly Linear qkv, proj;
    private readonly Repeated<ContextualPositions>? rpe_k;
    private readonly Repeated<Conv2d>? conv_l, conv_w;      // 1x1 across the heads, no bias
    private readonly int heads;
    private readonly double scale;

    internal MiniDeiTAttention(MiniDeiTConfig c)
    {
        heads = c.Heads;
        scale = Math.Pow(c.Dim / c.Heads, -0.5);
        qkv = new Linear(c.Dim, 3 * c.Dim, c.QkvBias);
        proj = new Linear(c.Dim, c.Dim);
        if (c.RelativePositions)
            rpe_k = new(c.Share, () => new ContextualPositions(c.SharedHeadPositions ? 1 : c.Heads, c.Dim / c.Heads, c.PositionRatio, c.ClassToken ? 1 : 0));
        if (c.Transform) (conv_l, conv_w) = (new(c.Share, Mixture), new(c.Share, Mixture));
        RegisterComponents();

        Conv2d Mixture() => new(c.Heads, c.Heads, 1, bias: false);
    }

    /// <summary>Runs as repeat r.</summary>
    public Tensor Repeat(Tensor x, int r, int rows, int columns)
    {
        var all = qkv.call(x);
        LayerTap.Qkv(all);
        var parts = MultiHead.SplitFused(all, heads);
        var q = Scale(parts[0], scale);
        var bias = rpe_k?[r].Bias(q, rows, columns);
        var y = MultiHead.Attend(q, parts[1], parts[2], 1, bias, conv_l is null ? null : conv_l[r].call, conv_w is null ? null : conv_w[r].call);
        return proj.call(MultiHead.Join(y));
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Repeat(x, 0, 1, (int)x.shape[1]);

    // Official: normal with deviation 0.02, far from the identity; a short training does not recover from that.
    internal void InitTransforms(bool identity)
    {
        foreach (var module in modules())
        {
            if (module is not Conv2d conv) continue;
            if (identity) nn.init.dirac_(conv.Weight);
            else Init.TruncatedNormal(conv.Weight, std: 0.02);
        }
    }
}
