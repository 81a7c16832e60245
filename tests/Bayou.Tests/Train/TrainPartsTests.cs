using Bayou.Core;
using Bayou.Train;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class TrainPartsTests
{
    [Fact]
    public void The_cosine_schedule_is_the_official_one()
    {
        // Warm-up of 3 of 7 steps: 0, 1, 2 (both ends included), then the top value once more and the cosine over 4 steps.
        double[] expected = [0, 1, 2, 2, 0.5 + 0.75 * (1 + Math.Sqrt(0.5)), 1.25, 0.5 + 0.75 * (1 - Math.Sqrt(0.5))];
        var actual = Schedules.Cosine(2, 0.5, 7, 3);
        Assert.Equal(expected.Length, actual.Length);
        foreach (var (e, a) in expected.Zip(actual)) Assert.Equal(e, a, 14);
    }

    [Fact]
    public void Warm_up_steps_need_warm_up_epochs_and_must_fit()
    {
        Assert.Equal(9, Schedules.WarmupSteps(1, 6, 9));
        Assert.Equal(3, Schedules.WarmupSteps(0.5, 6));
        Assert.Throws<BayouException>(() => Schedules.WarmupSteps(0, 6, 9));
        Assert.Throws<BayouException>(() => Schedules.Cosine(1, 0, 5, 6));
        Assert.Equal([1.0, 1.0], Schedules.Cosine(1, 1, 2));
    }

    [Fact]
    public void A_schedule_warms_up_without_a_jump_and_then_falls() =>
        Gen.Select(Gen.Int[1, 200], Gen.Int[0, 200], Gen.Double[1e-4, 1]).Where(t => t.Item2 <= t.Item1).Sample((total, warmup, top) =>
        {
            var values = Schedules.Cosine(top, 1e-6, total, warmup);
            Assert.Equal(total, values.Length);
            for (var i = 1; i < total; i++) Assert.True(i < warmup ? values[i] > values[i - 1] : i == warmup || values[i] < values[i - 1]);
            if (warmup > 1) Assert.Equal((0, top), (values[0], values[warmup - 1]));
            if (warmup < total) Assert.Equal(top, values[warmup], 15);
            Assert.All(values, v => Assert.InRange(v, 0, top + 1e-12));
        });

    [Fact]
    public void Norms_and_biases_do_not_decay_and_layers_near_the_input_learn_slower()
    {
        using var network = new TinyNet();
        var slots = ParameterGroups.Of(network, 0.5).ToDictionary(s => s.Name);
        Assert.Equal((1, 0.25), (slots["stem.weight"].WeightDecay, slots["stem.weight"].LrScale));
        Assert.Equal((0, 0.25), (slots["stem.bias"].WeightDecay, slots["stem.bias"].LrScale));
        Assert.Equal((0, 0.5), (slots["norm.weight"].WeightDecay, slots["norm.weight"].LrScale));
        Assert.Equal((1, 1), (slots["head.weight"].WeightDecay, slots["head.weight"].LrScale));
        Assert.Equal([0.25, 0.5, 1], ParameterGroups.LayerScales(0.5, 2));
        using var plain = new Linear(2, 2);
        Assert.All(ParameterGroups.Of(plain), s => Assert.Equal(1, s.LrScale));
        Assert.Contains("layer ids", Assert.Throws<BayouException>(() => ParameterGroups.Of(plain, 0.5)).Message);
    }

    [Fact]
    public void Losses_follow_their_formulas()
    {
        using var scope = NewDisposeScope();
        float[] logits = [1, 2, 0.5f, -1, 0, 3];
        double[] z = [LogSum(1, 2, 0.5), LogSum(-1, 0, 3)];
        var x = tensor(logits, [2, 3]);
        var labels = tensor(new[] { 1L, 0L });
        var nll = (z[0] - 2 + z[1] + 1) / 2;
        var uniform = (z[0] - 3.5 / 3 + z[1] - 2.0 / 3) / 2;
        Assert.Equal(0.9 * nll + 0.1 * uniform, LabelSmoothingCrossEntropyLoss.Of(x, labels, 0.1).item<float>(), 5);
        Assert.Equal(nll, LabelSmoothingCrossEntropyLoss.Of(x, labels, 0).item<float>(), 5);
        // The smoothed one-hot target says the same: s/K elsewhere, 1 - s + s/K at the label.
        Assert.Equal(0.9 * nll + 0.1 * uniform, SoftTargetCrossEntropyLoss.Of(x, Mixup.SmoothOneHot(labels, 3, 0.1)).item<float>(), 5);

        static double LogSum(params double[] v) => Math.Log(v.Sum(Math.Exp));
    }

    [Fact]
    public void Mixup_blends_with_the_reversed_batch_in_place()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var x = randn(4, 2, 5, 6);
        var y = tensor(new[] { 0L, 1, 2, 1 });
        var before = x.clone();
        var target = new Mixup(3, 0.8, 1, labelSmoothing: 0.3).Apply(x, y, new(MixKind.Mixup, 0.7));
        TensorAssert.Close(before * 0.7 + before.flip(0) * 0.3, x, 1e-6, 1e-6);
        TensorAssert.Close(tensor(new[] { 0.7f * 0.8f + 0.3f * 0.1f, 0.7f * 0.1f + 0.3f * 0.8f, 0.1f }), target[0], 1e-6, 1e-6);
        TensorAssert.Close(ones(4), target.sum(1), 1e-6, 0);
    }

    [Fact]
    public void Cutmix_pastes_the_box_and_corrects_lambda_by_its_clipped_area()
    {
        // sqrt(1 - 0.75) = 0.5: sides 5 and 6, halves 2 and 3; around (0, 8) of 10 x 12: rows 0-2, columns 5-11.
        var mix = new Mix(MixKind.Cutmix, 0.75, 0, 8);
        Assert.Equal(new CutBox(0, 2, 5, 11), Mixup.Box(10, 12, mix));
        Assert.Equal(1 - 12 / 120.0, Mixup.CorrectedLambda(10, 12, mix), 14);
        using var scope = NewDisposeScope();
        manual_seed(2);
        var x = randn(4, 3, 10, 12);
        var before = x.clone();
        var target = new Mixup(2, 0.8, 1, labelSmoothing: 0).Apply(x, tensor(new[] { 0L, 0, 1, 1 }), mix);
        var expected = before.clone();
        expected[.., .., 0..2, 5..11] = before.flip(0)[.., .., 0..2, 5..11];
        TensorAssert.Same(expected, x);
        TensorAssert.Close(tensor(new[] { 0.9f, 0.1f }), target[0], 1e-6, 1e-7);
    }

    [Fact]
    public void A_cutmix_box_stays_inside_the_picture() =>
        Gen.Select(Gen.Int[1, 40], Gen.Int[1, 40], Gen.Double[0, 1], Gen.Double[0, 0.999], Gen.Double[0, 0.999]).Sample((h, w, lambda, y, x) =>
        {
            var mix = new Mix(MixKind.Cutmix, lambda, (int)(y * h), (int)(x * w));
            var box = Mixup.Box(h, w, mix);
            Assert.True(0 <= box.Top && box.Top <= box.Bottom && box.Bottom <= h && 0 <= box.Left && box.Left <= box.Right && box.Right <= w);
            Assert.InRange(Mixup.CorrectedLambda(h, w, mix), lambda - 1e-12, 1);
        });

    [Fact]
    public void Draws_repeat_by_seed_and_step_and_have_the_right_distribution()
    {
        var mixup = new Mixup(10, 0.8, 1, probability: 0.9, switchProbability: 0.25);
        var draws = Enumerable.Range(0, 20000).Select(i => mixup.Draw(3, i, 20, 30)).ToArray();
        Assert.Equal(draws[77], mixup.Draw(3, 77, 20, 30));
        Assert.NotEqual(draws[77], mixup.Draw(4, 77, 20, 30));
        Assert.InRange(draws.Count(d => d.Kind == MixKind.None) / 20000.0, 0.09, 0.11);
        Assert.InRange(draws.Count(d => d.Kind == MixKind.Cutmix) / 20000.0, 0.21, 0.24);
        // Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)).
        var lambdas = draws.Where(d => d.Kind == MixKind.Mixup).Select(d => d.Lambda).ToArray();
        Assert.InRange(lambdas.Average(), 0.49, 0.51);
        Assert.InRange(lambdas.Select(l => (l - 0.5) * (l - 0.5)).Average(), 0.0930, 0.0994);
        Assert.Equal((0, 19, 0, 29),
            (draws.Where(d => d.Kind == MixKind.Cutmix).Min(d => d.CenterY), draws.Max(d => d.CenterY),
            draws.Where(d => d.Kind == MixKind.Cutmix).Min(d => d.CenterX), draws.Max(d => d.CenterX)));
    }

    [Fact]
    public void The_average_covers_the_whole_state_and_swaps_bit_for_bit()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        using var network = new BatchNorm(3);
        using var ema = new Ema(network, 0.75);
        var start = ema.State.ToDictionary(s => s.Key, s => s.Value.clone());
        network.train();
        network.call(randn(4, 3, 2, 2) + 5);
        using (no_grad()) foreach (var p in network.parameters()) p.add_(rand(3));
        ema.Update();
        var now = ema.State.ToDictionary(s => s.Key, s => s.Value.clone());
        Assert.Equal(["bias", "num_batches_tracked", "running_mean", "running_var", "weight"], now.Keys.Order());
        var mean = network.named_buffers().First(b => b.name == "running_mean").buffer;
        TensorAssert.Close(start["running_mean"] * 0.75 + mean * 0.25, now["running_mean"], 1e-6, 1e-7);
        Assert.Equal(1, now["num_batches_tracked"].item<long>());
        var weight = network.named_parameters().First(p => p.name == "weight").parameter;
        var held = weight.clone();
        using (ema.Swap())
        {
            TensorAssert.Same(now["weight"], weight);
        }
        TensorAssert.Same(held, weight);
        TensorAssert.Same(now["weight"], ema.State.First(s => s.Key == "weight").Value);
    }

    [Fact]
    public void The_ramp_lets_the_average_follow_at_the_start()
    {
        using var network = new Linear(1, 1);
        using var ema = new Ema(network, 0.99, ramp: true);
        Assert.Equal(0.1, ema.NextDecay, 12);
        for (var i = 0; i < 1000; i++) ema.Update();
        Assert.Equal(0.99, ema.NextDecay, 12);
    }

    [Fact]
    public void A_recipe_survives_JSON_and_bad_numbers_are_named()
    {
        foreach (var recipe in new[] { Recipe.ConvNeXt300(), Recipe.ConvNeXtFineTune(), Recipe.Short(3), new Recipe { WeightDecayEnd = 0.1 } })
        {
            Assert.Equal(recipe, Recipe.FromJson(recipe.ToJson()));
            Assert.Equal(recipe.Hash(), Recipe.FromJson(recipe.ToJson()).Hash());
        }
        Assert.Equal(Recipe.Short(3).Hash(), (Recipe.Short(3) with { Name = "other" }).Hash());
        Assert.NotEqual(Recipe.Short(3).Hash(), (Recipe.Short(3) with { Beta2 = 0.99 }).Hash());
        Assert.Equal(4e-3 * 256 / 4096, Recipe.ConvNeXt300(128, 2).LearningRate, 15);
        Assert.Contains("MixupAlpha", Assert.Throws<BayouException>(() => new Recipe { MixupAlpha = -1 }.Checked()).Message);
        Assert.Contains("BaseLr", Assert.Throws<BayouException>(() => new Recipe { BaseLr = double.NaN }.Checked()).Message);
        Assert.Throws<BayouException>(() => Recipe.FromJson("{\"Epochs\": \"many\"}"));
        Assert.Throws<BayouException>(() => Recipe.FromJson("{\"Epoch\": 3}"));
    }
}
