namespace Bayou.Fit;

/// <summary>What was proposed, what it costs, what was discarded and why, and how the winner was found.</summary>
internal static class SearchSection
{
    public static bool Write(HtmlWriter page, FitReportData data)
    {
        if (data.Candidates.Count == 0 && data.Rounds.Count == 0) return false;
        WritePlot(page, data);
        if (data.LatencyPredictions.Count > 0)
        {
            var error = data.LatencyPredictions.Average(p => Math.Abs(p.Predicted - p.Measured) / p.Measured);
            PageParts.Plot(page, "lp",
                HtmlWriter.Of($"Latency as predicted from the other measured candidates, over the measured one: mean error {Units.Percent(error)}. The costs of the candidates that were not measured are such predictions; what ships was measured."),
                width => CostPlots.PredictedMeasured(data.LatencyPredictions, "ms", width));
        }
        if (data.Rounds.Count > 0) WriteRounds(page, data);
        if (data.Candidates.Count > 0) WriteCandidates(page, data);
        return true;
    }

    private static void WritePlot(HtmlWriter page, FitReportData data)
    {
        var points = data.Candidates.SelectMany(c => c.Forms, (c, form) => (c, form))
            .Where(p => p.form.LatencyMs is > 0 && double.IsFinite(p.form.LatencyMs.Value))
            .Select(p => new AccuracyLatencyPoint(
                p.c.Name, p.form.Form, p.form.LatencyMs!.Value, p.form.Accuracy ?? p.c.Accuracy, p.form.MeetsBudget, p.c.Role, p.c.Reason))
            .ToList();
        if (points.Count == 0) return;
        var budget = data.Budgets.FirstOrDefault(b => b.Quantity == ReportQuantity.Latency)?.Limit;
        var models = points.Select(p => p.Name).Distinct().Count();
        var untrained = points.Any(p => p.Accuracy is null) ? " Those discarded on cost alone were not trained and stand in the lane at the bottom." : "";
        var joined = points.Count > models ? " A thin line joins the two forms of one model." : "";
        var caption = HtmlWriter.Of(
            $"{Units.Exact(models)} candidates in {Units.Exact(points.Count)} forms: validation accuracy after the longest short training, {(data.LatencyPredictions.Count > 0 ? "measured or predicted" : "measured")} latency.{joined}{untrained} Point at one for its name.");
        PageParts.Plot(page, "al", caption, width => Plots.AccuracyLatency(points, budget, width, width > 600 ? 460 : 380));
    }

    private static void WriteRounds(HtmlWriter page, FitReportData data)
    {
        page.Add($"<h3>Successive halving</h3><p class=\"note\">Each round trains longer; the better ones are promoted to the next.</p>");
        var best = PageParts.Largest(data.Rounds.SelectMany(r => r.Trials).Select(t => t.Accuracy));
        page.Add($"<div class=\"scroll\"><table><thead><tr><th>Candidate</th><th class=\"n\">Accuracy</th><th></th><th class=\"n\">Loss</th>");
        page.Add($"<th class=\"n\">Time</th><th>Outcome</th></tr></thead>");
        for (var i = 0; i < data.Rounds.Count; i++)
        {
            var round = data.Rounds[i];
            var last = i == data.Rounds.Count - 1;
            page.Add($"<tbody><tr><th colspan=\"6\" scope=\"rowgroup\">{round.Name}<span class=\"sub\">{round.Effort}</span></th></tr>");
            foreach (var trial in round.Trials.OrderByDescending(t => t.Accuracy ?? double.NegativeInfinity))
            {
                var outcome = trial.Promoted
                    ? HtmlWriter.Of($"<span class=\"tag good\">{(last ? "chosen" : "promoted")}</span>")
                    : HtmlWriter.Of($"<span class=\"tag\">stopped</span>");
                var note = trial.Note is { } words ? HtmlWriter.Of($"<span class=\"sub\">{PageParts.Name(words)}</span>") : PageParts.Nothing;
                var loss = trial.Loss is { } l ? Units.Significant(l) : Units.Missing;
                page.Add($"<tr><td class=\"name\">{PageParts.Name(trial.Candidate)}</td><td class=\"n\">{Units.Percent(trial.Accuracy)}</td>");
                page.Add(PageParts.Bar(best > 0 ? (trial.Accuracy ?? 0) / best : 0));
                page.Add($"<td class=\"n\">{loss}</td><td class=\"n\">{Units.Duration(trial.Seconds)}</td><td>{outcome}{note}</td></tr>");
            }
            page.Add($"</tbody>");
        }
        page.Add($"</table></div>");
    }

    private static void WriteCandidates(HtmlWriter page, FitReportData data)
    {
        var forms = data.Candidates.SelectMany(c => c.Forms).Select(f => f.Form).Distinct().OrderBy(f => Units.Form(f) == "INT8").ToList();
        page.Add($"<h3>All candidates</h3><div class=\"scroll tall\"><table class=\"sortable\"><thead><tr><th>Candidate</th><th class=\"n\">Accuracy</th>");
        foreach (var form in forms) page.Add($"<th class=\"n\">{Units.Form(form)} latency</th><th class=\"n\">{Units.Form(form)} size</th>");
        page.Add($"<th class=\"n\">Params</th><th class=\"n\">MACs</th><th>Outcome</th></tr></thead><tbody>");
        foreach (var candidate in data.Candidates)
        {
            var description = candidate.Description is { } d ? HtmlWriter.Of($"<span class=\"sub\">{PageParts.Name(d)}</span>") : PageParts.Nothing;
            var outcome = candidate.Role switch
            {
                ReportRole.Chosen => HtmlWriter.Of($"<span class=\"tag good\">chosen</span>"),
                ReportRole.BestDiscarded => HtmlWriter.Of($"<span class=\"tag\">best discarded</span> {PageParts.Name(candidate.Reason)}"),
                _ => PageParts.Name(candidate.Reason),
            };
            page.Add($"<tr><th class=\"name\" scope=\"row\">{PageParts.Name(candidate.Name)}{description}</th>");
            page.Add(PageParts.Cell(candidate.Accuracy, candidate.Accuracy is null ? "not trained" : Units.Percent(candidate.Accuracy)));
            foreach (var form in forms)
            {
                var made = candidate.Forms.FirstOrDefault(f => f.Form == form);
                var over = made is { MeetsBudget: false } ? " over" : "";
                page.Add(PageParts.Cell(made?.LatencyMs, Units.Milliseconds(made?.LatencyMs) + over));
                page.Add(PageParts.Cell(made?.SizeBytes, Units.Bytes(made?.SizeBytes)));
            }
            page.Add(PageParts.Cell(candidate.Params, Units.Count(candidate.Params)));
            page.Add(PageParts.Cell(candidate.Macs, Units.Count(candidate.Macs)));
            page.Add($"<td class=\"name\">{outcome}</td></tr>");
        }
        page.Add($"</tbody></table></div>");
    }
}
