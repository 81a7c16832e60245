namespace Bayou.Parity;

/// <summary>Every adapter of the tool: one line for each value of "adapter" that Bayou implements.</summary>
public static class ParityAdapters
{
    public static IReadOnlyList<IParityAdapter> All { get; } =
    [
        new WeightFileReadAdapter(),
        new ConvNextV1Adapter(),
        new ConvNextIsotropicAdapter(),
        new ConvNextLadderAdapter(),
        new MqbenchObserversAdapter(),
        new MqbenchReconstructionAdapter(),
        new ConvNextTrainUtilsAdapter(),
        new SkipNetAdapter("cifar-recurrent"),
        new SkipNetAdapter("cifar-feedforward"),
        new SkipNetAdapter("imagenet"),
        new SkipNetHybridAdapter(),
        new FurthestPointAdapter(), new NeighboursAdapter(), new GridVoxelAdapter(),
        new RepLKNetAdapter("replknet/train-and-merged"), new RepLKNetAdapter("replknet/xl-form"), new RepLKNetLayersAdapter(), new RepLKNetErfAdapter(),
        new SlakNetworkAdapter(), new SlakSparseAdapter(),
        new MinkowskiOpsAdapter(), new MinkUNetAdapter(), new SpconvAdapter(), new TorchSparseHelpersAdapter(),
        new CorruptionsAnySizeAdapter(),
        new CorruptionsImageNetAdapter(),
        new CorruptionsMceAdapter(),
        new FanVitAdapter(),
        new FanHybridAdapter(),
        new FanSwinAdapter(),
        new FanDenseBackboneAdapter(),
        new VarsRvtAdapter(),
        new VarsAttentionModulesAdapter(),
        new AceFormatsAdapter(),
        new AceIntQuantizersAdapter(),
        new AceTogglesAdapter(),
        new AcePokeBnnAdapter(),
        new AceCountsAdapter(),
        new NasBench201NetworkAdapter(),
        new NasBench201CountsAdapter(),
        new HelpAdapter(),
        new MaplePipelineAdapter(),
        new AViTAdapter(),
        new MiniDeiTAdapter(), new MiniSwinAdapter(),
    ];
}
