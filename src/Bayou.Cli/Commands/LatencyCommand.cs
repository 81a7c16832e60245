using System.CommandLine;
using System.Diagnostics;
using Bayou.Core;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Search;
using Spectre.Console;
using TorchSharp;

namespace Bayou.Cli;

/// <summary>bayou latency collect|train|predict|eval: latencies of many networks from few measurements.</summary>
internal static class LatencyCommand
{
    private static readonly Option<string?> Table = new("--table") { Description = "folder with archs.csv, latency_ms.csv, meta.json; default the published lists among the samples" };

    public static Command Create()
    {
        var command = new Command("latency", """
            Predicts the latency of every network of a space on a device on which few were measured, from measured latencies on other devices (MAPLE, HELP and simple baselines).

            Examples:
              bayou latency collect --out runs/here --count 200
              bayou latency eval --samples 3,10 --seeds 3
              bayou latency eval --target runs/here --samples 10 --weights runs/help.safetensors
              bayou latency predict 333133 --target runs/here --method transfer
            """);
        command.Add(Collect());
        command.Add(Train());
        command.Add(Predict());
        command.Add(Eval());
        return command;
    }

    private static Command Collect()
    {
        var command = new Command("collect", """
            Measures cells of NAS-Bench-201 on this machine: build, capture, ONNX, deploy to ONNX Runtime, warm up, measure in rounds. The same command goes on where it stopped. Also describes the
            hardware: by performance counters where the kernel allows it, otherwise by micro-benchmarks.

            Examples:
              bayou latency collect --out runs/here --count 200 --minutes 8
              bayou latency collect --out runs/here2 --count 50 --threads 2
            """);
        var output = new Option<string>("--out") { Description = "run folder", Required = true };
        var count = new Option<int>("--count") { Description = "cells drawn at random, beside the 14 references and probes that describe the device", DefaultValueFactory = _ => 200 };
        var batch = new Option<int>("--batch") { Description = "pictures at a time", DefaultValueFactory = _ => 1 };
        var minutes = new Option<double>("--minutes") { Description = "begin no cell after this time; 0: no limit", DefaultValueFactory = _ => 0 };
        var threads = new Option<int>("--threads") { Description = "threads of a measured run", DefaultValueFactory = _ => 1 };
        var (seed, json) = (Common.Seed(), Common.Json());
        foreach (var option in (Option[])[output, count, batch, minutes, seed, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            var n = parsed.GetValue(threads);
            if (n < 1 || n > Environment.ProcessorCount) throw new BayouException($"--threads {n}: this machine has {Environment.ProcessorCount}");
            torch.set_num_threads(1);
            var options = new CollectOptions { Count = parsed.GetValue(count), Batch = parsed.GetValue(batch), Threads = n, Seed = parsed.GetValue(seed), MaxSeconds = 60 * parsed.GetValue(minutes) };
            using var store = RunStore.Open(parsed.GetValue(output)!);
            var (complete, hardware) = ConsoleProgress.Run(progress =>
            {
                progress.Stage("hardware");
                if (store.Facts.Get<HardwareDescriptor>("hardware") is null) store.Facts.Put("hardware", HardwareDescriptor.Measure());
                progress.Stage("cells");
                return (LatencyCollector.Collect(store, options, (done, all) => progress.Status((double)done / all, $"{done} of {all}"), cancel), store.Facts.Get<HardwareDescriptor>("hardware")!);
            });
            var (device, measured) = LatencyCollector.Read(store);
            var noisy = measured.Count(m => m.Spread > 0.1);
            if (parsed.GetValue(json)) Common.PrintJson(new { device, complete, count = measured.Count, noisy, hardware, measured });
            else
            {
                var ms = measured.Select(m => m.Ms).Order().ToArray();
                AnsiConsole.MarkupLineInterpolated($"{measured.Count} cells on {device.Cpu}, {device.Threads} threads, batch {device.Batch}: {ms[0]:0.000} to {ms[^1]:0.000} ms, median {ms[ms.Length / 2]:0.000}; {noisy} with rounds that differ by more than 10 %");
                AnsiConsole.MarkupLineInterpolated($"hardware descriptor: {hardware.Values.Length} values from {(hardware.Source == "counters" ? "performance counters" : $"micro-benchmarks ({hardware.Reason})")}");
                if (!complete) AnsiConsole.MarkupLineInterpolated($"the time is over: the same command measures the rest");
            }
            return Task.FromResult(0);
        });
        return command;
    }

    private static Command Train()
    {
        var command = new Command("train", """
            Trains a predictor and saves it: HELP by meta-training on the source devices, MAPLE on them and on the samples of a target.

            Examples:
              bayou latency train --method help --episodes 400 --layer-size 32 --out help.safetensors
              bayou latency train --method maple --target gold_6226 --samples 10 --out maple.safetensors
            """);
        var method = new Option<string>("--method") { Description = "help or maple", DefaultValueFactory = _ => "help" };
        method.AcceptOnlyFromAmong("help", "maple", "maple-x");
        var output = new Option<string>("--out") { Description = "file to write", Required = true };
        var episodes = new Option<int>("--episodes") { Description = "HELP: episodes; 2000 as published", DefaultValueFactory = _ => 2000 };
        var size = new Option<int>("--layer-size") { Description = "HELP: width of the layers", DefaultValueFactory = _ => 100 };
        var rate = new Option<double>("--lr") { Description = "HELP: learning rate", DefaultValueFactory = _ => 1e-4 };
        var (space, devices, target, samples) = (Space(), Devices(), Target(), new Option<int>("--samples") { Description = "measured cells of the target", DefaultValueFactory = _ => 10 });
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        foreach (var option in (Option[])[method, output, episodes, size, rate, space, devices, target, samples, Table, seed, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var table = Open(parsed, space);
            var sources = Sources(parsed, table, devices, parsed.GetValue(target));
            var clock = Stopwatch.StartNew();
            var path = parsed.GetValue(output)!;
            var loss = double.NaN;
            if (parsed.GetValue(method) == "help")
            {
                var options = new HelpOptions { Episodes = parsed.GetValue(episodes), LayerSize = parsed.GetValue(size), LearningRate = parsed.GetValue(rate) };
                using var network = ConsoleProgress.Run(progress =>
                {
                    progress.Stage("meta-training");
                    return HelpTraining.Train(table, sources, options, parsed.GetValue(seed), (e, l) =>
                    {
                        loss = double.IsNaN(loss) ? l : 0.95 * loss + 0.05 * l;
                        progress.Status((double)(e + 1) / options.Episodes, $"episode {e + 1} of {options.Episodes}, error {loss:0.0000}");
                    }, cancel);
                });
                network.Save(path);
            }
            else
            {
                var method1 = (MapleMethod)LatencyMethods.Create(parsed.GetValue(method)!, table, sources);
                using var predictor = method1.AdaptModel(TargetOf(parsed.GetValue(target) ?? throw new BayouException("--target is needed: a device of the table, or a run folder of `bayou latency collect`"), table, parsed.GetValue(samples), parsed.GetValue(seed)).Target, parsed.GetValue(seed));
                predictor.Model.Save(path, new Dictionary<string, string> { ["bayou.latency"] = parsed.GetValue(method)!, ["bayou.space"] = table.Space.Name, ["bayou.descriptor"] = string.Join(',', predictor.Descriptor) });
            }
            if (parsed.GetValue(json)) Common.PrintJson(new { file = path, sources, seconds = clock.Elapsed.TotalSeconds, error = double.IsNaN(loss) ? (double?)null : loss });
            else Console.Out.WriteLine($"{path}: trained on {string.Join(", ", sources)} in {clock.Elapsed.TotalSeconds:0.0} s");
            return Task.FromResult(0);
        });
        return command;
    }

    private static Command Predict()
    {
        var command = new Command("predict", """
            Predicts milliseconds of cells on a device: of the table, or this machine as `bayou latency collect` measured it. CELL is the benchmark's string, six digits, or #index.

            Examples:
              bayou latency predict 333133 421211 --target runs/here
              bayou latency predict '#6111' --target gold_6226 --method maple --samples 10
              bayou latency predict --all --target runs/here --json
            """);
        var cells = new Argument<string[]>("CELL") { Description = "cells of NAS-Bench-201", Arity = ArgumentArity.ZeroOrMore };
        var all = new Option<bool>("--all") { Description = "every network of the space, with the time it takes" };
        var method = new Option<string>("--method") { Description = string.Join(", ", LatencyMethods.Names), DefaultValueFactory = _ => "transfer" };
        var (space, devices, target, weights) = (Space(), Devices(), Target(), Weights());
        target.Required = true;
        var samples = new Option<int>("--samples") { Description = "measured cells to adapt to", DefaultValueFactory = _ => 10 };
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        command.Add(cells);
        foreach (var option in (Option[])[all, method, space, devices, target, samples, weights, Table, seed, threads, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var table = Open(parsed, space);
            var everything = parsed.GetValue(all);
            var wanted = everything ? [.. Enumerable.Range(0, table.Space.Count)] : parsed.GetValue(cells)!.Select(c => Number(table.Space, c)).ToArray();
            if (wanted.Length == 0) throw new BayouException("name at least one cell, or --all");
            using var help = parsed.GetValue(weights) is { } path ? HelpNetwork.Load(path) : null;
            var sources = Sources(parsed, table, devices, parsed.GetValue(target));
            var of = TargetOf(parsed.GetValue(target)!, table, parsed.GetValue(samples), parsed.GetValue(seed));
            using var predictor = LatencyMethods.Create(parsed.GetValue(method)!, table, sources, help).Adapt(of.Target, parsed.GetValue(seed));
            var seconds = everything ? LatencyEvaluation.PredictAllSeconds(table, predictor) : 0;
            var ms = predictor.Predict(wanted);
            if (parsed.GetValue(json)) Common.PrintJson(new { target = of.Target.Name, method = parsed.GetValue(method), seconds, predictions = wanted.Select((a, i) => new { number = a, network = table.Space.Describe(a), ms = ms[i] }) });
            else if (everything) Console.Out.WriteLine($"{wanted.Length} networks in {seconds:0.000} s on {torch.get_num_threads()} threads: {ms.Min():0.000} to {ms.Max():0.000} ms");
            else for (var i = 0; i < wanted.Length; i++) Console.Out.WriteLine($"{ms[i]:0.000} ms  {table.Space.Describe(wanted[i])}");
            return 0;
        });
        return command;
    }

    private static Command Eval()
    {
        var command = new Command("eval", """
            Leave-device-out evaluation: every method adapts to devices it has not seen, from few measured networks, and predicts others. Protocol of HELP (specs/help.md, 1.1).

            Examples:
              bayou latency eval
              bayou latency eval --space fbnet --methods additive,transfer,maple --samples 10
              bayou latency eval --devices gold_6226,eyeriss --weights NASBench201_help.pt
              bayou latency eval --target runs/here --samples 10
            """);
        var methods = new Option<string?>("--methods") { Description = "comma-separated; default all that need no further file" };
        var test = new Option<string?>("--devices") { Description = "devices to predict; default HELP's test devices; 'all': each device of the table in turn, trained on devices of other kinds" };
        var samples = new Option<string>("--samples") { Description = "numbers of measured networks, comma-separated", DefaultValueFactory = _ => "3,5,10,20" };
        var seeds = new Option<int>("--seeds") { Description = "draws of the measured networks", DefaultValueFactory = _ => 3 };
        var (space, sourcesOption, target, weights) = (Space(), Devices(), Target(), Weights());
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        foreach (var option in (Option[])[space, methods, test, sourcesOption, samples, seeds, target, weights, Table, seed, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var table = Open(parsed, space);
            using var help = parsed.GetValue(weights) is { } path ? HelpNetwork.Load(path) : null;
            var names = parsed.GetValue(methods)?.Split(',') ?? [.. LatencyMethods.Names.Where(m => (m != "help" || help is not null) && (m != "macs" || table.Space.Macs(0) is not null))];
            var counts = parsed.GetValue(samples)!.Split(',').Select(k => int.TryParse(k, out var n) && n > 0 ? n : throw new BayouException($"--samples {k}: a positive number is needed")).ToArray();
            var folder = parsed.GetValue(target);
            var wanted = folder is not null ? [folder] : parsed.GetValue(test) is { } list ? list == "all" ? table.Devices.ToArray() : list.Split(',') : [.. table.MetaTest];
            var scores = ConsoleProgress.Run(progress =>
            {
                var done = new List<LatencyScore>();
                foreach (var device in wanted)
                {
                    progress.Stage(device);
                    var sources = Sources(parsed, table, sourcesOption, device);
                    foreach (var method in names.Select(n => LatencyMethods.Create(n, table, sources, help)))
                    {
                        foreach (var k in counts)
                        {
                            for (var s = 0; s < parsed.GetValue(seeds); s++)
                            {
                                cancel.ThrowIfCancellationRequested();
                                progress.Status(0, $"{method.Name}, {k} samples");
                                done.Add(folder is null ? LatencyEvaluation.Run(table, method, device, k, parsed.GetValue(seed) + s)
                                    : LatencyEvaluation.RunCollected(table, method, Collected(folder), k, parsed.GetValue(seed) + s));
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
            published = g.Key.Samples == 10 && table.Space.Name == "nasbench201" && LatencyMethods.PublishedHelp.TryGetValue(g.Key.Device, out var p) ? p : (double?)null,
        }).ToArray();
        if (json)
        {
            Common.PrintJson(rows);
            return;
        }
        var output = new Spectre.Console.Table().Border(TableBorder.Rounded).AddColumn("device").AddColumn("method");
        foreach (var column in (string[])["samples", "+-1 %", "+-5 %", "+-10 %", "MAPE", "Spearman", "HELP published", "adapt s"]) output.AddColumn(new TableColumn(column).RightAligned());
        foreach (var r in rows)
        {
            output.AddRow(Markup.Escape(r.device), r.method, r.descriptor > 0 ? $"{r.samples} + {r.descriptor}" : $"{r.samples}", $"{r.within1:P1}", $"{r.within5:P1}", $"{r.within10:P1}", $"{r.mape:P1}", $"{r.spearman:0.000}",
                r.published is { } p ? $"{p:0.000}" : "", $"{r.adaptSeconds:0.00}");
        }
        AnsiConsole.Write(output);
        AnsiConsole.MarkupLineInterpolated($"mean of {rows.Max(r => r.seeds)} draws; samples + measurements that describe the device. MAPLE's descriptor is the latency of {table.Space.Probes.Count} probe networks: these devices come without counters");
    }

    private static Option<string> Space()
    {
        var option = new Option<string>("--space") { Description = "nasbench201 or fbnet", DefaultValueFactory = _ => "nasbench201" };
        option.AcceptOnlyFromAmong("nasbench201", "fbnet");
        return option;
    }

    private static Option<string?> Devices() => new("--sources") { Description = "devices to learn from, comma-separated; default HELP's meta-training devices" };

    private static Option<string?> Target() => new("--target") { Description = "run folder of `bayou latency collect`, or a device of the table" };

    private static Option<string?> Weights() => new("--weights") { Description = "HELP's weights: the published checkpoint or a file of `bayou latency train`" };

    private static LatencyTable Open(ParseResult parsed, Option<string> space) =>
        parsed.GetValue(Table) is { } folder ? LatencyTable.Read(folder) : LatencyTable.OfSamples(parsed.GetValue(space)!);

    private static string[] Sources(ParseResult parsed, LatencyTable table, Option<string?> option, string? device)
    {
        var given = parsed.GetValue(option)?.Split(',') ?? [.. table.MetaTrain];
        // A kind is the name without the batch: the same card with another batch would give the answer away.
        string Kind(string name) => name.LastIndexOf('_') is var at and > 0 && int.TryParse(name[(at + 1)..], out var batch) && batch <= 256 ? name[..at] : name;
        var sources = given.Where(s => device is null || Kind(s) != Kind(device)).ToArray();
        foreach (var s in sources) _ = table[s];
        return sources.Length > 0 ? sources : throw new BayouException($"no source devices are left for {device}");
    }

    private static (LatencyTarget Target, bool Collected) TargetOf(string target, LatencyTable table, int samples, int seed) =>
        table.Devices.Contains(target) ? (LatencyTarget.Of(table, target, samples, seed), false) : (LatencyEvaluation.Target(table.Space, Collected(target), samples, seed), true);

    private static IReadOnlyList<CollectedLatency> Collected(string folder)
    {
        if (!File.Exists(Path.Combine(folder, "run.db"))) throw new BayouException($"'{folder}' is neither a device of the table nor a run folder of `bayou latency collect`");
        using var store = RunStore.Open(folder);
        return LatencyCollector.Read(store).Measured;
    }

    private static int Number(LatencySpace space, string text)
    {
        if (space is NasBench201LatencySpace) return NasBench201Cell.Parse(text).Index;
        return int.TryParse(text.TrimStart('#'), out var number) && number >= 0 && number < space.Count ? number : throw new BayouException($"'{text}' is no network of {space.Name}: #0 to #{space.Count - 1}");
    }
}
