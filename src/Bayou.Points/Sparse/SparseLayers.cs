using Bayou.Core;
using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>Base of layers on sparse tensors; as <see cref="Layer"/>, a subclass assigns its fields and then calls RegisterComponents.</summary>
public abstract class SparseLayer : nn.Module<SparseTensor, SparseTensor>
{
    /// <summary>Creates the layer.</summary>
    protected SparseLayer() : base("sparse") { }

    /// <summary>A parameter that outlives any dispose scope.</summary>
    protected static Parameter NewParameter(Tensor value) => (Parameter)new Parameter(value.DetachFromDisposeScope()).DetachFromDisposeScope();
}

/// <summary>Settings of a generalised sparse convolution.</summary>
/// <param name="Size">Side of the kernel.</param>
/// <param name="Stride">Stride.</param>
/// <param name="Dilation">Dilation.</param>
/// <param name="Region">Shape.</param>
public sealed record ConvSettings(int Size = 3, int Stride = 1, int Dilation = 1, KernelRegion Region = KernelRegion.Hypercube)
{
    /// <summary>Kernel offsets.</summary>
    public int Volume => KernelOffsets.Minkowski(Size, 1, Region).Length / 3;
}

/// <summary>
/// MinkowskiEngine's generalised convolution (Choy et al., CVPR 2019, equation 3). Keys kernel [K, Cin, Cout] ([Cin, Cout] for size 1 and stride 1), bias [1,
/// Cout].
/// Stride 1 keeps the voxels (submanifold); stride s gives the coarser level; offsets are in units of the input's tensor stride.
/// </summary>
public sealed class MinkowskiConvolution : SparseLayer
{
    private readonly Parameter kernel;
    private readonly Parameter? bias;
    private readonly ConvSettings settings;

    /// <summary>Initialised uniformly in +-1 / sqrt(Cin K).</summary>
    public MinkowskiConvolution(int inChannels, int outChannels, ConvSettings settings, bool bias = false)
    {
        this.settings = settings;
        var (volume, bound) = (settings.Volume, 1 / Math.Sqrt((double)inChannels * settings.Volume));
        kernel = NewParameter(IsPointwise ? empty(inChannels, outChannels) : empty(volume, inChannels, outChannels));
        nn.init.uniform_(kernel, -bound, bound);
        if (bias)
        {
            this.bias = NewParameter(empty(1, outChannels));
            nn.init.uniform_(this.bias, -bound, bound);
        }
        RegisterComponents();
    }

    private bool IsPointwise => settings is { Size: 1, Stride: 1 };

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        if (IsPointwise)
        {
            var product = Ops.MatMul(x.Features, kernel);
            return x.With(bias is null ? product : Ops.Add(product, bias));
        }
        var space = x.Voxels.Space;
        var target = space.Coarser(x.Voxels, settings.Stride);
        var map = space.Map(x.Voxels, target, settings.Size, settings.Dilation, settings.Region);
        return new(target, Ops.SparseConvolution(x.Features, kernel, bias, map));
    }
}

/// <summary>
/// MinkowskiEngine's transposed convolution: out[u + off_k] += x[u] W[k] onto the voxels of the finer level where they exist (U-Nets), else onto all the
/// kernel reaches.
/// </summary>
public sealed class MinkowskiConvolutionTranspose : SparseLayer
{
    private readonly Parameter kernel;
    private readonly Parameter? bias;
    private readonly ConvSettings settings;
    private readonly bool generative;

    /// <summary>Initialised uniformly in +-1 / sqrt(Cout K).</summary>
    public MinkowskiConvolutionTranspose(int inChannels, int outChannels, ConvSettings settings, bool bias = false, bool generative = false)
    {
        (this.settings, this.generative) = (settings, generative);
        var bound = 1 / Math.Sqrt((double)outChannels * settings.Volume);
        kernel = NewParameter(empty(settings.Volume, inChannels, outChannels));
        nn.init.uniform_(kernel, -bound, bound);
        if (bias)
        {
            this.bias = NewParameter(empty(1, outChannels));
            nn.init.uniform_(this.bias, -bound, bound);
        }
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        var space = x.Voxels.Space;
        var target = space.Finer(x.Voxels, settings.Stride, settings.Size, settings.Dilation, settings.Region, generative);
        var map = space.Map(target, x.Voxels, settings.Size, settings.Dilation, settings.Region);
        return new(target, Ops.SparseConvolution(x.Features, kernel, bias, map.Transposed()));
    }
}

/// <summary>Channelwise (depthwise) convolution: kernel [K, C].</summary>
public sealed class MinkowskiChannelwiseConvolution : SparseLayer
{
    private readonly Parameter kernel;
    private readonly Parameter? bias;
    private readonly ConvSettings settings;

    /// <summary>Initialised uniformly in +-1 / sqrt(C K).</summary>
    public MinkowskiChannelwiseConvolution(int channels, ConvSettings settings, bool bias = false)
    {
        this.settings = settings;
        var bound = 1 / Math.Sqrt((double)channels * settings.Volume);
        kernel = NewParameter(empty(settings.Volume, channels));
        nn.init.uniform_(kernel, -bound, bound);
        if (bias)
        {
            this.bias = NewParameter(empty(1, channels));
            nn.init.uniform_(this.bias, -bound, bound);
        }
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        var space = x.Voxels.Space;
        var target = space.Coarser(x.Voxels, settings.Stride);
        var y = Ops.SparseChannelwise(x.Features, kernel, space.Map(x.Voxels, target, settings.Size, settings.Dilation, settings.Region));
        return new(target, bias is null ? y : Ops.Add(y, bias));
    }
}

/// <summary>Local pooling. Where the window is the stride every voxel goes to its parent; otherwise the window is the kernel of a convolution.</summary>
public sealed class MinkowskiPooling(PoolKind kind, ConvSettings settings) : SparseLayer
{
    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        var space = x.Voxels.Space;
        var target = space.Coarser(x.Voxels, settings.Stride);
        var map = settings.Size == settings.Stride && settings.Stride > 1
            ? KernelMap.OfGroups(space.Parents(x.Voxels, settings.Stride).Groups)
            : space.Map(x.Voxels, target, settings.Size, settings.Dilation, settings.Region);
        return new(target, Ops.SparsePooling(x.Features, map, kind));
    }
}

/// <summary>Batch normalisation over all rows; keys bn.*.</summary>
public sealed class MinkowskiBatchNorm : SparseLayer
{
    private readonly BatchNorm bn;

    /// <summary>Momentum in PyTorch's sense: the share of the new batch.</summary>
    public MinkowskiBatchNorm(int channels, double eps = 1e-5, double momentum = 0.1)
    {
        bn = new BatchNorm(channels, eps, momentum);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x) => x.With(bn.call(x.Features));
}

/// <summary>Instance normalisation: every channel of every batch item has mean 0 and variance 1, then weight and bias [1, C].</summary>
public sealed class MinkowskiInstanceNorm : SparseLayer
{
    private readonly Parameter weight, bias;

    /// <summary>Weight 1, bias 0.</summary>
    public MinkowskiInstanceNorm(int channels)
    {
        (weight, bias) = (NewParameter(ones(1, channels)), NewParameter(zeros(1, channels)));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        var item = SparsePooling.BatchIndex(x);
        var centred = Ops.Sub(x.Features, Ops.GatherRows(Ops.SegmentSum(x.Features, item, x.Voxels.Batches, mean: true), item));
        var variance = Ops.GatherRows(Ops.SegmentSum(Ops.Mul(centred, centred), item, x.Voxels.Batches, mean: true), item);
        return x.With(Ops.Add(Ops.Mul(Ops.Div(centred, Ops.Apply(Ops.Scale(variance, 1, 1e-8), Unary.Sqrt)), weight), bias));
    }
}

/// <summary>max(x, 0).</summary>
public sealed class MinkowskiRelu : SparseLayer
{
    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x) => x.With(Ops.Relu(x.Features));
}

/// <summary>Sparse layers in a row under keys "0", "1", ...</summary>
public sealed class SparseSequential : SparseLayer
{
    private readonly SparseLayer[] layers;

    /// <summary>Layers in running order.</summary>
    public SparseSequential(params SparseLayer[] layers)
    {
        this.layers = layers;
        for (var i = 0; i < layers.Length; i++) register_module(i.ToString(), layers[i]);
    }

    /// <inheritdoc/>
    public override SparseTensor forward(SparseTensor x)
    {
        foreach (var layer in layers) x = layer.call(x);
        return x;
    }
}
