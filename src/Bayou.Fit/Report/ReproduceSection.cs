using System.Globalization;

namespace Bayou.Fit;

/// <summary>The command, the seed, the machine, the versions and the files.</summary>
internal static class ReproduceSection
{
    public static bool Write(HtmlWriter page, FitReportData data)
    {
        var any = false;
        if (data.Command is { } command)
        {
            page.Add($"<div class=\"command\"><code>{command}</code><button type=\"button\" data-copy=\"1\">Copy</button></div>");
            page.Add($"<p class=\"note\">On the same kind of machine with the same number of threads, and with the measurements kept in the run's folder, this gives the same weights.</p>");
            any = true;
        }
        var facts = new List<ReportFact>();
        if (data.Seed is { } seed) facts.Add(new ReportFact("Seed", seed.ToString(CultureInfo.InvariantCulture)));
        facts.AddRange(data.Machine?.Facts ?? []);
        var versions = data.Machine?.Versions ?? [];
        if (facts.Count > 0 || versions.Count > 0)
        {
            page.Add($"<div class=\"pair\">");
            Column(page, "Machine", facts);
            Column(page, "Versions", versions);
            page.Add($"</div>");
            any = true;
        }
        if (data.Files.Count > 0)
        {
            page.Add($"<h3>Files of this run</h3><div class=\"scroll\"><table><thead><tr><th>File</th><th class=\"n\">Size</th><th>Contents</th></tr></thead><tbody>");
            foreach (var file in data.Files)
            {
                page.Add($"<tr><th class=\"name\" scope=\"row\">{PageParts.Name(file.Name)}</th><td class=\"n\">{Units.Bytes(file.SizeBytes)}</td>");
                page.Add($"<td>{PageParts.Name(file.Contents)}</td></tr>");
            }
            page.Add($"</tbody></table></div>");
            any = true;
        }
        return any;
    }

    private static void Column(HtmlWriter page, string title, IReadOnlyList<ReportFact> facts)
    {
        if (facts.Count == 0) return;
        page.Add($"<div><h3>{title}</h3>");
        PageParts.Facts(page, facts);
        page.Add($"</div>");
    }
}
