using Bayou.Core;
using Bayou.Train;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a ConvNeXt. Published members have four stages and patch 4; any number of stages from one up works.</summary>
public sealed record ConvNeXtConfig
{
    /// <summary>Blocks of every stage.</summary>
    public required int[] Depths { get; init; }

    /// <summary>Channels of every stage.</summary>
    public required int[] Dims { get; init; }

    /// <summary>Kernel and stride of the stem ("patchify").</summary>
    public int Patch { get; init; } = 4;

    /// <summary>Side of the depthwise kernel, odd.</summary>
    public int Kernel { get; init; } = 7;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes of the head.</summary>
    public int Classes { get; init; } = 1000;

    /// <summary>Stochastic-depth rate of the last block; it grows linearly from 0 at the first.</summary>
    public double DropPath { get; init; }

    /// <summary>Initial layer scale; 0 leaves layer scale out.</summary>
    public double LayerScale { get; init; } = 1e-6;

    /// <summary>Factor on the head's initial weights.</summary>
    public double HeadInitScale { get; init; } = 1;

    /// <summary>
    /// Initial weights with deviation 1 / sqrt(fan-in) instead of the official 0.02, which suits widths of a hundred and more and starves narrow networks in
    /// short trainings.
    /// </summary>
    public bool FanInInit { get; init; }

    /// <summary>Smallest input side: every stage needs at least one pixel.</summary>
    public int MinInput => Patch << (Depths.Length - 1);
}

/// <summary>
/// ConvNeXt, "A ConvNet for the 2020s" (Liu et al., CVPR 2022, arXiv 2201.03545), section 2 and figure 4.
/// [N, C, H, W] -> logits [N, classes]. State-dict keys are those of the official repository.
/// </summary>
public sealed class ConvNeXt : Layer, IFeatureNetwork, ILayerwise
{
    private readonly LayerList<Sequential> downsample_layers;   // the stem, then LN + 2x2 stride 2 convolutions
    private readonly LayerList<Sequential> stages;
    private readonly LayerNorm norm;                              // after the mean pool
    private readonly Linear head;

    /// <summary>Builds the network with the official initialisation.</summary>
    public ConvNeXt(ConvNeXtConfig config)
    {
        Config = config;
        Check(config);
        var (depths, dims) = (config.Depths, config.Dims);
        var rates = StochasticDepth.Rates(config.DropPath, depths.Sum());

        downsample_layers = ConvNeXtSkeleton.DownsampleLayers(config.InChannels, config.Patch, dims);
        stages = new LayerList<Sequential>();
        var block = 0;
        for (var s = 0; s < dims.Length; s++)
        {
            stages.Add(new Sequential(Enumerable.Range(0, depths[s])
                .Select(_ => new ConvNeXtBlock(dims[s], config.Kernel, rates[block++], config.LayerScale))
                .ToArray<Layer>()));
        }

        norm = new LayerNorm(dims[^1], eps: 1e-6);
        head = new Linear(dims[^1], config.Classes);
        RegisterComponents();
        ConvNeXtSkeleton.Initialise(this, head, config.HeadInitScale, config.FanInInit);
    }

    /// <summary>What it was built from.</summary>
    public ConvNeXtConfig Config { get; }

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x)
    {
        for (var s = 0; s < stages.Count; s++) x = stages[s].call(downsample_layers[s].call(x));
        return head.call(norm.call(GlobalAveragePool(x)));
    }

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        var features = new Tensor[stages.Count];
        for (var s = 0; s < features.Length; s++) features[s] = x = stages[s].call(downsample_layers[s].call(x));
        return features;
    }

    /// <summary>Highest id of <see cref="LayerId"/>; 13 for published S to XL.</summary>
    public int LayerCount => ConvNeXtSkeleton.LayerCount(Config.Depths);

    /// <summary>The group of a parameter, see <see cref="ConvNeXtSkeleton.LayerId"/>.</summary>
    public int LayerId(string name) => ConvNeXtSkeleton.LayerId(name, Config.Depths);

    private static void Check(ConvNeXtConfig c)
    {
        if (c.Depths.Length == 0 || c.Depths.Length != c.Dims.Length)
            throw new BayouException($"ConvNeXt: {c.Depths.Length} depths and {c.Dims.Length} dims; one of each a stage is needed");
        if (c.Depths.Any(d => d < 0) || c.Depths.Sum() == 0 || c.Dims.Any(d => d <= 0))
            throw new BayouException("ConvNeXt: depths must not be negative, dims must be positive, and there must be a block");
        if (c.Patch <= 0 || c.Kernel <= 0 || c.Kernel % 2 == 0)
            throw new BayouException($"ConvNeXt: patch {c.Patch} must be positive and kernel {c.Kernel} odd");
        if (c.Classes <= 0 || c.InChannels <= 0) throw new BayouException("ConvNeXt: classes and input channels must be positive");
        if (c.DropPath is < 0 or >= 1) throw new BayouException($"ConvNeXt: drop path rate {c.DropPath} must be in [0, 1)");
    }
}

/// <summary>ConvNeXt block (paper, figure 4). [N, C, H, W] -> [N, C, H, W].</summary>
public sealed class ConvNeXtBlock : Layer
{
    private readonly Conv2d dwconv;             // depthwise 7x7
    private readonly LayerNorm norm;            // over C
    private readonly Linear pwconv1, pwconv2;   // C -> 4C -> C
    private readonly Parameter? gamma;          // layer scale
    private readonly DropPath drop_path;

    /// <summary>Builds a block; layerScale 0 leaves gamma out.</summary>
    public ConvNeXtBlock(int dim, int kernel, double dropPath, double layerScale)
    {
        dwconv = new Conv2d(dim, dim, kernel, padding: kernel / 2, groups: dim);
        norm = new LayerNorm(dim, eps: 1e-6);
        pwconv1 = new Linear(dim, 4 * dim);
        pwconv2 = new Linear(4 * dim, dim);
        if (layerScale > 0) gamma = NewParameter(full(dim, layerScale));
        drop_path = new DropPath(dropPath);
        RegisterComponents();
    }

    /// <summary>Stochastic depth of the branch.</summary>
    public DropPath DropPath => drop_path;

    /// <summary>x + branch(x).</summary>
    public override Tensor forward(Tensor x)
    {
        var y = ToChannelsLast(dwconv.call(x));                 // [N, H, W, C]
        y = GeluMlp(y, new(pwconv1.Weight, pwconv1.Bias, pwconv2.Weight, pwconv2.Bias, gamma, norm.Weight, norm.Bias, norm.Eps));
        return Add(x, drop_path.call(ToChannelsFirst(y)));
    }
}
