using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Kind of residual block.</summary>
public enum ResidualKind
{
    /// <summary>Two 3x3 convolutions (He et al., CVPR 2016).</summary>
    Basic,

    /// <summary>1x1, 3x3 with the stride, 1x1 to four times the width.</summary>
    Bottleneck,
}

/// <summary>A residual block with its final ReLU. [N, C, H, W] -> [N, C', H / stride, W / stride]; C' is the width, four times it for a bottleneck.</summary>
public sealed class ResidualBlock : Layer
{
    private readonly Conv2d conv1, conv2;
    private readonly Conv2d? conv3;
    private readonly BatchNorm bn1, bn2;
    private readonly BatchNorm? bn3;
    private readonly Sequential? downsample;    // projection of the shortcut where stride or channels change

    /// <summary>Builds the block.</summary>
    public ResidualBlock(ResidualKind kind, int inChannels, int width, int stride)
    {
        OutChannels = width * Expansion(kind);
        var bottleneck = kind == ResidualKind.Bottleneck;
        conv1 = bottleneck ? new Conv2d(inChannels, width, 1, bias: false) : new Conv2d(inChannels, width, 3, stride, 1, bias: false);
        bn1 = new BatchNorm(width);
        conv2 = new Conv2d(width, width, 3, bottleneck ? stride : 1, 1, bias: false);
        bn2 = new BatchNorm(width);
        if (bottleneck) (conv3, bn3) = (new Conv2d(width, OutChannels, 1, bias: false), new BatchNorm(OutChannels));
        if (stride != 1 || inChannels != OutChannels)
            downsample = new Sequential(new Conv2d(inChannels, OutChannels, 1, stride, bias: false), new BatchNorm(OutChannels));
        RegisterComponents();
    }

    /// <summary>Channels of the output.</summary>
    public int OutChannels { get; }

    /// <summary>The shortcut's projection; null where the shortcut is the identity.</summary>
    public Sequential? Projection => downsample;

    /// <summary>Channels a block gives for each channel of its width.</summary>
    public static int Expansion(ResidualKind kind) => kind == ResidualKind.Bottleneck ? 4 : 1;

    /// <summary>relu(shortcut + branch).</summary>
    public override Tensor forward(Tensor x)
    {
        var y = bn2.call(conv2.call(Relu(bn1.call(conv1.call(x)))));
        if (conv3 is not null) y = bn3!.call(conv3.call(Relu(y)));
        return Relu(Add(y, downsample is null ? x : downsample.call(x)));
    }
}
