using ScottPlot;
using ScottPlot.TickGenerators;
using BayouException = Bayou.Core.BayouException;

namespace Bayou.Fit;

/// <summary>Plots of costs: bars for layers, predictions against measurements.</summary>
public static class CostPlots
{
    /// <summary>One horizontal bar for each layer, first on top. More than forty layers are thinned to the forty largest.</summary>
    /// <param name="bars">Layers and their values.</param>
    /// <param name="label">What the values are, with their unit.</param>
    /// <param name="width">Width in pixels.</param>
    /// <exception cref="BayouException">There are no finite values.</exception>
    public static PlotImage Layers(IReadOnlyList<(string Layer, double Value)> bars, string label, int width = 860)
    {
        var finite = bars.Where(b => double.IsFinite(b.Value)).ToList();
        if (finite.Count == 0) throw new BayouException($"The plot of {label} has nothing to show: no layer has a value.");
        var least = finite.OrderByDescending(b => Math.Abs(b.Value)).Take(40).Min(b => Math.Abs(b.Value));
        var shown = finite.Where(b => Math.Abs(b.Value) >= least).Take(40).ToList();
        var plot = PlotStyle.NewPlot(label, "");
        var drawn = plot.Add.Bars(shown.Select((b, i) => new Bar { Position = -i, Value = b.Value, FillColor = PlotStyle.Blue, LineWidth = 0, Size = 0.7 }).ToArray());
        drawn.Horizontal = true;
        plot.Axes.Left.TickGenerator = new NumericManual([.. shown.Select((_, i) => (double)-i)], [.. shown.Select(b => b.Layer)]);
        plot.Axes.Left.TickLabelStyle.FontSize = 10;
        plot.Axes.AutoScale();
        return new PlotImage(plot, width, 90 + 16 * shown.Count, $"{label} of {shown.Count} layers.", [(PlotStyle.Blue, LinePattern.Solid)]);
    }

    /// <summary>Predicted over measured values: what lies on the diagonal is right.</summary>
    /// <param name="points">Name of each point's group (one colour a group), measured and predicted value.</param>
    /// <param name="unit">Unit of both.</param>
    /// <param name="width">Width in pixels.</param>
    /// <exception cref="BayouException">There are no points.</exception>
    public static PlotImage PredictedMeasured(IReadOnlyList<(string Group, double Measured, double Predicted)> points, string unit = "ms", int width = 520)
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
            var markers = plot.Add.Markers(groups[g].Select(p => new Coordinates(p.Measured, p.Predicted)).ToArray(), g % 2 == 0 ? MarkerShape.FilledCircle : MarkerShape.FilledDiamond, 6, colours[g % colours.Count]);
            markers.LegendText = groups[g].Key;
        }
        plot.Axes.SetLimits(low - margin, high + margin, low - margin, high + margin);
        PlotStyle.AddLegend(plot);
        return new PlotImage(plot, width, width, $"Predicted over measured {unit} of {finite.Count} points.", PlotStyle.LineDashes);
    }
}
