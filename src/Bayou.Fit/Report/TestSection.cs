using System.Globalization;

namespace Bayou.Fit;

/// <summary>How the shipped model does on the test part: confusions, classes, mistakes.</summary>
internal static class TestSection
{
    private const int NumbersUpTo = 20;         // classes: a matrix of numbers up to here,
    private const int CellsUpTo = 150;          // of coloured cells up to here, and beyond it only the list of confusions
    private const int Confusions = 10;

    public static bool Write(HtmlWriter page, FitReportData data)
    {
        var any = false;
        if (data.Confusion is { Count: > 0 } counts && counts.Sum(r => r.Sum(n => (long)n)) > 0)
        {
            if (counts.Count <= NumbersUpTo) WriteNumbers(page, data.Classes, counts);
            else if (counts.Count <= CellsUpTo) WriteCells(page, data.Classes, counts);
            WriteConfusions(page, data.Classes, counts);
            WriteClasses(page, data.Classes, counts);
            any = true;
        }
        if (data.Mistakes.Count > 0)
        {
            WriteMistakes(page, data);
            any = true;
        }
        return any;
    }

    private static void WriteNumbers(HtmlWriter page, IReadOnlyList<string> classes, IReadOnlyList<IReadOnlyList<int>> counts)
    {
        page.Add($"<h3>Confusion matrix</h3><p class=\"note\">Pictures of the class on the left that were taken for the class above. Blue: right; orange: wrong; ");
        page.Add($"the deeper, the larger its share of the class.</p><div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th>");
        foreach (var name in classes) page.Add($"<th scope=\"col\"><span class=\"turn\" title=\"{name}\">{PageParts.Name(name)}</span></th>");
        page.Add($"</tr></thead><tbody>");
        for (var truth = 0; truth < counts.Count; truth++)
        {
            var total = Math.Max(1, counts[truth].Sum());
            page.Add($"<tr><th scope=\"row\"><span class=\"clip\" title=\"{classes[truth]}\">{PageParts.Name(classes[truth])}</span></th>");
            for (var predicted = 0; predicted < counts.Count; predicted++)
            {
                var n = counts[truth][predicted];
                if (n == 0)
                {
                    page.Add($"<td></td>");
                    continue;
                }
                var depth = Depth(n, total, truth == predicted);
                var colour = truth == predicted ? "--heat" : "--miss";
                var title = $"{classes[truth]} taken for {classes[predicted]}: {n} of {total}";
                page.Add(HtmlWriter.Of(
                    $"<td class=\"{(depth > 0.7 ? "strong" : "weak")}\" style=\"background:rgba(var({colour}),{depth:0.##})\" title=\"{title}\">{n}</td>"));
            }
            page.Add($"</tr>");
        }
        page.Add($"</tbody></table></div>");
    }

    // Up to 150 x 150: only the cells that hold something are drawn, as one picture that fits the page.
    private static void WriteCells(HtmlWriter page, IReadOnlyList<string> classes, IReadOnlyList<IReadOnlyList<int>> counts)
    {
        const int cell = 12;
        var n = counts.Count;
        var left = Math.Min(160, 8 + 6 * classes.Max(c => Shorten(c).Length));
        var side = n * cell;
        page.Add($"<h3>Confusion matrix</h3><p class=\"note\">One row a true class, one column a predicted class, in the same order. Blue: right; orange: wrong; ");
        page.Add($"the deeper, the larger its share of the class. Point at a cell for its numbers.</p>");
        page.Add($"<div class=\"scroll\"><svg class=\"heat\" viewBox=\"0 0 {left + side + 4} {side + 4}\" width=\"{left + side + 4}\" role=\"img\" aria-label=\"Confusion matrix\">");
        page.Add($"<rect class=\"frame\" x=\"{left}\" y=\"0\" width=\"{side}\" height=\"{side}\"/>");
        for (var truth = 0; truth < n; truth++)
        {
            var total = Math.Max(1, counts[truth].Sum());
            page.Add($"<text x=\"{left - 5}\" y=\"{truth * cell + 9}\" text-anchor=\"end\">{Shorten(classes[truth])}<title>{classes[truth]}</title></text>");
            for (var predicted = 0; predicted < n; predicted++)
            {
                var count = counts[truth][predicted];
                if (count == 0) continue;
                var right = truth == predicted;
                var title = $"{classes[truth]} taken for {classes[predicted]}: {count} of {total}";
                page.Add(HtmlWriter.Of(
                    $"<rect class=\"{(right ? "ok" : "err")}\" x=\"{left + predicted * cell}\" y=\"{truth * cell}\" width=\"11\" height=\"11\" fill-opacity=\"{Depth(count, total, right):0.##}\"><title>{title}</title></rect>"));
            }
        }
        page.Add($"</svg></div>");
    }

    // Mistakes are rare: their scale is the root of the share, so that one in a hundred is still seen.
    private static double Depth(int n, int total, bool right)
    {
        var share = (double)n / total;
        return right ? 0.15 + 0.85 * share : 0.1 + 0.9 * Math.Sqrt(share);
    }

    private static string Shorten(string name)
    {
        var elements = new StringInfo(name);
        return elements.LengthInTextElements <= 24 ? name : elements.SubstringByTextElements(0, 23) + "…";
    }

    private static void WriteConfusions(HtmlWriter page, IReadOnlyList<string> classes, IReadOnlyList<IReadOnlyList<int>> counts)
    {
        var pairs = (from truth in Enumerable.Range(0, counts.Count)
                     from predicted in Enumerable.Range(0, counts.Count)
                     where truth != predicted && counts[truth][predicted] > 0
                     orderby counts[truth][predicted] descending
                     select (truth, predicted, n: counts[truth][predicted])).Take(Confusions).ToList();
        if (pairs.Count == 0)
        {
            page.Add($"<p class=\"note\">Every test picture was classified correctly.</p>");
            return;
        }
        page.Add($"<h3>Most frequent confusions</h3><div class=\"scroll\"><table><thead><tr><th>Class</th><th>Taken for</th><th class=\"n\">Pictures</th>");
        page.Add($"<th class=\"n\">Of the class</th><th></th></tr></thead><tbody>");
        foreach (var (truth, predicted, n) in pairs)
        {
            page.Add($"<tr><td class=\"name\"><span class=\"clip\">{PageParts.Name(classes[truth])}</span></td><td class=\"name\"><span class=\"clip\">{PageParts.Name(classes[predicted])}</span></td>");
            page.Add($"<td class=\"n\">{Units.Exact(n)}</td><td class=\"n\">{Units.Percent((double)n / counts[truth].Sum())}</td>");
            page.Add(PageParts.Bar((double)n / pairs[0].n, "miss"));
            page.Add($"</tr>");
        }
        page.Add($"</tbody></table></div>");
    }

    private static void WriteClasses(HtmlWriter page, IReadOnlyList<string> classes, IReadOnlyList<IReadOnlyList<int>> counts)
    {
        page.Add($"<h3>Accuracy of each class</h3><p class=\"note\">Accuracy: share of the class that was recognised. Precision: share of what was called by its name that is. ");
        page.Add($"The weakest first.</p><div class=\"scroll tall\"><table class=\"sortable\"><thead><tr><th>Class</th><th class=\"n\">Test pictures</th>");
        page.Add($"<th class=\"n\">Accuracy</th><th></th><th class=\"n\">Precision</th></tr></thead><tbody>");
        var rows = Enumerable.Range(0, counts.Count).Select(i =>
        {
            var total = counts[i].Sum();
            var called = counts.Sum(r => r[i]);
            return (Name: classes[i], Total: total, Accuracy: Share(counts[i][i], total), Precision: Share(counts[i][i], called));
        });
        foreach (var row in rows.OrderBy(r => r.Accuracy ?? double.PositiveInfinity))
        {
            page.Add($"<tr><th class=\"name\" scope=\"row\"><span class=\"clip\" title=\"{row.Name}\">{PageParts.Name(row.Name)}</span></th>");
            page.Add(PageParts.Cell(row.Total, Units.Exact(row.Total)));
            page.Add(PageParts.Cell(row.Accuracy, Units.Percent(row.Accuracy)));
            page.Add(PageParts.Bar(row.Accuracy ?? 0));
            page.Add(PageParts.Cell(row.Precision, Units.Percent(row.Precision)));
            page.Add($"</tr>");
        }
        page.Add($"</tbody></table></div>");
    }

    private static double? Share(int n, int total) => total == 0 ? null : (double)n / total;

    private static void WriteMistakes(HtmlWriter page, FitReportData data)
    {
        page.Add($"<h3>Most confident mistakes</h3><p class=\"note\">Wrong answers the model was surest of. Some may be errors of the labels: worth a look.</p><div class=\"mistakes\">");
        foreach (var picture in data.Mistakes)
        {
            var truth = data.Classes[picture.Label];
            var predicted = picture.Predicted is { } p ? data.Classes[p] : null;
            page.Add($"<figure class=\"mistake\">{PageParts.Picture(picture, picture.Name ?? truth)}");
            if (predicted is not null)
                page.Add($"<span title=\"{predicted}\"><b>{PageParts.Name(predicted)}</b>{(picture.Confidence is { } c ? " " + Units.Percent(c) : "")}</span>");
            page.Add($"<span class=\"soft\" title=\"{truth}\">is {PageParts.Name(truth)}</span></figure>");
        }
        page.Add($"</div>");
    }
}
