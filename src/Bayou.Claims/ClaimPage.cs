using System.Globalization;
using System.Text;
using Bayou.Core;

namespace Bayou.Claims;

/// <summary>The generated part of docs/systems/NAME.md, between two marks; the rest of the page is written by people.</summary>
public static class ClaimPage
{
    /// <summary>The verdict as pages say it.</summary>
    public static string Word(Verdict verdict) => verdict switch { Verdict.Shown => "shown", Verdict.Opposite => "opposite", _ => "not shown" };

    /// <summary>Mean and, with several seeds, the values.</summary>
    public static string Values(IReadOnlyList<double> values) =>
        values.Count == 1 ? Figure(values[0]) : $"{Figure(values.Average())} ({string.Join(", ", values.Select(Figure))})";

    /// <summary>Markdown of a result.</summary>
    public static string Markdown(ClaimResult r)
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture,
            $"Printed by `./bayou claims {r.Name}{(r.Mode == "full" ? " --full" : "")}`: {r.Data}; seeds {string.Join(", ", r.Seeds)}; {r.Seconds / 60:0.0} minutes on {r.Threads} threads of {r.Machine.Cpu}.");
        text.AppendLine();
        text.AppendLine("| effect | ours | baseline | difference (95 % interval) | paper | verdict |");
        text.AppendLine("|---|---|---|---|---|---|");
        foreach (var e in r.Effects)
        {
            var interval = e.Low is { } low && e.High is { } high ? $" ({Figure(low)} to {Figure(high)})" : "";
            var paper = e.PaperOurs is null ? "" : $"{e.PaperOurs} against {e.PaperBaseline}";
            text.AppendLine($"| {Cell(e.Name)}, {Cell(e.Unit)} | {Cell(e.Ours)}: {Values(e.OursValues)} | {Cell(e.Baseline)}: {Values(e.BaselineValues)} | {Figure(e.Difference)}{interval} | {Cell(paper)} | **{Word(e.Verdict)}**{(e.Note is null ? "" : ": " + Cell(e.Note))} |");
        }
        foreach (var table in r.Tables)
        {
            text.AppendLine().AppendLine(table.Title).AppendLine();
            text.AppendLine($"| {string.Join(" | ", table.Columns.Select(Cell))} |");
            text.AppendLine($"|{string.Concat(table.Columns.Select(_ => "---|"))}");
            foreach (var row in table.Rows) text.AppendLine($"| {string.Join(" | ", row.Select(Cell))} |");
        }
        foreach (var figure in r.Figures) text.AppendLine().AppendLine($"![{Path.GetFileNameWithoutExtension(figure)}](../claims/{figure})");
        foreach (var note in r.Notes) text.AppendLine().AppendLine(note);
        return text.ToString().ReplaceLineEndings("\n");
    }

    /// <summary>Replaces the generated part of a page, or adds it at the end; a page that does not exist is begun.</summary>
    public static void Update(string path, ClaimResult result)
    {
        string begin = $"<!-- claim {result.Name}: made by `bayou claims {result.Name}` -->", end = $"<!-- end of claim {result.Name} -->";
        var page = File.Exists(path) ? File.ReadAllText(path) : $"# {result.Name}\n";
        var block = $"{begin}\n{Markdown(result)}{end}";
        var (from, to) = (page.IndexOf(begin, StringComparison.Ordinal), page.IndexOf(end, StringComparison.Ordinal));
        page = from >= 0 && to > from ? page[..from] + block + page[(to + end.Length)..] : page.TrimEnd() + "\n\n" + block + "\n";
        AtomicFile.WriteAllText(path, page);
    }

    private static string Figure(double value) => value == 0 ? "0" : Math.Abs(value) switch
    {
        >= 1e6 or < 1e-3 => value.ToString("0.##E+0", CultureInfo.InvariantCulture),
        >= 1000 => value.ToString("0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("0.0", CultureInfo.InvariantCulture),
        >= 1 => value.ToString("0.00", CultureInfo.InvariantCulture),
        _ => value.ToString("0.0000", CultureInfo.InvariantCulture),
    };

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);
}
