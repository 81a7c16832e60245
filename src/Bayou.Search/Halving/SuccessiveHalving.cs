using Bayou.Core;

namespace Bayou.Search;

/// <summary>Rounds of successive halving (Jamieson and Talwalkar, 2016): everyone is judged with a little effort, the better part again with more.</summary>
/// <param name="Keep">A round keeps 1/Keep of its candidates (rounded up).</param>
/// <param name="Effort">Pictures each candidate sees in the first round.</param>
/// <param name="Growth">Factor of the effort from round to round.</param>
/// <param name="Rounds">Number of rounds.</param>
public sealed record HalvingPlan(double Keep, long Effort, double Growth, int Rounds)
{
    /// <summary>Pictures a candidate sees in a round.</summary>
    public long EffortOf(int rung) => (long)Math.Round(Effort * Math.Pow(Growth, rung));
}

/// <summary>Chooses among candidates by successive halving; finished trials come from the run store, so that a killed search repeats none.</summary>
public static class SuccessiveHalving
{
    /// <summary>Runs the plan.</summary>
    /// <param name="candidates">Who takes part.</param>
    /// <param name="plan">The rounds.</param>
    /// <param name="judge">Judges.</param>
    /// <param name="store">Where trials are kept.</param>
    /// <param name="progress">Told before each trial (candidate, rung, index in the rung, candidates in the rung) and after it with the trial.</param>
    /// <param name="cancel">Stops between and inside trials.</param>
    /// <returns>All trials, and the candidates of the last round, best first.</returns>
    public static (IReadOnlyList<Trial> Trials, IReadOnlyList<Candidate> Ranking) Run(
        IReadOnlyList<Candidate> candidates,
        HalvingPlan plan,
        IQualityJudge judge,
        RunStore store,
        Action<Candidate, int, int, int, Trial?>? progress,
        CancellationToken cancel)
    {
        if (candidates.Count == 0) throw new BayouException("successive halving: no candidates");
        var all = new List<Trial>();
        var alive = candidates.ToList();
        for (var rung = 0; rung < plan.Rounds; rung++)
        {
            // One candidate needs no judging against itself.
            if (alive.Count == 1 && (rung > 0 || candidates.Count == 1)) break;
            var effort = plan.EffortOf(rung);
            var results = new List<(Candidate Candidate, Trial Trial)>();
            for (var i = 0; i < alive.Count; i++)
            {
                cancel.ThrowIfCancellationRequested();
                progress?.Invoke(alive[i], rung, i, alive.Count, null);
                var key = $"{alive[i].Key}/rung{rung}/{effort}";
                var trial = store.Trials.Get<Trial>(key);
                if (trial is null)
                {
                    trial = judge.Judge(alive[i], rung, effort, cancel);
                    store.Trials.Put(key, trial);
                }
                all.Add(trial);
                results.Add((alive[i], trial));
                progress?.Invoke(alive[i], rung, i, alive.Count, trial);
            }
            var ranked = results.OrderByDescending(r => double.IsNaN(r.Trial.Accuracy) ? -1 : r.Trial.Accuracy).ThenBy(r => r.Trial.Loss).ToList();
            if (double.IsNaN(ranked[0].Trial.Accuracy))
                throw new BayouException($"successive halving: every training of round {rung + 1} failed; the first said: {ranked[0].Trial.Note}");
            var keep = rung == plan.Rounds - 1 ? ranked.Count : Math.Max(1, (int)Math.Ceiling(ranked.Count / plan.Keep));
            alive = ranked.Take(keep).Where(r => !double.IsNaN(r.Trial.Accuracy)).Select(r => r.Candidate).ToList();
        }
        return (all, alive);
    }
}
