using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Bayou.Core;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Search;
using Spectre.Console;
using TorchSharp;

namespace Bayou.Cli;

/// <summary>bayou latency collect|train|predict|eval|tables: latencies of many networks from few measurements.</summary>
internal static class LatencyCommand
{
    public static readonly Option<string?> Table =
        new("--table") { Description = "folder with archs.csv, latency_ms.csv, meta.json; default the published lists among the samples" };

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
        command.Add(LatencyEval.Create());
        command.Add(LatencyTables.Create());
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
        var count = new Option<int>("--count")
        {
            Description = "cells drawn at random, beside the 14 references and probes that describe the device",
            DefaultValueFactory = _ => 200
        };
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
            var options = new CollectOptions
            {
                Count = parsed.GetValue(count),
                Batch = parsed.GetValue(batch),
                Threads = n,
                Seed = parsed.GetValue(seed),
                MaxSeconds = 60 * parsed.GetValue(minutes)
            };
            using var store = RunStore.Open(parsed.GetValue(output)!);
            var (complete, hardware) = ConsoleProgress.Run(progress =>
            {
                progress.Stage("hardware");
                if (store.Facts.Get<HardwareDescriptor>("hardware") is null) store.Facts.Put("hardware", HardwareDescriptor.Measure(n, options.Batch));
                progress.Stage("cells");
                return (LatencyCollector.Collect(store, options, (done, all) => progress.Status((double)done / all, $"{done} of {all}"), cancel),
                    store.Facts.Get<HardwareDescriptor>("hardware")!);
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
              bayou latency train --method maple-edge --sources runs/board1,runs/board2 --target runs/board3 --out edge.safetensors
            """);
        var method = new Option<string>("--method") { Description = "help, maple, maple-x or maple-edge", DefaultValueFactory = _ => "help" };
        method.AcceptOnlyFromAmong("help", "maple", "maple-x", "maple-edge");
        var output = new Option<string>("--out") { Description = "file to write", Required = true };
        var episodes = new Option<int>("--episodes") { Description = "HELP: episodes; 2000 as published", DefaultValueFactory = _ => 2000 };
        var size = new Option<int>("--layer-size") { Description = "HELP: width of the layers", DefaultValueFactory = _ => 100 };
        var rate = new Option<double>("--lr") { Description = "HELP: learning rate", DefaultValueFactory = _ => 1e-4 };
        var (space, devices, target, samples) =
            (Space(), Devices(), Target(), new Option<int>("--samples") { Description = "measured cells of the target", DefaultValueFactory = _ => 10 });
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        foreach (var option in (Option[])[method, output, episodes, size, rate, space, devices, target, samples, Table, seed, threads, json])
            command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var table = Open(parsed, space);
            var (fleet, sources) = Fleet(parsed, table, devices, parsed.GetValue(target));
            table = fleet.Table;
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
                var method1 = (MapleMethod)LatencyMethods.Create(parsed.GetValue(method)!, table, sources, hardware: fleet.Hardware);
                using var predictor =
                    method1.AdaptModel(TargetOf(parsed.GetValue(target)
                    ?? throw new BayouException("--target is needed: a device of the table, or a run folder of `bayou latency collect`"), table,
                    parsed.GetValue(samples), parsed.GetValue(seed)), parsed.GetValue(seed));
                predictor.Save(path, parsed.GetValue(method)!);
            }
            if (parsed.GetValue(json))
                Common.PrintJson(new { file = path, sources, seconds = clock.Elapsed.TotalSeconds, error = double.IsNaN(loss) ? (double?)null : loss });
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
              bayou latency predict 333133 --method maple --weights maple.safetensors
              bayou latency predict --all --target runs/here --json
              bayou latency predict --below 8,11,14 --target gold_6226 --for cifar100
            """);
        var cells = new Argument<string[]>("CELL") { Description = "cells of NAS-Bench-201", Arity = ArgumentArity.ZeroOrMore };
        var all = new Option<bool>("--all") { Description = "every network of the space, with the time it takes" };
        var below = new Option<string?>("--below") { Description = "the most accurate cell that is predicted below each of these latencies, ms, comma-separated" };
        var set = new Option<string>("--for")
        {
            Description = "with --below: data set of the accuracy, cifar10 or cifar100",
            DefaultValueFactory = _ => "cifar100"
        };
        var method = new Option<string>("--method") { Description = string.Join(", ", LatencyMethods.Names), DefaultValueFactory = _ => "transfer" };
        var (space, devices, target, weights) = (Space(), Devices(), Target(), Weights());
        var samples = new Option<int>("--samples") { Description = "measured cells to adapt to", DefaultValueFactory = _ => 10 };
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        command.Add(cells);
        foreach (var option in (Option[])[all, below, set, method, space, devices, target, samples, weights, Table, seed, threads, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var table = Open(parsed, space);
            var everything = parsed.GetValue(all);
            var limits = parsed.GetValue(below)?.Split(',')
                .Select(t => double.TryParse(t, NumberStyles.Float, CultureInfo.InvariantCulture, out var v) && v > 0
                ? v : throw new BayouException($"--below {t}: milliseconds are needed")).ToArray();
            var wanted = everything || limits is not null
                ? [.. Enumerable.Range(0, table.Space.Count)] : parsed.GetValue(cells)!.Select(c => Number(table.Space, c)).ToArray();
            if (wanted.Length == 0) throw new BayouException("name at least one cell, or --all, or --below MS");
            var name = parsed.GetValue(method)!;
            using var predictor =
                Predictor(parsed, table, name, parsed.GetValue(weights), parsed.GetValue(target), devices, parsed.GetValue(samples), parsed.GetValue(seed));
            var seconds = everything ? LatencyEvaluation.PredictAllSeconds(table, predictor) : 0;
            var ms = predictor.Predict(wanted);
            var device = parsed.GetValue(target) is { } named && table.Devices.Contains(named) ? named : null;
            if (limits is not null) Choose(table, device, ms, limits, parsed.GetValue(set)!, parsed.GetValue(json));
            else if (parsed.GetValue(json))
                Common.PrintJson(new
                {
                    target = parsed.GetValue(target),
                    method = name,
                    seconds,
                    predictions = wanted.Select((a, i) =>
                    new { number = a, network = table.Space.Describe(a), ms = ms[i], measuredMs = device is null ? (double?)null : table[device][a] })
                });
            else if (everything)
                Console.Out.WriteLine($"{wanted.Length} networks in {seconds:0.000} s on {torch.get_num_threads()} threads: {ms.Min():0.000} to {ms.Max():0.000} ms");
            else for (var i = 0; i < wanted.Length; i++)
                Console.Out.WriteLine($"{ms[i]:0.000} ms  {table.Space.Describe(wanted[i])}{(device is null ? "" : $"  (measured {table[device][wanted[i]]:0.000})")}");
            return 0;
        });
        return command;
    }

    private static ILatencyPredictor Predictor(ParseResult parsed, LatencyTable table, string method, string? weights, string? target, Option<string?> devices,
        int samples, int seed)
    {
        if (weights is not null && method.StartsWith("maple", StringComparison.Ordinal)) return MaplePredictor.Load(weights, table.Space);
        if (target is null) throw new BayouException("--target is needed: a device of the table, or a run folder of `bayou latency collect`");
        using var help = weights is null ? null : HelpNetwork.Load(weights);
        var (fleet, sources) = Fleet(parsed, table, devices, target);
        return LatencyMethods.Create(method, fleet.Table, sources, help, fleet.Hardware).Adapt(TargetOf(target, table, samples, seed), seed);
    }

    // The search that latency prediction is for: accuracies are the benchmark's, latencies are predicted.
    private static void Choose(LatencyTable table, string? device, double[] ms, double[] limits, string set, bool json)
    {
        if (table.Space is not NasBench201LatencySpace)
            throw new BayouException($"--below needs accuracies: those of NAS-Bench-201 are known, not those of {table.Space.Name}");
        var accuracies = AccuracyTable.OfSamples();
        var rows = limits.Select(limit =>
        {
            var chosen = accuracies.Best(set, n => ms[n.Number] < limit);
            var best = device is null ? null : accuracies.Best(set, n => table[device][n.Number] < limit);
            double? Accuracy(BenchmarkNetwork? n) => n is null ? null : accuracies.Of(set)[n.Number];
            return new
            {
                limit,
                cell = chosen?.Name,
                number = chosen?.Number,
                accuracy = Accuracy(chosen),
                predictedMs = chosen is null ? (double?)null : ms[chosen.Number],
                measuredMs = chosen is null || device is null ? (double?)null : table[device][chosen.Number],
                bestPossible = Accuracy(best),
            };
        }).ToArray();
        if (json)
        {
            Common.PrintJson(rows);
            return;
        }
        foreach (var r in rows)
        {
            Console.Out.WriteLine(r.cell is null ? $"below {r.limit} ms: none is predicted so fast"
                : $"below {r.limit} ms: {r.cell} (#{r.number}), {set} {r.accuracy:0.00} %, predicted {r.predictedMs:0.000} ms{(r.measuredMs is { } m ? $", measured {m:0.000} ms{(m < r.limit ? "" : ": over")}; the best cell that is so fast has {r.bestPossible:0.00} %" : "")}");
        }
    }

    public static Option<string> Space()
    {
        var option = new Option<string>("--space") { Description = "nasbench201 or fbnet", DefaultValueFactory = _ => "nasbench201" };
        option.AcceptOnlyFromAmong("nasbench201", "fbnet");
        return option;
    }

    public static Option<string?> Devices() =>
        new("--sources") { Description = "devices to learn from, comma-separated: of the table, or run folders of `bayou latency collect`; default HELP's meta-training devices" };

    public static Option<string?> Target() => new("--target") { Description = "run folder of `bayou latency collect`, or a device of the table" };

    public static Option<string?> Weights() => new("--weights") { Description = "a file of `bayou latency train`, or HELP's published checkpoint (.pt, .pth)" };

    public static LatencyTable Open(ParseResult parsed, Option<string> space) =>
        parsed.GetValue(Table) is { } folder ? LatencyTable.Read(folder) : LatencyTable.OfSamples(parsed.GetValue(space)!);

    /// <summary>Source devices: those of --sources or HELP's, without those of the target's kind; run folders among them join the table.</summary>
    public static (LatencyFleet Fleet, string[] Sources) Fleet(ParseResult parsed, LatencyTable table, Option<string?> option, string? device)
    {
        var given = parsed.GetValue(option)?.Split(',') ?? [.. table.MetaTrain];
        var fleet = LatencyFleet.Join(table, given);
        var sources = given.Where(s => device is null || LatencyTable.Kind(s) != LatencyTable.Kind(device)).ToArray();
        return sources.Length > 0 ? (fleet, sources) : throw new BayouException($"no source devices are left for {device}");
    }

    private static LatencyTarget TargetOf(string target, LatencyTable table, int samples, int seed)
    {
        if (table.Devices.Contains(target)) return LatencyTarget.Of(table, target, samples, seed);
        var machine = CollectedMachine.Read(target);
        return LatencyEvaluation.Target(table.Space, machine.Measured, samples, seed, machine.Hardware, target);
    }

    private static int Number(LatencySpace space, string text)
    {
        if (space is NasBench201LatencySpace) return NasBench201Cell.Parse(text).Index;
        return int.TryParse(text.TrimStart('#'), out var number) && number >= 0 && number < space.Count
            ? number : throw new BayouException($"'{text}' is no network of {space.Name}: #0 to #{space.Count - 1}");
    }
}
