using Bayou.Core;

namespace Bayou.Search;

/// <summary>
/// Measures the first candidates and predicts the others: latency from layers, multiply-accumulates and written elements (<see cref="LatencyFit"/>), the rest
/// from the configuration. Predicted costs say so. What is chosen is measured in any case once it is trained.
/// </summary>
/// <param name="measured">Measures.</param>
/// <param name="measure">How many candidates to measure; they should span the others, see <see cref="Spread"/>.</param>
public sealed class PredictedCost(ICostModel measured, int measure) : ICostModel
{
    private const int Fewest = 3;

    private readonly List<(Candidate Candidate, CandidateCost Cost)> known = [];
    private readonly int count = measure >= Fewest
        ? measure : throw new BayouException($"fit: {measure} measured candidates are too few to predict the others; at least {Fewest} are needed");

    /// <inheritdoc/>
    public string Name => $"measured {count}, then predicted";

    /// <inheritdoc/>
    public CandidateCost Cost(Candidate candidate)
    {
        if (known.FirstOrDefault(k => k.Candidate.Key == candidate.Key).Cost is { } again) return again;
        if (known.Count >= count) return new(candidate.Key, Predict(candidate, c => c.Fp32), Predict(candidate, c => c.Int8));
        var cost = measured.Cost(candidate);
        known.Add((candidate, cost));
        return cost;
    }

    /// <summary>
    /// An order in which the first <paramref name="measure"/> candidates span the list, the ends included: predictions then lie between measurements. Lists
    /// come sorted from small to large; 0 keeps them.
    /// </summary>
    public static IReadOnlyList<Candidate> Spread(IReadOnlyList<Candidate> list, int measure)
    {
        if (measure < Fewest || measure >= list.Count) return list;
        var first = Enumerable.Range(0, measure).Select(i => (int)Math.Round(i * (list.Count - 1.0) / (measure - 1))).ToHashSet();
        return [.. list.Where((_, i) => first.Contains(i)), .. list.Where((_, i) => !first.Contains(i))];
    }

    private FormCost Predict(Candidate candidate, Func<CandidateCost, FormCost> form)
    {
        var (estimate, rows) = (candidate.Estimate, known.Select(k => (k.Candidate.Estimate, Form: form(k.Cost))).ToArray());
        var latency = LatencyFit.Of([.. rows.Select(r => (r.Estimate, r.Form.LatencyMs))]).Predict(estimate);
        // Effort and size keep their ratio to multiply-accumulates and parameters from one candidate to the next.
        var ace = estimate.Macs * rows.Average(r => (double)r.Form.Ace / r.Form.Macs);
        var size = estimate.Parameters * rows.Average(r => (double)r.Form.SizeBytes / r.Form.Parameters);
        return new(rows[0].Form.Form, latency, estimate.Parameters, estimate.Macs, (long)ace, (long)size, Predicted: true);
    }
}
