using Bayou.Core;

namespace Bayou.Images;

/// <summary>Published members of the SkipNet family.</summary>
public static class SkipNetVariants
{
    private const string Paper = "SkipNet: Learning Dynamic Routing in Convolutional Networks, ECCV 2018, arXiv 1711.09485";

    /// <summary>Catalog entries: CIFAR and SVHN networks with each gate, ImageNet networks with the recurrent gate.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        .. Cifar(38, 6, (636_263, 1_213_148), "CIFAR-10 92.75 % at 70.3 % of the blocks (SP + HRL); base network 92.50 %"),
        .. Cifar(74, 12, (1_226_459, 2_381_120), "CIFAR-10 92.77 % at 52.3 % of the blocks (SP + HRL); base network 92.95 %"),
        .. Cifar(110, 18, (1_816_655, 2_674_148), "CIFAR-10 93.30 % at 49.5 % of the blocks (SP + HRL); base network 93.60 %"),
        .. Cifar(152, 25, (2_505_217, 3_696_526), "SVHN: 86 % of the compute saved at the accuracy of the base network, 98.14 % (SP + HRL)"),
        ImageNet(18, ResidualKind.Basic, [2, 2, 2, 2], 11_709_683, "no published figures"),
        ImageNet(34, ResidualKind.Basic, [3, 4, 6, 3], 21_836_483,
            "ImageNet: 20 % of the compute saved at the accuracy of the base network, 73.30 % (SP + HRL)"),
        ImageNet(50, ResidualKind.Bottleneck, [3, 4, 6, 3], 25_709_123,
            "ImageNet: 12 % of the compute saved at the accuracy of the base network, 76.15 % (SP + HRL)"),
        ImageNet(101, ResidualKind.Bottleneck, [3, 4, 23, 3], 44_875_501,
            "ImageNet 77.49 % at 85.0 % of the blocks (SP), 76.94 % at 70.1 % (SP + HRL); base network 77.37 %"),
        ImageNet(152, ResidualKind.Bottleneck, [3, 8, 36, 3], 60_672_919, "no published figures"),
    ];

    // FFGate-I suits up to 74 layers, FFGate-II the deeper networks (paper, section 3.1).
    private static IEnumerable<ModelEntry> Cifar(int depth, int blocks, (long Recurrent, long FeedForward) parameters, string figures)
    {
        var feedForward = depth <= 74 ? SkipGateKind.FeedForward1 : SkipGateKind.FeedForward2;
        yield return Entry($"skipnet{depth}", Config(SkipGateKind.Recurrent, GateMode.StraightThrough), 32, parameters.Recurrent, figures);
        yield return Entry($"skipnet{depth}_ff", Config(feedForward, GateMode.StraightThrough), 32, parameters.FeedForward,
            $"feed-forward gates ({feedForward})");
        yield return Entry($"skipnet{depth}_soft", Config(SkipGateKind.Recurrent, GateMode.Soft), 32, parameters.Recurrent,
            "recurrent gate trained soft (ablation, table 3)");
        yield return Entry($"skipnet{depth}_ff_soft", Config(feedForward, GateMode.Soft), 32, parameters.FeedForward,
            "feed-forward gates trained soft (ablation, table 3)");

        SkipNetConfig Config(SkipGateKind gate, GateMode mode) => new() { Layers = [blocks, blocks, blocks], Gate = gate, Mode = mode };
    }

    private static ModelEntry ImageNet(int depth, ResidualKind block, int[] layers, long parameters, string figures) =>
        Entry($"skipnet{depth}_imagenet", new() { Layers = layers, Widths = [64, 128, 256, 512], Block = block, ImageNet = true }, 224, parameters, figures);

    private static ModelEntry Entry(string name, SkipNetConfig config, int size, long parameters, string figures) => new(
        name, "skipnet", Paper,
        o => new SkipNet(config with { Classes = o.Classes, InChannels = o.InChannels, GateBias = 2 }) { Reward = Reward(config) },
        size, parameters, figures);

    private static HybridReward Reward(SkipNetConfig config) =>
        config.ImageNet ? new(Alpha: 0.01, ScaleCrossEntropy: true, Reduction: PolicyReduction.BatchMean) : new();
}
