using Bayou.Core;

namespace Bayou.Images;

/// <summary>What ConvNeXt and the networks built on its skeleton (SLaK) have in common: downsampling, initialisation, layer groups.</summary>
public static class ConvNeXtSkeleton
{
    /// <summary>The stem (patch x patch convolution, LN), then LN and a 2x2 stride 2 convolution before each further stage.</summary>
    public static LayerList<Sequential> DownsampleLayers(int inChannels, int patch, int[] dims)
    {
        var layers = new LayerList<Sequential>();
        layers.Add(new Sequential(
            new Conv2d(inChannels, dims[0], patch, stride: patch),
            new LayerNorm2d(dims[0], eps: 1e-6)));
        for (var s = 1; s < dims.Length; s++)
        {
            layers.Add(new Sequential(
                new LayerNorm2d(dims[s - 1], eps: 1e-6),
                new Conv2d(dims[s - 1], dims[s], 2, stride: 2)));
        }
        return layers;
    }

    /// <summary>
    /// The official initialisation: weights normal with std 0.02 (cut at +-2), or 1 / sqrt(fan-in) where asked for; biases 0; then the head scaled.
    /// </summary>
    public static void Initialise(Layer network, Linear head, double headInitScale, bool fanIn = false)
    {
        foreach (var module in network.modules())
        {
            var (weight, bias) = module switch
            {
                Conv2d conv => (conv.Weight, conv.Bias),
                Linear linear => (linear.Weight, linear.Bias),
                _ => (null, null),
            };
            if (weight is not null) Init.TruncatedNormal(weight, std: fanIn ? 1 / Math.Sqrt((double)weight.numel() / weight.shape[0]) : 0.02);
            if (bias is not null) Init.Constant(bias, 0);
        }
        Init.ScaleBy(head.Weight, headInitScale);
        Init.ScaleBy(head.Bias!, headInitScale);
    }

    /// <summary>The highest layer id: norm and head.</summary>
    public static int LayerCount(int[] depths) => LastStageId(depths) + 1;

    /// <summary>
    /// The group of a parameter for layer-wise learning-rate decay, as the official optim_factory.py counts them: the stem is group 0, stages 0 and 1 are one
    /// group each, stage 2 is a group for every three blocks, each later stage one, norm and head come last; a stage's downsampling belongs to its first group.
    /// </summary>
    public static int LayerId(string name, int[] depths)
    {
        var parts = name.Split('.');
        if (parts[0] == "downsample_layers")
        {
            var s = int.Parse(parts[1]);
            return s switch { 0 => 0, 1 => 2, 2 => 3, _ => LastStageId(depths) - (depths.Length - 1 - s) };
        }
        if (parts[0] == "stages")
        {
            var s = int.Parse(parts[1]);
            return s switch { 0 => 1, 1 => 2, 2 => 3 + int.Parse(parts[2]) / 3, _ => LastStageId(depths) - (depths.Length - 1 - s) };
        }
        return LayerCount(depths);
    }

    private static int LastStageId(int[] depths) => depths.Length < 3 ? depths.Length : 3 + (depths[2] - 1) / 3 + (depths.Length - 3);
}
