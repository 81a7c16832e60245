using Bayou.Core;

namespace Bayou.Fit;

/// <summary>What every step of a fit shares: the options, the person waiting, the run store and the time that is left.</summary>
internal sealed record FitRun(FitOptions Options, IFitProgress Progress, RunStore Store, TimePlan Plan, List<string> Notes, CancellationToken Cancel)
{
    /// <summary>Begins a part of the job.</summary>
    public void Stage(string title)
    {
        Plan.Save();
        Progress.Stage(title);
    }

    /// <summary>For the terminal and for the report.</summary>
    public void Note(string text)
    {
        Notes.Add(text);
        Progress.Line($"  note: {text}");
    }
}

/// <summary>One part of the job.</summary>
internal abstract class FitStep(FitRun run)
{
    protected FitOptions Options => run.Options;

    protected IFitProgress Progress => run.Progress;

    protected RunStore Store => run.Store;

    protected TimePlan Plan => run.Plan;

    protected CancellationToken Cancel => run.Cancel;

    protected void Note(string text) => run.Note(text);
}
