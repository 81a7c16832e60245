using ScottPlot;
using BayouException = Bayou.Core.BayouException;

namespace Bayou.Fit;

/// <summary>One picture of <see cref="HeatMaps"/>.</summary>
/// <param name="Title">Stands above it.</param>
/// <param name="Values">Row by row, 0..1.</param>
/// <param name="Height">Rows.</param>
/// <param name="Width">Columns.</param>
/// <param name="Frames">Centred squares to outline: what they are, and their side in pixels of the map.</param>
public sealed record HeatMap(string Title, IReadOnlyList<double> Values, int Height, int Width, IReadOnlyList<(string Name, int Side)> Frames);

/// <summary>Heat maps side by side on one scale.</summary>
public static class HeatMaps
{
    private const int Pixels = 256;     // a map is averaged down to at most so many rows: more than its place in the picture has

    /// <summary>Draws maps in a row, each as wide as high, with its title and its frames.</summary>
    /// <param name="maps">The maps.</param>
    /// <param name="side">Side of one map in CSS pixels.</param>
    /// <exception cref="BayouException">There is none, or one has another number of values than its size says.</exception>
    public static PlotImage Row(IReadOnlyList<HeatMap> maps, int side = 280)
    {
        if (maps.Count == 0) throw new BayouException("There is no heat map to draw.");
        var plot = PlotStyle.NewPlot("", "");
        plot.HideAxesAndGrid();
        const double gap = 0.08;
        for (var i = 0; i < maps.Count; i++)
        {
            var map = maps[i];
            if (map.Values.Count != map.Height * map.Width)
                throw new BayouException($"The heat map '{map.Title}' has {map.Values.Count} values for {map.Height} x {map.Width}.");
            var left = i * (1 + gap);
            var image = plot.Add.Heatmap(Shrunk(map));
            image.Colormap = new ScottPlot.Colormaps.Viridis();
            image.ManualRange = new ScottPlot.Range(0, 1);
            image.Position = new CoordinateRect(left, left + 1, 0, 1);
            var title = plot.Add.Text(HtmlWriter.Clean(map.Title), left + 0.5, 1.03);
            title.LabelStyle.Alignment = Alignment.LowerCenter;
            title.LabelStyle.FontSize = 13;
            title.LabelStyle.ForeColor = PlotStyle.Ink;
            foreach (var (name, frame) in map.Frames)
            {
                double halfWidth = frame / 2.0 / map.Width, halfHeight = frame / 2.0 / map.Height;
                var box = plot.Add.Rectangle(left + 0.5 - halfWidth, left + 0.5 + halfWidth, 0.5 - halfHeight, 0.5 + halfHeight);
                box.FillColor = Colors.Transparent;
                box.LineColor = PlotStyle.Paper;
                box.LineWidth = 1.2f;
                var label = plot.Add.Text(HtmlWriter.Clean(name), left + 0.5 - halfWidth, 0.5 + halfHeight);
                label.LabelStyle.Alignment = Alignment.UpperLeft;
                label.LabelStyle.FontSize = 10;
                label.LabelStyle.ForeColor = PlotStyle.Paper;
            }
        }
        plot.Axes.SetLimits(-0.02, maps.Count * (1 + gap) - gap + 0.02, -0.02, 1.12);
        return new PlotImage(plot, (int)(maps.Count * side * (1 + gap)), (int)(side * 1.14), $"Heat maps: {string.Join(", ", maps.Select(m => m.Title))}.", []);
    }

    private static double[,] Shrunk(HeatMap map)
    {
        var (rows, columns) = (Math.Min(map.Height, Pixels), Math.Min(map.Width, Pixels));
        var values = new double[rows, columns];
        var counts = new int[rows, columns];
        for (var y = 0; y < map.Height; y++)
        {
            for (var x = 0; x < map.Width; x++)
            {
                var (r, c) = (y * rows / map.Height, x * columns / map.Width);
                values[r, c] += map.Values[y * map.Width + x];
                counts[r, c]++;
            }
        }
        for (var r = 0; r < rows; r++)
            for (var c = 0; c < columns; c++) values[r, c] /= counts[r, c];
        return values;
    }
}
