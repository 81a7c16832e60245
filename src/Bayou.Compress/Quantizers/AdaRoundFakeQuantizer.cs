using Bayou.Core;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>
/// AdaRound for weights: each weight learns whether to round down or up, through h(V) = clamp(1.2 sigmoid(V) - 0.1, 0, 1) (specs/mqbench.md 1.4 and 1.5).
/// </summary>
/// <param name="observer">The observer of the weight.</param>
public sealed class AdaRoundFakeQuantizer(Observer observer) : FakeQuantizer(observer)
{
    private const double Zeta = 1.1, Gamma = -0.1;
    private Parameter? alpha;

    /// <summary>V, of the weight's shape; null before <see cref="Start"/>.</summary>
    public Parameter? Alpha => alpha;

    /// <summary>Whether weights take the learned soft value (true) or are rounded for good (V >= 0: up).</summary>
    public bool Soft { get; set; } = true;

    /// <inheritdoc/>
    public override IEnumerable<(string Name, Parameter Parameter)> Parameters => alpha is null ? [] : [("alpha", alpha)];

    /// <summary>Sets V so that the soft value is the float weight: h(V) = frac(w / s).</summary>
    /// <exception cref="BayouException">The observer has seen nothing.</exception>
    public void Start(Tensor weight)
    {
        if (!Observer.Seen) Calibrate(weight);
        ObserverEnabled = false;
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var scaled = weight / QuantScheme.Along(Scale, weight);
        var rest = scaled - scaled.floor();
        var start = -(Number.Of(Zeta - Gamma) / (rest - Number.Of(Gamma)) - Number.Of(1)).log();
        alpha = (Parameter)new Parameter(start.DetachFromDisposeScope()).DetachFromDisposeScope();
    }

    /// <summary>h(V), in [0, 1], same shape as the weight.</summary>
    public Tensor RectifiedSigmoid() => Rectified(alpha ?? throw NotStarted());

    /// <summary>clamp(sigmoid(V) (zeta - gamma) + gamma, 0, 1).</summary>
    internal static Tensor Rectified(Tensor v) => (v.sigmoid() * Number.Of(Zeta - Gamma)).Plus(Number.Of(Gamma)).clamp(Number.Of(0), Number.Of(1));

    private protected override Tensor Forward(Tensor x)
    {
        if (alpha is null) throw NotStarted();
        var (s, z) = (QuantScheme.Along(Scale, x), QuantScheme.Along(ZeroPoint, x));
        var up = Soft ? RectifiedSigmoid() : alpha.detach().ge(Number.Of(0)).to(x.dtype);
        return ((x / s).floor().Plus(up).Plus(z).clamp(Number.Of(Scheme.QMin), Number.Of(Scheme.QMax)) - z) * s;
    }

    private static BayouException NotStarted() => new("AdaRoundFakeQuantizer: call Start with the weight first");
}
