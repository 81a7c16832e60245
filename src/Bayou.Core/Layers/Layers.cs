using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>2D convolution: weight [O, C/groups, k, k], bias [O]. [N, C, H, W] -> [N, O, H', W'].</summary>
public sealed class Conv2d : Layer
{
    private readonly Parameter weight;
    private readonly Parameter? bias;
    private readonly Ints stride, padding, dilation;
    private readonly long groups;

    /// <summary>Square kernel. Initialised as PyTorch does (Kaiming uniform, a = sqrt 5).</summary>
    public Conv2d(long inChannels, long outChannels, long kernel, long stride = 1, long padding = 0, long dilation = 1, long groups = 1, bool bias = true)
        : this(inChannels, outChannels, (kernel, kernel), stride, (padding, padding), dilation, groups, bias) { }

    /// <summary>Rectangular kernel and padding (height, width).</summary>
    public Conv2d(long inChannels, long outChannels, (long H, long W) kernel, long stride, (long H, long W) padding, long dilation = 1, long groups = 1,
        bool bias = true)
    {
        if (inChannels <= 0 || outChannels <= 0 || groups <= 0 || inChannels % groups != 0 || outChannels % groups != 0)
            throw new BayouException($"Conv2d: {groups} groups do not divide {inChannels} input and {outChannels} output channels");
        (this.stride, this.padding, this.dilation, this.groups) =
            (new Ints(stride, stride), new Ints(padding.H, padding.W), new Ints(dilation, dilation), groups);
        weight = NewParameter(empty(outChannels, inChannels / groups, kernel.H, kernel.W));
        nn.init.kaiming_uniform_(weight, Math.Sqrt(5));
        if (bias)
        {
            var bound = 1 / Math.Sqrt(inChannels / groups * kernel.H * kernel.W);
            this.bias = NewParameter(empty(outChannels));
            nn.init.uniform_(this.bias, -bound, bound);
        }
        RegisterComponents();
    }

    /// <summary>Weight [O, C/groups, kh, kw].</summary>
    public Parameter Weight => weight;

    /// <summary>Bias [O] or null.</summary>
    public Parameter? Bias => bias;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Ops.Conv2d(x, weight, bias, stride, padding, dilation, groups);

    /// <summary>shortcut + activation(this), see <see cref="Ops.Conv2dThen"/>.</summary>
    public Tensor Then(Tensor x, Activation? activation, Tensor? shortcut = null, BatchNorm? norm = null) =>
        Ops.Conv2dThen(x, weight, bias, new Conv2dOp(stride, padding, dilation, groups), activation, shortcut, norm);
}

/// <summary>Affine map over the last axis: weight [O, I], bias [O].</summary>
public sealed class Linear : Layer
{
    private readonly Parameter weight;
    private readonly Parameter? bias;

    /// <summary>Initialised as PyTorch does.</summary>
    public Linear(long inFeatures, long outFeatures, bool bias = true)
    {
        weight = NewParameter(empty(outFeatures, inFeatures));
        nn.init.kaiming_uniform_(weight, Math.Sqrt(5));
        if (bias)
        {
            var bound = 1 / Math.Sqrt(inFeatures);
            this.bias = NewParameter(empty(outFeatures));
            nn.init.uniform_(this.bias, -bound, bound);
        }
        RegisterComponents();
    }

    /// <summary>Weight [O, I].</summary>
    public Parameter Weight => weight;

    /// <summary>Bias [O] or null.</summary>
    public Parameter? Bias => bias;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Ops.Linear(x, weight, bias);
}

/// <summary>Layer normalisation over the last axis.</summary>
public sealed class LayerNorm : Layer
{
    private readonly Parameter weight, bias;
    private readonly Ints shape;
    private readonly double eps;

    /// <summary>Weight 1, bias 0.</summary>
    public LayerNorm(long features, double eps = 1e-5)
    {
        (shape, this.eps) = (new Ints(features), eps);
        weight = NewParameter(ones(features));
        bias = NewParameter(zeros(features));
        RegisterComponents();
    }

    /// <summary>[C].</summary>
    public Parameter Weight => weight;

    /// <summary>[C].</summary>
    public Parameter Bias => bias;

    /// <summary>Added to the variance.</summary>
    public double Eps => eps;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Ops.LayerNorm(x, shape, weight, bias, eps);
}

/// <summary>Layer normalisation over the channels of every pixel. [N, C, H, W] -> [N, C, H, W].</summary>
public sealed class LayerNorm2d : Layer
{
    private readonly Parameter weight, bias;
    private readonly Ints shape;
    private readonly double eps;

    /// <summary>Weight 1, bias 0.</summary>
    public LayerNorm2d(long channels, double eps = 1e-6)
    {
        (shape, this.eps) = (new Ints(channels), eps);
        weight = NewParameter(ones(channels));
        bias = NewParameter(zeros(channels));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Ops.ChannelNorm(x, shape, weight, bias, eps);
}

/// <summary>Batch normalisation of [N, C, H, W] or [N, C]; keys weight, bias, running_mean, running_var, num_batches_tracked.</summary>
public sealed class BatchNorm : Layer
{
    private readonly Parameter weight, bias;
    private readonly Tensor running_mean, running_var, num_batches_tracked;
    private readonly double eps, momentum;

    /// <summary>Weight 1, bias 0, running mean 0 and variance 1.</summary>
    public BatchNorm(long channels, double eps = 1e-5, double momentum = 0.1)
    {
        (this.eps, this.momentum) = (eps, momentum);
        weight = NewParameter(ones(channels));
        bias = NewParameter(zeros(channels));
        running_mean = NewBuffer(zeros(channels));
        running_var = NewBuffer(ones(channels));
        num_batches_tracked = NewBuffer(zeros([], int64));
        RegisterComponents();
    }

    /// <summary>Scales and shifts [2, C] of that map as plain numbers.</summary>
    internal float[] Affine() => FusedConv.Affine(weight, bias, running_mean, running_var, eps);

    /// <summary>Scale and shift [C], float64, of the affine map that this is in eval mode: gamma / sqrt(variance + eps) and beta - mean scale.</summary>
    public (Tensor Scale, Tensor Shift) ToAffine()
    {
        using var noGrad = no_grad();
        var scale = weight.to(float64) * running_var.to(float64).Plus(Number.Of(eps)).rsqrt();
        return (scale, bias.to(float64) - running_mean.to(float64) * scale);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (training) num_batches_tracked.PlusInPlace(Number.Of(1));
        return Ops.BatchNorm(x, weight, bias, running_mean, running_var, training, eps, momentum);
    }
}

/// <summary>An activation without parameters.</summary>
public sealed class ActivationLayer(Activation kind) : Layer
{
    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Ops.Activate(x, kind);
}

/// <summary>Returns its input object itself.</summary>
public sealed class Identity : Layer
{
    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => x;
}

/// <summary>Dropout (<see cref="DropoutOp"/>).</summary>
public sealed class Dropout(double p) : Layer
{
    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => p == 0 ? x : Ops.Dropout(x, p, training);
}

/// <summary>Stochastic depth over a network.</summary>
public static class StochasticDepth
{
    /// <summary>Rates of all blocks, linspace(0, rate, blocks): the first block never drops.</summary>
    public static double[] Rates(double rate, int blocks) => Enumerable.Range(0, blocks).Select(i => blocks == 1 ? 0 : rate * i / (blocks - 1)).ToArray();
}

/// <summary>Stochastic depth (<see cref="DropPathOp"/>).</summary>
public sealed class DropPath(double p) : Layer
{
    /// <summary>Probability of dropping a sample's branch in training.</summary>
    public double P => p;

    /// <summary>Which samples to keep in training, [N] of 0 and 1, instead of drawing them: reproduces a run of another framework. Usually null.</summary>
    public Tensor? Keep { get; set; }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (p == 0) return x;
        if (Keep is null || !training) return Ops.DropPath(x, p, training);
        var shape = new long[x.dim()];
        Array.Fill(shape, 1);
        shape[0] = -1;
        return Ops.Mul(x, Ops.Constant(Keep.to(x.dtype).div(Number.Of(1 - p)).reshape(shape)));
    }
}

/// <summary>Max pooling of [N, C, H, W] with a square window.</summary>
public sealed class MaxPool2d(long kernel, long stride, long padding = 0) : Layer
{
    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Ops.MaxPool2d(x, new Ints(kernel, kernel), new Ints(stride, stride), new Ints(padding, padding));
}

/// <summary>
/// Layers in a row under keys "0", "1", ... Each layer's temporaries are released before the next runs, which nearly halves the peak memory of a prediction.
/// </summary>
public sealed class Sequential : Layer
{
    private readonly Layer[] layers;

    /// <summary>Layers in running order.</summary>
    public Sequential(params Layer[] layers)
    {
        this.layers = layers;
        for (var i = 0; i < layers.Length; i++) register_module(i.ToString(), layers[i]);
    }

    /// <summary>The layers.</summary>
    public IReadOnlyList<Layer> Layers => layers;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var input = x;
        foreach (var layer in layers)
        {
            using var scope = NewDisposeScope();
            var y = layer.call(x);
            if (ReferenceEquals(x, y)) continue;
            y.MoveToOuterDisposeScope();
            // Only the handle goes: autograd keeps what the backward pass needs.
            if (!ReferenceEquals(x, input)) x.Dispose();
            x = y;
        }
        return x;
    }
}

/// <summary>Modules under keys "0", "1", ... that a network calls one by one.</summary>
public sealed class LayerList<T> : ModuleList<T>
    where T : nn.Module
{
    /// <summary>Holds the given modules in order.</summary>
    public LayerList(params T[] modules) : base(modules) { }
}
