using Bayou.Data;
using Bayou.Train;
using ScottPlot;
using ScottPlot.TickGenerators;

namespace Bayou.Fit;

/// <summary>Plots of a robustness measurement, several models side by side.</summary>
public static class RobustnessPlots
{
    private static readonly MarkerShape[] markers =
        [MarkerShape.FilledCircle, MarkerShape.FilledDiamond, MarkerShape.FilledSquare, MarkerShape.FilledTriangleUp, MarkerShape.FilledTriangleDown,
            MarkerShape.OpenCircle];

    /// <summary>Quality under each corruption, mean over its severities, beside the clean one.</summary>
    /// <param name="results">One a model.</param>
    /// <param name="width">Width in pixels.</param>
    /// <param name="height">Height in pixels.</param>
    public static PlotImage ByCorruption(IReadOnlyList<RobustnessResult> results, int width = 1000, int height = 420)
    {
        var corruptions = results[0].Corruptions;
        var plot = PlotStyle.NewPlot("", $"{results[0].Metric} (%)");
        for (var i = 0; i < results.Count; i++)
        {
            var result = results[i];
            var colour = PlotStyle.Lines[i % PlotStyle.Lines.Count];
            // Models stand a little beside each other, so that equal values are both seen.
            var shift = (i - (results.Count - 1) / 2.0) * 0.12;
            double[] values = [100 * result.Clean, .. corruptions.Select(c => 100 * result.Quality(c))];
            var points = plot.Add.Scatter(values.Select((_, k) => k + shift).ToArray(), values);
            points.LineWidth = 0;
            points.MarkerShape = markers[i % markers.Length];
            points.MarkerSize = 9;
            points.Color = colour;
            points.LegendText = results.Count > 1 ? result.Model : "";
            for (var k = 1; k < values.Length; k++)
            {
                // The loss against clean pictures.
                var loss = plot.Add.Line(k + shift, values[0], k + shift, values[k]);
                loss.Color = colour;
                loss.LineWidth = 1.2f;
            }
        }
        plot.Axes.Bottom.TickGenerator =
            new NumericManual([.. Enumerable.Range(0, corruptions.Count + 1).Select(k => (double)k)], ["clean", .. corruptions.Select(Label)]);
        plot.Axes.Bottom.TickLabelStyle.Rotation = -35;
        plot.Axes.Bottom.TickLabelStyle.Alignment = Alignment.MiddleRight;
        plot.Axes.Bottom.MinimumSize = 92;
        plot.Axes.SetLimits(-0.5, corruptions.Count + 0.5, 0, 102);
        if (results.Count > 1) PlotStyle.AddLegend(plot);
        return new PlotImage(plot, width, height, "Quality under each corruption", []);
    }

    /// <summary>Mean quality over the corruptions at each severity; 0 is clean.</summary>
    /// <param name="results">One a model.</param>
    /// <param name="width">Width in pixels.</param>
    /// <param name="height">Height in pixels.</param>
    public static PlotImage BySeverity(IReadOnlyList<RobustnessResult> results, int width = 620, int height = 380)
    {
        var plot = PlotStyle.NewPlot("severity (0: clean)", $"{results[0].Metric} (%)");
        for (var i = 0; i < results.Count; i++)
        {
            var result = results[i];
            var severities = result.Cells.Select(c => c.Severity).Distinct().Order().ToArray();
            double[] values = [100 * result.Clean, .. severities.Select(s => 100 * result.Cells.Where(c => c.Severity == s).Average(c => c.Quality))];
            var line = plot.Add.Scatter([0, .. severities.Select(s => (double)s)], values);
            line.Color = PlotStyle.Lines[i % PlotStyle.Lines.Count];
            line.LineWidth = 2;
            line.MarkerShape = markers[i % markers.Length];
            line.MarkerSize = 8;
            line.LegendText = results.Count > 1 ? result.Model : "";
        }
        plot.Axes.SetLimits(-0.2, 5.2, 0, 102);
        plot.Axes.Bottom.TickGenerator = new NumericManual([0, 1, 2, 3, 4, 5], ["0", "1", "2", "3", "4", "5"]);
        if (results.Count > 1) PlotStyle.AddLegend(plot);
        return new PlotImage(plot, width, height, "Mean quality at each severity", PlotStyle.LineDashes);
    }

    /// <summary>A corruption's name for people.</summary>
    internal static string Label(Corruption corruption) => corruption.Name().Replace('_', ' ');
}
