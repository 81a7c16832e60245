using Bayou.Core;

namespace Bayou.Images;

/// <summary>Published FAN sizes.</summary>
public static class FanVariants
{
    private const string Paper = "Understanding The Robustness in Vision Transformers, ICML 2022, arXiv 2204.12451";
    private const string Licence = "Nvidia source licence, non-commercial (NVlabs/FAN)";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Vit("fan_tiny_12_p16_224", 192, 12, 4, 7_319_920, "ImageNet-1K top-1 79.2 %, ImageNet-C accuracy 57.5 %, A 15.6 %, R 42.5 %"),
        Vit("fan_small_12_p16_224", 384, 12, 8, 28_345_336, "ImageNet-1K top-1 82.5 %, ImageNet-C accuracy 64.5 %, A 29.1 %, R 50.4 %"),
        Vit("fan_base_18_p16_224", 448, 18, 8, 54_350_320, "ImageNet-1K top-1 83.6 %, ImageNet-C accuracy 67.0 %, A 35.4 %, R 51.8 %"),
        Vit("fan_large_24_p16_224", 480, 24, 10, 80_574_100, "ImageNet-1K top-1 83.9 %, ImageNet-C accuracy 67.7 %, A 37.2 %, R 53.1 %"),
        Hybrid("fan_tiny_8_p4_hybrid", Same(192, 8), Same(8, 8), [3, 3], 7, 1, 7_467_240, "ImageNet-1K top-1 80.1 %, ImageNet-C accuracy 57.4 %"),
        Hybrid("fan_small_12_p4_hybrid", Same(384, 10), Same(8, 10), [3, 3], 9, 1, 26_117_944,
            "ImageNet-1K top-1 83.5 %, ImageNet-C accuracy 64.7 %; ten blocks, whatever its name says"),
        Hybrid("fan_base_16_p4_hybrid", Same(448, 16), Same(8, 16), [3, 3], 15, 1, 50_475_048, "ImageNet-1K top-1 83.9 %, ImageNet-C accuracy 66.4 %"),
        Hybrid("fan_large_16_p4_hybrid", Same(480, 22), Same(10, 22), [3, 5], 18, 0.001, 76_855_140,
            "ImageNet-1K top-1 84.3 %, ImageNet-C accuracy 68.3 % (from ImageNet-22K 87.1 % at 384); 22 blocks, whatever its name says"),
        Hybrid("fan_xlarge_16_p4_hybrid", [.. Same(528, 20), .. Same(768, 3)], [.. Same(11, 20), .. Same(16, 3)], [3, 7], -1, 1, 120_407_316,
            "no published figure"),
        Swin("fan_swin_tiny", 96, [2, 2, 6, 2], [3, 6, 12, 24], 29_538_940),
        Swin("fan_swin_small", 96, [2, 2, 18, 2], [3, 6, 12, 24], 53_064_220),
        Swin("fan_swin_base", 128, [2, 2, 18, 2], [4, 8, 16, 32], 93_599_448),
    ];

    /// <summary>
    /// FAN-Swin: Swin with channel attention instead of the MLP in the stages named so (published: the first three). Its value path has no residual around the
    /// convolutions.
    /// </summary>
    /// <param name="config">The Swin.</param>
    /// <param name="attention">For every stage whether it mixes channels by attention.</param>
    public static SwinTransformer Swin(SwinConfig config, IReadOnlyList<bool> attention) => new(config with
    {
        ChannelMixing = (stage, dim) => attention[stage]
            ? new ChannelAttention(dim, config.Heads[stage], config.MlpRatio, residual: false)
            : new Mlp(dim, (int)(dim * config.MlpRatio)),
    });

    private static int[] Same(int value, int count) => Enumerable.Repeat(value, count).ToArray();

    private static ModelEntry Vit(string name, int dim, int depth, int heads, long parameters, string figures) => new(
        name, "fan", Paper,
        o => new Fan(new FanConfig
        {
            Dims = Same(dim, depth),
            Heads = Same(heads, depth),
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath,
            Eta = o.LayerScale ?? 1
        }),
        224, parameters, figures, name + ".pth.tar", Licence);

    private static ModelEntry Hybrid(string name, int[] dims, int[] heads, int[] stem, int outIndex, double headScale, long parameters, string figures) => new(
        name, "fan", Paper,
        o => new Fan(new FanConfig
        {
            Dims = dims,
            Heads = heads,
            StemDepths = stem,
            OutIndex = outIndex,
            HeadInitScale = headScale,
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath,
            Eta = o.LayerScale ?? 1,
        }),
        224, parameters, figures, name + ".pth.tar", Licence);

    private static ModelEntry Swin(string name, int dim, int[] depths, int[] heads, long parameters) => new(
        name, "fan", Paper,
        o => Swin(new SwinConfig { Dim = dim, Depths = depths, Heads = heads, Classes = o.Classes, InChannels = o.InChannels, DropPath = o.DropPath },
            [true, true, true, false]),
        224, parameters, "figures only in the paper's table", null, Licence);
}
