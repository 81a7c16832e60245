namespace Bayou.Fit;

/// <summary>What the data is: counts, a contact sheet, what the check found.</summary>
internal static class DataSection
{
    private const int PicturesOfAClass = 16;
    private const int OpenClasses = 30;         // beyond this many the sheet is folded away

    public static bool Write(HtmlWriter page, FitReportData data)
    {
        if (data.Data is not { } check) return false;
        if (check.Description is { } description) page.Add($"<p>{PageParts.Name(description)}</p>");
        WriteWarnings(page, check);
        if (check.Counts.Count > 0) WriteTotals(page, check);
        if (data.Classes.Count > 0 && (check.Samples.Count > 0 || check.Counts.Count > 0)) WriteSheet(page, data, check);
        return true;
    }

    private static void WriteWarnings(HtmlWriter page, ReportDataCheck check)
    {
        if (check.Warnings.Count == 0)
        {
            page.Add($"<div class=\"fine\">The data check found nothing to warn about.</div>");
            return;
        }
        foreach (var warning in check.Warnings)
        {
            page.Add($"<div class=\"warning\"><p><strong>{PageParts.Name(warning.Title)}</strong></p>");
            if (warning.Detail is { } detail) page.Add($"<p>{PageParts.Name(detail)}</p>");
            if (warning.Items is { Count: > 0 } items)
            {
                page.Add($"<details><summary>{(items.Count == 1 ? "Show it" : $"Show {Units.Exact(items.Count)}")}</summary><ul class=\"plain\">");
                foreach (var item in items) page.Add($"<li>{PageParts.Name(item)}</li>");
                page.Add($"</ul></details>");
            }
            page.Add($"</div>");
        }
    }

    private static void WriteTotals(HtmlWriter page, ReportDataCheck check)
    {
        long train = check.Counts.Sum(c => (long)c.Train), validation = check.Counts.Sum(c => (long)c.Validation), test = check.Counts.Sum(c => (long)c.Test);
        page.Add($"<p class=\"note\">{Units.Exact(train + validation + test)} pictures in {Units.Exact(check.Counts.Count)} classes: {Units.Exact(train)} to train on, ");
        page.Add($"{Units.Exact(validation)} to choose by, {Units.Exact(test)} for the test, which was used once, at the end.</p>");
    }

    private static void WriteSheet(HtmlWriter page, FitReportData data, ReportDataCheck check)
    {
        var pictures = check.Samples.ToLookup(p => p.Label);
        var largest = Math.Max(1, check.Counts.Select(Total).DefaultIfEmpty(0).Max());
        var folded = data.Classes.Count > OpenClasses;
        if (folded) page.Add($"<details><summary>Contact sheet of all {Units.Exact(data.Classes.Count)} classes</summary>");
        page.Add($"<div class=\"{(folded ? "scroll tall" : "scroll")}\"><table class=\"sheet\"><tbody>");
        for (var i = 0; i < data.Classes.Count; i++)
        {
            page.Add($"<tr><th scope=\"row\"><span class=\"clip\" title=\"{data.Classes[i]}\">{PageParts.Name(data.Classes[i])}</span>");
            if (check.Counts.Count > 0)
            {
                var count = check.Counts[i];
                page.Add($"<span class=\"sub\" title=\"{Split(count)}\">{Units.Exact(Total(count))} pictures</span>");
                page.Add($"<span class=\"meter\"><i style=\"width:{(int)Math.Round(100.0 * Total(count) / largest)}%\"></i></span>");
            }
            page.Add($"</th><td><div class=\"strip\">");
            foreach (var picture in pictures[i].Take(PicturesOfAClass))
                page.Add(PageParts.Picture(picture, picture.Name is { } name ? $"{data.Classes[i]}: {name}" : data.Classes[i]));
            page.Add($"</div></td></tr>");
        }
        page.Add($"</tbody></table></div>");
        if (folded) page.Add($"</details>");
    }

    private static int Total(ReportClassCount count) => count.Train + count.Validation + count.Test;

    private static string Split(ReportClassCount count) =>
        $"{Units.Exact(count.Train)} training, {Units.Exact(count.Validation)} validation, {Units.Exact(count.Test)} test";
}
