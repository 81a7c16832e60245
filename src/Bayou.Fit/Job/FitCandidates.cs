using Bayou.Core;
using Bayou.Search;

namespace Bayou.Fit;

/// <summary>Candidates and what each costs: a spread over the space, then more near the budget.</summary>
internal sealed class FitCandidates(FitRun run) : FitStep(run)
{
    // Latencies vary from run to run: what is chosen keeps a little distance from the limit, and is measured again after training.
    public static Budget Margin(Budget budget) => budget with { LatencyMs = budget.LatencyMs * 0.97 };

    public (IReadOnlyList<Candidate>, Dictionary<string, CandidateCost>, Budget) Propose(IProposer proposer, ICostModel costModel, ProposalContext context)
    {
        // Under a time limit not all are measured: a resumed run takes the same ones.
        var decided = Store.Facts.Get<string[]>("plan/candidates")?.ToHashSet();
        var costs = new Dictionary<string, CandidateCost>();
        var candidates = proposer.Spread(context, Options.Proposals).ToList();
        if (candidates.Count == 0) throw new BayouException($"fit: {proposer.Name} has nothing to propose for pictures of {context.PictureSize} pixels");
        candidates = Cost(candidates, 0, Options.NearProposals);
        var budget = Options.Budget;
        if (Options.MedianLatency)
        {
            var sorted = candidates.Select(c => costs[c.Key].Fp32.LatencyMs).Order().ToArray();
            var median = (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
            budget = budget with { LatencyMs = Math.Round(median, 4) };
            Progress.Line($"budget: the median latency of the first {candidates.Count} proposals, {median:0.000} ms");
        }
        var fp32 = LatencyFit.Of(candidates.Select(c => (c.Estimate, costs[c.Key].Fp32.LatencyMs)).ToList());
        var int8 = LatencyFit.Of(candidates.Select(c => (c.Estimate, costs[c.Key].Int8.LatencyMs)).ToList());
        var near = proposer.Near(context, Options.NearProposals, e => Math.Min(Load(e, fp32.Predict(e), 1, budget), Load(e, int8.Predict(e), 0.25, budget)),
            candidates.Select(c => c.Key).ToHashSet());
        candidates.AddRange(Cost(near, candidates.Count, 0));
        if (Plan.Limited) Store.Facts.Put("plan/candidates", candidates.Select(c => c.Key).ToArray());
        return (candidates, costs, budget);

        List<Candidate> Cost(IReadOnlyList<Candidate> list, int before, int after)
        {
            foreach (var (i, candidate) in PredictedCost.Spread(list, Options.MeasureAtMost).Index())
            {
                if (decided is null ? Plan.EnoughCandidates(before + i) : !decided.Contains(candidate.Key)) continue;
                Cancel.ThrowIfCancellationRequested();
                Progress.Status((double)(before + i) / (before + list.Count + after), $"measuring {candidate.Description}");
                var cost = costs[candidate.Key] = costModel.Cost(candidate);
                Progress.Line($"  {candidate.Description}: {Budget.Si(cost.Fp32.Macs)} MACs, fp32 {cost.Fp32.LatencyMs:0.000} ms, int8 {cost.Int8.LatencyMs:0.000} ms{(cost.Fp32.Predicted ? " (predicted)" : cost.Fp32.Noisy || cost.Int8.Noisy ? " (noisy)" : "")}");
            }
            return [.. list.Where(c => costs.ContainsKey(c.Key))];
        }
    }

    // Use of the budget by the tightest limit, from the configuration alone. A file is its weights and little more.
    private static double Load(CostEstimate e, double ms, double weightBytes, Budget b)
    {
        var load = 0.0;
        if (b.LatencyMs is { } l) load = Math.Max(load, ms / (l * 0.97));
        if (b.Parameters is { } p) load = Math.Max(load, (double)e.Parameters / p);
        if (b.Macs is { } m) load = Math.Max(load, (double)e.Macs / m);
        if (b.Ace is { } a) load = Math.Max(load, e.Macs * (weightBytes == 1 ? 1024.0 : 64.0) / a);
        if (b.SizeBytes is { } s) load = Math.Max(load, (e.Parameters * 4 * weightBytes + 250.0 * e.Nodes) / s);
        return load;
    }

    // The largest that fit, and of the rest every so many: capacity is the best first guess, not the only one.
    public static List<Candidate> Spread(List<Candidate> fitting, int count)
    {
        if (fitting.Count <= count) return fitting;
        var large = fitting.Take((count + 1) / 2).ToList();
        var rest = fitting.Skip(large.Count).ToList();
        var more = count - large.Count;
        return [.. large, .. Enumerable.Range(0, more).Select(i => rest[i * rest.Count / more])];
    }

    public static string NothingFits(IReadOnlyList<Candidate> candidates, Dictionary<string, CandidateCost> costs, Budget budget)
    {
        var nearest = candidates.SelectMany(c => costs[c.Key].Forms.Select(f => (c, f))).MinBy(p => p.f.LatencyMs);
        return $"fit: none of {candidates.Count} candidates fits the budget ({budget}) in fp32 or INT8. The fastest is {nearest.c.Description} in {nearest.f.Form.ToString().ToLowerInvariant()}: " +
            $"{nearest.f.LatencyMs:0.###} ms, {Budget.Si(nearest.f.Parameters)} parameters, {Budget.Si(nearest.f.Macs)} MACs, {Budget.Si(nearest.f.SizeBytes)}B. Raise the budget, or allow more --threads";
    }
}
