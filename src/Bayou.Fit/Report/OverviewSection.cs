namespace Bayou.Fit;

/// <summary>The head of the page (verdict and figures) and the summary table.</summary>
internal static class OverviewSection
{
    public static void WriteHeader(HtmlWriter page, FitReportData data)
    {
        var verdict = data.Verdict;
        var when = data.Created is { } created ? FormattableString.Invariant($" · {created:yyyy-MM-dd HH:mm}") : "";
        var took = data.Seconds is { } seconds ? $" · {Units.Duration(seconds)}" : "";
        page.Add($"<header><p class=\"eyebrow\">Bayou fit report{when}{took}</p><h1>{PageParts.Name(data.Dataset)}</h1>");
        page.Add($"<p class=\"lead\">{Sentence(data)}</p>");
        if (verdict.Description is { } description) page.Add($"<p class=\"note\">{PageParts.Name(description)}</p>");
        page.Add($"<dl class=\"tiles\">");
        if (verdict.Accuracy is { } accuracy) Tile(page, "Test accuracy", Units.Percent(accuracy), AccuracyNote(verdict));
        var latency = data.Budgets.FirstOrDefault(b => b.Quantity == ReportQuantity.Latency);
        Tile(page, "Latency, p50 at batch 1", ReportQuantity.Latency, verdict.LatencyMs ?? latency?.Measured, data);
        Tile(page, "File size", ReportQuantity.Size, verdict.SizeBytes, data);
        Tile(page, "Parameters", ReportQuantity.Params, verdict.Params, data);
        Tile(page, "MACs per picture", ReportQuantity.Macs, verdict.Macs, data);
        Tile(page, "ACE per picture", ReportQuantity.Ace, verdict.Ace, data);
        page.Add($"</dl></header>");
    }

    public static bool Write(HtmlWriter page, FitReportData data)
    {
        if (data.Summary.Count == 0 && data.Notes.Count == 0 && data.Checks.Count == 0) return false;
        if (data.Summary.Count > 0) WriteTable(page, data);
        foreach (var note in data.Notes) page.Add($"<div class=\"warning\"><p>{PageParts.Name(note)}</p></div>");
        if (data.Checks.Count > 0) WriteChecks(page, data);
        return true;
    }

    private static Html Sentence(FitReportData data)
    {
        var verdict = data.Verdict;
        var model = PageParts.Name(verdict.Model);
        var accuracy = verdict.Accuracy is { } a ? HtmlWriter.Of($": <strong>{Units.Percent(a)}</strong> of the test pictures right") : PageParts.Nothing;
        var budgets = data.Budgets.Select(b => b.Measured is null ? b with { Measured = Measured(verdict, b.Quantity) } : b).ToList();
        var parts = budgets.Select(b => HtmlWriter.Of(
            $"{Units.Name(b.Quantity)} <strong>{Value(b.Quantity, b.Measured)}</strong> of {Units.Of(b.Quantity, b.Limit)} allowed").Markup).ToList();
        var use = parts.Count == 0 ? PageParts.Nothing : new Html(", " + string.Join(", ", parts));
        var end = (data.Budgets.Count, verdict.MeetsBudget) switch
        {
            (0, _) => HtmlWriter.Of($"."),
            (_, true) => HtmlWriter.Of($". <span class=\"tag good\">meets the budget</span>"),
            _ => HtmlWriter.Of($". <span class=\"tag bad\">exceeds the budget</span>"),
        };
        return HtmlWriter.Of($"Shipped <strong>{model}</strong> as <strong>{Units.Form(verdict.Form)}</strong>{accuracy}{use}{end}");
    }

    private static string AccuracyNote(ReportVerdict verdict)
    {
        var parts = new List<string>();
        if (verdict.TestPictures is > 0 and var n)
        {
            var (low, high) = Wilson(verdict.Accuracy!.Value, n);
            parts.Add(FormattableString.Invariant($"{Units.Exact(n)} pictures, 95\u00A0% interval {100 * low:0.0} to {100 * high:0.0}"));
        }
        if (verdict.AccuracyTop5 is { } five) parts.Add($"top 5: {Units.Percent(five)}");
        return string.Join("; ", parts);
    }

    /// <summary>Wilson's 95\u00A0% interval of a share measured on <paramref name="n"/> pictures.</summary>
    internal static (double Low, double High) Wilson(double share, int n)
    {
        const double z = 1.959964;
        var centre = (share + z * z / (2 * n)) / (1 + z * z / n);
        var half = z / (1 + z * z / n) * Math.Sqrt(share * (1 - share) / n + z * z / (4.0 * n * n));
        return (Math.Max(0, centre - half), Math.Min(1, centre + half));
    }

    private static double? Measured(ReportVerdict verdict, ReportQuantity quantity) => quantity switch
    {
        ReportQuantity.Latency => verdict.LatencyMs,
        ReportQuantity.Params => verdict.Params,
        ReportQuantity.Macs => verdict.Macs,
        ReportQuantity.Ace => verdict.Ace,
        _ => verdict.SizeBytes,
    };

    private static string Value(ReportQuantity quantity, double? value) =>
        quantity == ReportQuantity.Latency ? Units.Milliseconds(value) : Units.Of(quantity, value);

    private static void Tile(HtmlWriter page, string title, string value, string more) =>
        page.Add($"<div class=\"tile\"><dt>{title}</dt><dd><span class=\"value\">{value}</span><span class=\"more\">{more}</span></dd></div>");

    private static void Tile(HtmlWriter page, string title, ReportQuantity quantity, double? value, FitReportData data)
    {
        var budget = data.Budgets.FirstOrDefault(b => b.Quantity == quantity);
        if (value is null && budget is null) return;
        var more = PageParts.Nothing;
        if (budget is { Limit: > 0 } && (budget.Measured ?? value) is { } used)
        {
            var share = used / budget.Limit;
            var over = share > 1 ? "meter over" : "meter";
            more = HtmlWriter.Of(
                $"<span class=\"more\">{Units.Percent(share, 0)} of {Units.Of(quantity, budget.Limit)}</span><span class=\"{over}\"><i style=\"width:{100 * Math.Min(1, share):0.#}%\"></i></span>");
        }
        page.Add($"<div class=\"tile\"><dt>{title}</dt><dd><span class=\"value\">{Value(quantity, value ?? budget?.Measured)}</span>{more}</dd></div>");
    }

    private static void WriteTable(HtmlWriter page, FitReportData data)
    {
        var hasAce = data.Summary.Any(r => r.Ace is not null);
        page.Add($"<div class=\"scroll\"><table><thead><tr><th>Model</th><th>Form</th><th class=\"n\">Accuracy</th><th class=\"n\">Latency</th>");
        page.Add($"<th class=\"n\">Size</th><th class=\"n\">Params</th><th class=\"n\">MACs</th>");
        if (hasAce) page.Add($"<th class=\"n\">ACE</th>");
        page.Add($"<th>Budget</th></tr></thead><tbody>");
        foreach (var row in data.Summary)
        {
            var note = row.Note is { } n ? HtmlWriter.Of($"<span class=\"sub\">{PageParts.Name(n)}</span>") : PageParts.Nothing;
            var on = row.AccuracyOn is { } part ? HtmlWriter.Of($"<span class=\"sub\">{part}</span>") : PageParts.Nothing;
            page.Add($"<tr class=\"{(row.Shipped ? "shipped" : "plain")}\"><th class=\"name\" scope=\"row\">{PageParts.Name(row.Model)} {Role(row)}{note}</th>");
            page.Add($"<td>{Units.Form(row.Form)}</td><td class=\"n\">{Units.Percent(row.Accuracy)}{on}</td><td class=\"n\">{Units.Milliseconds(row.LatencyMs)}</td>");
            page.Add($"<td class=\"n\">{Units.Bytes(row.SizeBytes)}</td><td class=\"n\">{Units.Count(row.Params)}</td><td class=\"n\">{Units.Count(row.Macs)}</td>");
            if (hasAce) page.Add($"<td class=\"n\">{Units.Count(row.Ace)}</td>");
            page.Add($"<td>{Budget(row.MeetsBudget)}</td></tr>");
        }
        page.Add($"</tbody></table></div>");
        foreach (var model in data.Summary.GroupBy(r => (r.Role, r.Model))) WriteGain(page, model.ToList());
    }

    // What INT8 buys, in words.
    private static void WriteGain(HtmlWriter page, List<ReportSummaryRow> forms)
    {
        var fp32 = forms.Find(r => Units.Form(r.Form) == "fp32");
        var int8 = forms.Find(r => Units.Form(r.Form) == "INT8");
        if (fp32 is null || int8 is null) return;
        var gains = new List<string>();
        if (fp32.LatencyMs > 0 && int8.LatencyMs > 0) gains.Add(Ratio(fp32.LatencyMs.Value / int8.LatencyMs.Value, "faster", "slower"));
        if (fp32.SizeBytes > 0 && int8.SizeBytes > 0) gains.Add(Ratio((double)fp32.SizeBytes.Value / int8.SizeBytes.Value, "smaller", "larger"));
        if (fp32.AccuracyOn == int8.AccuracyOn && fp32.Accuracy is { } before && int8.Accuracy is { } after)
            gains.Add($"{Units.Points(after - before)} of accuracy");
        if (gains.Count > 0) page.Add($"<p class=\"note\">INT8 of {PageParts.Name(int8.Model)}: {string.Join(", ", gains)}, against its fp32 form.</p>");
    }

    private static string Ratio(double ratio, string more, string less) =>
        ratio >= 1 ? FormattableString.Invariant($"{ratio:0.00} times {more}") : FormattableString.Invariant($"{1 / ratio:0.00} times {less}");

    private static Html Role(ReportSummaryRow row) => row switch
    {
        { Shipped: true } => HtmlWriter.Of($"<span class=\"tag good\">shipped</span>"),
        { Role: ReportRole.Chosen } => HtmlWriter.Of($"<span class=\"tag\">chosen</span>"),
        { Role: ReportRole.BestDiscarded } => HtmlWriter.Of($"<span class=\"tag\">best discarded</span>"),
        { Role: ReportRole.Scratch } => HtmlWriter.Of($"<span class=\"tag\">from scratch</span>"),
        _ => PageParts.Nothing,
    };

    internal static Html Budget(bool? meets) => meets switch
    {
        true => HtmlWriter.Of($"<span class=\"tag good\">within</span>"),
        false => HtmlWriter.Of($"<span class=\"tag bad\">over</span>"),
        null => HtmlWriter.Of($"{Units.Missing}"),
    };

    private static void WriteChecks(HtmlWriter page, FitReportData data)
    {
        page.Add($"<h3>Checks of what was shipped</h3><div class=\"scroll\"><table><thead><tr><th>Check</th><th class=\"n\">Result</th><th class=\"n\">Allowed</th>");
        page.Add($"<th></th></tr></thead><tbody>");
        foreach (var check in data.Checks)
        {
            var verdict = check.Passed ? HtmlWriter.Of($"<span class=\"tag good\">passed</span>") : HtmlWriter.Of($"<span class=\"tag bad\">failed</span>");
            page.Add($"<tr><th class=\"name\" scope=\"row\">{PageParts.Name(check.Name)}</th><td class=\"n\">{check.Value}</td>");
            page.Add($"<td class=\"n\">{check.Bound ?? Units.Missing}</td><td>{verdict}</td></tr>");
        }
        page.Add($"</tbody></table></div>");
    }
}
