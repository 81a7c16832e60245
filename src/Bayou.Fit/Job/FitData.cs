using Bayou.Data;

namespace Bayou.Fit;

/// <summary>Reading the pictures: splits, broken files, how they become tensors, what is done about rare classes.</summary>
internal sealed class FitData(FitRun run) : FitStep(run)
{
    public DataSplits ReadData(out DataReport report)
    {
        var splits = DataSplits.Open(Options.Data, new SplitOptions
        {
            Seed = Options.Seed,
            ValFraction = Options.ValFraction,
            TestFraction = Options.TestFraction,
            Progress = p => Progress.Status(p.Fraction ?? 0, $"downloading {p.File}"),
        });
        report = DataCheck.Run(splits,
            new DataCheckOptions
            {
                Cancellation = Cancel,
                Progress = (done, all) => Progress.Status((double)done / all, $"checking {done} of {all} pictures")
            });
        Progress.Line($"{report.Name}: {splits.Classes.Count} classes, {splits.Train.Count} training, {splits.Val.Count} validation and {splits.Test.Count} test pictures ({report.Origin})");
        foreach (var picture in report.Unreadable.Take(5)) Progress.Line($"  unreadable, skipped: {picture.Id}: {picture.Reason}");
        if (report.Unreadable.Length > 5) Progress.Line($"  ... and {report.Unreadable.Length - 5} more unreadable pictures (all are in the report)");
        foreach (var warning in report.Warnings) Progress.Line($"  note: {warning}");
        return splits.Without(report);
    }

    // A trained network expects the mean and deviation it was trained with.
    public Func<int, Preprocessing> Preprocessings(DataSplits splits, PretrainedModel? pretrained, int channels)
    {
        if (pretrained is null) return FitRecipe.Preprocessings(splits, channels, Options.Seed);
        if (pretrained.Preprocessing is { } stored && stored.Channels == channels) return size => stored with { Size = size };
        return size => Preprocessing.For(size, channels);
    }

    public BalanceMode Balance(DataSplits splits)
    {
        var counts = ClassBalance.Counts(splits.Train);
        var mode = ClassBalance.Resolve(Options.Balance, counts);
        var sizes = $"the largest class has {ClassBalance.Ratio(counts):0.#} times the training pictures of the smallest";
        if (mode == BalanceMode.Sampling)
            Note($"{sizes}: pictures of rare classes are shown up to {ClassBalance.RepeatFactors(counts).Max():0.0} times an epoch (repeat-factor sampling)");
        if (mode == BalanceMode.Weights) Note($"{sizes}: the loss of each picture is weighted by the inverse frequency of its class");
        return mode;
    }
}
