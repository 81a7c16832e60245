using ScottPlot;

namespace Bayou.Fit;

/// <summary>
/// The look of every plot: the palette of Okabe and Ito (told apart with any colour vision, and always with a second cue: marker or dash), thin grey axes,
/// no box. Each colour is unique, because the report maps it back to a CSS variable for the dark page.
/// </summary>
internal static class PlotStyle
{
    public static readonly Color Paper = Color.FromHex("#FFFFFE");
    public static readonly Color Ink = Color.FromHex("#24292F");
    public static readonly Color Muted = Color.FromHex("#6E7781");
    public static readonly Color Grid = Color.FromHex("#E4E7EB");
    public static readonly Color Blue = Color.FromHex("#0072B2");
    public static readonly Color Orange = Color.FromHex("#E08A00");
    public static readonly Color Green = Color.FromHex("#009E73");
    public static readonly Color Red = Color.FromHex("#D55E00");
    public static readonly Color Purple = Color.FromHex("#B0578D");
    public static readonly Color Sky = Color.FromHex("#3AA0D8");

    /// <summary>The palette by the name of its CSS variable (<c>--plot-NAME</c>).</summary>
    public static readonly IReadOnlyList<(string Name, Color Light)> Palette =
    [
        ("paper", Paper), ("ink", Ink), ("muted", Muted), ("grid", Grid), ("blue", Blue), ("orange", Orange), ("green", Green), ("red", Red),
        ("purple", Purple), ("sky", Sky),
    ];

    /// <summary>Colours of lines, in order.</summary>
    public static readonly IReadOnlyList<Color> Lines = [Blue, Orange, Green, Purple, Red, Sky];

    /// <summary>The dash of each line's colour: the second cue.</summary>
    public static readonly IReadOnlyList<(Color Colour, LinePattern Dash)> LineDashes =
    [
        (Blue, LinePattern.Solid), (Orange, LinePattern.DenselyDashed), (Green, LinePattern.Dotted), (Purple, LinePattern.Dashed), (Red, LinePattern.Solid),
        (Sky, LinePattern.DenselyDashed),
    ];

    /// <summary>An empty plot with the style on.</summary>
    public static Plot NewPlot(string xLabel, string yLabel)
    {
        PlotFonts.Register();
        var plot = new Plot();
        plot.Font.Set(PlotFonts.Name);
        plot.DataBackground.Color = Colors.Transparent;
        plot.Grid.MajorLineColor = Grid;
        plot.Axes.Right.FrameLineStyle.Width = 0;
        plot.Axes.Top.FrameLineStyle.Width = 0;
        plot.Axes.Left.FrameLineStyle.Width = 0;
        plot.Axes.Bottom.FrameLineStyle.Color = Muted;
        foreach (IAxis axis in new IAxis[] { plot.Axes.Left, plot.Axes.Bottom })
        {
            axis.TickLabelStyle.ForeColor = Muted;
            axis.TickLabelStyle.FontSize = 12;
            axis.MajorTickStyle.Length = axis == plot.Axes.Bottom ? 4 : 0;
            axis.MajorTickStyle.Color = Muted;
            axis.MinorTickStyle.Length = 0;
            axis.Label.FontSize = 12.5f;
            axis.Label.Bold = false;
            axis.Label.ForeColor = Ink;
        }
        plot.XLabel(xLabel, 12.5f);
        plot.YLabel(yLabel, 12.5f);
        return plot;
    }

    /// <summary>A legend above the data, wrapped to the plot's width.</summary>
    public static void AddLegend(Plot plot)
    {
        var panel = plot.ShowLegend(Edge.Top);
        panel.Alignment = Alignment.UpperLeft;
        panel.Padding = new PixelPadding(0, 0, 4, 0);
        var legend = plot.Legend;
        legend.Orientation = Orientation.Horizontal;
        legend.TightHorizontalWrapping = true;
        legend.FontName = PlotFonts.Name;
        legend.FontSize = 12.5f;
        legend.FontColor = Ink;
        legend.OutlineWidth = 0;
        legend.ShadowColor = Colors.Transparent;
        legend.BackgroundColor = Colors.Transparent;
        legend.InterItemPadding = new PixelPadding(0, 16, 0, 4);
        legend.Padding = new PixelPadding(0);
        legend.Margin = new PixelPadding(0, 0, 6, 4);
    }
}
