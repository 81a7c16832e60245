using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Initialisation of parameters, drawn from libtorch's global generator.</summary>
public static class Init
{
    /// <summary>Normal distribution cut at absolute bounds [low, high] (timm's trunc_normal_: with std 0.02 the default bounds are 100 sigma away).</summary>
    public static void TruncatedNormal(Tensor tensor, double std, double mean = 0, double low = -2, double high = 2)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        // Inverse-CDF sampling: uniform between the CDF values of the bounds.
        double lowCdf = Cdf((low - mean) / std), highCdf = Cdf((high - mean) / std);
        var u = empty_like(tensor).uniform_(2 * lowCdf - 1, 2 * highCdf - 1);
        // The uniform generator may return its lower end, whose inverse is infinite when the bound is many sigma away.
        u.clamp_(Number.Of(-1 + 1e-7), Number.Of(1 - 1e-7));
        tensor.copy_(u.erfinv().mul(Number.Of(std * Math.Sqrt(2))).Plus(Number.Of(mean)).clamp(Number.Of(low), Number.Of(high)));
    }

    /// <summary>Fills with a constant.</summary>
    public static void Constant(Tensor tensor, double value)
    {
        using var noGrad = no_grad();
        tensor.fill_(Number.Of(value));
    }

    /// <summary>Multiplies in place.</summary>
    public static void ScaleBy(Tensor tensor, double factor)
    {
        using var noGrad = no_grad();
        tensor.mul_(Number.Of(factor));
    }

    private static double Cdf(double x)
    {
        using var scope = NewDisposeScope();
        return (1 + tensor(x / Math.Sqrt(2), float64).erf().item<double>()) / 2;
    }
}
