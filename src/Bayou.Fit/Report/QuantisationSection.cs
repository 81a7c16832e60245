namespace Bayou.Fit;

/// <summary>What INT8 costs, layer by layer, and what stayed in float.</summary>
internal static class QuantisationSection
{
    public static bool Write(HtmlWriter page, FitReportData data)
    {
        if (data.Quantisation is not { } quantisation) return false;
        if (quantisation.Description is { } description) page.Add($"<p>{PageParts.Name(description)}</p>");
        WriteAccuracies(page, quantisation);
        if (quantisation.Layers.Count > 0) WriteLayers(page, quantisation);
        return true;
    }

    private static void WriteAccuracies(HtmlWriter page, ReportQuantisation quantisation)
    {
        var kept = quantisation.Layers.Count(l => l.KeptInFloat);
        var rows = new List<(string Name, double Accuracy)>();
        if (quantisation.AccuracyFp32 is { } fp32) rows.Add(("fp32", fp32));
        if (quantisation.AccuracyAllInt8 is { } blind) rows.Add(("INT8, every layer quantised", blind));
        if (quantisation.AccuracyInt8 is { } int8)
            rows.Add((kept == 0 ? "INT8 as made" : $"INT8 as made, {kept} {(kept == 1 ? "layer" : "layers")} kept in float", int8));
        if (rows.Count == 0) return;
        page.Add($"<div class=\"scroll\"><table><thead><tr><th>Form</th><th class=\"n\">Accuracy{(quantisation.AccuracyOn is { } on ? $" ({on})" : "")}</th>");
        page.Add($"<th class=\"n\">Against fp32</th><th></th></tr></thead><tbody>");
        foreach (var (name, accuracy) in rows)
        {
            var change = quantisation.AccuracyFp32 is { } before && name != "fp32" ? Units.Points(accuracy - before) : Units.Missing;
            page.Add($"<tr><th scope=\"row\">{name}</th><td class=\"n\">{Units.Percent(accuracy)}</td><td class=\"n\">{change}</td>");
            page.Add(PageParts.Bar(accuracy));
            page.Add($"</tr>");
        }
        page.Add($"</tbody></table></div>");
    }

    private static void WriteLayers(HtmlWriter page, ReportQuantisation quantisation)
    {
        var largest = PageParts.Largest(quantisation.Layers.Select(l => l.Sensitivity is { } s ? Math.Abs(s) : (double?)null));
        page.Add($"<h3>Sensitivity of each layer</h3><p class=\"note\">What quantising this layer alone costs; the most sensitive first.</p>");
        page.Add($"<div class=\"scroll tall\"><table class=\"sortable\"><thead><tr><th>Layer</th><th class=\"n\">{quantisation.SensitivityUnit}</th><th></th><th>Form</th></tr></thead><tbody>");
        foreach (var layer in quantisation.Layers.OrderByDescending(l => l.Sensitivity ?? double.NegativeInfinity))
        {
            var form = layer.KeptInFloat ? HtmlWriter.Of($"<span class=\"tag bad\">kept in float</span>") : HtmlWriter.Of($"INT8");
            var reason = layer.Reason is { } words ? HtmlWriter.Of($"<span class=\"sub\">{PageParts.Name(words)}</span>") : PageParts.Nothing;
            page.Add($"<tr><th class=\"name\" scope=\"row\">{PageParts.Name(layer.Layer)}</th>");
            page.Add(PageParts.Cell(layer.Sensitivity, layer.Sensitivity is { } s ? Units.Significant(s) : Units.Missing));
            page.Add(PageParts.Bar(largest > 0 ? Math.Max(0, layer.Sensitivity ?? 0) / largest : 0, layer.KeptInFloat ? "miss" : ""));
            page.Add($"<td>{form}{reason}</td></tr>");
        }
        page.Add($"</tbody></table></div>");
    }
}
