using Bayou.Core;

namespace Bayou.Images;

/// <summary>The catalog entries of this room.</summary>
public static class ImageModels
{
    /// <summary>Every image model, system by system.</summary>
    public static IEnumerable<ModelEntry> All =>
    [
        .. ConvNeXtVariants.Entries,
        .. RepLKNetVariants.Entries,
        .. SLaKVariants.Entries,
        .. VisionTransformerVariants.Entries,
        .. SwinVariants.Entries,
        .. SkipNetVariants.Entries,
        .. FanVariants.Entries,
        .. VarsVariants.Entries,
        .. NasBench201Variants.Entries,
        .. PokeBnnVariants.Entries,
        .. AViTVariants.Entries,
        .. MiniViTVariants.Entries,
    ];
}
