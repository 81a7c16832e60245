using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Bayou.Tests;

public class AdamWTests
{
    private static ParameterSlot Slot(Tensor value, double decay = 1, double scale = 1, string name = "p") => new(name, new Parameter(value), decay, scale);

    [Theory]
    [InlineData(1)]
    [InlineData(15)]
    [InlineData(1003)]
    public void Three_hundred_steps_equal_torchs_AdamW(int size)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var start = randn(size, 3);
        var reference = new Parameter(start.clone());
        var ours = Slot(start.clone());
        using var adamW = new AdamW([ours]);
        var torchs = optim.AdamW([reference], 1e-2, 0.9, 0.999, 1e-8, weight_decay: 0.05);
        for (var step = 0; step < 300; step++)
        {
            using var inner = NewDisposeScope();
            // Gradients over many magnitudes, also 0.
            var gradient = randn(size, 3) * (float)Math.Pow(10, -(step % 7)) * rand(size, 3).gt(0.1).to(float32);
            reference.grad = gradient.clone();
            ours.Parameter.grad = gradient;
            torchs.step();
            adamW.Step(1e-2, 0.05);
        }
        TensorAssert.Close(reference, ours.Parameter, 1e-6, 1e-6);
    }

    [Fact]
    public void Decay_and_learning_rate_scale_by_parameter()
    {
        using var scope = NewDisposeScope();
        var a = Slot(ones(20), decay: 0, scale: 1);
        var b = Slot(ones(20), decay: 1, scale: 0.5);
        using var adamW = new AdamW([a, b]);
        foreach (var s in new[] { a, b }) s.Parameter.grad = ones(20);
        adamW.Step(0.1, 0.2);
        // The first step moves by the learning rate, whatever the gradient: m / sqrt(v) = 1.
        TensorAssert.Close(full(20, 0.9f), a.Parameter.detach(), 1e-6, 0);
        TensorAssert.Close(full(20, 1f - 0.05f * 0.2f - 0.05f), b.Parameter.detach(), 1e-6, 0);
    }

    [Fact]
    public void Clipping_scales_all_gradients_by_their_common_norm()
    {
        using var scope = NewDisposeScope();
        var clipped = Slot(zeros(2));
        var scaled = Slot(zeros(2));
        using var one = new AdamW([clipped], eps: 1);   // a large eps makes the step depend on the size of the gradient
        using var two = new AdamW([scaled], eps: 1);
        clipped.Parameter.grad = tensor(new[] { 30f, 40f });
        scaled.Parameter.grad = tensor(new[] { 0.6f, 0.8f });
        Assert.Equal(50, one.Step(0.1, 0, clipNorm: 1), 4);
        two.Step(0.1, 0);
        TensorAssert.Close(scaled.Parameter.detach(), clipped.Parameter.detach(), 1e-5, 0);
    }

    [Fact]
    public void A_gradient_that_is_not_finite_changes_nothing()
    {
        using var scope = NewDisposeScope();
        var a = Slot(ones(5), name: "a");
        var b = Slot(ones(5), name: "b");
        using var adamW = new AdamW([a, b]);
        a.Parameter.grad = ones(5);
        b.Parameter.grad = full(5, float.PositiveInfinity);
        Assert.False(double.IsFinite(adamW.Step(0.1, 0.1)));
        TensorAssert.Same(ones(5), a.Parameter.detach());
        foreach (var (_, tensor) in adamW.State()) Assert.Equal(0, tensor.abs().sum().to(float64).item<double>());
    }

    [Fact]
    public void Saved_state_goes_on_bit_for_bit()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        var gradients = Enumerable.Range(0, 6).Select(_ => randn(37)).ToArray();
        var a = Slot(ones(37));
        using var whole = new AdamW([a]);
        for (var i = 0; i < 3; i++) Step(whole, a, i);
        var state = whole.State().ToDictionary(s => s.Key, s => s.Value.clone());
        var b = Slot(a.Parameter.detach().clone());
        using var resumed = new AdamW([b]);
        resumed.Restore(name => state[name]);
        for (var i = 3; i < 6; i++)
        {
            Step(whole, a, i);
            Step(resumed, b, i);
        }
        TensorAssert.Same(a.Parameter, b.Parameter);

        void Step(AdamW optimizer, ParameterSlot slot, int i)
        {
            slot.Parameter.grad = gradients[i].clone();
            optimizer.Step(0.01 * (i + 1), 0.05);
        }
    }

    [Fact]
    public void The_fused_average_equals_the_separate_one()
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        using var fused = new Linear(40, 9);
        using var separate = new Linear(40, 9);
        using (no_grad()) foreach (var (p, q) in fused.parameters().Zip(separate.parameters())) q.copy_(p);
        using Ema a = new(fused, 0.9), b = new(separate, 0.9);
        using AdamW one = new(ParameterGroups.Of(fused)), two = new(ParameterGroups.Of(separate));
        for (var step = 0; step < 5; step++)
        {
            foreach (var (p, q) in fused.parameters().Zip(separate.parameters())) q.grad = (p.grad = randn(p.shape)).clone();
            one.Step(0.1, 0.05, ema: a);
            two.Step(0.1, 0.05);
            b.Update();
        }
        Assert.Equal(b.Updates, a.Updates);
        foreach (var (p, q) in fused.parameters().Zip(separate.parameters())) TensorAssert.Same(q, p);
        foreach (var (x, y) in a.State.Zip(b.State)) TensorAssert.Close(y.Value, x.Value, 1e-6, 1e-7);
    }

    [Fact]
    public void Strided_gradients_and_missing_ones_are_handled()
    {
        using var scope = NewDisposeScope();
        manual_seed(7);
        var a = Slot(zeros(4, 6), name: "a");
        var b = Slot(ones(3), name: "b");
        var reference = Slot(zeros(4, 6));
        using AdamW one = new([a, b]), two = new([reference]);
        var gradient = randn(6, 4);
        a.Parameter.grad = gradient.t();
        reference.Parameter.grad = gradient.t().contiguous();
        one.Step(0.1, 0.5);
        two.Step(0.1, 0.5);
        TensorAssert.Same(reference.Parameter, a.Parameter);
        TensorAssert.Same(ones(3), b.Parameter.detach());
    }

    [Fact]
    public void Double_parameters_are_refused()
    {
        Assert.Contains("weight", Assert.Throws<BayouException>(() => new AdamW([Slot(ones(2, float64), name: "weight")])).Message);
    }
}
