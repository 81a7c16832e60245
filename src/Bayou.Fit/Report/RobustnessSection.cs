namespace Bayou.Fit;

/// <summary>How the shipped model does when pictures get worse.</summary>
internal static class RobustnessSection
{
    public static bool Write(HtmlWriter page, FitReportData data)
    {
        if (data.Robustness is not { Corruptions.Count: > 0 } robustness) return false;
        page.Add($"<p>Under the corruptions of ImageNet-C at severity {robustness.Severity} of 5 the shipped model is right on {Units.Percent(robustness.Mean)} of the pictures; clean it is on ");
        page.Add($"{Units.Percent(robustness.Clean)} of the same {Units.Exact(robustness.Pictures)} test pictures. <code>bayou robustness</code> measures all severities on all pictures.");
        if (robustness.Left > 0) page.Add($" The time of this section ended before {robustness.Left} of the corruptions.");
        page.Add($"</p><div class=\"scroll\"><table class=\"sortable\"><thead><tr><th>Corruption</th><th>Group</th><th class=\"n\">Accuracy</th><th></th><th class=\"n\">Against clean</th></tr></thead><tbody>");
        foreach (var corruption in robustness.Corruptions)
        {
            page.Add($"<tr><th scope=\"row\">{corruption.Name}</th><td>{corruption.Group}</td>");
            page.Add(PageParts.Cell(corruption.Accuracy, Units.Percent(corruption.Accuracy)));
            page.Add(PageParts.Bar(corruption.Accuracy));
            page.Add(PageParts.Cell(corruption.Accuracy - robustness.Clean, Units.Points(corruption.Accuracy - robustness.Clean)));
            page.Add($"</tr>");
        }
        page.Add($"</tbody></table></div>");
        if (robustness.Strip.Length > 0)
        {
            page.Add($"<h3>One test picture</h3><p class=\"note\">Under each of them, with what the model takes it for (=: right, x: wrong). Frost is blended from procedural pictures.</p>");
            page.Add($"<div class=\"scroll\"><img src=\"data:image/png;base64,{Convert.ToBase64String(robustness.Strip)}\" alt=\"A test picture under each corruption, with the model's answers\"/></div>");
        }
        return true;
    }
}
