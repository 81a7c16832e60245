using Bayou.Core;

namespace Bayou.Images;

/// <summary>Published DeiT and ViT sizes.</summary>
public static class VisionTransformerVariants
{
    private const string Deit = "Training data-efficient image transformers & distillation through attention, ICML 2021, arXiv 2012.12877";
    private const string Vit = "An Image is Worth 16x16 Words, ICLR 2021, arXiv 2010.11929; weights: How to train your ViT?, arXiv 2106.10270";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry("deit_tiny", Deit, 192, 3, 12, 16, false, 5_717_416, "ImageNet-1K top-1 72.2 % at 224", "deit_tiny_patch16_224-a1311bcf.pth"),
        Entry("deit_small", Deit, 384, 6, 12, 16, false, 22_050_664, "ImageNet-1K top-1 79.9 % at 224", "deit_small_patch16_224-cd65a155.pth"),
        Entry("deit_base", Deit, 768, 12, 12, 16, false, 86_567_656, "ImageNet-1K top-1 81.8 % at 224, 82.9 % at 384", "deit_base_patch16_224-b5f2ef4d.pth"),
        Entry("deit_tiny_distilled", Deit, 192, 3, 12, 16, true, 5_910_800, "ImageNet-1K top-1 74.5 % at 224", "deit_tiny_distilled_patch16_224-b40b3cf7.pth"),
        Entry("deit_small_distilled", Deit, 384, 6, 12, 16, true, 22_436_432, "ImageNet-1K top-1 81.2 % at 224",
            "deit_small_distilled_patch16_224-649709d9.pth"),
        Entry("deit_base_distilled", Deit, 768, 12, 12, 16, true, 87_338_192, "ImageNet-1K top-1 83.4 % at 224",
            "deit_base_distilled_patch16_224-df68dfff.pth"),
        Entry("vit_tiny", Vit, 192, 3, 12, 16, false, 5_717_416, "no figure in the paper's main table; same network as deit_tiny"),
        Entry("vit_small", Vit, 384, 6, 12, 16, false, 22_050_664, "same network as deit_small"),
        Entry("vit_base", Vit, 768, 12, 12, 16, false, 86_567_656, "same network as deit_base"),
        Entry("vit_base_patch32", Vit, 768, 12, 12, 32, false, 88_224_232, "patches of 32"),
        Entry("vit_large", Vit, 1024, 16, 24, 16, false, 304_326_632, "ViT-L/16"),
    ];

    private static ModelEntry Entry(string name, string paper, int dim, int heads, int depth, int patch, bool distilled, long parameters, string figures,
        string? file = null) => new(
        name, "transformers", paper,
        o => new VisionTransformer(new VisionTransformerConfig
        {
            Dim = dim,
            Heads = heads,
            Depth = depth,
            Patch = patch,
            DistillationToken = distilled,
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath,
        }),
        224, parameters, figures, file, file is null ? null : "Apache-2.0 (facebookresearch/deit)");
}
