using System.Diagnostics;
using System.Text.RegularExpressions;
using Bayou.Data;
using Bayou.Points;

namespace Bayou.Tests.Points;

/// <summary>The page in a real browser without a screen: WebGL draws the points.</summary>
public sealed class ViewerPageTests
{
    private static string? Browser() => ((string[])["chromium", "chromium-browser", "google-chrome"])
        .SelectMany(name => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, name)))
            .FirstOrDefault(File.Exists);

    [Fact]
    public async Task ThePageDrawsThePoints()
    {
        var browser = Browser();
        Assert.SkipWhen(browser is null, "no Chromium on this machine");
        using var folder = new TempFolder();
        var cloud = SyntheticRooms.Make(2, SceneDomain.Source with { Rings = 48, Columns = 200 }).Cloud;
        folder.Write("page.html", PointViewer.Html(cloud, "room"));
        var start = new ProcessStartInfo(browser!) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-quic", $"--user-data-dir={folder["profile"]}", "--virtual-time-budget=10000",
            "--dump-dom", "file://" + folder["page.html"]])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var page = process.StandardOutput.ReadToEndAsync();
        _ = process.StandardError.ReadToEndAsync();
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            Assert.Skip("Chromium did not answer within a minute");
        }
        var body = Regex.Match(await page, "<body[^>]*>").Value;
        Assert.SkipWhen(body.Contains("no webgl2", StringComparison.Ordinal), "this Chromium has no WebGL 2");
        Assert.Equal(cloud.Count.ToString(), Regex.Match(body, "data-points=\"(\\d+)\"").Groups[1].Value);
        Assert.True(int.Parse(Regex.Match(body, "data-lit=\"(\\d+)\"").Groups[1].Value) > 3000, body);
    }
}
