using Bayou.Core;

namespace Bayou.Images;

/// <summary>Published members of the MiniViT family.</summary>
public static class MiniViTVariants
{
    private const string Paper = "MiniViT: Compressing Vision Transformers with Weight Multiplexing, CVPR 2022, arXiv 2204.07154";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Deit("mini_deit_tiny", 192, 3, 2, 224, 3_090_304, "ImageNet-1K top-1 73.0 % (DeiT-Ti, 5M parameters: 72.2 %)"),
        Deit("mini_deit_small", 384, 6, 2, 224, 11_450_824, "ImageNet-1K top-1 80.9 % (DeiT-S, 22M parameters: 79.9 %)"),
        Deit("mini_deit_base", 768, 12, 2, 224, 44_098_408, "ImageNet-1K top-1 83.2 % (DeiT-B, 86M parameters: 81.8 %)"),
        Deit("mini_deit_base_384", 768, 12, 2, 384, 44_390_248, "ImageNet-1K top-1 84.9 % at 384 (DeiT-B: 82.9 %)"),
        Deit("mini_deit_base_9m", 768, 12, 12, 224, 8_674_408, "DeiT-B with one set of weights for all 12 layers: 9.7 times fewer parameters"),
        Swin("mini_swin_tiny", 96, [2, 2, 6, 2], [1, 1, 1, 1], [3, 6, 12, 24], 224, 7, 12_001_765, "ImageNet-1K top-1 81.3 % (Swin-T, 28M parameters: 81.3 %)"),
        Swin("mini_swin_small", 96, [2, 2, 18, 2], [1, 1, 9, 1], [3, 6, 12, 24], 224, 7, 26_463_205,
            "ImageNet-1K top-1 83.9 % (Swin-S, 50M parameters: 83.2 %)"),
        Swin("mini_swin_base", 128, [2, 2, 18, 2], [1, 1, 9, 1], [4, 8, 16, 32], 224, 7, 46_444_852,
            "ImageNet-1K top-1 84.5 % (Swin-B, 88M parameters: 83.5 %)"),
        Swin("mini_swin_base_384", 128, [2, 2, 18, 2], [1, 1, 9, 1], [4, 8, 16, 32], 384, 12, 46_512_532, "ImageNet-1K top-1 85.5 % at 384 (Swin-B: 84.5 %)"),
    ];

    private static ModelEntry Deit(string name, int dim, int heads, int share, int size, long parameters, string figures) => new(
        name, "minivit", Paper,
        o => new MiniDeiT(new MiniDeiTConfig
        {
            ImageSize = size,
            Dim = dim,
            Heads = heads,
            Share = share,
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath
        }),
        size, parameters, figures, WeightsLicence: "Apache-2.0 (microsoft/Cream)");

    private static ModelEntry Swin(string name, int dim, int[] depths, int[] blocks, int[] heads, int size, int window, long parameters, string figures) => new(
        name, "minivit", Paper,
        o => new MiniSwin(new MiniSwinConfig
        {
            ImageSize = size,
            Dim = dim,
            Depths = depths,
            Blocks = blocks,
            Heads = heads,
            Window = window,
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath,
        }),
        size, parameters, figures, WeightsLicence: "MIT (microsoft/Cream)");
}
