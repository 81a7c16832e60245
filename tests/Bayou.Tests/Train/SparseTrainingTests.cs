using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class SparseTrainingTests
{
    private static readonly Recipe Sparse = new()
    {
        Epochs = 3,
        Batch = 8,
        BaseLr = 5e-3,
        EmaDecay = 0.9,
        LabelSmoothing = 0.1,
        ClipNorm = 1,
        Sparse = new SparseOptions { Sparsity = 0.5, UpdateEvery = 3, PruneRate = 0.4 },
    };

    private static TinyNet NewNet(int seed = 11)
    {
        manual_seed(seed);
        return new TinyNet();
    }

    [Theory]
    [InlineData(SparseInit.Snip, SparseCriterion.Magnitude, SparseCriterion.Random, false)]
    [InlineData(SparseInit.Erk, SparseCriterion.Gradient, SparseCriterion.Gradient, false)]
    [InlineData(SparseInit.Uniform, SparseCriterion.Random, SparseCriterion.Momentum, true)]
    public void Zeros_are_exact_in_network_average_and_best_weights(SparseInit init, SparseCriterion prune, SparseCriterion grow, bool perChannel)
    {
        using var net = NewNet();
        var options = Sparse.Sparse! with { Init = init, Prune = prune, Grow = grow, PerChannel = perChannel };
        using var result = Trainer.Train(net, new SyntheticSource(6), new SyntheticSource(2, shuffled: false), Sparse with { Sparse = options });
        var report = result.Sparsity!;
        Assert.Equal(6, report.Updates.Count);
        Assert.All(report.Updates, u => Assert.InRange(u.Overlap, 0.2, 0.999));
        // Exploration only grows; the share exchanged only falls.
        Assert.Equal(report.Updates.OrderBy(u => u.Explored), report.Updates);
        Assert.Equal(report.Updates.OrderByDescending(u => u.PruneRate), report.Updates);
        var masked = report.Layers.Where(l => l.Overlap is not null).ToList();
        Assert.NotEmpty(masked);
        foreach (var layer in masked)
        {
            var weights = new[] { net.get_parameter(layer.Name)!, result.Ema![layer.Name] };
            foreach (var w in weights) Assert.True(w.count_nonzero().item<long>() <= layer.NonZero);
            TensorAssert.Same(net.get_parameter(layer.Name)!.ne(0), net.get_parameter(layer.Name)!.ne(0).logical_and(result.Ema![layer.Name].ne(0)));
            Assert.InRange(result.Best![layer.Name].count_nonzero().item<long>(), 1, layer.Elements - 1);
        }
        if (init == SparseInit.Erk) Assert.InRange(report.Density, 0.42, 0.58);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(12)]
    public void A_sparse_run_resumes_to_bit_identical_weights_and_masks(int stopAfter)
    {
        using var whole = NewNet();
        using var expected = Trainer.Train(whole, new SyntheticSource(6), new SyntheticSource(2, shuffled: false), Sparse, new() { Seed = 5 });
        using var folder = new TempFolder();
        using (var first = NewNet())
        {
            using var cancel = new CancellationTokenSource();
            using var stopped = Trainer.Train(first, new SyntheticSource(6), new SyntheticSource(2, shuffled: false), Sparse,
                new() { Seed = 5, RunFolder = folder.Root, Cancellation = cancel.Token, Progress = p => { if (p.Step == stopAfter) cancel.Cancel(); } });
            Assert.Equal(TrainOutcome.Cancelled, stopped.Outcome);
        }
        using var second = NewNet(99);
        using var actual = Trainer.Train(second, new SyntheticSource(6), new SyntheticSource(2, shuffled: false), Sparse,
            new() { Seed = 5, RunFolder = folder.Root, Resume = true });
        foreach (var (name, parameter) in whole.named_parameters()) TensorAssert.Same(parameter, second.get_parameter(name)!);
        foreach (var (name, average) in expected.Ema!.State) TensorAssert.Same(average, actual.Ema![name]);
        Assert.Equal(expected.Sparsity!.Updates, actual.Sparsity!.Updates);
        Assert.Equal(expected.Sparsity.Layers.Select(l => (l.Name, l.NonZero, l.Overlap)), actual.Sparsity.Layers.Select(l => (l.Name, l.NonZero, l.Overlap)));
        // What was saved has the same zeros.
        using var file = WeightFile.Open(folder["last.safetensors"]);
        foreach (var layer in actual.Sparsity.Layers) Assert.Equal(layer.NonZero, file.Get(layer.Name).count_nonzero().item<long>());
    }

    [Fact]
    public void Static_masks_never_move_and_resume_takes_the_zeros_of_the_weights()
    {
        using var net = NewNet();
        using var first = Trainer.Train(net, new SyntheticSource(6), null, Sparse with { Sparse = Sparse.Sparse! with { UpdateEvery = 0 } });
        Assert.Empty(first.Sparsity!.Updates);
        var zeros = net.named_parameters().Where(p => p.parameter.dim() is 2 or 4).ToDictionary(p => p.name, p => p.parameter.eq(0));
        using var second = Trainer.Train(net, new SyntheticSource(6), null,
            Sparse with { Sparse = new SparseOptions { Init = SparseInit.Resume, UpdateEvery = 0 } });
        foreach (var (name, zero) in zeros) Assert.Equal(0, net.get_parameter(name)!.mul(zero).abs().sum().item<float>());
    }

    [Fact]
    public void Snip_keeps_the_largest_scores_of_all_layers_together()
    {
        var densities = SparseMasks.Snip([tensor([1f, 9f, 8f, 7f]), tensor([2f, 3f]), tensor([10f, 0f])], 0.5);
        // K = 4: the fourth largest is 7, strictly above it are 9, 8 and 10.
        Assert.Equal([0.5, 0, 0.5], densities);
        Assert.Throws<BayouException>(() => SparseMasks.Snip([tensor([1f])], 0.5));
    }

    [Fact]
    public void Erk_reaches_the_density_and_no_layer_exceeds_one()
    {
        var random = new Random(1);
        for (var i = 0; i < 100; i++)
        {
            var shapes = Enumerable.Range(0, random.Next(1, 8))
                .Select(_ => new long[] { random.Next(1, 64), random.Next(1, 64), random.Next(1, 6), random.Next(1, 6) }).ToArray();
            var density = 0.05 + 0.9 * random.NextDouble();
            var densities = SparseMasks.Erk(shapes, density);
            var sizes = shapes.Select(s => s.Aggregate(1L, (a, b) => a * b)).ToArray();
            Assert.All(densities, d => Assert.InRange(d, 0, 1));
            Assert.Equal(density, densities.Zip(sizes, (d, n) => d * n).Sum() / sizes.Sum(), 6);
        }
    }

    [Fact]
    public void Pruning_and_growing_keep_the_count_of_every_group()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var mask = rand(6, 4, 3, 3).lt(0.6);
        var weight = randn(6, 4, 3, 3) * mask;
        foreach (var groups in new long[] { 1, 6 })
        {
            var (pruned, removed) = SparseMasks.Prune(weight.abs(), mask, 0.3, groups);
            var before = mask.reshape(groups, -1).sum(1);
            TensorAssert.Same((before.to(float64) * 0.3).ceil().to(int64), removed);
            TensorAssert.Same(before - removed, pruned.reshape(groups, -1).sum(1));
            Assert.False(pruned.logical_and(mask.logical_not()).any().item<bool>());
            // Nothing that stays is smaller than what went, in each group.
            var (kept, gone) = (weight.abs().masked_fill(pruned.logical_not(), 9).reshape(groups, -1).amin([1L]),
                weight.abs().masked_fill(mask.logical_not().logical_or(pruned), -1).reshape(groups, -1).amax([1L]));
            Assert.True(kept.ge(gone).all().item<bool>());
            var grown = SparseMasks.GrowBest(rand(6, 4, 3, 3), pruned, removed);
            TensorAssert.Same(before, grown.reshape(groups, -1).sum(1));
            Assert.False(pruned.logical_and(grown.logical_not()).any().item<bool>());
        }
    }

    [Fact]
    public void Random_growth_grows_as_many_on_average()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        var mask = rand(200, 200).lt(0.5);
        var (pruned, removed) = SparseMasks.Prune(rand(200, 200), mask, 0.4);
        var grown = SparseMasks.GrowRandom(rand(200, 200), pruned, removed);
        var expected = removed.item<long>();
        Assert.InRange(grown.sum().item<long>() - pruned.sum().item<long>(), expected - 5 * Math.Sqrt(expected), expected + 5 * Math.Sqrt(expected));
    }

    [Fact]
    public void A_weight_that_comes_back_starts_its_average_at_itself()
    {
        using var net = NewNet();
        using var sparse = new SparseTraining(net, new SparseOptions { UpdateEvery = 0 }, 10);
        using var ema = new Ema(net, 0.9);
        sparse.Initialise(sparse.Masks.Select(_ => 0.5).ToArray());
        sparse.Average(ema);
        var (name, mask) = sparse.Masks.First();
        var (weight, average) = (net.get_parameter(name)!, ema.State.Single(s => s.Key == name).Value);
        Assert.Equal(0, average.mul(mask.logical_not()).abs().sum().item<float>());
        using (no_grad()) average.zero_();
        sparse.Average(ema);
        TensorAssert.Close(weight, average, 1e-6, 1e-8);
    }

    [Fact]
    public void Zero_weights_cost_no_products()
    {
        using var net = new Linear(8, 4);
        using (no_grad()) net.Weight[TensorIndex.Colon, TensorIndex.Slice(0, 2)] = 0;
        var cost = SparseCost.Of(Capture.Trace(net, 1, 8));
        Assert.Equal(new SparseCost(32, 24, 24), cost);
    }

    [Fact]
    public void Bad_options_are_named()
    {
        using var net = NewNet();
        foreach (var (options, word) in new (SparseOptions, string)[]
        {
            (new() { Sparsity = 1 }, "sparsity"), (new() { PruneRate = 2 }, "prune rates"), (new() { UpdateEvery = -1 }, "updates"),
            (new() { Grow = SparseCriterion.Magnitude }, "grown by magnitude"), (new() { Prune = SparseCriterion.Momentum }, "momentum"),
            (new() { Only = "nothing" }, "nothing"),
        })
        {
            Assert.Contains(word, Assert.Throws<BayouException>(() => new SparseTraining(net, options, 10)).Message);
        }
        Assert.Equal(1.29, SparseTraining.WidthFactor(0.4), 2);
        Assert.Equal(Sparse, Recipe.FromJson(Sparse.ToJson()));
    }
}
