using Bayou.Core;
using Bayou.Search;
using TorchSharp;

namespace Bayou.Tests;

public class SearchTests
{
    private sealed class Judge(Func<string, double> accuracy) : IQualityJudge
    {
        public List<(string Key, long Effort)> Calls { get; } = [];

        public string Name => "test";

        Trial IQualityJudge.Judge(Candidate candidate, int rung, long effort, CancellationToken cancel)
        {
            Calls.Add((candidate.Key, effort));
            return new Trial(candidate.Key, rung, effort, accuracy(candidate.Key), 1, 0);
        }

    }

    private static readonly ProposalContext Small = new(28, 1, 10), Photos = new(300, 3, 7);

    private static List<Candidate> Nine =>
        [.. Enumerable.Range(1, 9).Select(i => new Candidate($"c{i}", "", 8, new CostEstimate(i, i, i, i), _ => throw new InvalidOperationException()))];

    [Theory]
    [InlineData("3ms", 3)]
    [InlineData("800us", 0.8)]
    [InlineData(" 0.5 ms ", 0.5)]
    [InlineData("1s", 1000)]
    [InlineData("2", 2)]
    public void Latencies_are_read_as_people_write_them(string text, double ms) => Assert.Equal(ms, Budget.ParseMilliseconds(text), 12);

    [Theory]
    [InlineData("200k", 200_000)]
    [InlineData("1.5M", 1_500_000)]
    [InlineData("4G", 4_000_000_000)]
    [InlineData("300kB", 300_000)]
    [InlineData("1MiB", 1_048_576)]
    [InlineData("1e3", 1000)]
    [InlineData("12345", 12345)]
    public void Counts_are_read_as_people_write_them(string text, long count) => Assert.Equal(count, Budget.ParseCount(text));

    [Theory]
    [InlineData("")]
    [InlineData("fast")]
    [InlineData("-3ms")]
    [InlineData("0")]
    [InlineData("NaN")]
    [InlineData("1e400")]
    public void Nonsense_is_refused(string text)
    {
        Assert.Throws<BayouException>(() => Budget.ParseMilliseconds(text));
        Assert.Throws<BayouException>(() => Budget.ParseCount(text));
    }

    [Fact]
    public void A_budget_names_every_limit_that_is_broken()
    {
        var budget = new Budget { LatencyMs = 1, Parameters = 1000, Macs = 5000, SizeBytes = 100 };
        var cost = new FormCost(ModelForm.Int8, 2, 1000, 6000, 0, 100);
        Assert.Equal(["latency 2 ms > 1 ms", "6.00k MACs > 5.00k"], budget.Excess(cost));
        Assert.True(budget.Fits(cost with { LatencyMs = 1, Macs = 5000 }));
        Assert.Equal("1.50M", Budget.Si(1.5e6));
    }

    [Fact]
    public void The_same_seed_proposes_the_same_candidates_and_every_one_can_run()
    {
        var first = new ConvNeXtSpace(3).Spread(Small, 8);
        Assert.Equal(first.Select(c => c.Key), new ConvNeXtSpace(3).Spread(Small, 8).Select(c => c.Key));
        Assert.NotEqual(first.Select(c => c.Key), new ConvNeXtSpace(4).Spread(Small, 8).Select(c => c.Key));
        Assert.Equal(8, first.Select(c => c.Key).Distinct().Count());
        Assert.True(first[^1].Estimate.Macs > 5 * first[0].Estimate.Macs, "the proposals do not spread");
    }

    [Fact]
    public void Estimates_equal_what_the_captured_graph_costs()
    {
        foreach (var (context, count) in new[] { (Small, 6), (Photos, 3) })
        {
            foreach (var candidate in new ConvNeXtSpace(1).Spread(context, count))
            {
                using var scope = torch.NewDisposeScope();
                using var model = candidate.Build(new ModelOptions(context.Classes, context.Channels));
                var cost = Cost.Of(model, 1, context.Channels, candidate.InputSize, candidate.InputSize);
                Assert.Equal(candidate.Estimate.Parameters, cost.Parameters);
                Assert.Equal(candidate.Estimate.Macs, cost.Macs);
            }
        }
    }

    [Fact]
    public void Near_proposals_are_within_the_limit_and_new()
    {
        var space = new ConvNeXtSpace(2);
        var known = space.Spread(Small, 8).Select(c => c.Key).ToHashSet();
        var near = space.Near(Small, 6, e => e.Macs / 4e6, known);
        Assert.NotEmpty(near);
        Assert.All(near, c => Assert.InRange(c.Estimate.Macs / 4e6, 0.45, 1));
        Assert.DoesNotContain(near, c => known.Contains(c.Key));
    }

    [Fact]
    public void The_latency_fit_recovers_a_linear_machine_and_never_goes_negative()
    {
        var points = new ConvNeXtSpace(5).Spread(Small, 12).Select(c => c.Estimate).ToList();
        double Truth(CostEstimate e) => 0.004 * e.Nodes + 2e-8 * e.Macs + 1e-6 * e.Activations;
        var fit = LatencyFit.Of(points.Select(p => (p, Truth(p))).ToList());
        Assert.All(points, p => Assert.InRange(fit.Predict(p) / Truth(p), 0.97, 1.03));
        var odd = LatencyFit.Of([(new CostEstimate(1, 1000, 10, 50), 1.0), (new CostEstimate(1, 10_000_000, 10, 50), 0.5)]);
        Assert.True(odd.Predict(new CostEstimate(1, 1, 1, 1)) >= 0);
    }

    [Fact]
    public void Halving_keeps_the_better_third_and_repeats_no_trial_after_a_kill()
    {
        using var folder = new TempFolder();
        var plan = new HalvingPlan(3, 100, 3, 3);
        double Accuracy(string key) => key == "c4" ? 0.9 : 0.1 * (key[1] - '0') / 2;
        using (var store = RunStore.Open(folder.Root))
        {
            var interrupted = new Judge(key => key == "c7" ? throw new OperationCanceledException() : Accuracy(key));
            Assert.Throws<OperationCanceledException>(() => SuccessiveHalving.Run(Nine, plan, interrupted, store, null, default));
            Assert.Equal(7, interrupted.Calls.Count);
        }
        using var again = RunStore.Open(folder.Root);
        var judge = new Judge(Accuracy);
        var (trials, ranking) = SuccessiveHalving.Run(Nine, plan, judge, again, null, default);
        Assert.Equal("c4", ranking[0].Key);
        Assert.Equal([("c7", 100L), ("c8", 100), ("c9", 100), ("c4", 300), ("c9", 300), ("c8", 300)], judge.Calls);
        Assert.Equal(9 + 3, trials.Count);
    }

    [Fact]
    public void A_training_that_failed_loses_and_all_failing_is_an_error()
    {
        using var folder = new TempFolder();
        using var store = RunStore.Open(folder.Root);
        var (_, ranking) = SuccessiveHalving.Run(Nine.Take(2).ToList(), new HalvingPlan(3, 10, 3, 1), new Judge(k => k == "c1" ? double.NaN : 0.2), store,
            null, default);
        Assert.Equal(["c2"], ranking.Select(c => c.Key));
        Assert.Throws<BayouException>(() =>
            SuccessiveHalving.Run(Nine.Take(2).ToList(), new HalvingPlan(3, 11, 3, 1), new Judge(_ => double.NaN), store, null, default));
    }
}
