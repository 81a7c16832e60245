using System.Text.Json;
using Bayou.Claims;
using Bayou.Core;

namespace Bayou.Tests;

public sealed class ClaimTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("bayou-claims-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void The_interval_is_students()
    {
        // Differences 1, 2, 3: mean 2, deviation 1, t(2) = 4.303.
        var (mean, low, high) = PairedInterval.Of([2, 4, 6], [1, 2, 3]);
        Assert.Equal(2, mean, 12);
        Assert.Equal(2 - 4.303 / Math.Sqrt(3), low!.Value, 9);
        Assert.Equal(2 + 4.303 / Math.Sqrt(3), high!.Value, 9);
        Assert.Equal((1.0, null, null), PairedInterval.Of([3], [2]));
        Assert.Throws<ArgumentException>(() => PairedInterval.Of([1, 2], [1]));
    }

    [Fact]
    public void Verdicts_go_by_the_interval_and_by_the_side_that_is_claimed()
    {
        var result = Run(new ToyClaim(c =>
        {
            c.Compare("higher", "%", ("ours", s => 10 + s), ("base", s => 5 + s));
            c.Compare("lower wanted", "ms", ("ours", s => 10 + s), ("base", s => 5 + s), higherIsBetter: false);
            c.Compare("noise", "%", ("ours", s => s), ("base", s => 2 - s));
            c.Check("bound", "", ("error", 1e-6), ("1e-5", 1e-5));
            c.Check("missed", "", ("speed", 1.2), ("1.4", 1.4), atMost: false);
        }));
        Assert.Equal([Verdict.Shown, Verdict.Opposite, Verdict.NotShown, Verdict.Shown, Verdict.NotShown], result.Effects.Select(e => e.Verdict));
        Assert.Equal([0, 1, 2], result.Seeds);
    }

    [Fact]
    public void A_stopped_claim_goes_on_from_its_measurements()
    {
        var measured = new List<int>();
        var fail = true;
        var claim = new ToyClaim(c => c.Compare("effect", "%", ("ours", s => c.Measure($"ours/{s}", () =>
        {
            if (s == 2 && fail) throw new OperationCanceledException();
            measured.Add(s);
            return s;
        })), ("base", _ => -1)));
        Assert.Throws<OperationCanceledException>(() => Run(claim));
        Assert.False(File.Exists(Path.Combine(folder, "docs", "claims", "toy.json")));
        fail = false;
        var result = Run(claim);
        Assert.Equal([0, 1, 2], measured);
        Assert.Equal([0.0, 1, 2], result.Effects[0].OursValues);
    }

    [Fact]
    public void The_page_keeps_what_people_wrote_and_the_json_comes_back()
    {
        var page = Path.Combine(folder, "docs", "systems", "toy.md");
        Directory.CreateDirectory(Path.GetDirectoryName(page)!);
        File.WriteAllText(page, "# Toy\n\nwritten by hand\n");
        Run(new ToyClaim(c => c.Check("a|b", "", ("value", 1), ("2", 2))));
        var first = File.ReadAllText(page);
        Assert.Contains("written by hand", first);
        Assert.Contains("a\\|b", first);
        Assert.Contains("**shown**", first);
        var result = Run(new ToyClaim(c => c.Check("a|b", "", ("value", 3), ("2", 2))));
        var second = File.ReadAllText(page);
        Assert.Contains("**not shown**", second);
        Assert.DoesNotContain("**shown**", second);
        Assert.Equal(1, second.Split("written by hand").Length - 1);
        var back = JsonSerializer.Deserialize<ClaimResult>(File.ReadAllText(Path.Combine(folder, "docs", "claims", "toy.json")), ClaimResult.Json)!;
        Assert.Equal(result.Effects[0].Difference, back.Effects[0].Difference);
        Assert.Equal(Verdict.NotShown, back.Effects[0].Verdict);
    }

    [Fact]
    public void Another_claims_folder_and_an_unknown_name_are_refused()
    {
        Run(new ToyClaim(_ => { }));
        var e = Assert.Throws<BayouException>(() =>
            ClaimRunner.Run(new ToyClaim(_ => { }), full: true, Path.Combine(folder, "run"), Path.Combine(folder, "docs"), 1, Silent.Progress, default));
        Assert.Contains("--out", e.Message);
        Assert.Contains("convnext", Assert.Throws<BayouException>(() => Bayou.Claims.Claims.Find("nothing")).Message);
    }

    private ClaimResult Run(IClaim claim) =>
        ClaimRunner.Run(claim, full: false, Path.Combine(folder, "run"), Path.Combine(folder, "docs"), 1, Silent.Progress, default);

    private sealed class ToyClaim(Action<ClaimContext> run) : IClaim
    {
        public string Name => "toy";

        public string Paper => "none";

        public string Statement => "a toy";

        public string Data => "procedural";

        public void Run(ClaimContext context) => run(context);
    }

    private sealed class Silent : Bayou.Fit.IFitProgress
    {
        public static readonly Silent Progress = new();

        public void Stage(string title) { }

        public void Line(string text) { }

        public void Status(double fraction, string text) { }
    }
}
