using System.CommandLine;
using Bayou.Core;
using Bayou.Search;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou latency tables: the measured tables that are here.</summary>
internal static class LatencyTables
{
    public static Command Create()
    {
        var command = new Command("tables", """
            Shows the tables of measured networks that are here: latencies by device (NAS-Bench-201, FBNet) and accuracies (NAS-Bench-201, NAS-Bench-Macro) with the best networks.

            Examples:
              bayou latency tables
              bayou latency tables --json
            """);
        var json = Common.Json();
        command.Add(json);
        command.SetAction(parsed =>
        {
            var latencies = new[] { "nasbench201", "fbnet" }.Select(space => Try(() => LatencyTable.OfSamples(space))).OfType<LatencyTable>().ToArray();
            var accuracies = new[] { "nasbench201", "nasbench-macro" }.Select(space => Try(() => AccuracyTable.OfSamples(space))).OfType<AccuracyTable>()
                .ToArray();
            if (latencies.Length + accuracies.Length == 0)
                throw new BayouException("no table is here: set BAYOU_SAMPLES to the folder that holds nasbench201-latency, fbnet-latency or nasbench-macro");
            if (parsed.GetValue(json))
            {
                Common.PrintJson(new
                {
                    latencies = latencies.Select(t => new { space = t.Space.Name, networks = t.Space.Count, devices = t.Devices, t.MetaTrain, t.MetaTest }),
                    accuracies = accuracies.Select(t =>
                        new { space = t.Space, networks = t.Networks.Count, sets = t.Sets.Select(s => new { name = s, best = t.Best(s) }) }),
                });
                return 0;
            }
            foreach (var t in latencies)
            {
                AnsiConsole.MarkupLineInterpolated($"[bold]{t.Space.Name}[/]: latencies of {t.Space.Count} networks on {t.Devices.Count} devices");
                AnsiConsole.MarkupLineInterpolated($"  {string.Join(", ", t.Devices)}");
                AnsiConsole.MarkupLineInterpolated($"  HELP trains on {string.Join(", ", t.MetaTrain)}; tests on {string.Join(", ", t.MetaTest)}");
            }
            foreach (var t in accuracies)
            {
                AnsiConsole.MarkupLineInterpolated($"[bold]{t.Space}[/]: test accuracies of {t.Networks.Count} networks");
                foreach (var set in t.Sets)
                {
                    var best = t.Best(set)!;
                    AnsiConsole.MarkupLineInterpolated($"  {set}: median {t.Of(set).Order().ElementAt(t.Networks.Count / 2):0.00} %, best {t.Of(set)[best.Number]:0.00} % (#{best.Number}, {best.Name}, {Budget.Si(best.Macs)} MACs, {Budget.Si(best.Parameters)} parameters)");
                }
            }
            return 0;
        });
        return command;
    }

    private static T? Try<T>(Func<T> read) where T : class
    {
        try
        {
            return read();
        }
        catch (BayouException e) when (e.Message.Contains("are not here", StringComparison.Ordinal))
        {
            return null;
        }
    }
}
