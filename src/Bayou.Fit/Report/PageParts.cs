using System.Globalization;

namespace Bayou.Fit;

/// <summary>Pieces of markup that several sections use.</summary>
internal static class PageParts
{
    public static readonly Html Nothing = new("");

    /// <summary>A plot in two widths; the style sheet shows the one that fits, so that its text keeps its size.</summary>
    public static void Plot(HtmlWriter page, string id, Html caption, Func<int, PlotImage> draw)
    {
        page.Add($"<figure><div class=\"wide\">{draw(1000).ToInline(id + "-w")}</div><div class=\"narrow\">{draw(380).ToInline(id + "-n")}</div>");
        page.Add($"<figcaption>{caption}</figcaption></figure>");
    }

    /// <summary>An inlined picture, or a box that says there is none.</summary>
    public static Html Picture(ReportPicture picture, string description)
    {
        var type = MediaType(picture.Png);
        if (type is null) return HtmlWriter.Of($"<span class=\"broken\" title=\"{description}\">no picture</span>");
        // Tiny pictures are shown as the squares they are made of, not as a blur.
        var look = PngWidth(picture.Png) is > 0 and < 64 ? "pixel" : "photo";
        return HtmlWriter.Of($"<img class=\"{look}\" src=\"data:{type};base64,{Convert.ToBase64String(picture.Png)}\" alt=\"{description}\" title=\"{description}\"/>");
    }

    /// <summary>A table cell with a number, sortable by its value.</summary>
    public static Html Cell(double? value, string text) =>
        HtmlWriter.Of($"<td class=\"n\" data-v=\"{(value is { } v && double.IsFinite(v) ? v.ToString("R", CultureInfo.InvariantCulture) : "")}\">{text}</td>");

    /// <summary>A table cell with a bar of a length in [0, 1].</summary>
    public static Html Bar(double share, string kind = "")
    {
        var percent = 100 * (double.IsFinite(share) ? Math.Clamp(share, 0, 1) : 0);
        return HtmlWriter.Of($"<td class=\"bar {kind}\" data-v=\"{percent:0.###}\"><i style=\"width:{percent:0.#}%\"></i></td>");
    }

    /// <summary>A name as people gave it: isolated, so that right-to-left names do not turn their neighbours around.</summary>
    public static Html Name(string? name) => HtmlWriter.Of($"<bdi>{name}</bdi>");

    /// <summary>A definition list of facts.</summary>
    public static void Facts(HtmlWriter page, IEnumerable<ReportFact> facts)
    {
        page.Add($"<dl class=\"facts\">");
        foreach (var fact in facts) page.Add($"<dt>{fact.Name}</dt><dd>{Name(fact.Value)}</dd>");
        page.Add($"</dl>");
    }

    /// <summary>The largest of the values that are numbers, or 0.</summary>
    public static double Largest(IEnumerable<double?> values) => values.OfType<double>().Where(double.IsFinite).DefaultIfEmpty(0).Max();

    private static string? MediaType(ReadOnlySpan<byte> file)
    {
        if (file.StartsWith<byte>([0x89, (byte)'P', (byte)'N', (byte)'G'])) return "image/png";
        if (file.StartsWith<byte>([0xFF, 0xD8, 0xFF])) return "image/jpeg";
        if (file.Length > 12 && file.StartsWith("RIFF"u8) && file[8..].StartsWith("WEBP"u8)) return "image/webp";
        return null;
    }

    // Bytes 16..19 of a PNG: the width in its IHDR chunk.
    private static int PngWidth(ReadOnlySpan<byte> file) =>
        file.Length >= 24 && MediaType(file) == "image/png" ? System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(file[16..]) : 0;
}
