using System.CommandLine;
using Bayou.Fit;
using Bayou.Search;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou models: the catalog.</summary>
internal static class ModelsCommand
{
    public static Command Create()
    {
        var command = new Command("models", """
            Lists the models that can be trained, profiled and exported by name, with their published figures.

            Examples:
              bayou models
              bayou models convnext_tiny
              bayou models ladder --json
            """);
        var filter = new Argument<string?>("NAME") { Description = "only names that contain this", Arity = ArgumentArity.ZeroOrOne };
        var json = Common.Json();
        command.Add(filter);
        command.Add(json);
        command.SetAction(parsed =>
        {
            var text = parsed.GetValue(filter) ?? "";
            var entries = Catalog.Models.Entries.Where(e => e.Name.Contains(text, StringComparison.OrdinalIgnoreCase)).ToList();
            if (parsed.GetValue(json))
            {
                Common.PrintJson(entries.Select(e => new { e.Name, e.System, e.Paper, e.InputSize, e.Parameters, e.Figures, e.WeightsFile, e.WeightsLicence }));
                return 0;
            }
            if (entries.Count == 0)
            {
                Console.Error.WriteLine($"bayou: no model's name contains '{text}'");
                return 1;
            }
            var table = new Table().Border(TableBorder.Rounded);
            foreach (var column in (string[])["model", "parameters", "input", "published"]) table.AddColumn(column);
            foreach (var e in entries) table.AddRow(Markup.Escape(e.Name), Budget.Si(e.Parameters), $"{e.InputSize}", Markup.Escape(e.Figures));
            AnsiConsole.Write(table);
            foreach (var e in entries.Count <= 3 ? entries : [])
                AnsiConsole.MarkupLineInterpolated($"{e.Name}: {e.Paper}. Official weights: {e.WeightsFile ?? "none"}{(e.WeightsLicence is null ? "" : $" ({e.WeightsLicence})")}");
            return 0;
        });
        return command;
    }
}
