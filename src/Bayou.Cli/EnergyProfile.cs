using System.CommandLine;
using System.Diagnostics;
using Bayou.Core;
using Bayou.Fit;
using Bayou.Onnx;
using Bayou.Search;
using Spectre.Console;
using static TorchSharp.torch;

namespace Bayou.Cli;

/// <summary>The options of `bayou profile` about energy.</summary>
internal sealed class EnergyProfileOptions
{
    public Option<bool> Energy { get; } = new("--energy") { Description = "energy of a picture by published per-operation tables, measured Joules where the machine shows them, bit flips of weights and activations" };

    public Option<string> Formats { get; } = new("--formats") { Description = "formats to compare, comma-separated", DefaultValueFactory = _ => "fp32,bf16,e4m3,int8" };

    public Option<double?> Price { get; } = new("--price") { Description = "price of a kWh: also the cost of a million pictures, and pictures per total cost of ownership" };

    public Option<double> Watts { get; } = new("--watts") { Description = "power of a machine at full load", DefaultValueFactory = _ => 65 };

    public Option<double> MachinePrice { get; } = new("--machine-price") { Description = "price of a machine", DefaultValueFactory = _ => 1000 };

    public Option<int> Machines { get; } = new("--machines") { Description = "machines of the fleet", DefaultValueFactory = _ => 1 };

    public Option<double> Years { get; } = new("--years") { Description = "life of a machine", DefaultValueFactory = _ => 4 };

    public Option<string?> Plot { get; } = new("--plot") { Description = "file for a plot of the energy of every layer, .svg or .png" };

    public Option[] All => [Energy, Formats, Price, Watts, MachinePrice, Machines, Years, Plot];
}

/// <summary>Energy of a network: modelled by tables, measured by the machine, estimated from bit flips.</summary>
internal static class EnergyProfile
{
    public static void Run(ModelSource source, Graph graph, ParseResult parsed, EnergyProfileOptions options, int threads, bool json)
    {
        var formats = parsed.GetValue(options.Formats)!.Split(',').Select(NumberFormat.Parse).ToArray();
        var cost = Cost.Of(graph);
        var table = EnergyTable.Nm7;
        var totals = formats.Select(f => new
        {
            format = f.Name,
            ace = cost.Ace(f),
            published = table.Of(f).Published,
            nanojoules7nm = cost.Nodes.Aggregate(default(NodeEnergy), (sum, n) => sum + EnergyTable.Nm7.Of(n, f)),
            nanojoules45nm = cost.Nodes.Aggregate(default(NodeEnergy), (sum, n) => sum + EnergyTable.Nm45.Of(n, f)),
        }).ToArray();
        var (reading, pictures, seconds) = Measure(graph, threads, parsed.GetValue(options.Watts));
        var perPicture = reading.Joules / pictures;
        var flips = Flips(source, graph);
        var tco = parsed.GetValue(options.Price) is { } price
            ? new TotalCost(parsed.GetValue(options.MachinePrice), parsed.GetValue(options.Machines), price, reading.Joules / seconds, pictures / seconds, parsed.GetValue(options.Years)) : null;
        var plot = parsed.GetValue(options.Plot);
        if (plot is not null)
        {
            var image = CostPlots.Layers([.. cost.Nodes.Select(n => (n.Node, table.Of(n, formats[^1]).Total)).Where(n => n.Total > 0)], $"nJ a picture, {formats[^1]}, modelled by {table.Source}");
            if (plot.EndsWith(".png", StringComparison.OrdinalIgnoreCase)) File.WriteAllBytes(plot, image.ToPng());
            else File.WriteAllText(plot, image.ToSvg());
        }
        if (json)
        {
            Common.PrintJson(new
            {
                model = source.Name,
                totals,
                measured = new { reading.Joules, reading.Measured, reading.Source, pictures, seconds, joulesPerPicture = perPicture },
                flips,
                totalCost = tco,
                layers = cost.Nodes.Where(n => n.Macs > 0).Select(n => new { n.Node, n.Op, n.Macs, formats = formats.Select(f => new { format = f.Name, ace = n.Ace(f, f), nanojoules = table.Of(n, f).Total }) }),
                plot,
            });
            return;
        }
        var layers = new Table().Border(TableBorder.Rounded).AddColumn("layer").AddColumn(new TableColumn("MACs").RightAligned());
        foreach (var f in formats) layers.AddColumn(new TableColumn($"{f} nJ").RightAligned());
        foreach (var n in cost.Nodes.Where(n => n.Macs > 0)) layers.AddRow([Markup.Escape(n.Node), Budget.Si(n.Macs), .. formats.Select(f => Budget.Si(table.Of(n, f).Total))]);
        AnsiConsole.Write(layers);
        var summary = new Table().Border(TableBorder.Rounded).AddColumn("format");
        foreach (var column in (string[])["ACE", "products uJ", "elementwise uJ", "on-chip uJ", "DRAM uJ", "7 nm total uJ", "45 nm total uJ"]) summary.AddColumn(new TableColumn(column).RightAligned());
        foreach (var t in totals)
        {
            var e = t.nanojoules7nm;
            summary.AddRow(t.format + (t.published ? "" : " *"), Budget.Si(t.ace), Micro(e.Products), Micro(e.Elementwise), Micro(e.OnChip), Micro(e.Dram), Micro(e.Total), Micro(t.nanojoules45nm.Total));
        }
        AnsiConsole.Write(summary);
        AnsiConsole.MarkupLineInterpolated($"modelled, not measured: {EnergyTable.Nm7.Source}, {EnergyTable.Nm45.Source}; activations once through 8 KB of SRAM, weights once from DRAM; * scaled from the nearest published format");
        AnsiConsole.MarkupLineInterpolated($"this machine, fp32, {threads} threads: {perPicture:0.000000} J a picture, {1 / perPicture:0.#} pictures a Joule ({reading.Source})");
        foreach (var f in flips) AnsiConsole.MarkupLineInterpolated($"{f.Stream}: {f.PerValue:0.00} of 8 bits flip from one {f.Bits}-bit code to the next (two's complement; sign-magnitude {f.SignMagnitude:0.00}); random codes flip 4");
        if (tco is not null)
            AnsiConsole.MarkupLineInterpolated($"total cost of ownership: {tco.Capital:0.##} for machines and {tco.Electricity:0.##} for electricity over {tco.Years:0.#} years at {tco.Utilisation:P0} load ({tco.EnergyShare:P0} energy): {Budget.Si(tco.PicturesPerPrice)} pictures for each unit of money");
        if (plot is not null) AnsiConsole.MarkupLineInterpolated($"plot: {plot}");
    }

    private static string Micro(double nanojoules) => $"{nanojoules / 1000:0.###}";

    private static (EnergyReading, int, double) Measure(Graph graph, int threads, double watts)
    {
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(graph), new OnnxRunnerOptions { Threads = threads });
        var shape = graph.Inputs[0].ShapeAt(1);
        var input = new float[shape.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < input.Length; i++) input[i] = MathF.Sin(i);
        runner.Run(input, shape);
        var clock = Stopwatch.StartNew();
        var meter = EnergyMeter.Start(watts);
        var pictures = 0;
        // RAPL ticks every millisecond; two seconds leave an error far below its own.
        while (clock.Elapsed.TotalSeconds < 2 || pictures < 3)
        {
            runner.Run(input, shape);
            pictures++;
        }
        return (meter.Read(), pictures, clock.Elapsed.TotalSeconds);
    }

    private sealed record FlipCount(string Stream, int Bits, double PerValue, double SignMagnitude);

    // How many bits of an 8-bit register flip from one value to the next as weights and activations stream by in memory order.
    private static List<FlipCount> Flips(ModelSource source, Graph graph)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        long values = 0, twos = 0, signs = 0;
        foreach (var weight in graph.Weights.Where(w => w.Tensor is TorchSharp.Modules.Parameter && w.Shape.Count >= 2)) Add(weight.Tensor!);
        var result = new List<FlipCount>();
        Close("weights");
        manual_seed(0);
        var input = randn(graph.Inputs[0].ShapeAt(1));
        using var module = new GraphModule(graph);
        module.eval();
        var inputs = graph.Nodes.Where(n => n.Op is Conv2dOp or LinearOp).Select(n => n.Inputs[0]).ToHashSet();
        module.Run([input], (value, tensor) =>
        {
            if (inputs.Contains(value)) Add(tensor);
        });
        Close("activations of a random picture");
        return result;

        void Add(Tensor t)
        {
            var floats = TensorMemory.ToArray<float>(t);
            var max = floats.Max(MathF.Abs);
            if (max == 0) return;
            var codes = floats.Select(v => (int)MathF.Round(v / max * 127)).ToArray();
            twos += BitToggles.Count(codes, 8, RegisterCode.TwosComplement);
            signs += BitToggles.Count(codes, 8, RegisterCode.SignMagnitude);
            values += codes.Length - 1;
        }

        void Close(string name)
        {
            if (values > 0) result.Add(new(name, 8, (double)twos / values, (double)signs / values));
            (values, twos, signs) = (0, 0, 0);
        }
    }
}
