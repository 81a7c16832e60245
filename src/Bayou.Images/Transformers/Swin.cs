using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a Swin transformer.</summary>
public sealed record SwinConfig
{
    /// <summary>Side of the picture that the stored masks are for; other sizes compute theirs.</summary>
    public int ImageSize { get; init; } = 224;

    /// <summary>Side of a patch.</summary>
    public int Patch { get; init; } = 4;

    /// <summary>Width of the first stage; it doubles from stage to stage.</summary>
    public required int Dim { get; init; }

    /// <summary>Blocks of every stage.</summary>
    public required int[] Depths { get; init; }

    /// <summary>Heads of every stage.</summary>
    public required int[] Heads { get; init; }

    /// <summary>Side of the windows.</summary>
    public int Window { get; init; } = 7;

    /// <summary>Hidden width of the MLP over C.</summary>
    public double MlpRatio { get; init; } = 4;

    /// <summary>Bias of the fused qkv projection.</summary>
    public bool QkvBias { get; init; } = true;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stochastic-depth rate of the last block; it grows linearly from 0 at the first.</summary>
    public double DropPath { get; init; }

    /// <summary>Initial weights with deviation 1 / sqrt(fan-in) instead of 0.02.</summary>
    public bool FanInInit { get; init; }

    /// <summary>Channel mixing of a block, by stage and width; null: the plain MLP. FAN-Swin puts its own here.</summary>
    public Func<int, int, Layer>? ChannelMixing { get; init; }
}

/// <summary>
/// Swin Transformer (Liu et al., ICCV 2021, arXiv 2103.14030). [N, C, H, W] -> logits [N, classes]. Any size works: grids are padded up to whole windows.
/// State-dict keys are timm's.
/// </summary>
public sealed class SwinTransformer : Layer, IFeatureNetwork
{
    private readonly PatchEmbed patch_embed;
    private readonly LayerList<SwinStage> layers;
    private readonly LayerNorm norm;
    private readonly Linear head;

    /// <summary>Builds the network with the official initialisation.</summary>
    public SwinTransformer(SwinConfig config)
    {
        Config = config;
        if (config.Depths.Length == 0 || config.Depths.Length != config.Heads.Length)
            throw new BayouException($"Swin: {config.Depths.Length} depths and {config.Heads.Length} heads; one of each a stage is needed");
        if (config.ImageSize % (config.Patch << (config.Depths.Length - 1)) != 0)
            throw new BayouException($"Swin: image size {config.ImageSize} must be a multiple of {config.Patch << (config.Depths.Length - 1)} (patch times 2 for every stage after the first)");
        var rates = StochasticDepth.Rates(config.DropPath, config.Depths.Sum());
        patch_embed = new PatchEmbed(config.InChannels, config.Dim, config.Patch, normEps: 1e-5);
        layers = new LayerList<SwinStage>();
        var (grid, first) = (config.ImageSize / config.Patch, 0);
        for (var s = 0; s < config.Depths.Length; s++)
        {
            layers.Add(new SwinStage(config, s, config.Dim << s, grid >> s, rates[first..(first + config.Depths[s])], merges: s < config.Depths.Length - 1));
            first += config.Depths[s];
        }
        var width = config.Dim << (config.Depths.Length - 1);
        norm = new LayerNorm(width);
        head = new Linear(width, config.Classes);
        RegisterComponents();
        TransformerInit.Apply(this, config.FanInInit);
    }

    /// <summary>What it was built from.</summary>
    public SwinConfig Config { get; }

    /// <summary>[N, C, H, W] -> [N, classes]: mean over all tokens of the last stage.</summary>
    public override Tensor forward(Tensor x)
    {
        x = patch_embed.call(x);
        foreach (var layer in layers) x = layer.call(x);
        return head.call(Mean(norm.call(x), new Ints(1, 2)));
    }

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        x = patch_embed.call(x);
        var features = new Tensor[layers.Count];
        for (var s = 0; s < features.Length; s++)
        {
            (var stage, x) = layers[s].Both(x);
            features[s] = ToChannelsFirst(s == features.Length - 1 ? norm.call(stage) : stage);
        }
        return features;
    }
}

/// <summary>Blocks of one resolution, then patch merging. [N, H, W, C] -> [N, H/2, W/2, 2C], or the same in the last stage.</summary>
public sealed class SwinStage : Layer
{
    private readonly LayerList<SwinBlock> blocks;
    private readonly PatchMerging? downsample;

    internal SwinStage(SwinConfig c, int stage, int dim, int grid, double[] dropPath, bool merges)
    {
        blocks = new LayerList<SwinBlock>();
        for (var b = 0; b < dropPath.Length; b++)
        {
            var mlp = c.ChannelMixing?.Invoke(stage, dim) ?? new Mlp(dim, (int)(dim * c.MlpRatio));
            blocks.Add(new SwinBlock(dim, (grid, grid), c.Heads[stage], c.Window, shifted: b % 2 == 1, mlp, dropPath[b], c.QkvBias));
        }
        if (merges) downsample = new PatchMerging(dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Both(x).Next;

    /// <summary>The stage's own map and what the next stage starts from.</summary>
    public (Tensor Stage, Tensor Next) Both(Tensor x)
    {
        foreach (var block in blocks) x = block.call(x);
        return (x, downsample is null ? x : downsample.call(x));
    }
}

/// <summary>Published Swin sizes.</summary>
public static class SwinVariants
{
    private const string Paper = "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV 2021, arXiv 2103.14030";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry("tiny", 96, [2, 2, 6, 2], [3, 6, 12, 24], 28_288_354, "ImageNet-1K top-1 81.3 % at 224 (4.5 GMAC)", "swin_tiny_patch4_window7_224.pth"),
        Entry("small", 96, [2, 2, 18, 2], [3, 6, 12, 24], 49_606_258, "ImageNet-1K top-1 83.0 % at 224 (8.7 GMAC)", "swin_small_patch4_window7_224.pth"),
        Entry("base", 128, [2, 2, 18, 2], [4, 8, 16, 32], 87_768_224, "ImageNet-1K top-1 83.5 % at 224 (15.4 GMAC)", "swin_base_patch4_window7_224.pth"),
        Entry("large", 192, [2, 2, 18, 2], [6, 12, 24, 48], 196_532_476, "from ImageNet-22K: top-1 86.3 % at 224 (34.5 GMAC)", "swin_large_patch4_window7_224_22kto1k.pth"),
    ];

    private static ModelEntry Entry(string size, int dim, int[] depths, int[] heads, long parameters, string figures, string file) => new(
        $"swin_{size}", "transformers", Paper,
        o => new SwinTransformer(new SwinConfig { Dim = dim, Depths = depths, Heads = heads, Classes = o.Classes, InChannels = o.InChannels, DropPath = o.DropPath }),
        224, parameters, figures, file, "MIT (microsoft/Swin-Transformer)");
}
