using Bayou.Core;

namespace Bayou.Points;

/// <summary>ResNet's basic block on voxels: two 3x3x3 convolutions and a shortcut, which is a 1x1 convolution where the widths differ.</summary>
public sealed class SparseBasicBlock : SparseLayer
{
    private readonly MinkowskiConvolution conv1, conv2;
    private readonly MinkowskiBatchNorm norm1, norm2;
    private readonly SparseSequential? downsample;

    /// <summary>Builds the block.</summary>
    public SparseBasicBlock(int inChannels, int planes, double momentum)
    {
        (conv1, norm1) = (new(inChannels, planes, new(3)), new(planes, momentum: momentum));
        (conv2, norm2) = (new(planes, planes, new(3)), new(planes, momentum: momentum));
        if (inChannels != planes) downsample = new(new MinkowskiConvolution(inChannels, planes, new(1)), new MinkowskiBatchNorm(planes, momentum: momentum));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        var y = norm1.call(conv1.call(x));
        y = norm2.call(conv2.call(y.With(Ops.Relu(y.Features))));
        y = SparsePooling.Add(y, downsample?.call(x) ?? x);
        return y.With(Ops.Relu(y.Features));
    }
}

/// <summary>ResNet's bottleneck on voxels: 1x1, 3x3x3, 1x1 to four times the planes.</summary>
public sealed class SparseBottleneck : SparseLayer
{
    /// <summary>Output channels by planes.</summary>
    public const int Expansion = 4;

    private readonly MinkowskiConvolution conv1, conv2, conv3;
    private readonly MinkowskiBatchNorm norm1, norm2, norm3;
    private readonly SparseSequential? downsample;

    /// <summary>Builds the block.</summary>
    public SparseBottleneck(int inChannels, int planes, double momentum)
    {
        var width = planes * Expansion;
        (conv1, norm1) = (new(inChannels, planes, new(1)), new(planes, momentum: momentum));
        (conv2, norm2) = (new(planes, planes, new(3)), new(planes, momentum: momentum));
        (conv3, norm3) = (new(planes, width, new(1)), new(width, momentum: momentum));
        if (inChannels != width) downsample = new(new MinkowskiConvolution(inChannels, width, new(1)), new MinkowskiBatchNorm(width, momentum: momentum));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        var y = norm1.call(conv1.call(x));
        y = norm2.call(conv2.call(y.With(Ops.Relu(y.Features))));
        y = norm3.call(conv3.call(y.With(Ops.Relu(y.Features))));
        y = SparsePooling.Add(y, downsample?.call(x) ?? x);
        return y.With(Ops.Relu(y.Features));
    }
}
