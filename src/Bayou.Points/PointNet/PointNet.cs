using Bayou.Core;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>Shape of a <see cref="PointNet"/>.</summary>
public sealed record PointNetConfig
{
    /// <summary>Classes.</summary>
    public int Classes { get; init; } = 40;

    /// <summary>Channels of a point; the first three are x, y, z.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Whether every point is labelled instead of the cloud.</summary>
    public bool Segment { get; init; }

    /// <summary>Whether features pass a learned 64 x 64 transform.</summary>
    public bool FeatureTransform { get; init; } = true;

    /// <summary>Weight of the transform's distance from a rotation in the loss (paper, equation 2).</summary>
    public double TransformWeight { get; init; } = 0.001;

    /// <summary>Dropout before the classifier.</summary>
    public double Dropout { get; init; } = 0.4;

    /// <summary>Factor on all widths; 1 is published.</summary>
    public double Width { get; init; } = 1;

    internal int Scaled(int channels) => Math.Max(8, (int)Math.Round(channels * Width));
}

/// <summary>
/// PointNet (Qi et al., CVPR 2017, arXiv 1612.00593, figure 2): the same small network on every point, a maximum over all points, and learned transforms of
/// input and features.
/// Clouds [B, C, N] -> logits [B, classes], or [B N, classes] (point by point) when it segments. State-dict keys are those of the widespread PyTorch version
/// (feat.stn.conv1.weight, ...).
/// </summary>
public sealed partial class PointNet : Layer, ITrainingLoss
{
    private readonly PointNetEncoder feat;
    private readonly Linear? fc1, fc2, fc3;                 // classification head
    private readonly PointConv? conv1, conv2, conv3, conv4; // segmentation head
    private readonly BatchNorm bn1, bn2;
    private readonly BatchNorm? bn3;
    private readonly Dropout dropout;

    /// <summary>Builds the network.</summary>
    public PointNet(PointNetConfig config)
    {
        Config = config;
        var (w, global) = ((Func<int, int>)config.Scaled, config.Scaled(1024));
        feat = new PointNetEncoder(config);
        dropout = new Dropout(config.Dropout);
        if (config.Segment)
        {
            (conv1, bn1) = (new(global + w(64), w(512)), new(w(512)));
            (conv2, bn2) = (new(w(512), w(256)), new(w(256)));
            (conv3, bn3) = (new(w(256), w(128)), new(w(128)));
            conv4 = new(w(128), config.Classes);
        }
        else
        {
            (fc1, bn1) = (new(global, w(512)), new(w(512)));
            (fc2, bn2) = (new(w(512), w(256)), new(w(256)));
            fc3 = new(w(256), config.Classes);
        }
        RegisterComponents();
    }

    /// <summary>The network's shape.</summary>
    public PointNetConfig Config { get; }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Forward(x).Logits;

    /// <summary>Logits and the feature transform [B, 64, 64] (null without one).</summary>
    public (Tensor Logits, Tensor? Transform) Forward(Tensor x)
    {
        var (points, pooled, transform) = feat.Forward(x);
        if (!Config.Segment)
        {
            var y = Ops.Relu(bn1.call(fc1!.call(pooled)));
            y = Ops.Relu(bn2.call(dropout.call(fc2!.call(y))));
            return (fc3!.call(y), transform);
        }
        // Every point's own features beside those of the whole cloud.
        var spread = Ops.Mul(Ops.Reshape(pooled, 0, 1, -1), Ops.Constant(ones(1, x.shape[2], 1)));
        var z = Ops.Concat(1, Ops.Reshape(spread, -1, pooled.shape[1]), points);
        z = Ops.Relu(bn1.call(conv1!.call(z)));
        z = Ops.Relu(bn2.call(conv2!.call(z)));
        z = Ops.Relu(bn3!.call(conv3!.call(z)));
        return (conv4!.call(z), transform);
    }
}

/// <summary>The shared part: transforms, point-wise layers, maximum.</summary>
internal sealed class PointNetEncoder : Layer
{
    private readonly PointTransform stn;
    private readonly PointTransform? fstn;
    private readonly PointConv conv1, conv2, conv3;
    private readonly BatchNorm bn1, bn2, bn3;
    private readonly int channels;

    public PointNetEncoder(PointNetConfig config)
    {
        channels = config.InChannels;
        if (channels < 3) throw new BayouException($"PointNet needs at least x, y and z; {channels} channels are given");
        int a = config.Scaled(64), b = config.Scaled(128), c = config.Scaled(1024);
        stn = new PointTransform(channels, 3, config);
        (conv1, bn1) = (new(channels, a), new(a));
        (conv2, bn2) = (new(a, b), new(b));
        (conv3, bn3) = (new(b, c), new(c));
        if (config.FeatureTransform) fstn = new PointTransform(a, a, config);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x) => Forward(x).Pooled;

    // x [B, C, N] -> features of the points [B N, 64], of the cloud [B, 1024].
    public (Tensor Points, Tensor Pooled, Tensor? Transform) Forward(Tensor x)
    {
        var n = x.shape[2];
        var points = Ops.Permute(x, 0, 2, 1);
        var matrix = stn.call(points);
        var moved = Ops.MatMul(channels > 3 ? Ops.Slice(points, 2, 0, 3) : points, matrix);
        if (channels > 3) moved = Ops.Concat(2, moved, Ops.Slice(points, 2, 3));
        var y = Ops.Relu(bn1.call(conv1.call(Ops.Reshape(moved, -1, channels))));
        Tensor? transform = null;
        if (fstn is not null)
        {
            var clouds = Ops.Reshape(y, -1, n, y.shape[1]);
            transform = fstn.call(clouds);
            y = Ops.Reshape(Ops.MatMul(clouds, transform), -1, y.shape[1]);
        }
        var local = y;
        y = Ops.Relu(bn2.call(conv2.call(y)));
        y = bn3.call(conv3.call(y));
        return (local, Ops.Reduce(Ops.Reshape(y, -1, n, y.shape[1]), Reduction.Max, new Ints(1)), transform);
    }
}

/// <summary>T-Net (section 4.3): [B, N, C] -> a k x k matrix a cloud, near the identity at first.</summary>
internal sealed class PointTransform : Layer
{
    private readonly PointConv conv1, conv2, conv3;
    private readonly Linear fc1, fc2, fc3;
    private readonly BatchNorm bn1, bn2, bn3, bn4, bn5;
    private readonly int size;

    public PointTransform(int channels, int size, PointNetConfig config)
    {
        this.size = size;
        int a = config.Scaled(64), b = config.Scaled(128), c = config.Scaled(1024), d = config.Scaled(512), e = config.Scaled(256);
        (conv1, bn1) = (new(channels, a), new(a));
        (conv2, bn2) = (new(a, b), new(b));
        (conv3, bn3) = (new(b, c), new(c));
        (fc1, bn4) = (new(c, d), new(d));
        (fc2, bn5) = (new(d, e), new(e));
        fc3 = new(e, size * size);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        var n = x.shape[1];
        var y = Ops.Relu(bn1.call(conv1.call(Ops.Reshape(x, -1, x.shape[2]))));
        y = Ops.Relu(bn2.call(conv2.call(y)));
        y = Ops.Relu(bn3.call(conv3.call(y)));
        y = Ops.Reduce(Ops.Reshape(y, -1, n, y.shape[1]), Reduction.Max, new Ints(1));
        y = Ops.Relu(bn4.call(fc1.call(y)));
        y = Ops.Relu(bn5.call(fc2.call(y)));
        var identity = new float[size * size];
        for (var i = 0; i < size; i++) identity[i * (size + 1)] = 1;
        return Ops.Reshape(Ops.Add(fc3.call(y), Ops.Constant(tensor(identity, [1, size * size]))), -1, size, size);
    }
}

/// <summary>
/// A layer that every point passes alone: weight [O, I, 1] (or [O, I, 1, 1]) and bias [O] as PyTorch's convolutions of size 1 keep them. [..., I] -> [..., O].
/// </summary>
public sealed class PointConv : Layer
{
    private readonly Parameter weight, bias;

    /// <summary>Initialised as PyTorch does.</summary>
    /// <param name="inChannels">I.</param>
    /// <param name="outChannels">O.</param>
    /// <param name="axes">1 for Conv1d, 2 for Conv2d keys.</param>
    public PointConv(int inChannels, int outChannels, int axes = 1)
    {
        var bound = 1 / Math.Sqrt(inChannels);
        weight = NewParameter(empty(axes == 1 ? [outChannels, inChannels, 1] : [outChannels, inChannels, 1, 1]));
        bias = NewParameter(empty(outChannels));
        TorchSharp.torch.nn.init.uniform_(weight, -bound, bound);
        TorchSharp.torch.nn.init.uniform_(bias, -bound, bound);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Ops.Linear(x, Ops.Reshape(weight, 0, 0), bias);
}
