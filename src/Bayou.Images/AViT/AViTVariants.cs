using Bayou.Core;

namespace Bayou.Images;

/// <summary>Published members of the A-ViT family.</summary>
public static class AViTVariants
{
    private const string Paper = "A-ViT: Adaptive Tokens for Efficient Vision Transformer, CVPR 2022, arXiv 2112.07658";
    private const string Licence = "CC-BY-NC-SA 4.0 (NVlabs/A-ViT)";

    /// <summary>Catalog entries; the files' names carry the gate's scale and centre.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry("tiny", 192, 3, new(10, 30), 5_717_416, "ImageNet-1K top-1 71.4 %, 0.8 GMAC on average (DeiT-Ti 1.3); throughput +62 %", "tiny-10-30"),
        Entry("small", 384, 6, new(10, 75), 22_050_664, "ImageNet-1K top-1 78.8 %, 3.6 GMAC on average (DeiT-S 4.6); throughput +38 %", "small-10-75"),
        Entry("base", 768, 12, new(10, 75), 86_567_656, "no published figures", null),
    ];

    private static ModelEntry Entry(string size, int dim, int heads, HaltingGate gate, long parameters, string figures, string? file) => new(
        $"avit_{size}", "avit", Paper,
        o => new AViT(new VisionTransformerConfig { Dim = dim, Heads = heads, Classes = o.Classes, InChannels = o.InChannels, DropPath = o.DropPath }, gate),
        224, parameters, figures, file, file is null ? null : Licence);
}
