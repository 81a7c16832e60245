using Bayou.Core;

namespace Bayou.Images;

/// <summary>Published members of the ConvNeXt family and the steps of its ladder.</summary>
public static class ConvNeXtVariants
{
    private const string Paper = "A ConvNet for the 2020s, CVPR 2022, arXiv 2201.03545";
    private const string Licence = "MIT (code and weights of facebookresearch/ConvNeXt); ImageNet-22k pre-trained weights: research use of the data";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry("tiny", [3, 3, 9, 3], 96, 28_589_128, "ImageNet-1K top-1 82.1 % at 224 (4.5 GMAC); from 22K: 82.9 %, 84.1 % at 384",
            "convnext_tiny_1k_224_ema.pth"),
        Entry("small", [3, 3, 27, 3], 96, 50_223_688, "ImageNet-1K top-1 83.1 % at 224 (8.7 GMAC); from 22K: 84.6 %, 85.8 % at 384",
            "convnext_small_1k_224_ema.pth"),
        Entry("base", [3, 3, 27, 3], 128, 88_591_464, "ImageNet-1K top-1 83.8 % at 224 (15.4 GMAC), 85.1 % at 384; from 22K: 85.8 %, 86.8 % at 384",
            "convnext_base_1k_224_ema.pth"),
        Entry("large", [3, 3, 27, 3], 192, 197_767_336, "ImageNet-1K top-1 84.3 % at 224 (34.4 GMAC), 85.5 % at 384; from 22K: 86.6 %, 87.5 % at 384",
            "convnext_large_1k_224_ema.pth"),
        Entry("xlarge", [3, 3, 27, 3], 256, 350_196_968, "from ImageNet-22K: top-1 87.0 % at 224 (60.9 GMAC), 87.8 % at 384",
            "convnext_xlarge_22k_1k_224_ema.pth"),
        Isotropic("small", 18, 384, 0, 22_308_712, "ImageNet-1K top-1 78.7 % at 224 (4.3 GMAC)"),
        Isotropic("base", 18, 768, 0, 87_083_752, "ImageNet-1K top-1 82.0 % at 224 (16.9 GMAC)"),
        Isotropic("large", 36, 1024, 1e-6, 305_942_504, "ImageNet-1K top-1 82.6 % at 224 (59.7 GMAC)"),
        .. Ladder.Select(step => LadderEntry(step)),
    ];

    /// <summary>The sixteen steps of the ladder in the ResNet-50 regime with their published GFLOPs and top-1 (mean of 3 seeds, paper table 10).</summary>
    public static IReadOnlyList<LadderStep> Ladder => LadderSteps.All;

    private static ModelEntry Entry(string size, int[] depths, int width, long parameters, string figures, string file) => new(
        $"convnext_{size}", "convnext", Paper,
        o => new ConvNeXt(new ConvNeXtConfig
        {
            Depths = depths,
            Dims = [width, 2 * width, 4 * width, 8 * width],
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath,
            LayerScale = o.LayerScale ?? 1e-6,
        }),
        224, parameters, figures, file, Licence);

    private static ModelEntry Isotropic(string size, int depth, int dim, double layerScale, long parameters, string figures) => new(
        $"convnext_isotropic_{size}", "convnext", Paper,
        o => new ConvNeXtIsotropic(depth, dim, o.Classes, o.InChannels, o.DropPath, o.LayerScale ?? layerScale),
        224, parameters, figures, $"convnext_iso_{size}_1k_224_ema.pth", Licence);

    private static ModelEntry LadderEntry(LadderStep step) => new(
        $"convnext_ladder_{step.Key}", "convnext", Paper,
        o => new ResNetLadder(step.Config with { Classes = o.Classes, InChannels = o.InChannels, DropPath = o.DropPath }),
        224, step.Parameters, $"ladder step: {step.Change}; ImageNet-1K top-1 {step.Top1} % ({step.PublishedGflops} GFLOPs)");
}

/// <summary>One row of the paper's table 10.</summary>
/// <param name="Key">Short name.</param>
/// <param name="Change">What the step changes.</param>
/// <param name="Config">The network.</param>
/// <param name="PublishedGflops">GFLOPs (multiply-accumulates) as published.</param>
/// <param name="Top1">ImageNet-1K top-1, mean of three seeds, as published.</param>
/// <param name="Parameters">Parameters counted.</param>
public sealed record LadderStep(string Key, string Change, LadderConfig Config, double PublishedGflops, double Top1, long Parameters);

internal static class LadderSteps
{
    public static readonly IReadOnlyList<LadderStep> All = Build();

    // Each step is the one before it with one change, as in the paper.
    private static List<LadderStep> Build()
    {
        var resnet50 = new LadderConfig();
        var ratio = resnet50 with { Depths = [3, 3, 9, 3] };
        var patchify = ratio with { Patchify = true };
        var depthwise = patchify with { Depthwise = true };
        var width = depthwise with { Width = 96 };
        var inverted = width with { Kind = LadderBlockKind.Inverted };
        var moveUp = inverted with { Kind = LadderBlockKind.MoveUp };
        var k7 = moveUp with { Kernel = 7 };
        var gelu = k7 with { Activation = Activation.Gelu };
        var fewerActivations = gelu with { FewerActivations = true };
        var fewerNorms = fewerActivations with { FewerNorms = true };
        var layerNorm = fewerNorms with { LayerNorm = true };
        return
        [
            new("resnet50", "ResNet-50 with the enhanced recipe", resnet50, 4.09, 78.82, 25_557_032),
            new("stage_ratio", "blocks (3,4,6,3) to (3,3,9,3)", ratio, 4.53, 79.36, 28_628_520),
            new("patchify", "4x4 stride 4 stem", patchify, 4.42, 79.51, 28_622_184),
            new("depthwise", "depthwise 3x3", depthwise, 2.35, 78.28, 15_722_664),
            new("width", "base width 64 to 96", width, 5.27, 80.50, 33_761_032),
            new("inverted", "inverted bottleneck", inverted, 4.64, 80.64, 25_851_496),
            new("moveup", "depthwise convolution first", moveUp, 4.07, 79.92, 25_625_512),
            new("k5", "kernel 5", moveUp with { Kernel = 5 }, 4.10, 80.35, 25_720_744),
            new("k7", "kernel 7", k7, 4.15, 80.57, 25_863_592),
            new("k9", "kernel 9", moveUp with { Kernel = 9 }, 4.21, 80.57, 26_054_056),
            new("k11", "kernel 11", moveUp with { Kernel = 11 }, 4.29, 80.47, 26_292_136),
            new("gelu", "GELU for ReLU", gelu, 4.15, 80.62, 25_863_592),
            new("fewer_act", "one activation a block", fewerActivations, 4.15, 81.27, 25_863_592),
            new("fewer_norm", "one norm a block", fewerNorms, 4.15, 81.41, 25_836_424),
            new("ln", "LayerNorm for BatchNorm", layerNorm, 4.46, 81.47, 25_836_424),
            new("sep", "separate downsampling: ConvNeXt-T without layer scale", layerNorm with { SeparateDownsampling = true }, 4.49, 81.97, 28_582_504),
        ];
    }
}
