using System.CommandLine;
using Bayou.Claims;
using Bayou.Core;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou claims [NAME]: what the papers claim, tried here.</summary>
internal static class ClaimsCommand
{
    public static Command Create()
    {
        var command = new Command("claims", """
            Runs a paper's claim as an experiment: ours against a real baseline, fixed seeds, a 95 % interval, and the verdict "shown", "not shown" or "opposite".
            Without NAME it lists the claims. The exit code says whether the experiment ran, not whether its result is flattering.

            Examples:
              bayou claims                            what there is
              bayou claims convnext                   quick: some minutes on two cores
              bayou claims convnext --full --out runs/claims/convnext-full
              bayou claims convnext --full --out runs/claims/convnext-full --resume
            """);
        var name = new Argument<string?>("NAME") { Description = "a claim, or 'all'", Arity = ArgumentArity.ZeroOrOne };
        var quick = new Option<bool>("--quick") { Description = "few pictures, three seeds (the default)" };
        var full = new Option<bool>("--full") { Description = "more pictures, longer trainings, five seeds" };
        var output = new Option<string?>("--out") { Description = "run folder that keeps finished measurements; default runs/claims-NAME-TIME" };
        var resume = new Option<bool>("--resume") { Description = "go on with the measurements in --out" };
        var docs = new Option<string?>("--docs") { Description = "folder for claims/NAME.json and systems/NAME.md; default: docs of this repository, else ./docs" };
        var (threads, json) = (Common.Threads(), Common.Json());
        command.Add(name);
        foreach (var option in (Option[])[quick, full, output, resume, docs, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            var count = Common.UseThreads(parsed.GetValue(threads));
            if (parsed.GetValue(quick) && parsed.GetValue(full)) throw new BayouException("claims: --quick and --full exclude each other");
            if (parsed.GetValue(name) is not { } wanted)
            {
                List(parsed.GetValue(json));
                return Task.FromResult(0);
            }
            var all = wanted.Equals("all", StringComparison.OrdinalIgnoreCase);
            var claims = all ? Claims.Claims.All : [Claims.Claims.Find(wanted)];
            var results = claims.Select(claim =>
            {
                var folder = parsed.GetValue(output) is { } given ? (all ? Path.Combine(given, claim.Name) : given) : Common.NewRunFolder("claims", claim.Name);
                if (!parsed.GetValue(resume) && File.Exists(Path.Combine(folder, "run.db")))
                    throw new BayouException($"'{folder}' already holds measurements: add --resume to use them, or choose another folder with --out");
                return ConsoleProgress.Run(progress =>
                    ClaimRunner.Run(claim, parsed.GetValue(full), folder, parsed.GetValue(docs) ?? DocsFolder(), count, progress, cancel));
            }).ToList();
            if (parsed.GetValue(json)) Console.Out.WriteLine(System.Text.Json.JsonSerializer.Serialize<object>(all ? results : results[0], ClaimResult.Json));
            else results.ForEach(Print);
            return Task.FromResult(0);
        });
        return command;
    }

    private static void List(bool json)
    {
        if (json)
        {
            Common.PrintJson(Claims.Claims.All.Select(c => new { c.Name, c.Paper, c.Statement, c.Data }));
            return;
        }
        var table = new Table().Border(TableBorder.Rounded).AddColumn("claim").AddColumn("what is claimed").AddColumn("data");
        foreach (var claim in Claims.Claims.All) table.AddRow(Markup.Escape(claim.Name), Markup.Escape(claim.Statement), Markup.Escape(claim.Data));
        AnsiConsole.Write(table);
    }

    private static void Print(ClaimResult result)
    {
        AnsiConsole.MarkupLineInterpolated($"[bold]{result.Name}[/] ({result.Mode}, {result.Seconds / 60:0.0} minutes): {result.Statement}");
        var table = new Table().Border(TableBorder.Rounded).AddColumn("effect").AddColumn("ours").AddColumn("baseline").AddColumn("difference")
            .AddColumn("verdict");
        foreach (var e in result.Effects)
        {
            var interval = e.Low is { } low && e.High is { } high ? $" ({low:0.####} to {high:0.####})" : "";
            table.AddRow(
                Markup.Escape($"{e.Name}, {e.Unit}"), Markup.Escape($"{e.Ours}: {ClaimPage.Values(e.OursValues)}"),
                Markup.Escape($"{e.Baseline}: {ClaimPage.Values(e.BaselineValues)}"),
                Markup.Escape($"{e.Difference:0.####}{interval}"), ClaimPage.Word(e.Verdict));
        }
        AnsiConsole.Write(table);
        foreach (var extra in result.Tables)
        {
            var rows = new Table().Border(TableBorder.Rounded).Title(Markup.Escape(extra.Title));
            foreach (var column in extra.Columns) rows.AddColumn(Markup.Escape(column));
            foreach (var row in extra.Rows) rows.AddRow(row.Select(Markup.Escape).ToArray());
            AnsiConsole.Write(rows);
        }
        foreach (var note in result.Notes) AnsiConsole.WriteLine(note);
    }

    // The pages of the repository this program was built in, as long as it still lies there.
    private static string DocsFolder()
    {
        for (var up = new DirectoryInfo(AppContext.BaseDirectory); up is not null; up = up.Parent)
        {
            if (File.Exists(Path.Combine(up.FullName, "Bayou.slnx"))) return Path.Combine(up.FullName, "docs");
        }
        return "docs";
    }
}
