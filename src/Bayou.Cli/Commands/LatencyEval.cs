using System.CommandLine;
using Bayou.Core;
using Bayou.Search;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou latency eval: how well every method predicts devices that it has not seen.</summary>
internal static class LatencyEval
{
    public static Command Create()
    {
        var command = new Command("eval", """
            Leave-device-out evaluation: every method adapts to devices it has not seen, from few measured networks, and predicts others. Protocol of HELP (specs/help.md, 1.1).

            Examples:
              bayou latency eval
              bayou latency eval --space fbnet --methods additive,transfer,maple --samples 10
              bayou latency eval --devices gold_6226,eyeriss --weights NASBench201_help.pt
              bayou latency eval --target runs/here --samples 10
              bayou latency eval --target runs/board3 --sources runs/board1,runs/board2 --methods transfer,maple-edge
            """);
        var methods = new Option<string?>("--methods") { Description = "comma-separated; default all that need no further file" };
        var test = new Option<string?>("--devices") { Description = "devices to predict; default HELP's test devices; 'all': each device of the table in turn, trained on devices of other kinds" };
        var samples = new Option<string>("--samples") { Description = "numbers of measured networks, comma-separated", DefaultValueFactory = _ => "3,5,10,20" };
        var seeds = new Option<int>("--seeds") { Description = "draws of the measured networks", DefaultValueFactory = _ => 3 };
        var (space, sourcesOption, target, weights) = (LatencyCommand.Space(), LatencyCommand.Devices(), LatencyCommand.Target(), LatencyCommand.Weights());
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        foreach (var option in (Option[])[space, methods, test, sourcesOption, samples, seeds, target, weights, LatencyCommand.Table, seed, threads, json])
            command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var table = LatencyCommand.Open(parsed, space);
            using var help = parsed.GetValue(weights) is { } path ? HelpNetwork.Load(path) : null;
            var names = parsed.GetValue(methods)?.Split(',')
                ?? [.. LatencyMethods.Names.Where(m =>
                (m != "help" || help is not null) && m != "maple-edge" && (m != "macs" || table.Space.Macs(0) is not null))];
            var counts = parsed.GetValue(samples)!.Split(',')
                .Select(k => int.TryParse(k, out var n) && n > 0 ? n : throw new BayouException($"--samples {k}: a positive number is needed")).ToArray();
            var folder = parsed.GetValue(target);
            var wanted = folder is not null
                ? [folder] : parsed.GetValue(test) is { } list ? list == "all" ? table.Devices.ToArray() : list.Split(',') : [.. table.MetaTest];
            var scores = ConsoleProgress.Run(progress =>
            {
                var done = new List<LatencyScore>();
                foreach (var device in wanted)
                {
                    progress.Stage(device);
                    var (fleet, sources) = LatencyCommand.Fleet(parsed, table, sourcesOption, device);
                    var machine = folder is null ? null : CollectedMachine.Read(folder);
                    foreach (var method in names.Select(n => LatencyMethods.Create(n, fleet.Table, sources, help, fleet.Hardware)))
                    {
                        foreach (var k in counts)
                        {
                            for (var s = 0; s < parsed.GetValue(seeds); s++)
                            {
                                cancel.ThrowIfCancellationRequested();
                                progress.Status(0, $"{method.Name}, {k} samples");
                                done.Add(machine is null ? LatencyEvaluation.Run(fleet.Table, method, device, k, parsed.GetValue(seed) + s)
                                    : LatencyEvaluation.RunCollected(fleet.Table, method, machine.Measured, k, parsed.GetValue(seed) + s, machine.Hardware,
                                        device));
                            }
                        }
                    }
                }
                return done;
            });
            Print(table, scores, parsed.GetValue(json));
            return Task.FromResult(0);
        });
        return command;
    }

    private static void Print(LatencyTable table, IReadOnlyList<LatencyScore> scores, bool json)
    {
        var rows = scores.GroupBy(s => (s.Device, s.Samples, s.Method)).Select(g => new
        {
            device = g.Key.Device,
            samples = g.Key.Samples,
            method = g.Key.Method,
            descriptor = g.First().Descriptor,
            within1 = g.Average(s => s.Metrics.Within1),
            within5 = g.Average(s => s.Metrics.Within5),
            within10 = g.Average(s => s.Metrics.Within10),
            mape = g.Average(s => s.Metrics.Mape),
            spearman = g.Average(s => s.Metrics.Spearman),
            adaptSeconds = g.Average(s => s.AdaptSeconds),
            seeds = g.Count(),
            published = g.Key.Samples == 10 && g.Key.Method == "help" ? LatencyMethods.PublishedHelp(table.Space.Name, g.Key.Device) : null,
        }).ToArray();
        if (json)
        {
            Common.PrintJson(rows);
            return;
        }
        foreach (var device in rows.GroupBy(r => r.device))
        {
            var output = new Table().Border(TableBorder.Rounded).Title(Markup.Escape(device.Key)).AddColumn("method");
            foreach (var column in (string[])["samples", "1 %", "5 %", "10 %", "MAPE", "Spearman", "adapt s"])
                output.AddColumn(new TableColumn(column).RightAligned().NoWrap());
            foreach (var r in device)
                output.AddRow(r.method, r.descriptor > 0 ? $"{r.samples} + {r.descriptor}" : $"{r.samples}", $"{100 * r.within1:0.0}",
                    $"{100 * r.within5:0.0}", $"{100 * r.within10:0.0}", $"{100 * r.mape:0.0} %", $"{r.spearman:0.000}", $"{r.adaptSeconds:0.00}");
            AnsiConsole.Write(output);
            if (LatencyMethods.PublishedHelp(table.Space.Name, device.Key) is { } published)
                AnsiConsole.MarkupLineInterpolated($"HELP as published, 10 samples on the same pools: Spearman {published:0.000}");
        }
        AnsiConsole.MarkupLineInterpolated($"per cent of the predictions within 1, 5, 10 % of the truth; mean of {rows.Max(r => r.seeds)} draws; samples + measurements that describe the device");
        if (rows.Any(r => r.method is "maple" or "maple-x"))
            AnsiConsole.MarkupLineInterpolated($"MAPLE's descriptor is the latency of {table.Space.Probes.Count} probe networks: devices of published lists come without counters");
    }
}
