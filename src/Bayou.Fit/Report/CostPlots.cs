using ScottPlot;
using ScottPlot.TickGenerators;
using BayouException = Bayou.Core.BayouException;

namespace Bayou.Fit;

/// <summary>Plots of costs: bars for layers, predictions against measurements.</summary>
public static class CostPlots
{
    private const int MostLayers = 40;

    /// <summary>
    /// Horizontal bars for each layer, one for each series, first layer on top. Of more than forty layers the forty with the largest values are shown.
    /// </summary>
    /// <param name="layers">Layers and their values, one for each series.</param>
    /// <param name="series">Names of the series; with one there is no legend.</param>
    /// <param name="label">What the values are, with their unit.</param>
    /// <param name="width">Width in pixels.</param>
    /// <exception cref="BayouException">There are no finite values.</exception>
    public static PlotImage Layers(IReadOnlyList<(string Layer, IReadOnlyList<double> Values)> layers, IReadOnlyList<string> series, string label,
        int width = 860)
    {
        var finite = layers.Where(b => b.Values.All(double.IsFinite)).ToList();
        if (finite.Count == 0) throw new BayouException($"The plot of {label} has nothing to show: no layer has a value.");
        var shown = finite.Index().OrderByDescending(b => b.Item.Values.Max(Math.Abs)).Take(MostLayers).OrderBy(b => b.Index).Select(b => b.Item).ToList();
        var plot = PlotStyle.NewPlot(shown.Count < finite.Count ? $"{label}; the {shown.Count} largest of {finite.Count} layers" : label, "");
        var thick = 0.8 / series.Count;
        for (var s = 0; s < series.Count; s++)
        {
            var colour = PlotStyle.Lines[s % PlotStyle.Lines.Count];
            var drawn = plot.Add.Bars(shown.Select((b, i) =>
                new Bar { Position = -i + 0.4 - thick * (s + 0.5), Value = b.Values[s], FillColor = colour, LineWidth = 0, Size = thick }).ToArray());
            drawn.Horizontal = true;
            if (series.Count > 1) drawn.LegendText = series[s];
        }
        plot.Axes.Left.TickGenerator = new NumericManual([.. shown.Select((_, i) => (double)-i)], [.. shown.Select(b => b.Layer)]);
        plot.Axes.Left.TickLabelStyle.FontSize = 10;
        plot.Axes.AutoScale();
        plot.Axes.SetLimitsY(-shown.Count + 0.4, 0.6);
        if (series.Count > 1) PlotStyle.AddLegend(plot);
        return new PlotImage(plot, width, 90 + shown.Count * Math.Max(16, 8 * series.Count), $"{label} of {shown.Count} layers.",
            [.. PlotStyle.Lines.Select(c => (c, LinePattern.Solid))]);
    }

    /// <summary>Predicted over measured values: what lies on the diagonal is right.</summary>
    /// <param name="points">Name of each point's group (one colour a group), measured and predicted value.</param>
    /// <param name="unit">Unit of both.</param>
    /// <param name="width">Width in pixels.</param>
    /// <exception cref="BayouException">There are no points.</exception>
    public static PlotImage PredictedMeasured(IReadOnlyList<(string Group, double Measured, double Predicted)> points, string unit = "ms", int width = 860)
    {
        var finite = points.Where(p => double.IsFinite(p.Measured) && double.IsFinite(p.Predicted)).ToList();
        if (finite.Count == 0) throw new BayouException("The plot of predictions has nothing to show: nothing was both predicted and measured.");
        var plot = PlotStyle.NewPlot($"measured ({unit})", $"predicted ({unit})");
        var (low, high) = (finite.Min(p => Math.Min(p.Measured, p.Predicted)), finite.Max(p => Math.Max(p.Measured, p.Predicted)));
        var margin = Math.Max(1e-9, 0.05 * (high - low));
        plot.Add.ScatterLine(new[] { new Coordinates(low - margin, low - margin), new Coordinates(high + margin, high + margin) }, PlotStyle.Muted);
        var colours = PlotStyle.Lines;
        var groups = finite.GroupBy(p => p.Group).ToList();
        for (var g = 0; g < groups.Count; g++)
        {
            var markers = plot.Add.Markers(groups[g].Select(p => new Coordinates(p.Measured, p.Predicted)).ToArray(),
                g % 2 == 0 ? MarkerShape.FilledCircle : MarkerShape.FilledDiamond, 6, colours[g % colours.Count]);
            markers.LegendText = groups[g].Key;
        }
        plot.Axes.SetLimits(low - margin, high + margin, low - margin, high + margin);
        PlotStyle.AddLegend(plot);
        return new PlotImage(plot, width, Math.Min(width, 440), $"Predicted over measured {unit} of {finite.Count} points.", PlotStyle.LineDashes);
    }
}
