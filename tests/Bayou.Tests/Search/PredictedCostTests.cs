using Bayou.Core;
using Bayou.Search;

namespace Bayou.Tests;

public class PredictedCostTests
{
    private sealed class Made : ICostModel
    {
        public int Calls { get; private set; }

        public string Name => "made";

        public CandidateCost Cost(Candidate candidate)
        {
            Calls++;
            var e = candidate.Estimate;
            FormCost Form(ModelForm form, double factor) =>
                new(form, factor * (0.01 * e.Nodes + e.Macs / 1e7), e.Parameters, e.Macs, e.Macs * (form == ModelForm.Fp32 ? 1024 : 64),
                e.Parameters * (form == ModelForm.Fp32 ? 4 : 1));
            return new(candidate.Key, Form(ModelForm.Fp32, 1), Form(ModelForm.Int8, 0.5));
        }
    }

    private static Candidate Of(int i) =>
        new($"c{i}", $"candidate {i}", 28, new CostEstimate(1000 * i, 1_000_000L * i * i, 10_000, 10 + i), _ => throw new InvalidOperationException());

    [Fact]
    public void First_candidates_are_measured_the_others_predicted()
    {
        var made = new Made();
        var model = new PredictedCost(made, 4);
        var costs = Enumerable.Range(1, 8).Select(i => model.Cost(Of(i))).ToArray();
        Assert.Equal(4, made.Calls);
        Assert.Equal([false, false, false, false, true, true, true, true], costs.Select(c => c.Fp32.Predicted));
        for (var i = 5; i <= 8; i++)
        {
            var truth = new Made().Cost(Of(i));
            Assert.InRange(costs[i - 1].Fp32.LatencyMs / truth.Fp32.LatencyMs, 0.95, 1.05);
            Assert.InRange(costs[i - 1].Int8.LatencyMs / truth.Int8.LatencyMs, 0.95, 1.05);
            Assert.Equal((truth.Int8.Ace, truth.Int8.SizeBytes, truth.Fp32.Macs), (costs[i - 1].Int8.Ace, costs[i - 1].Int8.SizeBytes, costs[i - 1].Fp32.Macs));
        }
        Assert.Equal(costs[2], model.Cost(Of(3)));
        Assert.Equal(4, made.Calls);
    }

    [Fact]
    public void Leaving_one_out_shows_what_a_candidate_that_behaves_differently_costs()
    {
        var rows = Enumerable.Range(1, 6).Select(i => (Of(i).Estimate, 0.01 * (10 + i) + 0.1 * i * i)).ToArray();
        var good = LatencyFit.LeaveOneOut(rows);
        Assert.All(good.Zip(rows), p => Assert.InRange(p.First / p.Second.Item2, 0.9, 1.1));
        rows[2].Item2 *= 3;
        Assert.True(LatencyFit.LeaveOneOut(rows)[2] < rows[2].Item2 / 2);
    }

    [Fact]
    public void Too_few_measurements_are_refused() => Assert.Throws<BayouException>(() => new PredictedCost(new Made(), 2));

    [Fact]
    public void What_is_measured_spans_the_list()
    {
        var list = Enumerable.Range(0, 10).Select(Of).ToArray();
        var order = PredictedCost.Spread(list, 4).Select(c => Array.IndexOf(list, c)).ToArray();
        Assert.Equal([0, 3, 6, 9], order[..4]);
        Assert.Equal(Enumerable.Range(0, 10), order.Order());
        Assert.Equal(list, PredictedCost.Spread(list, 0));
        Assert.Equal(list, PredictedCost.Spread(list, 10));
    }
}
