namespace Bayou.Fit;

/// <summary>How the chosen candidate was trained.</summary>
internal static class TrainingSection
{
    public static bool Write(HtmlWriter page, FitReportData data)
    {
        if (data.Training is not { } training) return false;
        var facts = new List<string>();
        if (training.Seconds is { } seconds) facts.Add(Units.Duration(seconds));
        if (training.PicturesPerSecond is { } speed) facts.Add($"{Units.Exact((long)Math.Round(speed))} pictures a second");
        if (facts.Count > 0) page.Add($"<p class=\"note\">{string.Join(", ", facts)}</p>");

        var drawn = Curves(page, "acc", "Validation accuracy", "accuracy (%)", training.Accuracy, percent: true, tall: true);
        drawn |= Curves(page, "loss", "Loss", "loss", training.Loss, percent: false, tall: true);
        drawn |= Curves(page, "lr", "Learning rate", "learning rate", training.LearningRate, percent: false, tall: false);
        if (training.Recipe.Count > 0)
        {
            page.Add($"<h3>Recipe</h3>");
            PageParts.Facts(page, training.Recipe);
        }
        return drawn || facts.Count > 0 || training.Recipe.Count > 0;
    }

    private static bool Curves(HtmlWriter page, string id, string title, string axis, IReadOnlyList<ReportCurve> curves, bool percent, bool tall)
    {
        if (!curves.Any(c => c.X.Zip(c.Y).Any(p => double.IsFinite(p.First) && double.IsFinite(p.Second)))) return false;
        var last = curves.Where(c => c.Y.Count > 0).Select(c => id == "lr"
            ? $"{c.Name}: {Units.Significant(c.Y.Where(double.IsFinite).DefaultIfEmpty(double.NaN).Max())} at its peak"
            : $"{c.Name}: {(percent ? Units.Percent(c.Y[^1]) : Units.Significant(c.Y[^1]))} at the end");
        page.Add($"<h3>{title}</h3>");
        PageParts.Plot(page, id, HtmlWriter.Of($"{string.Join("; ", last)}."), width => Plots.Curves(curves, axis, "epoch", percent, width, tall ? 300 : 220));
        return true;
    }
}
