using Bayou.Core;
using Bayou.Train;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a SLaK. Published members have four stages.</summary>
public sealed record SLaKConfig
{
    /// <summary>Blocks of every stage.</summary>
    public required int[] Depths { get; init; }

    /// <summary>Channels of every stage before <see cref="WidthFactor"/>.</summary>
    public required int[] Dims { get; init; }

    /// <summary>Long edge M of every stage, then the short edge N.</summary>
    public int[] Kernels { get; init; } = [51, 49, 47, 13, 5];

    /// <summary>Factor on the channels ("use sparse groups, expand more"), cut to whole channels: 1.3 pays back 40 % sparsity.</summary>
    public double WidthFactor { get; init; } = 1;

    /// <summary>Kernels MxN + NxM + NxN instead of a dense MxM + NxN.</summary>
    public bool Decom { get; init; } = true;

    /// <summary>Whether the branches of a large kernel have batch normalisations.</summary>
    public bool Bn { get; init; } = true;

    /// <summary>Kernel and stride of the stem.</summary>
    public int Patch { get; init; } = 4;

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

    /// <summary>Initial weights with deviation 1 / sqrt(fan-in) instead of the official 0.02: for narrow networks and short trainings.</summary>
    public bool FanInInit { get; init; }

    /// <summary>Channels after widening.</summary>
    public int[] Widths => [.. Dims.Select(d => (int)(d * WidthFactor))];
}

/// <summary>
/// SLaK, "More ConvNets in the 2020s: Scaling up Kernels Beyond 51x51 using Sparsity" (Liu et al., ICLR 2023, arXiv 2207.03620): ConvNeXt with kernels up to
/// 61x61 by decomposition, trained sparse (SparseTraining). [N, C, H, W] -> logits [N, classes]. State-dict keys are those of the official repository; masks
/// are not stored, zero weights are the mask.
/// </summary>
public sealed class SLaK : Layer, IFeatureNetwork, ILayerwise, IMergeable
{
    private readonly LayerList<Sequential> downsample_layers;   // the stem, then LN + 2x2 stride 2 convolutions
    private readonly LayerList<Sequential> stages;
    private readonly LayerNorm norm;                              // after the mean pool
    private readonly Linear head;

    /// <summary>Builds the network with the official initialisation.</summary>
    public SLaK(SLaKConfig config)
    {
        Config = config;
        Check(config);
        var (depths, dims) = (config.Depths, config.Widths);
        var rates = StochasticDepth.Rates(config.DropPath, depths.Sum());
        downsample_layers = ConvNeXtSkeleton.DownsampleLayers(config.InChannels, config.Patch, dims);
        stages = new LayerList<Sequential>();
        var block = 0;
        for (var s = 0; s < dims.Length; s++)
        {
            stages.Add(new Sequential(Enumerable.Range(0, depths[s])
                .Select(_ => new SLaKBlock(dims[s], config.Kernels[s], config.Kernels[^1], config, rates[block++]))
                .ToArray<Layer>()));
        }
        norm = new LayerNorm(dims[^1], eps: 1e-6);
        head = new Linear(dims[^1], config.Classes);
        RegisterComponents();
        ConvNeXtSkeleton.Initialise(this, head, config.HeadInitScale, config.FanInInit);
    }

    /// <summary>What it was built from.</summary>
    public SLaKConfig Config { get; }

    /// <inheritdoc/>
    public NetworkForm Form { get; private set; }

    /// <summary>Highest layer id.</summary>
    public int LayerCount => ConvNeXtSkeleton.LayerCount(Config.Depths);

    /// <summary>The group of a parameter, see <see cref="ConvNeXtSkeleton.LayerId"/>.</summary>
    public int LayerId(string name) => ConvNeXtSkeleton.LayerId(name, Config.Depths);

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x)
    {
        for (var s = 0; s < stages.Count; s++) x = stages[s].call(InFastestLayout(downsample_layers[s].call(x)));
        return head.call(norm.call(GlobalAveragePool(x)));
    }

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        var features = new Tensor[stages.Count];
        for (var s = 0; s < features.Length; s++) features[s] = x = stages[s].call(InFastestLayout(downsample_layers[s].call(x)));
        return features;
    }

    /// <inheritdoc/>
    public NetworkForm FormOf(IReadOnlyCollection<string> keys) =>
        keys.Any(k => k.Contains("_reparam.", StringComparison.Ordinal)) ? NetworkForm.Merged : NetworkForm.Training;

    /// <summary>
    /// Changes the form; there is nothing to fuse beyond the large kernels, so <see cref="NetworkForm.Fused"/> is <see cref="NetworkForm.Merged"/>.
    /// </summary>
    public void TakeForm(NetworkForm form)
    {
        foreach (var module in modules().ToList())
        {
            if (module is DecomposedLargeKernelConv decomposed) decomposed.Merge(form != NetworkForm.Training);
            if (module is ReparamLargeKernelConv dense) dense.Merge(form != NetworkForm.Training);
        }
        Form = form;
    }

    private static void Check(SLaKConfig c)
    {
        if (c.Depths.Length == 0 || c.Depths.Length != c.Dims.Length)
            throw new BayouException($"SLaK: {c.Depths.Length} depths and {c.Dims.Length} dims; one of each a stage is needed");
        if (c.Kernels.Length != c.Dims.Length + 1)
            throw new BayouException($"SLaK: {c.Kernels.Length} kernel sizes for {c.Dims.Length} stages; one a stage and the short edge are needed");
        if (c.Depths.Any(d => d < 0) || c.Depths.Sum() == 0 || c.Widths.Any(d => d <= 0))
            throw new BayouException("SLaK: depths must not be negative, widths must be positive, and there must be a block");
        if (c.Patch <= 0 || c.Classes <= 0 || c.InChannels <= 0) throw new BayouException("SLaK: patch, classes and input channels must be positive");
        if (c.DropPath is < 0 or >= 1) throw new BayouException($"SLaK: drop path rate {c.DropPath} must be in [0, 1)");
    }
}

/// <summary>SLaK block: a ConvNeXt block around a large kernel. [N, C, H, W] -> [N, C, H, W].</summary>
public sealed class SLaKBlock : Layer
{
    private readonly Layer large_kernel;        // depthwise
    private readonly LayerNorm norm;            // over C
    private readonly Linear pwconv1, pwconv2;   // C -> 4C -> C
    private readonly Parameter? gamma;          // layer scale
    private readonly DropPath drop_path;

    /// <summary>Builds a block with long edge M and short edge N.</summary>
    public SLaKBlock(int dim, int longEdge, int shortEdge, SLaKConfig config, double dropPath)
    {
        large_kernel = config.Decom
            ? new DecomposedLargeKernelConv(dim, longEdge, shortEdge, config.Bn)
            : new ReparamLargeKernelConv(dim, longEdge, shortEdge < longEdge ? shortEdge : null, norm: config.Bn);
        norm = new LayerNorm(dim, eps: 1e-6);
        pwconv1 = new Linear(dim, 4 * dim);
        pwconv2 = new Linear(4 * dim, dim);
        if (config.LayerScale > 0) gamma = NewParameter(full(dim, config.LayerScale));
        drop_path = new DropPath(dropPath);
        RegisterComponents();
    }

    /// <summary>The large kernel: <see cref="DecomposedLargeKernelConv"/> or <see cref="ReparamLargeKernelConv"/>.</summary>
    public Layer LargeKernel => large_kernel;

    /// <summary>Stochastic depth of the branch.</summary>
    public DropPath DropPath => drop_path;

    /// <summary>x + branch(x).</summary>
    public override Tensor forward(Tensor x)
    {
        var y = large_kernel.call(x);
        var mlp = new MlpWeights(pwconv1.Weight, pwconv1.Bias, pwconv2.Weight, pwconv2.Bias, gamma, norm.Weight, norm.Bias, norm.Eps);
        return drop_path.P == 0 || !drop_path.training ? ChannelMlp(y, mlp, x) : Add(x, drop_path.call(ToChannelsFirst(GeluMlp(ToChannelsLast(y), mlp))));
    }
}
