using Bayou.Core;
using TorchSharp;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>How a layer's operands are quantised.</summary>
/// <param name="Bits">Bits of weights and activations; 32 for none.</param>
/// <param name="Codes">Codes of the activations; weights of one bit take halves, others signed whole numbers.</param>
/// <param name="FixedBound">Bound of the activations; null: one for each input channel, stored as "bounds" and followed in training.</param>
public sealed record AqtFormat(int Bits, AqtCodes Codes = AqtCodes.Signed, double? FixedBound = null)
{
    private const double BoundMomentum = 0.1;

    internal bool IsFloat => Bits == 32;

    internal bool HasBounds => !IsFloat && FixedBound is null;

    internal AqtQuantizeOp Activations { get; } = new(Bits, Codes, FixedBound, -1, FixedBound is null ? BoundMomentum : 0);

    internal AqtQuantizeOp Weights { get; } = new(Bits, Bits == 1 ? AqtCodes.HalfShift : AqtCodes.Signed, null, 0);
}

/// <summary>Quantised convolution with flax's padding and layout: kernel [kh, kw, C/groups, O], bounds [1, 1, 1, C], bias [O].</summary>
public sealed class AqtConv : Layer
{
    private readonly Parameter kernel;
    private readonly Tensor? bounds;
    private readonly Parameter? bias;
    private readonly AqtFormat format;
    private readonly int size, stride, groups;
    private readonly bool same;

    /// <summary>Square kernel. Padding SAME (smaller half first) unless told otherwise.</summary>
    public AqtConv(int inChannels, int outChannels, int kernel, int stride, int groups, AqtFormat format, bool same = true, bool bias = false)
    {
        (this.format, size, this.stride, this.groups, this.same) = (format, kernel, stride, groups, same);
        // flax's default: normal with variance 1 / fan-in.
        var values = empty(kernel, kernel, inChannels / groups, outChannels);
        Init.TruncatedNormal(values, 1 / Math.Sqrt(kernel * kernel * (inChannels / groups)));
        this.kernel = NewParameter(values);
        if (format.HasBounds) bounds = NewBuffer(full([1, 1, 1, inChannels], Number.Of(-1.0)));
        if (bias) this.bias = NewParameter(zeros(outChannels));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var weight = Permute(kernel, 3, 2, 0, 1);
        if (!format.IsFloat)
        {
            x = AqtQuantize(x, bounds is null ? null : Reshape(bounds, 1, -1, 1, 1), format.Activations, training);
            weight = AqtQuantize(weight, null, format.Weights);
        }
        if (same && size > 1) x = PokeShortcut.PadSame(x, size, stride);
        return Conv2d(x, weight, bias, new Ints(stride, stride), new Ints(0, 0), new Ints(1, 1), groups);
    }
}

/// <summary>Quantised linear layer: kernel [I, O], bounds [1, I], bias [O].</summary>
public sealed class AqtDense : Layer
{
    private readonly Parameter kernel, bias;
    private readonly Tensor? bounds;
    private readonly AqtFormat format;

    /// <summary>Weights and activations of <paramref name="bits"/> bits; 32 for none.</summary>
    public AqtDense(int inFeatures, int outFeatures, int bits)
    {
        format = new(bits);
        var values = empty(inFeatures, outFeatures);
        Init.TruncatedNormal(values, 1 / Math.Sqrt(inFeatures));
        kernel = NewParameter(values);
        bias = NewParameter(zeros(outFeatures));
        if (format.HasBounds) bounds = NewBuffer(full([1, inFeatures], Number.Of(-1.0)));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var weight = Permute(kernel, 1, 0);
        if (format.IsFloat) return Linear(x, weight, bias);
        return Linear(AqtQuantize(x, bounds, format.Activations, training), AqtQuantize(weight, null, format.Weights), bias);
    }
}

/// <summary>Batch normalisation under flax's names: scale, bias, mean, var.</summary>
public sealed class PokeBatchNorm : Layer
{
    private readonly Parameter scale, bias;
    private readonly Tensor mean, var;

    /// <summary>eps 1e-5, moving averages with 0.9.</summary>
    public PokeBatchNorm(int channels, double initialScale = 1)
    {
        scale = NewParameter(full(channels, Number.Of(initialScale)));
        bias = NewParameter(zeros(channels));
        mean = NewBuffer(zeros(channels));
        var = NewBuffer(ones(channels));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => BatchNorm(x, scale, bias, mean, var, training, 1e-5, 0.1);
}

/// <summary>DPReLU: t = x - bias_x; t times pos_slope or neg_slope by its sign; minus bias_y; all per channel.</summary>
public sealed class DpRelu : Layer
{
    private readonly Parameter bias_x, bias_y, neg_slope, pos_slope;

    /// <summary>Slopes 0.25 and 1, biases 0.</summary>
    public DpRelu(int channels)
    {
        bias_x = NewParameter(zeros(channels));
        bias_y = NewParameter(zeros(channels));
        neg_slope = NewParameter(full(channels, Number.Of(0.25)));
        pos_slope = NewParameter(ones(channels));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var t = Sub(x, Column(bias_x));
        var positive = Relu(t);
        var y = Add(Mul(positive, Column(pos_slope)), Mul(Sub(t, positive), Column(neg_slope)));
        return Sub(y, Column(bias_y));
    }

    private static Tensor Column(Tensor perChannel) => Reshape(perChannel, -1, 1, 1);
}

/// <summary>What makes a shortcut fit its sum, without weights.</summary>
internal static class PokeShortcut
{
    /// <summary>
    /// Fits r to the shape of y. More channels than y: means of q consecutive ones. Fewer: the vector is repeated (tile) or zeros are appended. Then, where the
    /// size differs, a 3x3 mean of stride 2.
    /// </summary>
    public static Tensor Fit(Tensor r, int channels, Tensor y, bool tile)
    {
        long have = r.shape[1], h = r.shape[2], w = r.shape[3];
        if (have > channels)
        {
            var q = have / channels;
            if (q * channels < have) r = Slice(r, 1, 0, q * channels);
            r = Reshape(Mean(Reshape(r, 0, channels, q, h * w), new Ints(2)), 0, channels, h, w);
        }
        else if (have < channels && tile)
        {
            // Width 1.4 is no multiple: the last repetition is cut.
            r = Concat(1, [.. Enumerable.Repeat(r, (int)((channels + have - 1) / have))]);
            if (channels % have != 0) r = Slice(r, 1, 0, channels);
        }
        else if (have < channels)
        {
            r = Reshape(Pad2d(Reshape(r, 0, 1, have, h * w), 0, 0, 0, channels - have), 0, channels, h, w);
        }
        return h == y.shape[2] && w == y.shape[3] ? r : AvgPool2d(PadSame(r, 3, 2), new Ints(3, 3), new Ints(2, 2), new Ints(0, 0));
    }

    /// <summary>Padding of "SAME": the output has ceil(n / stride) pixels a side; the smaller half comes first.</summary>
    public static Tensor PadSame(Tensor x, int kernel, int stride)
    {
        var (top, bottom) = Same(x.shape[2], kernel, stride);
        var (left, right) = Same(x.shape[3], kernel, stride);
        return top + bottom + left + right == 0 ? x : Pad2d(x, left, right, top, bottom);
    }

    private static (long First, long Second) Same(long n, int kernel, int stride)
    {
        var total = Math.Max(0, ((n + stride - 1) / stride - 1) * stride + kernel - n);
        return (total / 2, total - total / 2);
    }
}
