using Bayou.Core;
using Bayou.Train;

namespace Bayou.Images;

/// <summary>Published members of the SLaK family, and the networks of its kernel study on ConvNeXt-T's skeleton at width 1.</summary>
public static class SLaKVariants
{
    private const string Paper = "More ConvNets in the 2020s: Scaling up Kernels Beyond 51x51 using Sparsity, ICLR 2023, arXiv 2207.03620";
    private const string Licence = "MIT (code and weights of VITA-Group/SLaK)";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry("slak_tiny", [3, 3, 9, 3], 96, 50_703_838, "40 % sparse: ImageNet-1K top-1 82.5 % at 224 (30 M parameters, 5.0 GMAC)",
            file: "SLaK_tiny_checkpoint.pth"),
        Entry("slak_small", [3, 3, 27, 3], 96, 91_131_820, "40 % sparse: ImageNet-1K top-1 83.8 % at 224 (55 M parameters, 9.8 GMAC)",
            file: "SLaK_small_checkpoint.pth"),
        Entry("slak_base", [3, 3, 27, 3], 128, 157_950_792, "40 % sparse: ImageNet-1K top-1 84.0 % at 224 (95 M parameters, 17.1 GMAC)",
            file: "SLaK_base_checkpoint.pth"),
        Entry("slak_large", [3, 3, 27, 3], 192, 346_624_518, "in the official code, without a published result"),
        Entry("slak_tiny_k31", [3, 3, 9, 3], 96, 49_581_838, "40 % sparse, 120 epochs: ImageNet-1K top-1 81.5 % at 224 (4.8 GMAC)", [31, 29, 27, 13, 5]),
        Entry("slak_tiny_k61", [3, 3, 9, 3], 96, 51_264_838, "40 % sparse, 120 epochs: ImageNet-1K top-1 81.5 % at 224 (5.2 GMAC)", [61, 59, 57, 13, 5]),
        Study("slak_decomposed_k31", [31, 29, 27, 13, 5], true, 29_952_232, "decomposed, dense weights: ImageNet-1K top-1 81.3 % in 120 epochs (5.0 GMAC)"),
        Study("slak_decomposed_k51", [51, 49, 47, 13, 5], true, 30_816_232, "decomposed, dense weights: ImageNet-1K top-1 81.5 % in 120 epochs (5.4 GMAC)"),
        Study("slak_decomposed_k61", [61, 59, 57, 13, 5], true, 31_248_232, "decomposed, dense weights: ImageNet-1K top-1 81.4 % in 120 epochs (5.6 GMAC)"),
        Study("slak_dense_k7", [7, 7, 7, 7, 100], false, 28_595_752, "ConvNeXt mode: ImageNet-1K top-1 81.0 % in 120 epochs (4.5 GMAC)"),
        Study("slak_dense_k31", [31, 29, 27, 13, 100], false, 31_941_160, "naive large kernels: ImageNet-1K top-1 80.5 % in 120 epochs (6.1 GMAC)"),
        Study("slak_dense_k51", [51, 49, 47, 13, 100], false, 38_426_920, "naive large kernels: ImageNet-1K top-1 80.4 % in 120 epochs (9.3 GMAC)"),
        Study("slak_reparam_k31", [31, 29, 27, 13, 5], false, 32_120_008, "RepLKNet's re-parameterisation in ConvNeXt: ImageNet-1K top-1 81.5 % in 120 epochs"),
        Study("slak_reparam_k51", [51, 49, 47, 13, 5], false, 38_605_768, "RepLKNet's re-parameterisation in ConvNeXt: ImageNet-1K top-1 81.3 % in 120 epochs"),
    ];

    /// <summary>
    /// ImageNet-1K training: ConvNeXt's 300 epochs, 40 % sparse with SNIP densities, magnitude pruning and random growth (paper, appendix; official README).
    /// </summary>
    /// <param name="tiny">SLaK-T exchanges half of the weights every 2,000 steps, S and B 30 % every 100.</param>
    /// <param name="batch">Pictures in a batch.</param>
    /// <param name="updateFreq">Batches a step.</param>
    /// <param name="dropPath">T 0.1, S 0.4, B 0.5.</param>
    public static Recipe ImageNet1k(bool tiny = true, int batch = 4096, int updateFreq = 1, double dropPath = 0.1) =>
        Recipe.ConvNeXt300(batch, updateFreq, dropPath) with
        {
            Name = "slak-300",
            Sparse = new SparseOptions { Sparsity = 0.4, PruneRate = tiny ? 0.5 : 0.3, UpdateEvery = tiny ? 2000 : 100 },
        };

    private static ModelEntry Entry(string name, int[] depths, int width, long parameters, string figures, int[]? kernels = null, string? file = null) =>
        Make(name, depths, width, kernels ?? [51, 49, 47, 13, 5], 1.3, true, parameters, figures, file);

    private static ModelEntry Study(string name, int[] kernels, bool decomposed, long parameters, string figures) =>
        Make(name, [3, 3, 9, 3], 96, kernels, 1, decomposed, parameters, figures, null);

    private static ModelEntry Make(string name, int[] depths, int width, int[] kernels, double factor, bool decomposed, long parameters, string figures,
        string? file) => new(
        name, "slak", Paper,
        o => new SLaK(new SLaKConfig
        {
            Depths = depths,
            Dims = [width, 2 * width, 4 * width, 8 * width],
            Kernels = kernels,
            WidthFactor = factor,
            Decom = decomposed,
            Classes = o.Classes,
            InChannels = o.InChannels,
            DropPath = o.DropPath,
            LayerScale = o.LayerScale ?? 1e-6,
        }),
        224, parameters, figures, file, file is null ? null : Licence);
}
