using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a Swin transformer.</summary>
public sealed record SwinConfig : WindowConfig
{
    /// <summary>Channel mixing of a block, by stage and width; null: the plain MLP. FAN-Swin puts its own here.</summary>
    public Func<int, int, Layer>? ChannelMixing { get; init; }
}

/// <summary>
/// Swin Transformer (Liu et al., ICCV 2021, arXiv 2103.14030). [N, C, H, W] -> logits [N, classes]. Any size works: grids are padded up to whole windows.
/// State-dict keys are timm's.
/// </summary>
public sealed class SwinTransformer : WindowTransformer
{
    /// <summary>Builds the network with the official initialisation.</summary>
    public SwinTransformer(SwinConfig config) : base("Swin", config, stage => Blocks(config, stage)) => Config = config;

    /// <summary>What it was built from.</summary>
    public SwinConfig Config { get; }

    private static IEnumerable<Layer> Blocks(SwinConfig c, WindowStageSpec stage)
    {
        for (var b = 0; b < stage.DropPath.Length; b++)
        {
            var mlp = c.ChannelMixing?.Invoke(stage.Index, stage.Dim) ?? new Mlp(stage.Dim, (int)(stage.Dim * c.MlpRatio));
            yield return new SwinBlock(stage.Dim, (stage.Grid, stage.Grid), c.Heads[stage.Index], c.Window, shifted: b % 2 == 1, mlp, stage.DropPath[b],
                c.QkvBias);
        }
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
        Entry("large", 192, [2, 2, 18, 2], [6, 12, 24, 48], 196_532_476, "from ImageNet-22K: top-1 86.3 % at 224 (34.5 GMAC)",
            "swin_large_patch4_window7_224_22kto1k.pth"),
    ];

    private static ModelEntry Entry(string size, int dim, int[] depths, int[] heads, long parameters, string figures, string file) => new(
        $"swin_{size}", "transformers", Paper,
        o => new SwinTransformer(new SwinConfig
        {
            Dim = dim,
            Depths = depths,
            Heads = heads,
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath
        }),
        224, parameters, figures, file, "MIT (microsoft/Swin-Transformer)");
}
