using Bayou.Data;
using Bayou.Search;

namespace Bayou.Fit;

/// <summary>Which of the candidates that fit is worth the long training: successive halving.</summary>
internal sealed class FitSearch(FitRun run) : FitStep(run)
{
    // The halving as asked for, or as much of it as 30 % of the time allow.
    public SearchPlan SearchPlanFor(List<Candidate> fitting, TrainingSetup setup)
    {
        var asked = new SearchPlan(Options.Trainees, Options.Effort ?? Math.Max(4000, setup.Splits.Train.Count / 10), Options.Rounds);
        if (!Plan.Limited) return asked;
        return Plan.Decide("search", () =>
        {
            Progress.Status(0, "measuring the speed of training");
            var speed = ShortTraining.Speed(fitting[0], setup) / Math.Max(1, FoldCount(setup.Splits));
            var pictures = 0.3 * Plan.Limit * speed;
            foreach (var trainees in new[] { asked.Trainees, 4, 3, 2 }.Where(t => t <= asked.Trainees))
            {
                // Every further round sees three times the pictures with a third of the candidates.
                var share = Enumerable.Range(0, asked.Rounds).Sum(r => Math.Pow(3, r) * Math.Ceiling(trainees / Math.Pow(3, r)));
                var effort = (long)Math.Min(asked.Effort, pictures / share);
                if (effort >= Math.Min(asked.Effort, 1500)) return new SearchPlan(trainees, effort, asked.Rounds);
            }
            // No time to compare: the largest that fits.
            return new SearchPlan(1, asked.Effort, 1);
        });
    }

    private int FoldCount(DataSplits splits)
    {
        if (Options.Folds is { } asked) return asked <= 1 ? 0 : asked;
        var smallest = ClassBalance.Counts(new Concatenation(splits.Train, splits.Val)).Where(c => c > 0).Min();
        return smallest < 100 ? 5 : 0;
    }

    public (IReadOnlyList<Trial>, IReadOnlyList<Candidate>) Search(List<Candidate> trainees, HalvingPlan halving, TrainingSetup setup)
    {
        var folds = FoldCount(setup.Splits);
        if (folds > 0 && trainees.Count > 1)
            Note(Options.Folds is null
                ? $"a class has fewer than 100 pictures: candidates are judged by {folds}-fold cross-validation"
                : $"candidates are judged by {folds}-fold cross-validation");
        var (rung, index, count) = (0, 0, 1);
        // A trial that takes far more than its share ends where it is.
        var most = Plan.Limited ? Math.Max(10, 0.3 * Plan.Limit) : 0;
        var judge = new ShortTraining(setup, folds, most,
            (fraction, text) => Progress.Status((index + fraction) / count, $"round {rung + 1}, candidate {index + 1} of {count}: {text}"));
        return SuccessiveHalving.Run(trainees, halving, judge, Store, (candidate, r, i, n, trial) =>
        {
            (rung, index, count) = (r, i, n);
            if (trial is null) Progress.Status((double)i / n, $"round {r + 1}, candidate {i + 1} of {n}");
            else Progress.Line($"  round {r + 1}: {candidate.Description}: {(double.IsNaN(trial.Accuracy) ? trial.Note : $"{trial.Accuracy:P1} on validation after {trial.Effort} pictures, {trial.Seconds:0.0} s")}");
        }, Cancel);
    }
}
