using System.Xml.Linq;
using Bayou.Core;
using Bayou.Fit;
using SkiaSharp;

namespace Bayou.Tests;

public sealed class ReportPlotTests
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    private static readonly AccuracyLatencyPoint[] Points =
    [
        new("a", "fp32", 1.0, 0.80), new("a", "int8", 0.6, 0.79), new("b", "fp32", 2.0, 0.90, MeetsBudget: false, ReportRole.Chosen),
        new("b", "int8", 1.2, 0.89, true, ReportRole.Chosen),
        new("c", "fp32", 3.0, null, MeetsBudget: false, Note: "too slow"),
    ];

    [Fact]
    public void AccuracyLatencyNamesAxesBudgetAndMarks()
    {
        var words = Words(Plots.AccuracyLatency(Points, 1.5).ToSvg());
        foreach (var word in new[] { "budget 1.5 ms", "chosen", "not trained", "accuracy (%)", "latency, p50 at batch 1 (ms)", "fp32", "INT8",
            "fp32, over budget" })
            Assert.Contains(word, words.Select(w => w.Replace('\u00A0', ' ')));
        Assert.DoesNotContain("best discarded", words);
        Assert.DoesNotContain(words, w => w.StartsWith("budget", StringComparison.Ordinal) && w.Contains("0 ms"));
    }

    [Fact]
    public void EveryPointCarriesAHintAtItsPlace()
    {
        var hints = XElement.Parse(Plots.AccuracyLatency(Points, 1.5).ToSvg()).Elements(Svg + "circle").ToList();
        Assert.Equal(Points.Length, hints.Count);
        double X(int i) => (double)hints[i].Attribute("cx")!;
        double Y(int i) => (double)hints[i].Attribute("cy")!;
        Assert.Contains("too slow", hints[4].Value);
        // Linear axes: equal steps of latency and accuracy are equal steps on the page.
        Assert.Equal((X(2) - X(0)) / 1.0, (X(4) - X(2)) / 1.0, 1);
        Assert.Equal((Y(0) - Y(2)) / 0.10, (Y(1) - Y(0)) / 0.01, 0.5);
        Assert.True(Y(4) > Y(1), "an untrained model stands below the worst trained one");
    }

    [Fact]
    public void WideRangesOfLatencyAreLogarithmic()
    {
        AccuracyLatencyPoint[] points = [new("a", "fp32", 0.1, 0.5), new("b", "fp32", 1, 0.6), new("c", "fp32", 10, 0.7)];
        var xs = XElement.Parse(Plots.AccuracyLatency(points).ToSvg()).Elements(Svg + "circle").Select(c => (double)c.Attribute("cx")!).ToList();
        Assert.Equal(xs[1] - xs[0], xs[2] - xs[1], 1);
    }

    [Fact]
    public void PngHasTheAskedSizeAndLegibleText()
    {
        var plot = Plots.AccuracyLatency(Points, 1.5, 600, 300);
        using var bitmap = SKBitmap.Decode(plot.ToPng(2));
        Assert.Equal((1200, 600), (bitmap.Width, bitmap.Height));
        Assert.Equal(new SKColor(255, 255, 254), bitmap.GetPixel(0, 0));
        // The bottom rows hold nothing but the axis title: without a font they would be empty.
        var dark = 0;
        for (var y = 560; y < 600; y++)
        {
            for (var x = 0; x < 1200; x++)
            {
                if (bitmap.GetPixel(x, y).Green < 110) dark++;
            }
        }
        Assert.InRange(dark, 300, 6000);
    }

    [Fact]
    public void GlyphsDiffer()
    {
        // A missing font draws the same box for every letter: "iiii" and "MMMM" must not take the same room.
        static double Width(string label) => Extent(Plots.Curves([new ReportCurve("x", [0, 1], [0, 1])], label).ToSvg(), label);
        Assert.True(Width("MMMM") > 2 * Width("iiii"));
    }

    [Fact]
    public void CurvesAreDashedInSvgAndLeaveGaps()
    {
        var svg = XElement.Parse(Plots.Curves(
            [new ReportCurve("first", [1, 2, 3, 4, 5], [1, 2, double.NaN, 3, 4]), new ReportCurve("second", [1, 5], [2, 3])], "loss").ToSvg());
        var blue = svg.Descendants(Svg + "path").Where(p => p.Attribute("stroke")?.Value == PlotStyle.Blue.ToHex()).ToList();
        Assert.Equal(3, blue.Count);        // two pieces and the legend
        Assert.All(blue, p => Assert.Null(p.Attribute("stroke-dasharray")));
        var orange = svg.Descendants(Svg + "path").Where(p => p.Attribute("stroke")?.Value == PlotStyle.Orange.ToHex()).ToList();
        Assert.Equal(2, orange.Count);
        Assert.All(orange, p => Assert.NotNull(p.Attribute("stroke-dasharray")));
        Assert.Contains("second", Words(svg.ToString()));
    }

    [Fact]
    public void LongCurvesStaySmall()
    {
        var x = Enumerable.Range(0, 200_000).Select(i => (double)i).ToList();
        Assert.InRange(Plots.Curves([new ReportCurve("loss", x, x)], "loss").ToSvg().Length, 1, 60_000);
    }

    [Fact]
    public void NothingToShowIsSaid()
    {
        Assert.Contains("nothing to show", Assert.Throws<BayouException>(() => Plots.AccuracyLatency([new("a", "fp32", double.NaN, 1)])).Message);
        Assert.Contains("nothing to show", Assert.Throws<BayouException>(() => Plots.Curves([new ReportCurve("a", [1], [double.NaN])], "loss")).Message);
        Assert.Contains("1 positions and 2 values", Assert.Throws<BayouException>(() => Plots.Curves([new ReportCurve("a", [1], [1, 2])], "loss")).Message);
    }

    private static List<string> Words(string svg) => XElement.Parse(svg).Descendants(Svg + "text").Select(t => t.Value).ToList();

    // Distance from the first to the last glyph.
    private static double Extent(string svg, string word)
    {
        var xs = XElement.Parse(svg).Descendants(Svg + "text").Single(t => t.Value == word).Attribute("x")!.Value.Split(", ").Select(double.Parse).ToList();
        return xs[^1] - xs[0];
    }
}
