using Bayou.Core;

namespace Bayou.Points;

/// <summary>The MinkUNet family in the catalog. Their input is packed voxels [n, 4 + channels]; InputSize is the side of the stem's kernel.</summary>
public static class MinkUNetVariants
{
    private const string Paper = "4D Spatio-Temporal ConvNets: Minkowski Convolutional Neural Networks, CVPR 2019, arXiv 1904.08755";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry("minkunet14a", 8_119_560, [1, 1, 1, 1, 1, 1, 1, 1], [32, 64, 128, 256, 128, 128, 96, 96]),
        Entry("minkunet18a", 15_588_232, [2, 2, 2, 2, 2, 2, 2, 2], [32, 64, 128, 256, 128, 128, 96, 96]),
        Entry("minkunet34a", 36_671_112, [2, 3, 4, 6, 2, 2, 2, 2], [32, 64, 128, 256, 256, 128, 64, 64]),
        Entry("minkunet34c", 37_951_112, [2, 3, 4, 6, 2, 2, 2, 2], [32, 64, 128, 256, 256, 128, 96, 96]),
        Entry("minkunet50", 32_140_744, [2, 3, 4, 6, 2, 2, 2, 2], [32, 64, 128, 256, 256, 128, 96, 96], bottleneck: true),
        Entry("minkunet_small", 582_712, [1, 1, 1, 1, 1, 1, 1, 1], [16, 24, 32, 48, 48, 32, 24, 16], stem: 3, initDim: 16),
    ];

    private static ModelEntry Entry(string name, long parameters, int[] layers, int[] planes, bool bottleneck = false, int stem = 5, int initDim = 32) => new(
        name, "sparse-conv", Paper,
        o => new MinkUNet(new MinkUNetConfig
        {
            Layers = layers,
            Planes = planes,
            Classes = o.Classes,
            InChannels = o.InChannels,
            StemKernel = stem,
            InitDim = initDim,
            Bottlenecks = bottleneck ? [true, true, true, true, true, true, true, true] : null,
        }),
        stem, parameters, name == "minkunet34c"
            ? "about 39 M parameters, 42 convolutions; one indoor room of 161,890 voxels takes 9.2 s on a Xeon CPU and 0.08 s on an A100 (authors' benchmark)"
            : "no published figures here");
}
