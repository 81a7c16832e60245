using Bayou.Compress;
using Bayou.Core;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class FakeQuantizerTests
{
    private static readonly Gen<QuantScheme> Schemes =
        Gen.Select(Gen.Int[2, 8], Gen.Bool, Gen.Bool, Gen.Bool, (bits, sym, pot, range) => new QuantScheme(bits, sym, false, pot, range));
    private static readonly Gen<float[]> Values = Gen.Float[-50, 50].Array[1, 60];

    [Fact]
    public void Fake_quantisation_is_idempotent_monotone_and_within_half_a_step_inside_its_range() => Gen.Select(Schemes, Values).Sample((scheme, values) =>
    {
        using var scope = NewDisposeScope();
        var x = tensor(values).sort().Values;
        var observer = new MinMaxObserver(scheme);
        observer.Observe(x);
        var (scale, zero) = observer.Parameters();
        var y = scheme.Quantize(x, scale, zero);
        TensorAssert.Close(y, scheme.Quantize(y, scale, zero), 1e-6, 0);
        Assert.True((y[1..] - y[..^1]).ge(0).all().item<bool>());
        var (low, high) = ((scheme.QMin - zero) * scale, (scheme.QMax - zero) * scale);
        var inside = x.ge(low).logical_and(x.le(high));
        Assert.True(where(inside, (y - x).abs(), zeros_like(x)).le(scale * 0.5001).all().item<bool>());
        Assert.True(y.ge(low - 1e-4).logical_and(y.le(high + 1e-4)).all().item<bool>());
    }, iter: 100);

    [Fact]
    public void Ranges_by_hand()
    {
        using var scope = NewDisposeScope();
        static (float Scale, float Zero) From(QuantScheme scheme, float min, float max)
        {
            var (s, z) = scheme.FromRange(tensor(min), tensor(max));
            return (s.item<float>(), z.item<float>());
        }
        Assert.Equal((2 / 127.5f, 0f), From(new(8, true), -2, 1));
        Assert.Equal((2 / 127f, 0f), From(new(8, true, SymmetricRange: true), -2, 1));
        Assert.Equal((4 / 255f, 64f), From(new(8, false), -1, 3));
        Assert.Equal((0.015625f, 64f), From(new(8, false, PowerOfTwo: true), -1, 3));
        Assert.Equal((3 / 15f, 0f), From(new(4, false), 1, 3));      // the range always contains 0
        Assert.Equal((float)QuantScheme.Epsilon, From(new(8, false), 0, 0).Scale);
    }

    [Fact]
    public void Observers_by_hand()
    {
        using var scope = NewDisposeScope();
        var (a, b) = (tensor(new[] { -1f, 0, 2, 3 }), tensor(new[] { -2f, 1, 1, 4 }));
        static (float, float) Range(Observer observer, params Tensor[] batches)
        {
            foreach (var batch in batches) observer.Observe(batch);
            return (observer.Min.item<float>(), observer.Max.item<float>());
        }
        var scheme = new QuantScheme(8, false);
        Assert.Equal((-2f, 4f), Range(new MinMaxObserver(scheme), a, b));
        Assert.Equal((-1.1f, 3.1f), Range(new EmaMinMaxObserver(scheme), a, b));
        // Three of four magnitudes lie at or below 2: with two bins over [0, 3], the second holds the quantile, centre 2.25.
        Assert.Equal((-1f, 2.25f), Range(new EmaQuantileObserver(scheme, 0.75, 0.9, 2), a));
        var deviation = MathF.Sqrt(10 / 3f);      // mean 1, squares 4 + 1 + 1 + 4, unbiased
        var (low, high) = Range(new ClipStdObserver(scheme, 0.5), a);
        Assert.Equal((-1f, 3f), (low, high));
        (low, high) = Range(new ClipStdObserver(scheme, 0.5, clip: true), a);
        Assert.Equal(1 - deviation / 2, low, 1e-5);
        Assert.Equal(1 + deviation / 2, high, 1e-5);
        var lsq = new LsqObserver(new QuantScheme(3, true));
        lsq.Observe(a);
        Assert.Equal(2 * 1.5 / Math.Sqrt(3), lsq.Parameters().Scale.item<float>(), 1e-5);
        var signed = new LsqPlusObserver(scheme, zeroPointForSigned: true);
        signed.Observe(a);
        Assert.True(signed.Parameters().ZeroPoint.item<float>() > 0);
        var kl = new KlObserver(scheme);
        kl.Observe(a);
        kl.Observe(b);
        Assert.InRange(kl.Parameters().Scale.item<float>(), 0.001f, 6 / 255f + 1e-4f);
    }

    [Fact]
    public void Per_channel_equals_each_channel_alone()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var w = randn(3, 2, 3, 3) * tensor(new[] { 0.1f, 1, 5 }).reshape(3, 1, 1, 1);
        foreach (var symmetric in new[] { true, false })
        {
            foreach (var make in new Func<QuantScheme, Observer>[] { s => new MinMaxObserver(s), s => new MseObserver(s), s => new LsqObserver(s),
                s => new ClipStdObserver(s) })
            {
                // The candidates are 80 per channel and 95 per tensor; at 4 bits no optimum is beyond the 80th.
                var all = make(new QuantScheme(4, symmetric, true));
                all.Observe(w);
                for (var c = 0; c < 3; c++)
                {
                    var one = make(new QuantScheme(4, symmetric));
                    one.Observe(w[c]);
                    TensorAssert.Close(one.Parameters().Scale, all.Parameters().Scale[c], 1e-5, 0);
                    TensorAssert.Close(one.Parameters().ZeroPoint, all.Parameters().ZeroPoint[c], 0, 0);
                }
            }
        }
    }

    [Fact]
    public void Gradients_of_soft_quantisers_match_finite_differences()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var w = (randn(4, 5) * 0.3).requires_grad_();
        var g = randn(4, 5);
        // DoReFa passes straight through the staircase: its gradient is that of the squashed weight.
        var doReFa = new DoReFaFakeQuantizer(new MinMaxObserver(new QuantScheme(8, true, SymmetricRange: true)));
        (doReFa.Call(w) * g).sum().backward();
        static Tensor Squash(Tensor x) => x.tanh() / (x.tanh().abs().max() + 1e-5);
        Check(w.grad!, w, x => (Squash(x) * g).sum());
        // AdaRound in V is an ordinary function.
        var ada = new AdaRoundFakeQuantizer(new MinMaxObserver(new QuantScheme(4, true)));
        ada.Start(w);
        (ada.Call(w) * g).sum().backward();
        var start = ada.Alpha!.detach().clone();
        var gradient = ada.Alpha!.grad!.clone();
        Check(gradient, start, v =>
        {
            using (no_grad()) ada.Alpha!.copy_(v);
            return (ada.Call(w).detach() * g).sum();
        });
        static void Check(Tensor gradient, Tensor at, Func<Tensor, Tensor> f)
        {
            var flat = at.detach().reshape(-1);
            for (var i = 0; i < flat.numel(); i++)
            {
                const float h = 1e-2f;
                Tensor up = flat.clone(), down = flat.clone();
                up[i].add_(h);
                down[i].sub_(h);
                var slope = (f(up.reshape(at.shape)) - f(down.reshape(at.shape))).item<float>() / (2 * h);
                Assert.Equal(slope, gradient.reshape(-1)[i].item<float>(), 5e-3);
            }
        }
    }

    [Fact]
    public void Lsq_learns_a_scale_that_quantises_better()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var x = randn(2000);
        var quantizer = new LearnableFakeQuantizer(new MinMaxObserver(new QuantScheme(3, true)));
        quantizer.Calibrate(x);
        quantizer.ObserverEnabled = false;
        double Error() => (quantizer.Call(x).detach() - x).square().mean().item<float>();
        var before = Error();
        using var sgd = optim.SGD(quantizer.Parameters.Select(p => p.Parameter), 2);
        for (var i = 0; i < 200; i++)
        {
            sgd.zero_grad();
            (quantizer.Call(x) - x).square().mean().backward();
            sgd.step();
        }
        Assert.True(Error() < 0.7 * before, $"{before} -> {Error()}");
    }

    [Fact]
    public void Pact_loses_its_clip_gradient_as_published_and_keeps_it_when_corrected()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[] { 0.2f, 0.5f, 3f, 4f });
        foreach (var passes in new[] { false, true })
        {
            var pact = new PactFakeQuantizer(new MinMaxObserver(new QuantScheme(8, true)), 1.5, passes) { ObserverEnabled = false };
            var y = pact.Call(x);
            y.sum().backward();
            Assert.Equal(passes ? 2f : 0f, pact.Parameters.First().Parameter.grad!.item<float>());
            Assert.True(y.max().item<float>() <= 1.5);
        }
    }

    [Fact]
    public void Equalisation_keeps_the_function_and_evens_the_ranges()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        var w1 = randn(6, 3, 3, 3) * tensor(new[] { 0.5f, 1, 2, 4, 8, 16 }).reshape(6, 1, 1, 1);
        Tensor b1 = randn(6), w2 = randn(4, 6, 1, 1), x = randn(2, 3, 7, 7);
        Tensor Net(Tensor first, Tensor bias, Tensor second) => nn.functional.conv2d(nn.functional.conv2d(x, first, bias).relu(), second);
        var (e1, eb, e2, _) = CrossLayerEqualization.Equalize(w1, b1, w2);
        TensorAssert.Close(Net(w1, b1, w2), Net(e1, eb!, e2), 1e-4, 1e-3);
        TensorAssert.Close(e1.flatten(1).abs().amax([1]), e2.transpose(0, 1).contiguous().flatten(1).abs().amax([1]), 1e-4, 0);
        Assert.Throws<BayouException>(() => CrossLayerEqualization.Equalize(w1, null, randn(4, 5, 1, 1)));
    }

    [Fact]
    public void Power_of_two_rounding_and_refusals()
    {
        using var scope = NewDisposeScope();
        var tqt = new TqtFakeQuantizer(new PotModeObserver(new QuantScheme(8, true), VitisTensor.Tensor), VitisTensor.Tensor);
        tqt.Calibrate(tensor(new[] { -127f, 127f }));
        tqt.ObserverEnabled = false;
        TensorAssert.Same(tensor(new[] { -2f, -1, 0, 2, 2, 127 }), tqt.Call(tensor(new[] { -2.5f, -1.5f, -0.5f, 1.5f, 2.5f, 500f })));
        Assert.Throws<BayouException>(() => new MinMaxFloorObserver(new QuantScheme(8, false), VitisTensor.Param));
        Assert.Throws<BayouException>(() => new EmaQuantileObserver(new QuantScheme(8, true, true)));
        Assert.Throws<BayouException>(() => new MinMaxObserver(new QuantScheme(8, true)).Parameters());
        Assert.Throws<BayouException>(() => new MinMaxObserver(new QuantScheme(8, true)).Observe(tensor(new[] { 1f, float.NaN })));
    }
}
