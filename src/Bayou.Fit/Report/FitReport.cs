using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using AtomicFile = Bayou.Core.AtomicFile;
using BayouException = Bayou.Core.BayouException;

namespace Bayou.Fit;

/// <summary>
/// <c>report.html</c>: one page that needs no other file and no network (its own content policy forbids both), light or dark as the reader's system is,
/// readable on a phone and on paper. Class and file names are shown as text whatever they contain.
/// </summary>
public static class FitReport
{
    /// <summary>Writes the page to a file, whole or not at all.</summary>
    /// <exception cref="BayouException">The data contradicts itself, or the file cannot be written.</exception>
    public static void Write(FitReportData data, string path) => AtomicFile.WriteAllText(path, Render(data));

    /// <summary>The page as text.</summary>
    /// <exception cref="BayouException">The data contradicts itself (a label without a class, a confusion matrix that is not square, ...).</exception>
    public static string Render(FitReportData data)
    {
        Check(data);
        var script = Asset("report.js");
        var page = new HtmlWriter();
        var body = new HtmlWriter();
        var sections = new List<(string Id, string Title)>();
        foreach (var (id, title, write) in Sections)
        {
            var content = new HtmlWriter();
            if (!write(content, data)) continue;
            sections.Add((id, title));
            body.Add($"<section id=\"{id}\"><h2>{title}</h2>{new Html(content.ToString())}</section>");
        }

        page.Add($"<!DOCTYPE html>");
        page.Add($"<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>");
        page.Add($"<meta http-equiv=\"Content-Security-Policy\" content=\"{Policy(script)}\"/>");
        page.Add($"<meta name=\"generator\" content=\"Bayou {typeof(FitReport).Assembly.GetName().Version?.ToString(3)}\"/>");
        page.Add($"<link rel=\"icon\" href=\"data:,\"/><title>{data.Dataset} · Bayou fit report</title>");
        page.Add($"<style>{new Html("\n" + Asset("report.css"))}</style></head><body>");
        page.Add($"<div class=\"page head\">");
        OverviewSection.WriteHeader(page, data);
        page.Add($"</div>");
        if (sections.Count > 0)
        {
            page.Add($"<nav aria-label=\"Sections\"><div>");
            foreach (var (id, title) in sections) page.Add($"<a href=\"#{id}\">{title}</a>");
            page.Add($"</div></nav>");
        }
        page.Add($"<main class=\"page\">");
        page.Add(new Html(body.ToString()));
        page.Add($"</main><script>{new Html("\n" + script)}</script></body></html>");
        return page.ToString();
    }

    private static readonly (string Id, string Title, Func<HtmlWriter, FitReportData, bool> Write)[] Sections =
    [
        ("summary", "Summary", OverviewSection.Write),
        ("data", "Data", DataSection.Write),
        ("search", "Search", SearchSection.Write),
        ("training", "Training", TrainingSection.Write),
        ("test", "Test results", TestSection.Write),
        ("robustness", "Robustness", RobustnessSection.Write),
        ("layers", "Layers", LayerSection.Write),
        ("quantisation", "Quantisation", QuantisationSection.Write),
        ("reproduce", "Reproduce", ReproduceSection.Write),
    ];

    // Only the page's own script runs, only inlined pictures load: even a mistake in the escaping could not reach out.
    private static string Policy(string script)
    {
        var hash = Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes("\n" + script)));
        return $"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'";
    }

    private static string Asset(string file)
    {
        using var reader = new StreamReader(PlotFonts.Asset(file));
        return reader.ReadToEnd().Replace("\r\n", "\n", StringComparison.Ordinal);
    }

    private static void Check(FitReportData data)
    {
        var classes = data.Classes.Count;
        foreach (var picture in data.Mistakes.Concat(data.Data?.Samples ?? []))
        {
            if (picture.Label < 0 || picture.Label >= classes || picture.Predicted is { } p && (p < 0 || p >= classes))
            {
                throw new BayouException(string.Create(CultureInfo.InvariantCulture,
                    $"The report's picture '{picture.Name}' has label {picture.Label} and prediction {picture.Predicted}, but there are {classes} classes. Give indices into Classes."));
            }
        }
        if (data.Data is { Counts.Count: > 0 } check && check.Counts.Count != classes)
            throw new BayouException($"The report has {check.Counts.Count} class counts for {classes} classes. Give one for each class.");
        if (data.Confusion is { } rows && (rows.Count != classes || rows.Any(r => r.Count != classes)))
            throw new BayouException($"The report's confusion matrix is not {classes} x {classes}, one row and one column for each class.");
    }
}
