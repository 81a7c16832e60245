using System.CommandLine;
using Bayou.Core;
using Bayou.Onnx;
using Bayou.Search;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou profile MODEL: what it costs, layer by layer.</summary>
internal static class ProfileCommand
{
    public static Command Create()
    {
        var command = new Command("profile", """
            Parameters, MACs, arithmetic effort and latency of a catalog model, in total and layer by layer. Latency: median at batch 1 through ONNX Runtime, fp32.
            Models on points (also the model.safetensors of `bayou train`) are counted and timed here, in libtorch and Bayou's kernels, on a generated room (synthetic).

            Examples:
              bayou profile convnext_tiny
              bayou profile convnext_ladder_k7 --size 32 --classes 10 --layers
              bayou profile convnext_tiny --no-latency --json
              bayou profile pokebnn_1.0x --no-latency
              bayou profile minkunet34c --no-latency
              bayou profile nasbench201:333132 --energy --formats bf16,e4m3,int8 --price 0.30 --plot energy.svg
              bayou profile convnext_tiny --weights w.safetensors --energy --data photos/ --price 0.30 --machines 20
            """);
        var model = new ModelArguments();
        var layers = new Option<bool>("--layers") { Description = "show every layer, not only those with MACs" };
        var noLatency = new Option<bool>("--no-latency") { Description = "count only" };
        var energy = new EnergyProfileOptions();
        var (threads, json) = (Common.Threads(), Common.Json());
        model.AddTo(command);
        foreach (var option in (Option[])[layers, noLatency, .. energy.All, threads, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            var count = Common.UseThreads(parsed.GetValue(threads));
            if (PointGraphs.Takes(parsed.GetValue(model.Model)!))
            {
                if (parsed.GetValue(energy.Energy)) throw new BayouException("--energy is for pictures");
                PointGraphs.Profile(parsed, model, !parsed.GetValue(noLatency), parsed.GetValue(layers), parsed.GetValue(json), count);
                return 0;
            }
            var source = model.Open(parsed);
            // Merging and folding change what runs, not what was published: totals are of the network as written.
            var cost = Cost.Of(Capture.Trace(source.Network, 1, source.Preprocessing.Channels, source.Preprocessing.Size, source.Preprocessing.Size));
            var graph = GraphPasses.Simplify(Capture.Trace(source.Network.Merge(), 1, source.Preprocessing.Channels, source.Preprocessing.Size,
                source.Preprocessing.Size));
            if (parsed.GetValue(energy.Energy))
            {
                EnergyProfile.Run(source, graph, parsed, energy, count, parsed.GetValue(json));
                return 0;
            }
            LatencyMeasurement? latency = null;
            var perNode = new Dictionary<string, double>();
            if (!parsed.GetValue(noLatency)) (latency, perNode) = Time(graph, count);
            var (channels, size) = (source.Preprocessing.Channels, source.Preprocessing.Size);
            Print(new Profiled(source.Name, $"{channels} x {size} x {size}", [1, channels, size, size], source.Network is IMergeable, cost, Cost.Of(graph),
                SparseCost.Of(graph)), latency, perNode,
                parsed.GetValue(layers), parsed.GetValue(json), count);
            return 0;
        });
        return command;
    }

    private static (LatencyMeasurement, Dictionary<string, double>) Time(Graph graph, int threads)
    {
        var path = Path.Combine(Path.GetTempPath(), $"bayou-profile-{Guid.NewGuid():N}.onnx");
        try
        {
            OnnxWriter.Write(graph, path, new OnnxOptions { Verify = false });
            var options = new OnnxRunnerOptions { Threads = threads };
            using var runner = new OnnxRunner(path, options);
            var latency = runner.MeasureLatency();
            return (latency, OnnxProfile.PerNodeLatency(path, options).GroupBy(n => n.Node).ToDictionary(g => g.Key, g => g.Sum(n => n.Microseconds) / 1000));
        }
        finally
        {
            foreach (var file in (string[])[path, path + ".data"]) File.Delete(file);
        }
    }

    /// <summary>What is printed of a network: its cost as written (total) and as it runs (shipped).</summary>
    internal sealed record Profiled(string Model, string Input, long[] Shape, bool Merged, Cost Total, Cost Shipped, SparseCost Sparse);

    internal static void Print(Profiled profiled, LatencyMeasurement? latency, Dictionary<string, double> perNode, bool all, bool json, int threads)
    {
        var (total, shipped, sparse) = (profiled.Total, profiled.Shipped, profiled.Sparse);
        if (json)
        {
            Common.PrintJson(new
            {
                model = profiled.Model,
                input = profiled.Shape,
                @params = total.Parameters,
                macs = total.Macs,
                aceFp32 = total.Ace(NumberFormat.Fp32),
                aceInt8 = total.Ace(NumberFormat.Int8),
                aceAsIs = total.AceAsIs(),
                bytesMovedFp32 = total.BytesMoved(NumberFormat.Fp32),
                latencyP50Ms = latency?.P50,
                threads,
                shippedParams = shipped.Parameters,
                shippedMacs = shipped.Macs,
                nonZeroParams = sparse.NonZeroWeights,
                nonZeroMacs = sparse.NonZeroMacs,
                layers = shipped.Nodes.Select(n =>
                    new
                    {
                        n.Node,
                        n.Op,
                        n.Parameters,
                        n.Macs,
                        n.Elementwise,
                        n.ABits,
                        n.BBits,
                        latencyMs = perNode.TryGetValue(n.Node, out var ms) ? ms : (double?)null
                    }),
            });
            return;
        }
        var table = new Table().Border(TableBorder.Rounded).AddColumn("layer").AddColumn("op");
        var quantized = shipped.Nodes.Any(n => n.Quantized);
        foreach (var column in (string[])["parameters", "MACs", "% MACs", .. quantized ? ["bits"] : Array.Empty<string>(), "latency ms"])
            table.AddColumn(new TableColumn(column).RightAligned());
        foreach (var n in shipped.Nodes.Where(n => all || n.Macs > 0))
        {
            table.AddRow([Markup.Escape(n.Node), n.Op, n.Parameters == 0 ? "" : Budget.Si(n.Parameters), n.Macs == 0 ? "" : Budget.Si(n.Macs),
                n.Macs == 0 ? "" : $"{100.0 * n.Macs / shipped.Macs:0.0}",
                .. quantized ? [n.Macs == 0 ? "" : $"{n.BBits} x {n.ABits}"] : Array.Empty<string>(),
                perNode.TryGetValue(n.Node, out var ms) ? $"{ms:0.000}" : ""]);
        }
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated($"[bold]{profiled.Model}[/] at {profiled.Input}: {total.Parameters:N0} parameters, {total.Macs:N0} MACs");
        if (profiled.Merged)
            AnsiConsole.MarkupLineInterpolated($"merged, as it is timed and exported: {shipped.Parameters:N0} parameters, {shipped.Macs:N0} MACs");
        if (sparse.Density < 0.99)
            AnsiConsole.MarkupLineInterpolated($"sparse: {sparse.NonZeroWeights:N0} of {sparse.Weights:N0} weights are not zero ({sparse.Density:P1}), {sparse.NonZeroMacs:N0} MACs with them");
        AnsiConsole.MarkupLineInterpolated($"ACE {Budget.Si(total.Ace(NumberFormat.Fp32))} in fp32, {Budget.Si(total.Ace(NumberFormat.Bf16))} in bf16, {Budget.Si(total.Ace(NumberFormat.Int8))} in int8; {Budget.Si(total.BytesMoved(NumberFormat.Fp32))}B moved if nothing is fused");
        if (quantized)
            AnsiConsole.MarkupLineInterpolated($"quantised as it is: {Budget.Si(total.AceAsIs())} ACE, {(double)total.Ace(NumberFormat.Fp32) / total.AceAsIs():0} times less than in fp32; {Budget.Si(total.Nodes.Where(n => n is { ABits: 1, BBits: 1 }).Sum(n => n.Macs))} MACs are binary");
        if (latency is not null)
            AnsiConsole.MarkupLineInterpolated($"latency {latency} with {threads} threads{(perNode.Count > 0 ? "; layers of a fused kernel are listed under one of them" : "")}");
    }
}
