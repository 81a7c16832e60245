using Bayou.Core;
using Bayou.Train;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a RepLKNet. Published members have four stages.</summary>
public sealed record RepLKNetConfig
{
    /// <summary>Side of the large depthwise kernel of every stage, odd.</summary>
    public required int[] LargeKernels { get; init; }

    /// <summary>Pairs of (RepLK block, ConvFFN) of every stage.</summary>
    public required int[] Layers { get; init; }

    /// <summary>Channels of every stage.</summary>
    public required int[] Channels { get; init; }

    /// <summary>Side of the parallel small kernel, odd; null for none.</summary>
    public int? SmallKernel { get; init; } = 5;

    /// <summary>Channels of the depthwise convolution / channels of the stage.</summary>
    public double DwRatio { get; init; } = 1;

    /// <summary>Inner channels of a ConvFFN / channels of the stage.</summary>
    public double FfnRatio { get; init; } = 4;

    /// <summary>Stochastic-depth rate of the last pair; it grows linearly from 0 at the first.</summary>
    public double DropPath { get; init; }

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head; 0 builds a feature extractor without norm and head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stages that <see cref="RepLKNet.Features"/> returns; null for all.</summary>
    public int[]? OutIndices { get; init; }

    /// <summary>Whether features pass a batch normalisation of their own (XL, dense prediction).</summary>
    public bool NormIntermediateFeatures { get; init; }

    /// <summary>Whether blocks and ConvFFNs have identity shortcuts; without them the network is the paper's counter-example (guideline 2).</summary>
    public bool Shortcut { get; init; } = true;

    /// <summary>Build the merged form, with fresh kernels.</summary>
    public bool Merged { get; init; }
}

/// <summary>
/// RepLKNet, "Scaling Up Your Kernels to 31x31" (Ding et al., CVPR 2022, arXiv 2203.06717), section 4. [N, C, H, W] -> logits [N, classes], or the last stage's
/// features where it has no head. State-dict keys are those of the official repository, in the training form, merged, and with every BatchNorm behind a
/// convolution fused.
/// </summary>
public sealed class RepLKNet : Layer, IFeatureNetwork, ILayerwise, IMergeable
{
    private readonly Sequential stem;                       // to H/4, W/4
    private readonly LayerList<RepLKNetStage> stages;
    private readonly LayerList<Sequential> transitions;     // to half the size, between the stages
    private readonly BatchNorm? norm;
    private readonly Linear? head;

    /// <summary>Builds the network with the framework's default initialisation, as the official code does.</summary>
    public RepLKNet(RepLKNetConfig config)
    {
        Config = config;
        Check(config);
        var widths = config.Channels;
        stem = new Sequential(
            new ConvBn(config.InChannels, widths[0], 3, stride: 2, activation: Activation.Relu),
            new ConvBn(widths[0], widths[0], 3, groups: widths[0], activation: Activation.Relu),
            new ConvBn(widths[0], widths[0], 1, activation: Activation.Relu),
            new ConvBn(widths[0], widths[0], 3, stride: 2, groups: widths[0], activation: Activation.Relu));

        var rates = StochasticDepth.Rates(config.DropPath, config.Layers.Sum());
        (stages, transitions) = (new LayerList<RepLKNetStage>(), new LayerList<Sequential>());
        var pair = 0;
        for (var s = 0; s < widths.Length; s++)
        {
            stages.Add(new RepLKNetStage(config, s, rates[pair..(pair + config.Layers[s])]));
            pair += config.Layers[s];
            if (s + 1 == widths.Length) break;
            transitions.Add(new Sequential(
                new ConvBn(widths[s], widths[s + 1], 1, activation: Activation.Relu),
                new ConvBn(widths[s + 1], widths[s + 1], 3, stride: 2, groups: widths[s + 1], activation: Activation.Relu)));
        }

        if (config.Classes > 0) (norm, head) = (new BatchNorm(widths[^1]), new Linear(widths[^1], config.Classes));
        Form = config.Merged ? NetworkForm.Merged : NetworkForm.Training;
        RegisterComponents();
    }

    /// <summary>What it was built from.</summary>
    public RepLKNetConfig Config { get; }

    /// <inheritdoc/>
    public NetworkForm Form { get; private set; }

    /// <summary>The four layers of the stem.</summary>
    public IReadOnlyList<Layer> Stem => stem.Layers;

    /// <summary>The stages.</summary>
    public IReadOnlyList<RepLKNetStage> Stages => [.. stages];

    /// <summary>What stands between the stages.</summary>
    public IReadOnlyList<Layer> Transitions => [.. transitions];

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x)
    {
        x = stem.call(InFastestLayout(x));
        for (var s = 0; s < stages.Count; s++)
        {
            x = stages[s].call(x);
            if (s < transitions.Count) x = transitions[s].call(x);
        }
        return head is null ? x : head.call(GlobalAveragePool(norm!.call(x)));
    }

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        var features = new List<Tensor>();
        x = stem.call(InFastestLayout(x));
        for (var s = 0; s < stages.Count; s++)
        {
            x = stages[s].call(x);
            if (Config.OutIndices?.Contains(s) != false) features.Add(stages[s].Normed(x));
            if (s < transitions.Count) x = transitions[s].call(x);
        }
        return [.. features];
    }

    /// <inheritdoc/>
    public NetworkForm FormOf(IReadOnlyCollection<string> keys) =>
        keys.Contains("stem.0.conv.bias") ? NetworkForm.Fused
        : keys.Any(k => k.Contains(".lkb_reparam.", StringComparison.Ordinal)) ? NetworkForm.Merged : NetworkForm.Training;

    /// <inheritdoc/>
    public void TakeForm(NetworkForm form)
    {
        // The branches of a large kernel first: merged, they are no longer among the layers that are fused.
        foreach (var large in modules().OfType<ReparamLargeKernelConv>().ToList()) large.Merge(form != NetworkForm.Training);
        foreach (var layer in modules().OfType<ConvBn>().ToList()) layer.Fuse(form == NetworkForm.Fused);
        Form = form;
    }

    /// <summary>Highest id of <see cref="LayerId"/>: 13 for the published members.</summary>
    public int LayerCount => LastStageId(stages.Count - 1) + 1;

    // Stage 2 counts a group for every four of its modules.
    private int LastStageId(int s) => s < 2 ? s + 1 : 3 + (2 * Config.Layers[2] - 1) / 4 + (s - 2);

    /// <summary>
    /// The group of a parameter for layer-wise learning-rate decay: the stem is 0, stages 0 and 1 are one group each, stage 2 one for every four modules, each
    /// later stage one, norm and head come last; a transition belongs to the last group of the stage before it.
    /// </summary>
    public int LayerId(string name)
    {
        var parts = name.Split('.');
        return parts[0] switch
        {
            "stem" => 0,
            "stages" when parts[1] == "2" && parts[2] == "blocks" => 3 + int.Parse(parts[3]) / 4,
            "stages" or "transitions" => LastStageId(int.Parse(parts[1])),
            _ => LayerCount,
        };
    }

    private static void Check(RepLKNetConfig c)
    {
        if (c.Channels.Length == 0 || c.Layers.Length != c.Channels.Length || c.LargeKernels.Length != c.Channels.Length)
            throw new BayouException($"RepLKNet: {c.LargeKernels.Length} kernels, {c.Layers.Length} layers and {c.Channels.Length} channels; one of each a stage is needed");
        if (c.Channels.Any(n => n <= 0) || c.Layers.Any(n => n <= 0)) throw new BayouException("RepLKNet: channels and layers must be positive");
        if (c.Classes < 0 || c.InChannels <= 0) throw new BayouException("RepLKNet: classes must not be negative, input channels positive");
        if (c.DropPath is < 0 or >= 1) throw new BayouException($"RepLKNet: drop path rate {c.DropPath} must be in [0, 1)");
        if (!(c.DwRatio > 0 && c.FfnRatio > 0)) throw new BayouException("RepLKNet: both ratios must be positive");
        if (c.OutIndices?.Any(i => i < 0 || i >= c.Channels.Length) == true)
            throw new BayouException($"RepLKNet: out indices {string.Join(", ", c.OutIndices)}; stages are 0 to {c.Channels.Length - 1}");
    }
}

/// <summary>One stage: RepLK blocks and ConvFFNs in turn. [N, C, H, W] -> [N, C, H, W].</summary>
public sealed class RepLKNetStage : Layer
{
    private readonly Sequential blocks;
    private readonly BatchNorm? norm;      // of the features it gives, not of what the next stage gets

    /// <summary>Builds stage s; both modules of a pair have the pair's rate.</summary>
    public RepLKNetStage(RepLKNetConfig config, int s, double[] rates)
    {
        var channels = config.Channels[s];
        blocks = new Sequential([.. rates.SelectMany(rate => new Layer[]
        {
            new RepLKBlock(channels, (int)(channels * config.DwRatio), config.LargeKernels[s], config.SmallKernel, rate, config.Shortcut, config.Merged),
            new ConvFFN(channels, (int)(channels * config.FfnRatio), rate, config.Shortcut),
        })]);
        if (config.NormIntermediateFeatures) norm = new BatchNorm(channels);
        RegisterComponents();
    }

    /// <summary>RepLK blocks (even) and ConvFFNs (odd).</summary>
    public IReadOnlyList<Layer> Blocks => blocks.Layers;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => blocks.call(x);

    /// <summary>The stage's output as a feature map.</summary>
    public Tensor Normed(Tensor x) => norm is null ? x : norm.call(x);
}

/// <summary>The end of both kinds of blocks.</summary>
internal static class Residual
{
    /// <summary>x + drop_path(last(y)), or last(y) without the shortcut.</summary>
    public static Tensor Of(Tensor x, Tensor y, ConvBn last, bool shortcut, DropPath drop_path) =>
        !shortcut ? last.call(y) : drop_path.P == 0 || !drop_path.training ? last.Then(y, null, x) : Add(x, drop_path.call(last.call(y)));
}

/// <summary>The block with the large kernel (paper, figure 2): x + pw2(relu(large(pw1(bn(x))))). [N, C, H, W] -> [N, C, H, W].</summary>
public sealed class RepLKBlock : Layer
{
    private readonly BatchNorm prelkb_bn;
    private readonly ConvBn pw1;                            // 1x1, C -> D, ReLU
    private readonly ReparamLargeKernelConv large_kernel;   // depthwise on D
    private readonly ConvBn pw2;                            // 1x1, D -> C
    private readonly DropPath drop_path;
    private readonly bool shortcut;

    /// <summary>Builds a block.</summary>
    public RepLKBlock(int channels, int dwChannels, int kernel, int? smallKernel, double dropPath, bool shortcut = true, bool merged = false)
    {
        prelkb_bn = new BatchNorm(channels);
        pw1 = new ConvBn(channels, dwChannels, 1, activation: Activation.Relu);
        large_kernel = new ReparamLargeKernelConv(dwChannels, kernel, smallKernel, merged: merged);
        pw2 = new ConvBn(dwChannels, channels, 1);
        drop_path = new DropPath(dropPath);
        this.shortcut = shortcut;
        RegisterComponents();
    }

    /// <summary>Stochastic depth of the branch.</summary>
    public DropPath DropPath => drop_path;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var y = large_kernel.Then(pw1.Then(x, Activation.Relu, before: prelkb_bn), Activation.Relu);
        return Residual.Of(x, y, pw2, shortcut, drop_path);
    }
}

/// <summary>The feed-forward block: x + pw2(gelu(pw1(bn(x)))). [N, C, H, W] -> [N, C, H, W].</summary>
public sealed class ConvFFN : Layer
{
    private readonly BatchNorm preffn_bn;
    private readonly ConvBn pw1, pw2;       // 1x1, C -> inner -> C
    private readonly DropPath drop_path;
    private readonly bool shortcut;

    /// <summary>Builds a block.</summary>
    public ConvFFN(int channels, int inner, double dropPath, bool shortcut = true)
    {
        preffn_bn = new BatchNorm(channels);
        pw1 = new ConvBn(channels, inner, 1);
        pw2 = new ConvBn(inner, channels, 1);
        drop_path = new DropPath(dropPath);
        this.shortcut = shortcut;
        RegisterComponents();
    }

    /// <summary>Stochastic depth of the branch.</summary>
    public DropPath DropPath => drop_path;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var y = pw1.Then(x, Activation.Gelu, before: preffn_bn);
        return Residual.Of(x, y, pw2, shortcut, drop_path);
    }
}
