using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>A stem of FAN: pictures to tokens, with the maps on the way. [N, C, H, W] -> [N, H', W', D].</summary>
public abstract class FanStem : Layer
{
    /// <summary>Tokens, and the maps [N, C, H, W] of the stem's own stages, finest first.</summary>
    public abstract (Tensor Tokens, Tensor[] Maps) Both(Tensor x);

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Both(x).Tokens;
}

/// <summary>FAN-ViT's stem: 3x3 stride 2 convolutions with BatchNorm, GELU between them. Patch 16: C/8, C/4, C/2, C; patch 8: C/4, C/2, C; patch 4: C/4,
/// C.</summary>
public sealed class FanConvStem : FanStem
{
    private readonly Sequential proj;

    /// <summary>Builds the stem.</summary>
    public FanConvStem(int inChannels, int dim, int patch)
    {
        int[] widths = patch switch
        {
            16 => [dim / 8, dim / 4, dim / 2, dim],
            8 => [dim / 4, dim / 2, dim],
            4 => [dim / 4, dim],
            _ => throw new BayouException($"FAN: patch {patch} must be 4, 8 or 16"),
        };
        var layers = new List<Layer>();
        foreach (var width in widths)
        {
            if (layers.Count > 0) layers.Add(new ActivationLayer(Activation.Gelu));
            layers.Add(new Sequential(new Conv2d(inChannels, width, 3, stride: 2, padding: 1, bias: false), new BatchNorm(width)));
            inChannels = width;
        }
        proj = new Sequential([.. layers]);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override (Tensor Tokens, Tensor[] Maps) Both(Tensor x) => (ToChannelsLast(proj.call(x)), []);
}

/// <summary>FAN-Hybrid's stem: two ConvNeXt stages at strides 4 and 8, then 2x2 stride 2 to tokens.</summary>
public sealed class FanHybridStem : FanStem
{
    private readonly FanConvNeXt backbone;
    private readonly Conv2d proj;

    /// <summary>Builds the stem.</summary>
    public FanHybridStem(int inChannels, int dim, int[] depths, int[] dims)
    {
        backbone = new FanConvNeXt(inChannels, depths, dims);
        proj = new Conv2d(dims[^1], dim, 2, stride: 2);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override (Tensor Tokens, Tensor[] Maps) Both(Tensor x)
    {
        var maps = backbone.Stages(x);
        return (ToChannelsLast(proj.call(maps[^1])), maps);
    }
}

/// <summary>The ConvNeXt stages of the hybrid stem, under their own keys (timm's). [N, C, H, W] -> [N, dims[last], H/8, W/8].</summary>
public sealed class FanConvNeXt : Layer
{
    private readonly Sequential stem;
    private readonly LayerList<FanConvNeXtStage> stages;

    internal FanConvNeXt(int inChannels, int[] depths, int[] dims)
    {
        if (depths.Length == 0 || depths.Length != dims.Length)
            throw new BayouException($"FAN-Hybrid: {depths.Length} depths and {dims.Length} widths of the stem; one of each a stage is needed");
        stem = new Sequential(new Conv2d(inChannels, dims[0], 4, stride: 4), new LayerNorm2d(dims[0], eps: 1e-6));
        stages = new LayerList<FanConvNeXtStage>();
        for (var s = 0; s < depths.Length; s++) stages.Add(new FanConvNeXtStage(s == 0 ? 0 : dims[s - 1], dims[s], depths[s]));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Stages(x)[^1];

    internal Tensor[] Stages(Tensor x)
    {
        x = stem.call(x);
        var maps = new Tensor[stages.Count];
        for (var s = 0; s < maps.Length; s++) maps[s] = x = stages[s].call(x);
        return maps;
    }
}

/// <summary>One stage: LayerNorm and 2x2 stride 2 unless it is the first, then blocks.</summary>
public sealed class FanConvNeXtStage : Layer
{
    private readonly Sequential? downsample;
    private readonly LayerList<FanConvNeXtBlock> blocks;

    internal FanConvNeXtStage(int from, int dim, int depth)
    {
        if (from > 0) downsample = new Sequential(new SampleLayerNorm2d(from), new Conv2d(from, dim, 2, stride: 2));
        blocks = new LayerList<FanConvNeXtBlock>();
        for (var b = 0; b < depth; b++) blocks.Add(new FanConvNeXtBlock(dim));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (downsample is not null) x = downsample.call(x);
        x = InOrder.Run(blocks, x);
        return x;
    }
}

/// <summary>ConvNeXt block with 1x1 convolutions for its linear layers and no drop path. [N, C, H, W] -> the same.</summary>
public sealed class FanConvNeXtBlock : Layer
{
    private readonly Parameter gamma;
    private readonly Conv2d conv_dw;
    private readonly SampleLayerNorm2d norm;
    private readonly FanConvMlp mlp;

    internal FanConvNeXtBlock(int dim)
    {
        gamma = NewParameter(full(dim, 1e-6));
        conv_dw = new Conv2d(dim, dim, 7, padding: 3, groups: dim);
        norm = new SampleLayerNorm2d(dim);
        mlp = new FanConvMlp(dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var y = mlp.call(norm.call(conv_dw.call(x)));
        return Add(x, Mul(y, Reshape(gamma, 1, -1, 1, 1)));
    }
}

/// <summary>
/// Layer normalisation over the channels with the sample variance (divided by C - 1). The official stem normalises so wherever its map is channels-last in
/// memory, which is everywhere
/// after the stem's first norm: the weights were trained with it. [N, C, H, W] -> the same.
/// </summary>
public sealed class SampleLayerNorm2d : Layer
{
    private readonly Parameter weight, bias;
    private readonly Ints shape;
    private readonly double eps, shrink;

    internal SampleLayerNorm2d(int channels)
    {
        // (x - u) / sqrt(s C / (C - 1) + eps) with the plain variance s is the plain norm with a smaller eps, times sqrt((C - 1) / C).
        var ratio = channels > 1 ? (channels - 1) / (double)channels : 1;
        (shape, eps, shrink) = (new Ints(channels), 1e-6 * ratio, Math.Sqrt(ratio));
        weight = NewParameter(ones(channels));
        bias = NewParameter(zeros(channels));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => ToChannelsFirst(Ops.LayerNorm(ToChannelsLast(x), shape, Scale(weight, shrink), bias, eps));
}

/// <summary>1x1, GELU, 1x1.</summary>
public sealed class FanConvMlp : Layer
{
    private readonly Conv2d fc1, fc2;

    internal FanConvMlp(int dim)
    {
        fc1 = new Conv2d(dim, 4 * dim, 1);
        fc2 = new Conv2d(4 * dim, dim, 1);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => fc2.call(Gelu(fc1.call(x)));
}
