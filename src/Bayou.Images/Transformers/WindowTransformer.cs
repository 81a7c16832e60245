using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What Swin and the networks made from it have in common.</summary>
public abstract record WindowConfig
{
    /// <summary>Side of the picture that the stored masks are for; other sizes compute theirs.</summary>
    public int ImageSize { get; init; } = 224;

    /// <summary>Side of a patch.</summary>
    public int Patch { get; init; } = 4;

    /// <summary>Width of the first stage; it doubles from stage to stage.</summary>
    public required int Dim { get; init; }

    /// <summary>Layers of every stage.</summary>
    public required int[] Depths { get; init; }

    /// <summary>Heads of every stage.</summary>
    public required int[] Heads { get; init; }

    /// <summary>Side of the windows.</summary>
    public int Window { get; init; } = 7;

    /// <summary>Hidden width of the MLP over C.</summary>
    public double MlpRatio { get; init; } = 4;

    /// <summary>Bias of the fused qkv projection.</summary>
    public bool QkvBias { get; init; } = true;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stochastic-depth rate of the last layer; it grows linearly from 0 at the first.</summary>
    public double DropPath { get; init; }

    /// <summary>Initial weights with deviation 1 / sqrt(fan-in) instead of 0.02: for narrow networks in short trainings.</summary>
    public bool FanInInit { get; init; }
}

/// <summary>One stage of a <see cref="WindowTransformer"/>, for who makes its blocks.</summary>
/// <param name="Index">From 0.</param>
/// <param name="Dim">C.</param>
/// <param name="Grid">Side of the token grid at the published picture size.</param>
/// <param name="DropPath">Stochastic-depth rate of every layer.</param>
public sealed record WindowStageSpec(int Index, int Dim, int Grid, double[] DropPath);

/// <summary>
/// A hierarchical transformer with attention inside windows: patches, stages of blocks with patch merging between them, norm, mean over the tokens, head. [N,
/// C, H, W] -> logits [N, classes]. Any size works: grids are padded up to whole windows. Checkpoints of another window size load too: their tables of relative
/// positions are interpolated (bicubic), as for fine-tuning at 384.
/// </summary>
public abstract class WindowTransformer : Layer, IFeatureNetwork, ICheckpointLayouts
{
    private readonly PatchEmbed patch_embed;
    private readonly LayerList<WindowStage> layers;
    private readonly LayerNorm norm;
    private readonly Linear head;

    /// <summary>Builds the network with the official initialisation.</summary>
    /// <param name="name">For messages.</param>
    /// <param name="config">The shape.</param>
    /// <param name="blocks">The blocks of a stage.</param>
    private protected WindowTransformer(string name, WindowConfig config, Func<WindowStageSpec, IEnumerable<Layer>> blocks)
    {
        var stages = config.Depths.Length;
        if (stages == 0 || stages != config.Heads.Length)
            throw new BayouException($"{name}: {stages} depths and {config.Heads.Length} heads; one of each a stage is needed");
        if (config.ImageSize % (config.Patch << (stages - 1)) != 0)
            throw new BayouException($"{name}: image size {config.ImageSize} must be a multiple of {config.Patch << (stages - 1)} (patch times 2 for every stage after the first)");
        var rates = StochasticDepth.Rates(config.DropPath, config.Depths.Sum());
        patch_embed = new PatchEmbed(config.InChannels, config.Dim, config.Patch, normEps: 1e-5);
        layers = new LayerList<WindowStage>();
        var (grid, first) = (config.ImageSize / config.Patch, 0);
        for (var s = 0; s < stages; s++)
        {
            var spec = new WindowStageSpec(s, config.Dim << s, grid >> s, rates[first..(first + config.Depths[s])]);
            layers.Add(new WindowStage(blocks(spec), s < stages - 1 ? new PatchMerging(spec.Dim) : null));
            first += config.Depths[s];
        }
        var width = config.Dim << (stages - 1);
        norm = new LayerNorm(width);
        head = new Linear(width, config.Classes);
        RegisterComponents();
        TransformerInit.Apply(this, config.FanInInit);
    }

    /// <summary>[N, C, H, W] -> [N, classes]: mean over all tokens of the last stage.</summary>
    public override Tensor forward(Tensor x)
    {
        x = patch_embed.call(x);
        foreach (var layer in layers) x = layer.call(x);
        return head.call(Mean(norm.call(x), new Ints(1, 2)));
    }

    /// <summary>Maps [N, C 2^s, H / 4 / 2^s, W / 4 / 2^s] after every stage s, the last one normalised.</summary>
    public Tensor[] Features(Tensor x)
    {
        x = patch_embed.call(x);
        var features = new Tensor[layers.Count];
        for (var s = 0; s < features.Length; s++)
        {
            (var stage, x) = layers[s].Both(x);
            features[s] = ToChannelsFirst(s == features.Length - 1 ? norm.call(stage) : stage);
        }
        return features;
    }

    Tensor? ICheckpointLayouts.Resized(string key, Tensor value, Tensor own) =>
        key.EndsWith(".relative_position_bias_table", StringComparison.Ordinal) ? WindowAttention.ResizedTable(value, (int)own.shape[0]) : null;

    bool ICheckpointLayouts.IsDerived(string key) =>
        key.EndsWith(".relative_position_index", StringComparison.Ordinal) || key.EndsWith(".attn_mask", StringComparison.Ordinal);
}

/// <summary>Blocks of one resolution, then patch merging. [N, H, W, C] -> [N, H/2, W/2, 2C], or the same in the last stage.</summary>
public sealed class WindowStage : Layer
{
    private readonly LayerList<Layer> blocks;
    private readonly PatchMerging? downsample;

    internal WindowStage(IEnumerable<Layer> blocks, PatchMerging? downsample)
    {
        this.blocks = new LayerList<Layer>([.. blocks]);
        this.downsample = downsample;
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Both(x).Next;

    /// <summary>The stage's own map and what the next stage starts from.</summary>
    public (Tensor Stage, Tensor Next) Both(Tensor x)
    {
        x = InOrder.Run(blocks, x);
        return (x, downsample is null ? x : downsample.call(x));
    }
}
