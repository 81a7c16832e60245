using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Initial weights of transformers.</summary>
public static class TransformerInit
{
    /// <summary>
    /// The official scheme: linear weights normal with deviation 0.02 (cut at +-2), biases 0; convolutions keep PyTorch's default. With
    /// <paramref name="fanIn"/> linear weights
    /// have deviation 1 / sqrt(fan-in) instead: 0.02 suits widths of some hundred and starves narrow networks in short trainings.
    /// </summary>
    public static void Apply(nn.Module network, bool fanIn = false)
    {
        foreach (var module in network.modules())
        {
            if (module is not Linear linear) continue;
            Init.TruncatedNormal(linear.Weight, std: fanIn ? 1 / Math.Sqrt(linear.Weight.shape[1]) : 0.02);
            if (linear.Bias is not null) Init.Constant(linear.Bias, 0);
        }
    }
}
