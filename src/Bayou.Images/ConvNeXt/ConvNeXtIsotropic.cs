using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// Isotropic ConvNeXt (paper, section 3.3): a 16x16 stem without norm and blocks of one width at one resolution. [N, C, H, W] -> logits [N, classes].
/// </summary>
public sealed class ConvNeXtIsotropic : Layer, IFeatureNetwork
{
    private readonly Conv2d stem;
    private readonly Sequential blocks;
    private readonly LayerNorm norm;
    private readonly Linear head;

    /// <summary>Builds the network; layerScale 0 (the default of S and B) leaves gamma out.</summary>
    public ConvNeXtIsotropic(int depth, int dim, int classes = 1000, int inChannels = 3, double dropPath = 0, double layerScale = 0, double headInitScale = 1)
    {
        if (depth <= 0 || dim <= 0 || classes <= 0 || inChannels <= 0)
            throw new BayouException("ConvNeXtIsotropic: depth, dim, classes and channels must be positive");
        var rates = StochasticDepth.Rates(dropPath, depth);
        stem = new Conv2d(inChannels, dim, 16, stride: 16);
        blocks = new Sequential(rates.Select(r => new ConvNeXtBlock(dim, 7, r, layerScale)).ToArray<Layer>());
        norm = new LayerNorm(dim, eps: 1e-6);
        head = new Linear(dim, classes);
        RegisterComponents();
        ConvNeXtSkeleton.Initialise(this, head, headInitScale);
    }

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x) => head.call(norm.call(GlobalAveragePool(blocks.call(stem.call(x)))));

    /// <summary>One map, [N, dim, H/16, W/16], after the last block.</summary>
    public Tensor[] Features(Tensor x) => [blocks.call(stem.call(x))];
}
