using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Order of the convolutions of a ladder block.</summary>
public enum LadderBlockKind
{
    /// <summary>1x1 down, k x k, 1x1 up (ResNet).</summary>
    Bottleneck,

    /// <summary>1x1 up, k x k, 1x1 down.</summary>
    Inverted,

    /// <summary>Depthwise k x k first, then 1x1 up, 1x1 down.</summary>
    MoveUp,
}

/// <summary>One step of the modernisation ladder from ResNet to ConvNeXt (paper, section 2 and tables 10, 11).</summary>
public sealed record LadderConfig
{
    /// <summary>Blocks of the four stages.</summary>
    public int[] Depths { get; init; } = [3, 4, 6, 3];

    /// <summary>Base width w; stage s has 4 w 2^s channels (bottleneck) or w 2^s.</summary>
    public int Width { get; init; } = 64;

    /// <summary>4x4 stride 4 stem instead of 7x7 stride 2 and max pooling.</summary>
    public bool Patchify { get; init; }

    /// <summary>Whether the k x k convolution is depthwise.</summary>
    public bool Depthwise { get; init; }

    /// <summary>Order of the convolutions.</summary>
    public LadderBlockKind Kind { get; init; }

    /// <summary>Side of the spatial kernel.</summary>
    public int Kernel { get; init; } = 3;

    /// <summary>ReLU or GELU.</summary>
    public Activation Activation { get; init; } = Activation.Relu;

    /// <summary>Only the activation between the two 1x1 convolutions stays.</summary>
    public bool FewerActivations { get; init; }

    /// <summary>Only the norm after the depthwise convolution stays; the three convolutions then have a bias.</summary>
    public bool FewerNorms { get; init; }

    /// <summary>LayerNorm (eps 1e-6) instead of BatchNorm (eps 1e-5).</summary>
    public bool LayerNorm { get; init; }

    /// <summary>Norm + 2x2 stride 2 convolutions between the stages instead of strided blocks; norms after the stem and after the mean pool.</summary>
    public bool SeparateDownsampling { get; init; }

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Stochastic-depth rate of the last block.</summary>
    public double DropPath { get; init; }
}

/// <summary>
/// The network of any ladder step. No official code exists; the structure reproduces the paper's published multiply-accumulate counts of all steps in both
/// regimes (specs/convnext.md, section 1.3). [N, 3, H, W] -> logits [N, classes].
/// </summary>
public sealed class ResNetLadder : Layer, IFeatureNetwork
{
    private readonly Sequential stem;
    private readonly LayerList<Sequential> stages;
    private readonly LayerList<Sequential>? down;
    private readonly LayerNorm? norm;
    private readonly Linear head;

    /// <summary>Builds the step's network.</summary>
    public ResNetLadder(LadderConfig c)
    {
        var stemChannels = c.Width;
        stem = c.Patchify
            ? c.SeparateDownsampling
                ? new Sequential(new Conv2d(c.InChannels, stemChannels, 4, stride: 4), Norm(c, stemChannels))
                : new Sequential(new Conv2d(c.InChannels, stemChannels, 4, stride: 4, bias: false), Norm(c, stemChannels), new ActivationLayer(c.Activation))
            : new Sequential(new Conv2d(c.InChannels, stemChannels, 7, stride: 2, padding: 3, bias: false), Norm(c, stemChannels),
                new ActivationLayer(c.Activation), new MaxPool2d(3, 2, 1));

        var rates = StochasticDepth.Rates(c.DropPath, c.Depths.Sum());
        stages = new LayerList<Sequential>();
        if (c.SeparateDownsampling) down = new LayerList<Sequential>();
        var (channels, block) = (stemChannels, 0);
        for (var s = 0; s < c.Depths.Length; s++)
        {
            var output = c.Width << s;
            if (c.Kind == LadderBlockKind.Bottleneck) output *= 4;
            if (down is not null && s > 0)
            {
                down.Add(new Sequential(Norm(c, channels), new Conv2d(channels, output, 2, stride: 2)));
                channels = output;
            }
            var blocks = new Layer[c.Depths[s]];
            for (var b = 0; b < blocks.Length; b++)
            {
                blocks[b] = new LadderBlock(c, channels, output, c.Width << s, stride: b == 0 && s > 0 && down is null ? 2 : 1, rates[block++]);
                channels = output;
            }
            stages.Add(new Sequential(blocks));
        }
        if (c.SeparateDownsampling) norm = new LayerNorm(channels, eps: 1e-6);
        head = new Linear(channels, c.Classes);
        RegisterComponents();
    }

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x)
    {
        x = GlobalAveragePool(Features(x)[^1]);
        return head.call(norm is null ? x : norm.call(x));
    }

    /// <summary>[N, C, H, W] -> [N, width, H/4, W/4].</summary>
    public Tensor Stem(Tensor x) => stem.call(x);

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        x = Stem(x);
        var features = new Tensor[stages.Count];
        for (var s = 0; s < features.Length; s++)
        {
            if (down is not null && s > 0) x = down[s - 1].call(x);
            features[s] = x = stages[s].call(x);
        }
        return features;
    }

    internal static Layer Norm(LadderConfig c, int channels) =>
        c.LayerNorm ? new LayerNorm2d(channels, eps: 1e-6) : new BatchNorm(channels, eps: 1e-5);
}

/// <summary>A residual block of the ladder. [N, C, H, W] -> [N, C', H/stride, W/stride].</summary>
public sealed class LadderBlock : Layer
{
    private readonly Conv2d conv1, conv2, conv3;
    private readonly Layer? n1, n2, n3;
    private readonly Sequential? ds;    // projection of the shortcut where stride or channels change
    private readonly DropPath drop_path;
    private readonly Activation activation;
    private readonly LadderBlockKind kind;
    private readonly bool fewerActivations;

    /// <summary>Builds a block.</summary>
    public LadderBlock(LadderConfig c, int inChannels, int outChannels, int width, int stride, double dropPath)
    {
        (activation, kind, fewerActivations) = (c.Activation, c.Kind, c.FewerActivations);
        var bias = c.FewerNorms;
        if (kind == LadderBlockKind.MoveUp)
        {
            var wide = 4 * outChannels;
            conv1 = new Conv2d(inChannels, inChannels, c.Kernel, stride, c.Kernel / 2, groups: inChannels, bias: bias);
            conv2 = new Conv2d(inChannels, wide, 1, bias: bias);
            conv3 = new Conv2d(wide, outChannels, 1, bias: bias);
            n1 = ResNetLadder.Norm(c, inChannels);
            n2 = c.FewerNorms ? null : ResNetLadder.Norm(c, wide);
        }
        else
        {
            var middle = kind == LadderBlockKind.Inverted ? 4 * outChannels : width;
            conv1 = new Conv2d(inChannels, middle, 1, bias: bias);
            conv2 = new Conv2d(middle, middle, c.Kernel, stride, c.Kernel / 2, groups: c.Depthwise ? middle : 1, bias: bias);
            conv3 = new Conv2d(middle, outChannels, 1, bias: bias);
            n1 = c.FewerNorms ? null : ResNetLadder.Norm(c, middle);
            n2 = ResNetLadder.Norm(c, middle);
        }
        n3 = c.FewerNorms ? null : ResNetLadder.Norm(c, outChannels);
        if (stride != 1 || inChannels != outChannels)
            ds = new Sequential(new Conv2d(inChannels, outChannels, 1, stride, bias: false), ResNetLadder.Norm(c, outChannels));
        drop_path = new DropPath(dropPath);
        RegisterComponents();
    }

    /// <summary>act(shortcut + branch), or without the activation from step "fewer activations" on.</summary>
    public override Tensor forward(Tensor x)
    {
        // The one activation that stays lies between the 1x1 convolutions: after conv2 once the depthwise convolution has moved up, around the k x k one before
        // that.
        var y = Normed(n1, conv1.call(x));
        if (!fewerActivations) y = Activate(y, activation);
        y = Normed(n2, conv2.call(y));
        if (!fewerActivations || kind == LadderBlockKind.MoveUp) y = Activate(y, activation);
        y = Normed(n3, conv3.call(y));
        y = Add(ds is null ? x : ds.call(x), drop_path.call(y));
        return fewerActivations ? y : Activate(y, activation);
    }

    private static Tensor Normed(Layer? norm, Tensor x) => norm is null ? x : norm.call(x);
}
