using Bayou.Core;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>
/// Simulates quantisation in training (specs/mqbench.md 1.4). While <see cref="ObserverEnabled"/>, each call updates the observer and takes scale and zero
/// point from it. Values are exactly the quantised ones; gradients are those that each method defines.
/// </summary>
public abstract class FakeQuantizer
{
    private protected FakeQuantizer(Observer observer) => Observer = observer;

    /// <summary>The observer.</summary>
    public Observer Observer { get; }

    /// <summary>The scheme.</summary>
    public QuantScheme Scheme => Observer.Scheme;

    /// <summary>Whether calls update scale and zero point from the observer.</summary>
    public bool ObserverEnabled { get; set; } = true;

    /// <summary>Whether calls quantise; if not, they return the input.</summary>
    public bool FakeQuantEnabled { get; set; } = true;

    /// <summary>Scale, a scalar or [C].</summary>
    public Tensor Scale { get; private protected set; } = tensor(1f).DetachFromDisposeScope();

    /// <summary>Zero point, same shape.</summary>
    public Tensor ZeroPoint { get; private protected set; } = tensor(0f).DetachFromDisposeScope();

    /// <summary>What an optimiser may train, by name.</summary>
    public virtual IEnumerable<(string Name, Parameter Parameter)> Parameters => [];

    /// <summary>Observes (if enabled) and quantises (if enabled).</summary>
    public Tensor Call(Tensor x)
    {
        if (ObserverEnabled) Calibrate(x);
        return FakeQuantEnabled ? Forward(x) : x;
    }

    /// <summary>Observes one batch and takes scale and zero point.</summary>
    public void Calibrate(Tensor x)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Observer.Observe(Seen(x));
        TakeParameters();
    }

    /// <summary>What the observer sees of an input.</summary>
    private protected virtual Tensor Seen(Tensor x) => x;

    /// <summary>Takes scale and zero point from the observer.</summary>
    private protected virtual void TakeParameters()
    {
        var (oldScale, oldZero) = (Scale, ZeroPoint);
        var (scale, zero) = Observer.Parameters();
        (Scale, ZeroPoint) = (scale.clone().DetachFromDisposeScope(), zero.clone().DetachFromDisposeScope());
        oldScale.Dispose();
        oldZero.Dispose();
    }

    /// <summary>Quantises.</summary>
    private protected abstract Tensor Forward(Tensor x);
}

/// <summary>Constant scale and zero point; straight-through gradient inside the range.</summary>
public sealed class FixedFakeQuantizer(Observer observer) : FakeQuantizer(observer)
{
    private protected override Tensor Forward(Tensor x) => Scheme.FakeQuantize(x, Scale, ZeroPoint);
}

/// <summary>
/// LSQ (symmetric) and LSQ+ (affine): scale and zero point are trained. Their gradients are scaled by 1 / sqrt(elements x QMax), elements counted per channel
/// for per-channel schemes.
/// </summary>
public sealed class LearnableFakeQuantizer(Observer observer) : FakeQuantizer(observer)
{
    private Parameter? scale, zero;

    /// <inheritdoc/>
    public override IEnumerable<(string Name, Parameter Parameter)> Parameters
    {
        get
        {
            if (scale is not null) yield return ("scale", scale);
            if (zero is not null) yield return ("zero_point", zero);     // symmetric: it gets a gradient, but is 0 again at the next call
        }
    }

    private protected override void TakeParameters()
    {
        var (s, z) = Observer.Parameters();
        // The same parameter objects are kept: an optimiser may hold them.
        if (scale is null || !scale.shape.SequenceEqual(s.shape))
        {
            Scale = scale = (Parameter)new Parameter(s.clone().DetachFromDisposeScope()).DetachFromDisposeScope();
            ZeroPoint = zero = (Parameter)new Parameter(z.clone().DetachFromDisposeScope()).DetachFromDisposeScope();
            return;
        }
        scale.copy_(s);
        zero!.copy_(z);
    }

    private protected override Tensor Forward(Tensor x)
    {
        if (scale is null || zero is null) throw new BayouException("LearnableFakeQuantizer: not calibrated yet; run a batch with the observer enabled");
        long low = Scheme.QMin, high = Scheme.QMax;
        Tensor y, dx, ds, dz;
        using (no_grad())
        {
            scale.copy_(scale.abs().clamp_min(Number.Of(QuantScheme.Epsilon)));
            if (Scheme.Symmetric) zero.zero_();
            else zero.copy_(zero.clamp(Number.Of(low), Number.Of(high)));
            var (s, z) = (QuantScheme.Along(scale, x), QuantScheme.Along(zero.round(), x));
            var codes = QuantScheme.Codes(x, scale, zero.round());
            var (under, over) = (codes.lt(Number.Of(low)), codes.gt(Number.Of(high)));
            y = (codes.clamp(Number.Of(low), Number.Of(high)) - z) * s;
            dx = under.logical_or(over).logical_not().to(x.dtype);
            var factor = 1 / Math.Sqrt(x.numel() / scale.numel() * (double)high);
            ds = where(under, Number.Of(low) - z, where(over, Number.Of(high) - z, (y - x) / s)) * Number.Of(factor);
            dz = (Number.Of(1) - dx) * -s * Number.Of(factor);
        }
        return QuantScheme.StraightThrough(y, (x * dx).Plus(QuantScheme.Along(scale, x) * ds).Plus(QuantScheme.Along(zero, x) * dz));
    }
}

/// <summary>
/// PACT: activations are clipped at a learned alpha (and, where a batch has negatives, at -alpha or a learned lower clip) before quantisation.
/// </summary>
public sealed class PactFakeQuantizer : FakeQuantizer
{
    private readonly Parameter alpha, lower;
    private readonly bool passClipGradient;

    /// <summary>Creates the quantiser.</summary>
    /// <param name="observer">A per-tensor observer; its range is overwritten by the clips.</param>
    /// <param name="start">First alpha.</param>
    /// <param name="passClipGradient">
    /// False: as MQBench computes it. There alpha / scale is 127.5 for symmetric schemes, which rounds out of range, and the straight-through mask swallows the
    /// gradient of every value clipped at alpha (affine with signed data: likewise). True: the gradient of the clip passes.
    /// </param>
    /// <exception cref="BayouException">The scheme is per channel.</exception>
    public PactFakeQuantizer(Observer observer, double start = 6, bool passClipGradient = false) : base(observer)
    {
        if (observer.Scheme.PerChannel) throw new BayouException("PactFakeQuantizer: activations are quantised per tensor");
        this.passClipGradient = passClipGradient;
        alpha = (Parameter)new Parameter(tensor((float)start).DetachFromDisposeScope()).DetachFromDisposeScope();
        lower = (Parameter)new Parameter(tensor((float)-start).DetachFromDisposeScope()).DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public override IEnumerable<(string Name, Parameter Parameter)> Parameters =>
        Scheme.Symmetric ? [("alpha", alpha)] : [("alpha", alpha), ("n_alpha", lower)];

    private protected override Tensor Forward(Tensor x)
    {
        var clipped = where(x.gt(alpha), alpha, x);
        var negative = x.detach().amin(Enumerable.Range(0, (int)x.dim()).Select(i => (long)i).ToArray()).item<float>() < 0;
        if (negative)
        {
            var low = Scheme.Symmetric ? alpha.neg() : lower;
            clipped = where(x.lt(low), low, clipped);
        }
        using (no_grad())
        {
            Observer.SetRange(!negative ? zeros_like(alpha) : Scheme.Symmetric ? -alpha : lower, alpha);
            TakeParameters();
        }
        return passClipGradient
            ? QuantScheme.StraightThrough(Scheme.Quantize(clipped, Scale, ZeroPoint), clipped) : Scheme.FakeQuantize(clipped, Scale, ZeroPoint);
    }
}

/// <summary>DoReFa for weights: tanh(x) / (max|tanh x| + 1e-5), then fixed quantisation; the maximum is differentiated through.</summary>
public sealed class DoReFaFakeQuantizer(Observer observer) : FakeQuantizer(observer)
{
    private protected override Tensor Seen(Tensor x) => Squash(x);

    private protected override Tensor Forward(Tensor x) => Scheme.FakeQuantize(Squash(x), Scale, ZeroPoint);

    private static Tensor Squash(Tensor x)
    {
        var t = x.tanh();
        return t / t.abs().max().Plus(Number.Of(1e-5));
    }
}

/// <summary>DSQ: the staircase's gradient is that of a tanh in each cell, steeper with smaller alpha.</summary>
/// <param name="observer">The observer.</param>
/// <param name="alpha">Softness, in (0, 1).</param>
public sealed class DsqFakeQuantizer(Observer observer, double alpha = 0.4) : FakeQuantizer(observer)
{
    private protected override Tensor Forward(Tensor x)
    {
        var t = 1 / (1 - alpha);
        var k = Math.Log((t + 1) / (t - 1));
        var (s, z) = (QuantScheme.Along(Scale, x), QuantScheme.Along(ZeroPoint, x));
        var v = (x / s).Plus(z).clamp(Number.Of(Scheme.QMin), Number.Of(Scheme.QMax));
        var cell = v.detach().floor();
        var soft = cell.Plus((Number.Of(k) * (v - cell - Number.Of(0.5))).tanh() * Number.Of(0.5 * t)).Plus(Number.Of(0.5));
        Tensor y;
        using (no_grad()) y = (soft.round() - z) * s;
        return QuantScheme.StraightThrough(y, soft * s);
    }
}

/// <summary>
/// TQT with power-of-two steps (Vitis DPU): step 2^-floor(log2(1 / scale)). The gradient passes inside the range; the scale is not trained, as in MQBench.
/// </summary>
/// <param name="observer">A power-of-two observer.</param>
/// <param name="kind">Decides the rounding.</param>
public sealed class TqtFakeQuantizer(Observer observer, VitisTensor kind) : FakeQuantizer(observer)
{
    private protected override Tensor Forward(Tensor x)
    {
        Tensor y, mask;
        using (no_grad())
        {
            double scale = Scale.item<float>();
            y = MinMaxFloorObserver.Quantize(x, Math.Pow(2, -Math.Floor(Math.Log2(1 / scale))), Scheme, kind);
            var codes = (x / Number.Of(scale)).round();
            mask = codes.ge(Number.Of(Scheme.QMin)).logical_and(codes.le(Number.Of(Scheme.QMax))).to(x.dtype);
        }
        return QuantScheme.StraightThrough(y, x * mask);
    }
}

/// <summary>
/// NNIE's logarithmic 8 bits: |x| becomes a power of 2^(1/16) among 128 below the largest value seen; what is smaller becomes 0. The gradient is the identity.
/// </summary>
public sealed class NnieFakeQuantizer(Observer observer) : FakeQuantizer(observer)
{
    private protected override Tensor Forward(Tensor x)
    {
        Tensor y;
        using (no_grad())
        {
            var z = Math.Round(16 * Math.Log2(Largest)) - 127;
            var magnitude = x.abs();
            var code = (magnitude.log2() * Number.Of(16) - Number.Of(z)).round();
            // Negative values have no code 0.
            code = where(x.lt(Number.Of(0)), code.clamp(Number.Of(1), Number.Of(127)), code.clamp(Number.Of(0), Number.Of(127)));
            y = x.sign() * (code.Plus(Number.Of(z)) / Number.Of(16)).exp2();
            y = where(magnitude.lt(Number.Of(Math.Pow(2, (z - 16) / 16))), zeros_like(x), y);
        }
        return QuantScheme.StraightThrough(y, x);
    }

    /// <summary>The largest magnitude seen, which sets the range.</summary>
    public float Largest => Math.Max(-Observer.Min.item<float>(), Observer.Max.item<float>());

    private protected override void TakeParameters() { }
}

/// <summary>
/// QDrop for activations: rounds straight through, with the plain gradient through the scale; with a probability below 1 each element keeps its float value
/// with the rest. Per tensor only (the official per-channel path is broken).
/// </summary>
public sealed class QDropFakeQuantizer : FakeQuantizer
{
    private readonly double probability;
    private readonly Func<Tensor, Tensor> uniform;
    private Parameter? scale;

    /// <summary>Creates the quantiser.</summary>
    /// <param name="observer">A per-tensor observer.</param>
    /// <param name="probability">Probability that an element is quantised.</param>
    /// <param name="uniform">Draws numbers in [0, 1) of a tensor's shape; null: the library's generator.</param>
    /// <exception cref="BayouException">The scheme is per channel, or the probability is none.</exception>
    public QDropFakeQuantizer(Observer observer, double probability = 1, Func<Tensor, Tensor>? uniform = null) : base(observer)
    {
        if (observer.Scheme.PerChannel) throw new BayouException("QDropFakeQuantizer: works per tensor only");
        if (probability is not (>= 0 and <= 1)) throw new BayouException($"QDropFakeQuantizer: probability {probability} must lie in [0, 1]");
        (this.probability, this.uniform) = (probability, uniform ?? rand_like);
        static Tensor rand_like(Tensor x) => torch.rand_like(x);
    }

    /// <inheritdoc/>
    public override IEnumerable<(string Name, Parameter Parameter)> Parameters => scale is null ? [] : [("scale", scale)];

    private protected override void TakeParameters()
    {
        var (s, z) = Observer.Parameters();
        if (scale is null) Scale = scale = (Parameter)new Parameter(s.clone().DetachFromDisposeScope()).DetachFromDisposeScope();
        else scale.copy_(s);
        ZeroPoint.Dispose();
        ZeroPoint = z.clone().DetachFromDisposeScope();
    }

    private protected override Tensor Forward(Tensor x)
    {
        if (scale is null) throw new BayouException("QDropFakeQuantizer: not calibrated yet; run a batch with the observer enabled");
        var q = x / scale;
        q = q.Plus((q.round() - q).detach()).Plus(ZeroPoint);
        var y = (q.clamp(Number.Of(Scheme.QMin), Number.Of(Scheme.QMax)) - ZeroPoint) * scale;
        return probability < 1 ? where(uniform(x).lt(Number.Of(probability)), y, x) : y;
    }
}
