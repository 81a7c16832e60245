using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Search;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou data get|info|check.</summary>
internal static class DataCommand
{
    public static Command Create()
    {
        var command = new Command("data", """
            Built-in data sets, and a check of your own.

            Examples:
              bayou data info                   what there is, with licences
              bayou data get fashion-mnist      into the cache folder (BAYOU_CACHE), checksum verified, resumable
              bayou data check photos/          counts, unreadable files, duplicates, imbalance
            """);
        command.Add(Get());
        command.Add(Info());
        command.Add(Check());
        return command;
    }

    private static Command Get()
    {
        var command = new Command("get",
            "Downloads a built-in data set into the cache folder; shows its licence first.\n\nExamples:\n  bayou data get fashion-mnist\n  bayou data get cifar10 --json");
        var name = new Argument<string>("NAME") { Description = string.Join(", ", DataCatalog.Entries.Select(e => e.Name)) };
        var json = Common.Json();
        command.Add(name);
        command.Add(json);
        command.SetAction((parsed, cancel) =>
        {
            var entry = Find(parsed.GetValue(name)!);
            Console.Error.WriteLine($"{entry.Name}: {entry.Description}");
            Console.Error.WriteLine($"licence: {entry.Licence}");
            var folder = ConsoleProgress.Run(progress =>
            {
                progress.Stage("download");
                return DataCatalog.Ensure(entry.Name,
                    p => progress.Status(p.Total is > 0 ? (double)p.Received / p.Total.Value : 0, $"{p.File} {Budget.Si(p.Received)}B"), cancel);
            });
            if (parsed.GetValue(json)) Common.PrintJson(new { entry.Name, folder, entry.Licence });
            else Console.Out.WriteLine(folder);
            return Task.FromResult(0);
        });
        return command;
    }

    private static Command Info()
    {
        var command = new Command("info",
            "Shows the built-in data sets: size, classes, licence, whether they are here.\n\nExamples:\n  bayou data info\n  bayou data info cifar10");
        var name = new Argument<string?>("NAME") { Description = "one data set", Arity = ArgumentArity.ZeroOrOne };
        var json = Common.Json();
        command.Add(name);
        command.Add(json);
        command.SetAction(parsed =>
        {
            var entries = parsed.GetValue(name) is { } n ? [Find(n)] : DataCatalog.Entries;
            if (parsed.GetValue(json))
            {
                Common.PrintJson(entries.Select(e =>
                    new
                    {
                        e.Name,
                        e.Description,
                        e.Home,
                        e.Licence,
                        e.Citation,
                        e.DownloadBytes,
                        e.TrainCount,
                        e.TestCount,
                        e.Side,
                        e.Channels,
                        e.Classes,
                        Here = DataCatalog.Locate(e.Name)
                    }));
                return 0;
            }
            foreach (var e in entries)
            {
                AnsiConsole.MarkupLineInterpolated($"[bold]{e.Name}[/]  {e.Description}");
                AnsiConsole.MarkupLineInterpolated($"  {e.TrainCount} training and {e.TestCount} test pictures, {e.Side} x {e.Side}, {(e.Channels == 1 ? "grey" : "colour")}; {Budget.Si(e.DownloadBytes)}B to download");
                AnsiConsole.MarkupLineInterpolated($"  classes: {string.Join(", ", e.Classes)}");
                AnsiConsole.MarkupLineInterpolated($"  home:    {e.Home}");
                AnsiConsole.MarkupLineInterpolated($"  licence: {e.Licence}");
                AnsiConsole.MarkupLineInterpolated($"  here:    {DataCatalog.Locate(e.Name) ?? "no"}");
            }
            return 0;
        });
        return command;
    }

    private static Command Check()
    {
        var command = new Command("check",
            "Reads every picture of a folder, .zip or built-in data set and reports what a training would meet.\n\nExamples:\n  bayou data check photos/\n  bayou data check photos.zip --json");
        var data = new Argument<string>("DATA") { Description = "folder, .zip or built-in name" };
        var (seed, json) = (Common.Seed(), Common.Json());
        command.Add(data);
        command.Add(seed);
        command.Add(json);
        command.SetAction((parsed, cancel) =>
        {
            var report = ConsoleProgress.Run(progress =>
            {
                progress.Stage("check");
                var splits = DataSplits.Open(parsed.GetValue(data)!, new SplitOptions { Seed = parsed.GetValue(seed) });
                return DataCheck.Run(splits,
                    new DataCheckOptions { Cancellation = cancel, Progress = (done, all) => progress.Status((double)done / all, $"{done} of {all} pictures") });
            });
            if (parsed.GetValue(json)) Console.Out.WriteLine(report.ToJson());
            else Print(report);
            return Task.FromResult(0);
        });
        return command;
    }

    private static void Print(DataReport report)
    {
        AnsiConsole.MarkupLineInterpolated($"[bold]{report.Name}[/]: {report.Count} pictures, {report.Classes.Length} classes; {report.Origin}");
        var table = new Table().Border(TableBorder.Rounded).AddColumn("class");
        foreach (var part in report.Parts) table.AddColumn(new TableColumn(Markup.Escape(part.Part)).RightAligned());
        for (var c = 0; c < report.Classes.Length; c++) table.AddRow([Markup.Escape(report.Classes[c]), .. report.Parts.Select(p => $"{p.ClassCounts[c]}")]);
        AnsiConsole.Write(table);
        if (report.Width is { } w && report.Height is { } h)
            AnsiConsole.MarkupLineInterpolated($"width {w.Min} to {w.Max} (median {w.Median}), height {h.Min} to {h.Max} (median {h.Median}); {report.Grey} grey, {report.Colour} colour");
        foreach (var warning in report.Warnings) AnsiConsole.MarkupLineInterpolated($"[yellow]{warning}[/]");
        foreach (var u in report.Unreadable) AnsiConsole.MarkupLineInterpolated($"[red]unreadable[/] {u.Id}: {u.Reason}");
        foreach (var s in report.Skipped) AnsiConsole.MarkupLineInterpolated($"not used   {s.Path}: {s.Reason}");
        foreach (var d in report.Duplicates) AnsiConsole.MarkupLineInterpolated($"duplicates {string.Join(", ", d.Select(p => $"{p.Part}/{p.Id}"))}");
    }

    private static DataEntry Find(string name) => DataCatalog.Find(name)
        ?? throw new BayouException($"no built-in data set is named '{name}'; there are {string.Join(", ", DataCatalog.Entries.Select(e => e.Name))}");
}
