using System.Globalization;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using ScottPlot;

namespace Bayou.Fit;

/// <summary>A place of a plot that explains itself when pointed at (in the SVG forms).</summary>
/// <param name="At">Where, in the plot's coordinates.</param>
/// <param name="Text">What it says; lines separated by <c>\n</c>.</param>
internal readonly record struct PlotHint(Coordinates At, string Text);

/// <summary>A finished plot, to be had as SVG or as PNG. The font comes with Bayou, so it looks the same on a machine that has none.</summary>
public sealed partial class PlotImage
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    private readonly Plot plot;
    private readonly string description;
    private readonly IReadOnlyList<PlotHint> hints;
    private readonly IReadOnlyList<(Color Colour, LinePattern Dash)> dashes;

    /// <summary>Takes a plot whose lines are all solid; <paramref name="dashes"/> says which colours are to be dashed.</summary>
    internal PlotImage(
        Plot plot, int width, int height, string description, IReadOnlyList<(Color Colour, LinePattern Dash)> dashes, IReadOnlyList<PlotHint>? hints = null)
    {
        this.plot = plot;
        this.description = description;
        this.dashes = dashes;
        this.hints = hints ?? [];
        Width = width;
        Height = height;
    }

    /// <summary>Width in CSS pixels.</summary>
    public int Width { get; }

    /// <summary>Height in CSS pixels.</summary>
    public int Height { get; }

    /// <summary>A complete SVG file in light colours on white.</summary>
    public string ToSvg() => Clean("plot", themed: false).ToString(SaveOptions.DisableFormatting);

    /// <summary>A PNG on white, <paramref name="scale"/> pixels to one of <see cref="Width"/> (2: sharp on a good screen and in a README).</summary>
    public byte[] ToPng(double scale = 2)
    {
        plot.FigureBackground.Color = PlotStyle.Paper;
        plot.ScaleFactor = scale;
        SetDashes(on: true);
        try
        {
            return plot.GetImage((int)Math.Round(Width * scale), (int)Math.Round(Height * scale)).GetImageBytes(ImageFormat.Png);
        }
        finally
        {
            SetDashes(on: false);
            plot.ScaleFactor = 1;
        }
    }

    /// <summary>SVG to stand inside a page: no namespace, no background, colours from the page's CSS variables, ids that cannot collide.</summary>
    internal Html ToInline(string id)
    {
        var svg = Clean(id, themed: true);
        foreach (var element in svg.DescendantsAndSelf()) element.Name = element.Name.LocalName;
        svg.Attributes().Where(a => a.IsNamespaceDeclaration).Remove();
        return new Html(svg.ToString(SaveOptions.DisableFormatting));
    }

    // Skia's SVG, tidied: scales with its box, speaks to screen readers, carries hints, names fonts that every system has.
    private XElement Clean(string id, bool themed)
    {
        plot.FigureBackground.Color = themed ? Colors.Transparent : PlotStyle.Paper;
        var svg = XElement.Parse(plot.GetSvgXml(Width, Height));
        svg.Attributes().Where(a => a.IsNamespaceDeclaration && a.Value != Svg.NamespaceName).Remove();
        svg.SetAttributeValue("viewBox", string.Create(CultureInfo.InvariantCulture, $"0 0 {Width} {Height}"));
        svg.SetAttributeValue("role", "img");
        svg.SetAttributeValue("aria-label", HtmlWriter.Clean(description));
        RenumberIds(svg, id);

        foreach (var element in svg.Descendants().ToList())
        {
            if (DashOf(element) is { Intervals.Length: > 0 } dash)
                element.SetAttributeValue("stroke-dasharray", string.Join(' ', dash.Intervals.Select(i => Number(i))));
            foreach (var attribute in element.Attributes().ToList()) Tidy(attribute, themed);
            if (element.Name.LocalName != "text") continue;
            element.Value = element.Value.Trim();
            if (element.Attribute("fill") is null) element.SetAttributeValue("fill", Paint(PlotStyle.Ink.ToHex(), themed));
        }
        foreach (var hint in hints)
        {
            var at = plot.GetPixel(hint.At);
            svg.Add(new XElement(Svg + "circle",
                new XAttribute("class", "hint"),
                new XAttribute("cx", Number(at.X)), new XAttribute("cy", Number(at.Y)), new XAttribute("r", "9"), new XAttribute("fill", "transparent"),
                new XElement(Svg + "title", string.Join('\n', hint.Text.Split('\n').Select(HtmlWriter.Clean)))));
        }
        return svg;
    }

    // Skia numbers clip paths through the whole process: several plots on one page would be fine, but no two runs would write the same file.
    private static void RenumberIds(XElement svg, string id)
    {
        var names = new Dictionary<string, string>();
        foreach (var attribute in svg.Descendants().Attributes("id")) attribute.Value = names[attribute.Value] = $"{id}-{names.Count + 1}";
        foreach (var attribute in svg.Descendants().Attributes("clip-path"))
        {
            var old = attribute.Value["url(#".Length..^1];
            attribute.Value = $"url(#{names[old]})";
        }
    }

    // Skia's SVG knows no dashes: it draws some lines solid, cuts others into slivers, and says so on the error stream. So the plot is drawn solid for SVG,
    // where the dash is an attribute, and dashed for PNG.
    private void SetDashes(bool on)
    {
        foreach (var line in plot.GetPlottables().OfType<IHasLine>())
        {
            foreach (var (colour, dash) in dashes)
            {
                if (line.LineColor == colour) line.LinePattern = on ? dash : LinePattern.Solid;
            }
        }
    }

    private LinePattern? DashOf(XElement element)
    {
        if (element.Name.LocalName is not ("path" or "line") || element.Attribute("stroke")?.Value is not { } stroke) return null;
        foreach (var (colour, dash) in dashes)
        {
            if (stroke.Equals(colour.ToHex(), StringComparison.OrdinalIgnoreCase)) return dash;
        }
        return null;
    }

    private static void Tidy(XAttribute attribute, bool themed)
    {
        switch (attribute.Name.LocalName)
        {
            case "fill" or "stroke":
                attribute.Value = Paint(attribute.Value, themed);
                break;
            case "font-family":
                attribute.Value = $"{PlotFonts.Name}, Arial, Helvetica, sans-serif";
                break;
            case "x" or "y" or "d" or "cx" or "cy" or "rx" or "ry" or "width" or "height" or "transform":
                attribute.Value = LongNumber().Replace(attribute.Value, m => Number(double.Parse(m.Value, CultureInfo.InvariantCulture))).TrimEnd(',', ' ');
                break;
        }
    }

    // The plot is drawn in the light palette; in a page each of its colours is the fallback of a CSS variable of the same name.
    private static string Paint(string colour, bool themed)
    {
        if (!themed) return colour;
        foreach (var (name, light) in PlotStyle.Palette)
        {
            if (colour.Equals(light.ToHex(), StringComparison.OrdinalIgnoreCase)) return $"var(--plot-{name}, {colour})";
        }
        return colour;
    }

    private static string Number(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    [GeneratedRegex(@"-?\d+\.\d+(e-?\d+)?")]
    private static partial Regex LongNumber();
}
