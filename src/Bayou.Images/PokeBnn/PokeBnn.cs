using Bayou.Core;
using TorchSharp.Utils;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What PokeBNN adds to a plain binary residual network; each can be left out to see what it is worth.</summary>
[Flags]
public enum PokeComponents
{
    /// <summary>A plain binary residual network: binary convolutions, batch norm, ReLU, one shortcut a block.</summary>
    None = 0,

    /// <summary>A shortcut around every convolution.</summary>
    LocalShortcut = 1,

    /// <summary>DPReLU instead of ReLU.</summary>
    DpRelu = 2,

    /// <summary>Squeeze and excitation after every convolution.</summary>
    SqueezeExcite = 4,

    /// <summary>All of them: the published network.</summary>
    All = 7,
}

/// <summary>The size of a PokeBNN.</summary>
public sealed record PokeBnnConfig
{
    /// <summary>Stride and width f of each bottleneck block (output 4f channels).</summary>
    public IReadOnlyList<(int Stride, int Features)> Plan { get; init; } = PokeBnnVariants.ResNet50Plan(1);

    /// <summary>Channels, and groups, of the stem's second convolution.</summary>
    public int InitGroup { get; init; } = 32;

    /// <summary>Channels after the stem.</summary>
    public int InitFeatures { get; init; } = 64;

    /// <summary>Kernel and stride of the stem's first convolution: 4 at 224 pixels; smaller for small pictures.</summary>
    public int Patch { get; init; } = 4;

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Fixed bound of the binarised activations: gradients pass for |x| below it (paper: an under-explored parameter worth several points).</summary>
    public double Window { get; init; } = 3;

    /// <summary>Parts in use.</summary>
    public PokeComponents Components { get; init; } = PokeComponents.All;

    /// <summary>Whether weights and activations are quantised at all; false gives the float network of the same shape.</summary>
    public bool Quantized { get; init; } = true;
}

/// <summary>
/// PokeBNN (CVPR 2022, arXiv 2112.00133; specs/ace.md, section 2): ResNet-50's plan with all convolutions of the residual blocks binary, 8-bit stem and head,
/// 4-bit squeeze and excitation. [N, C, H, W] -> logits [N, classes].
/// </summary>
public sealed class PokeBnn : Layer, IFeatureNetwork
{
    private readonly AqtConv init_conv, init_conv_group;
    private readonly PokeBatchNorm init_bn, init_bn_group;
    [ComponentName(Name = "DPReLU_0")] private readonly DpRelu first;
    [ComponentName(Name = "DPReLU_1")] private readonly DpRelu second;
    private readonly List<PokeConv[]> blocks = [];
    private readonly AqtDense dense;
    private readonly int[] strides;

    /// <summary>Builds the network; parameter names follow the official flax modules.</summary>
    public PokeBnn(PokeBnnConfig c)
    {
        if (c.Plan.Count == 0 || c.InitFeatures % c.InitGroup != 0)
            throw new BayouException($"PokeBNN: {c.InitFeatures} channels in {c.InitGroup} groups and {c.Plan.Count} blocks are no network");
        strides = [.. c.Plan.Select(p => p.Stride)];
        var eight = c.Quantized ? 8 : 32;
        init_conv = new AqtConv(c.InChannels, c.InitGroup, c.Patch, c.Patch, 1, new(eight), same: false);
        init_bn = new PokeBatchNorm(c.InitGroup);
        init_conv_group = new AqtConv(c.InitGroup, c.InitFeatures, 3, 1, c.InitGroup, new(eight));
        init_bn_group = new PokeBatchNorm(c.InitFeatures);
        dense = new AqtDense(4 * c.Plan[^1].Features, c.Classes, eight);
        (first, second) = (new DpRelu(c.InitGroup), new DpRelu(c.InitFeatures));
        RegisterComponents();
        var number = 2;
        var channels = c.InitFeatures;
        for (var b = 0; b < c.Plan.Count; b++)
        {
            var (stride, f) = c.Plan[b];
            var block = new[]
            {
                new PokeConv(channels, f, 1, 1, c), new PokeConv(f, f, 3, stride, c), new PokeConv(f, 4 * f, 1, 1, c, last: true),
            };
            for (var i = 0; i < block.Length; i++) block[i].Register(this, $"resblock{b}-{i + 1}", number++);
            blocks.Add(block);
            channels = 4 * f;
        }
    }

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x) => dense.call(GlobalAveragePool(Outputs(x)[^1][^1]));

    /// <summary>Head alone: pooled features [N, C] -> [N, classes].</summary>
    public Tensor Head(Tensor pooled) => dense.call(pooled);

    /// <summary>[N, C, H, W] -> [N, InitFeatures, H/4, W/4].</summary>
    public Tensor Stem(Tensor x)
    {
        x = first.call(init_bn.call(init_conv.call(x)));
        return second.call(init_bn_group.call(init_conv_group.call(x)));
    }

    /// <summary>Outputs of every convolution of every block.</summary>
    public Tensor[][] Outputs(Tensor x)
    {
        x = Stem(x);
        var outputs = new Tensor[blocks.Count][];
        for (var b = 0; b < outputs.Length; b++)
        {
            var block = blocks[b];
            var one = block[0].Apply(x, null);
            var two = block[1].Apply(one, null);
            outputs[b] = [one, two, block[2].Apply(two, x)];
            x = outputs[b][2];
        }
        return outputs;
    }

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        var outputs = Outputs(x);
        return [.. outputs.Where((_, b) => b == outputs.Length - 1 || strides[b + 1] > 1).Select(o => o[2])];
    }
}

/// <summary>
/// One binary convolution with its shortcuts: r = x; y = BN(conv(x)) + fit(r) [+ fit(r1)]; y = DPReLU(y) SE(r); BN. Its modules are registered by the network,
/// whose keys are flat.
/// </summary>
internal sealed class PokeConv
{
    private readonly AqtConv conv, sefc1, sefc2;
    private readonly PokeBatchNorm bn, split;
    private readonly DpRelu act;
    private readonly int channels;
    private readonly PokeComponents parts;

    public PokeConv(int inChannels, int outChannels, int kernel, int stride, PokeBnnConfig c, bool last = false)
    {
        (channels, parts) = (outChannels, c.Components);
        conv = new AqtConv(inChannels, outChannels, kernel, stride, 1, c.Quantized ? new(1, AqtCodes.HalfShift, c.Window) : new(32));
        // The block begins as its shortcut.
        bn = new PokeBatchNorm(outChannels, last ? 0 : 1);
        act = new DpRelu(outChannels);
        var squeezed = Math.Max(1, inChannels / 8);
        var four = c.Quantized ? 4 : 32;
        sefc1 = new AqtConv(inChannels, squeezed, 1, 1, 1, new(four), bias: true);
        sefc2 = new AqtConv(squeezed, outChannels, 1, 1, 1, new(four, AqtCodes.Unsigned), bias: true);
        split = new PokeBatchNorm(outChannels);
    }

    public void Register(Layer network, string name, int number)
    {
        network.register_module($"conv-{name}", conv);
        network.register_module($"bn{name}", bn);
        if (parts.HasFlag(PokeComponents.DpRelu)) network.register_module($"DPReLU_{number}", act);
        if (parts.HasFlag(PokeComponents.SqueezeExcite))
        {
            network.register_module($"sefc1-{name}", sefc1);
            network.register_module($"sefc2-{name}", sefc2);
        }
        network.register_module($"bn_split{name}", split);
    }

    /// <summary>[N, C, H, W] -> [N, C', H/stride, W/stride].</summary>
    /// <param name="r">The input, which is also the local shortcut.</param>
    /// <param name="block">The block's input: the long shortcut of its last convolution.</param>
    public Tensor Apply(Tensor r, Tensor? block)
    {
        var y = bn.call(conv.call(r));
        if (parts.HasFlag(PokeComponents.LocalShortcut)) y = Add(y, PokeShortcut.Fit(r, channels, y, tile: false));
        if (block is not null) y = Add(y, PokeShortcut.Fit(block, channels, y, tile: true));
        y = parts.HasFlag(PokeComponents.DpRelu) ? act.call(y) : Relu(y);
        if (parts.HasFlag(PokeComponents.SqueezeExcite))
        {
            var s = Relu(sefc1.call(Mean(r, new Ints(2, 3), keepDim: true)));
            y = Mul(y, Activate(sefc2.call(s), Activation.Hardsigmoid));
        }
        return split.call(y);
    }
}
