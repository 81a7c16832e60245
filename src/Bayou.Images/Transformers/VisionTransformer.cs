using Bayou.Core;
using Bayou.Train;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a vision transformer.</summary>
public sealed record VisionTransformerConfig
{
    /// <summary>Side of the picture the position table is for; other sizes interpolate the table.</summary>
    public int ImageSize { get; init; } = 224;

    /// <summary>Side of a patch.</summary>
    public int Patch { get; init; } = 16;

    /// <summary>Width C.</summary>
    public required int Dim { get; init; }

    /// <summary>Blocks.</summary>
    public int Depth { get; init; } = 12;

    /// <summary>Heads; must divide the width.</summary>
    public required int Heads { get; init; }

    /// <summary>Hidden width of the MLP over C.</summary>
    public double MlpRatio { get; init; } = 4;

    /// <summary>Bias of the fused qkv projection.</summary>
    public bool QkvBias { get; init; } = true;

    /// <summary>Whether a class token is read out; without it the mean over the patches is.</summary>
    public bool ClassToken { get; init; } = true;

    /// <summary>DeiT's distillation token with a head of its own.</summary>
    public bool DistillationToken { get; init; }

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stochastic-depth rate of the last block; it grows linearly from 0 at the first.</summary>
    public double DropPath { get; init; }

    /// <summary>Initial weights with deviation 1 / sqrt(fan-in) instead of 0.02: for narrow networks in short trainings.</summary>
    public bool FanInInit { get; init; }

    /// <summary>Tokens before the patches.</summary>
    public int Prefix => (ClassToken ? 1 : 0) + (DistillationToken ? 1 : 0);

    /// <summary>Side of the position table's grid.</summary>
    public int Grid => ImageSize / Patch;
}

/// <summary>
/// ViT ("An Image is Worth 16x16 Words", ICLR 2021) and DeiT ("Training data-efficient image transformers", ICML 2021). [N, C, H, W] -> logits [N, classes]; H
/// and W may be any
/// multiples of the patch. State-dict keys are timm's.
/// </summary>
public class VisionTransformer : Layer, IFeatureNetwork, ILayerwise
{
    private readonly PatchEmbed patch_embed;
    private readonly Parameter? cls_token, dist_token;      // [1, 1, C]
    private readonly Parameter pos_embed;                   // [1, prefix + grid^2, C]
    private readonly LayerList<Block> blocks;
    private readonly LayerNorm norm;
    private readonly Linear head;
    private readonly Linear? head_dist;

    /// <summary>Builds the network with the official initialisation.</summary>
    public VisionTransformer(VisionTransformerConfig config)
    {
        Config = config;
        Check(config);
        var dim = config.Dim;
        patch_embed = new PatchEmbed(config.InChannels, dim, config.Patch);
        if (config.ClassToken) cls_token = Token(dim);
        if (config.DistillationToken) dist_token = Token(dim);
        pos_embed = NewParameter(empty(1, config.Prefix + config.Grid * config.Grid, dim));
        Init.TruncatedNormal(pos_embed, std: 0.02);
        var rates = StochasticDepth.Rates(config.DropPath, config.Depth);
        blocks = new LayerList<Block>();
        for (var b = 0; b < config.Depth; b++)
            blocks.Add(new Block(dim, new Attention(dim, config.Heads, config.QkvBias), new Mlp(dim, (int)(dim * config.MlpRatio)), rates[b]));
        norm = new LayerNorm(dim, eps: 1e-6);
        head = new Linear(dim, config.Classes);
        if (config.DistillationToken) head_dist = new Linear(dim, config.Classes);
        RegisterComponents();
        TransformerInit.Apply(this, config.FanInInit);
    }

    /// <summary>What it was built from.</summary>
    public VisionTransformerConfig Config { get; }

    /// <summary>The learned positions, [1, prefix + grid^2, C].</summary>
    public Parameter Positions => pos_embed;

    /// <summary>The blocks in running order.</summary>
    public LayerList<Block> Blocks => blocks;

    /// <summary>The last normalisation.</summary>
    public LayerNorm Norm => norm;

    /// <summary>The classifier on the class token (or mean).</summary>
    public Linear Head => head;

    /// <summary>[N, C, H, W] -> [N, classes]; with a distillation token the mean of both heads.</summary>
    public override Tensor forward(Tensor x)
    {
        var (logits, distilled) = BothHeads(x);
        return distilled is null ? logits : Scale(Add(logits, distilled), 0.5);
    }

    /// <summary>Logits of the class head and, if there is one, of the distillation head: DeiT trains the second against the teacher.</summary>
    public (Tensor Class, Tensor? Distillation) BothHeads(Tensor x)
    {
        x = Embed(x);
        x = InOrder.Run(blocks, x);
        return Classify(norm.call(x));
    }

    /// <summary>Pictures to tokens: patches, prefix tokens, positions. [N, C, H, W] -> [N, prefix + patches, C].</summary>
    public Tensor Embed(Tensor x)
    {
        x = patch_embed.call(x);
        var (rows, columns) = ((int)x.shape[1], (int)x.shape[2]);
        AttentionTap.Enter(new TokenLayout(rows, columns, Config.Prefix));
        x = MultiHead.Flat(x);
        if (dist_token is not null) x = Concat(1, ExpandBatch(dist_token, x), x);
        if (cls_token is not null) x = Concat(1, ExpandBatch(cls_token, x), x);
        return Add(x, PositionTable.Resize(pos_embed, Config.Prefix, (Config.Grid, Config.Grid), (rows, columns)));
    }

    /// <summary>Normalised tokens [N, T, C] to logits.</summary>
    public (Tensor Class, Tensor? Distillation) Classify(Tensor x)
    {
        if (cls_token is null && dist_token is null) return (head.call(Mean(x, new Ints(1))), null);
        var logits = head.call(cls_token is null ? Mean(Slice(x, 1, Config.Prefix), new Ints(1)) : TokenAt(x, 0));
        return (logits, head_dist?.call(TokenAt(x, cls_token is null ? 0 : 1)));
    }

    /// <summary>Token maps [N, C, H/p, W/p] after each quarter of the blocks (all of one size: a plain transformer has one stage).</summary>
    public Tensor[] Features(Tensor x)
    {
        var (rows, columns) = (x.shape[2] / Config.Patch, x.shape[3] / Config.Patch);
        x = Embed(x);
        var stages = Math.Min(4, blocks.Count);
        var features = new List<Tensor>(stages);
        for (var b = 0; b < blocks.Count; b++)
        {
            x = blocks[b].call(x);
            if ((b + 1) * stages / blocks.Count > features.Count)
                features.Add(ToChannelsFirst(Reshape(Config.Prefix == 0 ? x : Slice(x, 1, Config.Prefix), 0, rows, columns, Config.Dim)));
        }
        return [.. features];
    }

    /// <summary>Id of the last group of <see cref="LayerId"/>.</summary>
    public int LayerCount => blocks.Count + 1;

    /// <summary>Groups for layer-wise decay: embeddings 0, block b is b + 1, norm and heads last.</summary>
    public int LayerId(string name) =>
        name.Split('.') is ["blocks", var index, ..] ? int.Parse(index) + 1 : name.StartsWith("norm", StringComparison.Ordinal)
            || name.StartsWith("head", StringComparison.Ordinal) ? LayerCount : 0;

    private static Tensor TokenAt(Tensor x, long index) => Reshape(Slice(x, 1, index, index + 1), 0, -1);

    private static Parameter Token(int dim)
    {
        var token = NewParameter(empty(1, 1, dim));
        Init.TruncatedNormal(token, std: 0.02);
        return token;
    }

    private static void Check(VisionTransformerConfig c)
    {
        if (c.Patch <= 0 || c.ImageSize < c.Patch || c.ImageSize % c.Patch != 0)
            throw new BayouException($"VisionTransformer: image size {c.ImageSize} must be a multiple of the patch {c.Patch}");
        if (c.Depth <= 0 || c.Heads <= 0 || c.Dim <= 0 || c.Dim % c.Heads != 0)
            throw new BayouException($"VisionTransformer: width {c.Dim} must be a positive multiple of {c.Heads} heads, depth {c.Depth} positive");
        if (c.Classes <= 0 || c.InChannels <= 0) throw new BayouException("VisionTransformer: classes and input channels must be positive");
        if (c.DropPath is < 0 or >= 1) throw new BayouException($"VisionTransformer: drop path rate {c.DropPath} must be in [0, 1)");
    }
}
