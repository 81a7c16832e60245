using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>How the gates decide while the network trains; in eval mode a block always runs where its probability is above 0.5.</summary>
public enum GateMode
{
    /// <summary>Hard decisions whose gradient passes straight through to the probability: supervised pre-training (paper, section 3.3).</summary>
    StraightThrough,

    /// <summary>The probability itself weights the block: the soft gates of the paper's table 3.</summary>
    Soft,

    /// <summary>Decisions drawn with the probability: hybrid reinforcement learning (paper, section 3.2).</summary>
    Sampled,
}

/// <summary>Shape of a SkipNet.</summary>
public sealed record SkipNetConfig
{
    /// <summary>Blocks of every group.</summary>
    public required int[] Layers { get; init; }

    /// <summary>Width of every group.</summary>
    public int[] Widths { get; init; } = [16, 32, 64];

    /// <summary>Kind of block.</summary>
    public ResidualKind Block { get; init; } = ResidualKind.Basic;

    /// <summary>7x7 stride 2 stem with max pooling and a gate projection by 1x1 convolution (ImageNet), instead of a 3x3 stem (CIFAR, SVHN).</summary>
    public bool ImageNet { get; init; }

    /// <summary>The gate.</summary>
    public SkipGateKind Gate { get; init; } = SkipGateKind.Recurrent;

    /// <summary>How the gates decide in training, to begin with.</summary>
    public GateMode Mode { get; init; } = GateMode.StraightThrough;

    /// <summary>Size of a block's embedding for the recurrent gate.</summary>
    public int EmbedDim { get; init; } = 10;

    /// <summary>State of the recurrent gate.</summary>
    public int HiddenDim { get; init; } = 10;

    /// <summary>
    /// Log-odds with which the gates begin to run blocks (recurrent gate: bias of its projection; feed-forward gates: of the choice to run). 0, as in the
    /// official code, leaves chance to decide; a gate that begins by skipping never lets its block learn, and in a short training it never wakes up.
    /// </summary>
    public double GateBias { get; init; }

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 10;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;
}

/// <summary>What the gates did in one forward pass.</summary>
/// <param name="Logits">[N, classes].</param>
/// <param name="Decisions">One a gated block, [N, 1]: 1 runs it. (Soft gates in training: the weight.)</param>
/// <param name="Probabilities">One a gate, [N, 1]: probability of running. One more than the decisions where the gate after the last block was asked
/// for.</param>
public sealed record SkipTrace(Tensor Logits, IReadOnlyList<Tensor> Decisions, IReadOnlyList<Tensor> Probabilities);

/// <summary>
/// SkipNet (Wang et al., ECCV 2018, arXiv 1711.09485): a ResNet whose gates decide, picture by picture, whether a block runs. The first block always runs; the
/// gate on the output of a block decides about the next. In eval mode a skipped block costs nothing, also where the pictures of a batch disagree. [N, C, H, W]
/// -> logits [N, classes].
/// </summary>
public sealed partial class SkipNet : Layer
{
    private readonly Conv2d conv1;
    private readonly BatchNorm bn1;
    private readonly RecurrentControl? control;
    private readonly Linear fc;
    private readonly ResidualBlock[] blocks;
    private readonly Layer[] gates;

    /// <summary>Builds the network with the official initialisation.</summary>
    public SkipNet(SkipNetConfig config)
    {
        Config = config;
        Check(config);
        Mode = config.Mode;
        conv1 = config.ImageNet
            ? new Conv2d(config.InChannels, config.Widths[0], 7, 2, 3, bias: false)
            : new Conv2d(config.InChannels, config.Widths[0], 3, 1, 1, bias: false);
        bn1 = new BatchNorm(config.Widths[0]);
        var (channels, all, ways) = (config.Widths[0], new List<ResidualBlock>(), new List<Layer>());
        for (var g = 1; g <= config.Layers.Length; g++)
        {
            for (var i = 0; i < config.Layers[g - 1]; i++)
            {
                var block = new ResidualBlock(config.Block, channels, config.Widths[g - 1], i == 0 && g > 1 ? 2 : 1);
                channels = block.OutChannels;
                // The projection is one object under two names: a skipped block passes it on.
                if (block.Projection is { } projection) register_module($"group{g}_ds{i}", projection);
                register_module($"group{g}_layer{i}", block);
                Layer gate = config.Gate == SkipGateKind.Recurrent
                    ? new GateEmbedding(channels, config.EmbedDim) : new FeedForwardGate(channels, config.Gate == SkipGateKind.FeedForward1);
                register_module($"group{g}_gate{i}", gate);
                all.Add(block);
                ways.Add(gate);
            }
        }
        (blocks, gates) = ([.. all], [.. ways]);
        if (config.Gate == SkipGateKind.Recurrent) control = new RecurrentControl(config.EmbedDim, config.HiddenDim, config.ImageNet);
        fc = new Linear(channels, config.Classes);
        RegisterComponents();
        Initialise(this);
        if (config.GateBias != 0) BeginRunning(config.GateBias);
    }

    /// <summary>What it was built from.</summary>
    public SkipNetConfig Config { get; }

    /// <summary>How the gates decide in training.</summary>
    public GateMode Mode { get; set; }

    /// <summary>
    /// Whether eval mode runs only the blocks that are needed (default). Off: all blocks run and are blended, as the official code does; the logits are the
    /// same.
    /// </summary>
    public bool Skips { get; set; } = true;

    /// <summary>Blocks that a gate decides about: all but the first.</summary>
    public int GatedBlocks => blocks.Length - 1;

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x) => Run(x, null, false, false).Logits;

    /// <summary>Runs the network and tells what the gates did.</summary>
    /// <param name="x">[N, C, H, W].</param>
    /// <param name="choose">Makes a decision [N, 1] of a gated block's number (from 0) and its probability [N, 1]; null: the mode's way.</param>
    /// <param name="lastGate">Whether the gate after the last block, which decides nothing, is evaluated too (the official supervised models do).</param>
    public SkipTrace Run(Tensor x, Func<int, Tensor, Tensor>? choose = null, bool lastGate = false) => Run(x, choose, lastGate, true);

    private SkipTrace Run(Tensor x, Func<int, Tensor, Tensor>? choose, bool lastGate, bool trace)
    {
        var (decisions, probabilities) = (new List<Tensor>(), new List<Tensor>());
        x = Relu(bn1.call(conv1.call(x)));
        if (Config.ImageNet) x = MaxPool2d(x, new Ints(3, 3), new Ints(2, 2), new Ints(1, 1));
        x = blocks[0].call(x);
        if (CanSkipFast(x)) return SkipFast(x, choose, lastGate, trace);
        choose ??= Choose;
        (Tensor H, Tensor C)? state = null;
        for (var i = 1; i < blocks.Length; i++)
        {
            var p = Probability(i - 1, x, ref state);
            var decision = choose(i - 1, p);
            probabilities.Add(p);
            decisions.Add(decision);
            using var scope = NewDisposeScope();
            var next = RowChoice.Of(Reshape(decision, 0, 1, 1, 1), x, blocks[i].call, blocks[i].Projection is { } projection ? projection.call : null,
                Skips && !training);
            if (ReferenceEquals(next, x)) continue;
            next.MoveToOuterDisposeScope();
            x.Dispose();        // only the handle goes: autograd keeps what the backward pass needs
            x = next;
        }
        if (lastGate) probabilities.Add(Probability(blocks.Length - 1, x, ref state));
        return new SkipTrace(fc.call(GlobalAveragePool(x)), decisions, probabilities);
    }

    private Tensor Probability(int gate, Tensor x, ref (Tensor H, Tensor C)? state)
    {
        var y = gates[gate].call(x);
        if (control is null) return y;
        (var p, state) = control.Step(y, state);
        return p;
    }

    private Tensor Choose(int block, Tensor probability) => !training || Mode == GateMode.StraightThrough ? HardGate(probability)
        : Mode == GateMode.Soft ? probability
        : Sample(probability);

    // Convolutions N(0, 2 / (k k out)), linear layers N(0, 2 / (out in)); biases as the framework makes them.
    internal static void Initialise(Layer network)
    {
        foreach (var module in network.modules())
        {
            if (module is Conv2d conv) nn.init.normal_(conv.Weight, 0, Math.Sqrt(2.0 / (conv.Weight.shape[0] * conv.Weight.shape[2] * conv.Weight.shape[3])));
            if (module is Linear linear) nn.init.normal_(linear.Weight, 0, Math.Sqrt(2.0 / linear.Weight.numel()));
        }
    }

    private static void Check(SkipNetConfig c)
    {
        if (c.Layers.Length == 0 || c.Layers.Length != c.Widths.Length)
            throw new BayouException($"SkipNet: {c.Layers.Length} groups and {c.Widths.Length} widths; one width a group is needed");
        if (c.Layers.Any(n => n <= 0) || c.Widths.Any(n => n <= 0)) throw new BayouException("SkipNet: every group needs a block and a positive width");
        if (c.EmbedDim <= 0 || c.HiddenDim <= 0) throw new BayouException("SkipNet: embedding and state of the recurrent gate must be positive");
        if (c.Classes <= 0 || c.InChannels <= 0) throw new BayouException("SkipNet: classes and input channels must be positive");
    }
}
