using System.Globalization;

namespace Bayou.Fit;

/// <summary>Where the shipped graph spends its work.</summary>
internal static class LayerSection
{
    public static bool Write(HtmlWriter page, FitReportData data)
    {
        if (data.Layers.Count == 0) return false;
        var hasAce = data.Layers.Any(l => l.Ace is not null);
        var hasTime = data.Layers.Any(l => l.LatencyMs is not null);
        var macs = PageParts.Largest(data.Layers.Select(l => (double?)l.Macs));
        var time = PageParts.Largest(data.Layers.Select(l => l.LatencyMs));
        page.Add($"<p class=\"note\">{Units.Exact(data.Layers.Count)} layers, {Units.Count(data.Layers.Sum(l => l.Params))} parameters, ");
        page.Add($"{Units.Count(data.Layers.Sum(l => l.Macs))} MACs{(hasTime ? ", " + Units.Milliseconds(data.Layers.Sum(l => l.LatencyMs ?? 0)) + " in all layers" : "")}. ");
        page.Add($"Choose a column's title to sort by it.</p>");
        page.Add($"<div class=\"scroll tall\"><table class=\"sortable\"><thead><tr><th>Layer</th><th>Output</th><th>Form</th><th class=\"n\">Params</th>");
        page.Add($"<th class=\"n\">MACs</th><th></th>");
        if (hasAce) page.Add($"<th class=\"n\">ACE</th>");
        if (hasTime) page.Add($"<th class=\"n\">Latency (µs)</th><th></th>");
        page.Add($"</tr></thead><tbody>");
        foreach (var layer in data.Layers)
        {
            page.Add($"<tr><th class=\"name\" scope=\"row\">{PageParts.Name(layer.Name)}<span class=\"sub\">{layer.Op}</span></th><td>{layer.Output ?? Units.Missing}</td>");
            page.Add($"<td>{Units.Form(layer.Form)}</td>");
            page.Add(PageParts.Cell(layer.Params, Units.Count(layer.Params)));
            page.Add(PageParts.Cell(layer.Macs, Units.Count(layer.Macs)));
            page.Add(PageParts.Bar(macs > 0 ? layer.Macs / macs : 0));
            if (hasAce) page.Add(PageParts.Cell(layer.Ace, Units.Count(layer.Ace)));
            if (hasTime)
            {
                page.Add(PageParts.Cell(layer.LatencyMs,
                    layer.LatencyMs is { } ms && double.IsFinite(ms) ? (1000 * ms).ToString("F1", CultureInfo.InvariantCulture) : Units.Missing));
                page.Add(PageParts.Bar(time > 0 ? (layer.LatencyMs ?? 0) / time : 0));
            }
            page.Add($"</tr>");
        }
        page.Add($"</tbody></table></div>");
        return true;
    }
}
