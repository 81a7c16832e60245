using Bayou.Core;
using Bayou.Train;

namespace Bayou.Images;

/// <summary>
/// Published members of the RepLKNet family and the networks of its kernel-size study (paper, table 5), with the recipes they were trained by.
/// </summary>
public static class RepLKNetVariants
{
    private const string Paper = "Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs, CVPR 2022, arXiv 2203.06717";
    private const string Licence = "MIT (code and weights of DingXiaoH/RepLKNet-pytorch); ImageNet-22k pre-trained weights: research use of the data";
    private static readonly int[] Wide31 = [31, 29, 27, 13];

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry("replknet_31b", Wide31, 128, 79_864_168, "ImageNet-1K top-1 83.5 % at 224 (15.4 GMAC merged), 84.8 % at 384; from 22K: 85.2 %, 86.0 %",
            file: "RepLKNet-31B_ImageNet-1K_224.pth"),
        Entry("replknet_31l", Wide31, 192, 172_671_016, "from ImageNet-22K: top-1 86.6 % at 384 (96.0 GMAC merged)",
            file: "RepLKNet-31L_ImageNet-22K-to-1K_384.pth"),
        Entry("replknet_xl", [27, 27, 27, 13], 256, 335_435_752,
            "from MegData-73M: top-1 87.8 % at 320 (128.7 GMAC merged); pictures with mean = deviation = 0.5", small: null, dwRatio: 1.5, size: 320,
            file: "RepLKNet-XL_MegData73M_ImageNet1K.pth") with { Normalisation = ([0.5f, 0.5f, 0.5f], [0.5f, 0.5f, 0.5f]) },
        Entry("replknet_3", [3, 3, 3, 3], 128, 71_906_408, "120 epochs: ImageNet-1K top-1 82.11 %, ADE20K mIoU 46.05 (12.9 GMAC)", small: null),
        Entry("replknet_7", [7, 7, 7, 7], 128, 72_712_552, "120 epochs: ImageNet-1K top-1 82.73 %, ADE20K mIoU 48.05 (13.1 GMAC)"),
        Entry("replknet_13", [13, 13, 13, 13], 128, 74_156_392, "120 epochs: ImageNet-1K top-1 83.02 %, ADE20K mIoU 48.35 (13.4 GMAC)"),
        Entry("replknet_25", [25, 25, 25, 13], 128, 78_709_096, "120 epochs: ImageNet-1K top-1 83.00 %, ADE20K mIoU 48.68"),
    ];

    /// <summary>ImageNet-1K training of 31B at 224: 300 epochs, learning rate 4e-3 at 2,048 pictures a step (spec, section 1.3).</summary>
    public static Recipe ImageNet1k(int batch = 2048, int updateFreq = 1) =>
        Recipe.ConvNeXt300(batch, updateFreq, dropPath: 0.5) with { Name = "replknet-300", BaseBatch = 2048, WarmupEpochs = 10 };

    /// <summary>Fine-tuning of 31B at 384 from its 224 training: 30 epochs, layer-wise decay 0.7, nothing mixed.</summary>
    public static Recipe FineTune384(int batch = 1024, int updateFreq = 1) => ImageNet1k(batch, updateFreq) with
    {
        Name = "replknet-384",
        Epochs = 30,
        BaseLr = 4e-4,
        BaseBatch = 1024,
        WarmupEpochs = 1,
        WeightDecay = 1e-8,
        LayerDecay = 0.7,
        DropPath = 0.8,
        MixupAlpha = 0,
        CutmixAlpha = 0,
    };

    /// <summary>ImageNet-22K pre-training of 31B and 31L: 90 epochs, no average.</summary>
    public static Recipe Pretrain22k(int batch = 4096, int updateFreq = 1) => ImageNet1k(batch, updateFreq) with
    {
        Name = "replknet-22k",
        Epochs = 90,
        BaseBatch = 4096,
        WarmupEpochs = 5,
        DropPath = 0.1,
        EmaDecay = 0,
    };

    /// <summary>From 22K to ImageNet-1K, at 224 or 384.</summary>
    public static Recipe FineTune22k(int size, int batch = 512, int updateFreq = 1) => FineTune384(batch, updateFreq) with
    {
        Name = "replknet-22k-to-1k",
        BaseBatch = 512,
        DropPath = size < 384 ? 0.2 : 0.3,
        MinLr = size < 384 ? 1e-6 : 3e-4,
    };

    private static ModelEntry Entry(
        string name, int[] kernels, int width, long parameters, string figures, int? small = 5, double dwRatio = 1, int size = 224, string? file = null) => new(
        name, "replknet", Paper,
        o => new RepLKNet(new RepLKNetConfig
        {
            LargeKernels = kernels,
            Layers = [2, 2, 18, 2],
            Channels = [width, 2 * width, 4 * width, 8 * width],
            SmallKernel = small,
            DwRatio = dwRatio,
            DropPath = o.DropPath,
            Classes = o.Classes,
            InChannels = o.InChannels,
        }),
        size, parameters, figures, file, file is null ? null : Licence);
}
