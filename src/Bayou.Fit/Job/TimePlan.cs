using System.Diagnostics;
using Bayou.Core;

namespace Bayou.Fit;

/// <summary>
/// How a fit with --time spends it: at most a fifth on candidates, 30 % on the search, and what is left but a reserve for quantising, shipping and the report
/// on the training. The seconds of earlier sessions of the same run count, and what was decided is kept in the run store, so that a resumed run decides the
/// same.
/// </summary>
internal sealed class TimePlan
{
    private readonly double? limit;
    private readonly RunStore store;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly double before;

    public TimePlan(double? limitSeconds, RunStore store)
    {
        (limit, this.store) = (limitSeconds, store);
        before = store.Facts.Get<double>("seconds");
    }

    /// <summary>Whether there is a limit.</summary>
    public bool Limited => limit is not null;

    /// <summary>The limit in seconds; infinite without one.</summary>
    public double Limit => limit ?? double.PositiveInfinity;

    /// <summary>Seconds spent, in all sessions.</summary>
    public double Spent => before + clock.Elapsed.TotalSeconds;

    /// <summary>Kept for what comes after the training.</summary>
    public double Reserve => 15 + 0.12 * Limit;

    /// <summary>Seconds left for the training.</summary>
    public double Left => Math.Max(0, Limit - Spent - Reserve);

    /// <summary>Whether no more candidates should be measured.</summary>
    public bool EnoughCandidates(int measured) => Limited && measured >= 3 && Spent > 0.2 * Limit;

    /// <summary>Writes the time spent into the store: at the end of every stage, and when the run is interrupted.</summary>
    public void Save() => store.Facts.Put("seconds", Spent);

    /// <summary>A decision: made once, and the same in every later session.</summary>
    public T Decide<T>(string what, Func<T> make) where T : class
    {
        if (store.Facts.Get<T>("plan/" + what) is { } known) return known;
        var decision = make();
        store.Facts.Put("plan/" + what, decision);
        return decision;
    }
}

/// <summary>The search under a time limit.</summary>
internal sealed record SearchPlan(int Trainees, long Effort, int Rounds);

/// <summary>The final training under a time limit: passes, and pictures of each pass.</summary>
internal sealed record TrainingPlan(int Epochs, int Pictures);
