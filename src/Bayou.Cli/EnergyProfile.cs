using System.CommandLine;
using System.Diagnostics;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Onnx;
using Bayou.Search;
using Bayou.Train;
using Spectre.Console;
using static TorchSharp.torch;

namespace Bayou.Cli;

/// <summary>The options of `bayou profile` about energy.</summary>
internal sealed class EnergyProfileOptions
{
    public Option<bool> Energy { get; } =
        new("--energy") { Description = "energy of a picture by published per-operation tables, measured Joules where the machine shows them, bit flips of weights and activations" };

    public Option<string> Formats { get; } =
        new("--formats") { Description = "formats to compare, comma-separated", DefaultValueFactory = _ => "fp32,bf16,e4m3,int8" };

    public Option<double?> Price { get; } =
        new("--price") { Description = "price of a kWh: also what the electricity of a million pictures costs, and pictures per total cost of ownership" };

    public Option<double> Watts { get; } = new("--watts") { Description = "power of a machine at full load", DefaultValueFactory = _ => 65 };

    public Option<double> MachinePrice { get; } = new("--machine-price") { Description = "price of a machine", DefaultValueFactory = _ => 1000 };

    public Option<int> Machines { get; } = new("--machines") { Description = "machines of the fleet", DefaultValueFactory = _ => 1 };

    public Option<double> Years { get; } = new("--years") { Description = "life of a machine", DefaultValueFactory = _ => 4 };

    public Option<double> Utilisation { get; } =
        new("--utilisation") { Description = "share of the time that a machine works, per cent", DefaultValueFactory = _ => 50 };

    public Option<double> Pue { get; } =
        new("--pue") { Description = "power usage effectiveness of the site: what cooling and losses add", DefaultValueFactory = _ => 1.2 };

    public Option<string?> Data { get; } =
        new("--data") { Description = "folder, .zip or built-in data set: pictures whose activations are streamed for bit flips; default a random picture" };

    public Option<string?> Plot { get; } = new("--plot") { Description = "file for a plot of the energy of every layer, .svg or .png" };

    public Option[] All => [Energy, Formats, Price, Watts, MachinePrice, Machines, Years, Utilisation, Pue, Data, Plot];
}

/// <summary>Energy of a network: modelled by tables, measured by the machine, estimated from bit flips.</summary>
internal static class EnergyProfile
{
    private const int FlipBits = 8, FlipPictures = 4;

    public static void Run(ModelSource source, Graph graph, ParseResult parsed, EnergyProfileOptions options, int threads, bool json)
    {
        Check(parsed, options);
        var formats = parsed.GetValue(options.Formats)!.Split(',').Select(NumberFormat.Parse).ToArray();
        var cost = Cost.Of(graph);
        var table = EnergyTable.Nm7;
        NodeEnergy Sum(Func<NodeCost, NodeEnergy> energy) => cost.Nodes.Aggregate(default(NodeEnergy), (sum, n) => sum + energy(n));
        var totals = formats.Select(f =>
            new FormatTotal(f.Name, cost.Ace(f), table.Of(f).Published, Sum(n => EnergyTable.Nm7.Of(n, f)), Sum(n => EnergyTable.Nm45.Of(n, f)))).ToList();
        if (cost.Nodes.Any(n => n.Quantized)) totals.Add(new("as it is", cost.AceAsIs(), false, Sum(EnergyTable.Nm7.AsIs), Sum(EnergyTable.Nm45.AsIs)));
        var idle = EnergyMeter.IdleWatts();
        var (reading, pictures, seconds) = Measure(graph, threads, parsed.GetValue(options.Watts));
        var perPicture = (reading.Joules - (idle ?? 0) * seconds) / pictures;
        var data = parsed.GetValue(options.Data);
        var flips = Flips(source, graph, data);
        double Mean(Func<ProductFlips, double> value) => flips.Sum(f => f.Macs * value(f)) / Math.Max(1, flips.Sum(f => f.Macs));
        var flipsPerProduct = Mean(f => f.Total);
        var flipShare = flipsPerProduct / ProductFlips.Random(FlipBits);
        var int8 = cost.Macs * table.Mac(NumberFormat.Int8, NumberFormat.Int8) / 1e3;
        var tco = parsed.GetValue(options.Price) is { } price
            ? new TotalCost(parsed.GetValue(options.MachinePrice), parsed.GetValue(options.Machines), price, reading.Joules / seconds, pictures / seconds,
                parsed.GetValue(options.Years),
                parsed.GetValue(options.Utilisation) / 100, parsed.GetValue(options.Pue))
            : null;
        var plot = parsed.GetValue(options.Plot);
        if (plot is not null)
        {
            var image = CostPlots.Layers([.. cost.Nodes.Where(n => n.Macs > 0)
                .Select(n => (n.Node, (IReadOnlyList<double>)[.. formats.Select(f => table.Of(n, f).Total)]))], [.. formats.Select(f => f.Name)],
                $"nJ a picture, modelled: {table.Source}");
            if (plot.EndsWith(".png", StringComparison.OrdinalIgnoreCase)) File.WriteAllBytes(plot, image.ToPng());
            else File.WriteAllText(plot, image.ToSvg());
        }
        if (json)
        {
            Common.PrintJson(new
            {
                model = source.Name,
                totals,
                measured = new { reading.Joules, reading.Measured, reading.Source, pictures, seconds, idleWatts = idle, joulesPerPicture = perPicture },
                flips = flips.Count == 0 ? null : new
                {
                    bits = FlipBits,
                    data = data ?? "a random picture",
                    perProduct = flipsPerProduct,
                    random = ProductFlips.Random(FlipBits),
                    int8ProductNanojoules = int8 * flipShare,
                    layers = flips,
                },
                totalCost = tco,
                layers = cost.Nodes.Where(n => n.Macs > 0)
                    .Select(n => new
                    {
                        n.Node,
                        n.Op,
                        n.Macs,
                        formats = formats.Select(f => new { format = f.Name, ace = n.Ace(f, f), nanojoules = table.Of(n, f).Total })
                    }),
                plot,
            });
            return;
        }
        var layers = new Table().Border(TableBorder.Rounded).AddColumn("layer").AddColumn(new TableColumn("MACs").RightAligned());
        foreach (var f in formats) layers.AddColumn(new TableColumn($"{f} nJ").RightAligned());
        foreach (var n in cost.Nodes.Where(n => n.Macs > 0))
            layers.AddRow([Markup.Escape(n.Node), Budget.Si(n.Macs), .. formats.Select(f => Budget.Si(table.Of(n, f).Total))]);
        AnsiConsole.Write(layers);
        var summary = new Table().Border(TableBorder.Rounded).AddColumn(new TableColumn("format").NoWrap());
        foreach (var column in (string[])["ACE", "products", "others", "on-chip", "DRAM", "7 nm uJ", "45 nm uJ"])
            summary.AddColumn(new TableColumn(column).RightAligned().NoWrap());
        foreach (var t in totals)
        {
            var e = t.Nanojoules7nm;
            summary.AddRow(t.Format + (t.Published ? "" : " *"), Budget.Si(t.Ace), Micro(e.Products), Micro(e.Elementwise), Micro(e.OnChip), Micro(e.Dram),
                Micro(e.Total), Micro(t.Nanojoules45nm.Total));
        }
        AnsiConsole.Write(summary);
        AnsiConsole.MarkupLineInterpolated($"microjoules a picture, modelled, not measured: {EnergyTable.Nm7.Source}, {EnergyTable.Nm45.Source}; parts at 7 nm; activations once through 8 KB of SRAM, weights once from DRAM; * scaled from the nearest published format");
        AnsiConsole.MarkupLineInterpolated($"this machine, fp32, {threads} threads: {perPicture:0.000000} J a picture{(idle is { } w ? $" above {w:0.0} W of the idle machine" : "")}, {1 / perPicture:0.#} pictures a Joule ({reading.Source})");
        // A network that quantises its operands itself has no 8-bit ones.
        if (flips.Count > 0)
        {
            AnsiConsole.MarkupLineInterpolated($"bit flips of {FlipBits}-bit operands, {(data is null ? "a random picture" : $"pictures of {data}")}: a product flips {Mean(f => f.Activations):0.00} bits of the activation, {Mean(f => f.Weights):0.00} of the weight,");
            AnsiConsole.MarkupLineInterpolated($"{Mean(f => f.Accumulator):0.00} of the accumulator and by model {Mean(f => f.Multiplier):0.0} in the multiplier: {flipsPerProduct:0.0}, where random operands flip {ProductFlips.Random(FlipBits):0}.");
            AnsiConsole.MarkupLineInterpolated($"INT8 products then take {int8 * flipShare / 1000:0.###} uJ instead of {int8 / 1000:0.###} (modelled)");
            AnsiConsole.MarkupLineInterpolated($"in sign-magnitude registers {Mean(f => f.SignMagnitude):0.00} bits flip instead of {Mean(f => f.Activations + f.Weights):0.00}");
        }
        if (tco is not null)
        {
            AnsiConsole.MarkupLineInterpolated($"electricity of a million pictures: {tco.ElectricityPerMillion:0.####} at {tco.PricePerKwh} a kWh (PUE {tco.Pue})");
            AnsiConsole.MarkupLineInterpolated($"total cost of ownership of {tco.Machines} machines: {tco.Capital:0.##} for them and {tco.Electricity:0.##} for electricity over {tco.Years:0.#} years at {tco.Utilisation:P0} load ({tco.EnergyShare:P0} energy): {Budget.Si(tco.PicturesPerPrice)} pictures for each unit of money");
        }
        if (plot is not null) AnsiConsole.MarkupLineInterpolated($"plot: {plot}");
    }

    private static void Check(ParseResult parsed, EnergyProfileOptions options)
    {
        foreach (var positive in (Option<double>[])[options.Watts, options.Years, options.Pue])
            if (!(parsed.GetValue(positive) > 0)) throw new BayouException($"{positive.Name} {parsed.GetValue(positive)}: a positive number is needed");
        if (parsed.GetValue(options.Utilisation) is not (> 0 and <= 100))
            throw new BayouException($"--utilisation {parsed.GetValue(options.Utilisation)}: per cent, above 0 and up to 100");
        if (parsed.GetValue(options.Machines) < 1 || parsed.GetValue(options.MachinePrice) < 0 || parsed.GetValue(options.Price) < 0)
            throw new BayouException("--machines must be at least 1, --machine-price and --price not negative");
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

    private sealed record FormatTotal(string Format, long Ace, bool Published, NodeEnergy Nanojoules7nm, NodeEnergy Nanojoules45nm);

    private static IReadOnlyList<ProductFlips> Flips(ModelSource source, Graph graph, string? data)
    {
        using var scope = NewDisposeScope();
        if (data is null)
        {
            manual_seed(0);
            return ProductFlips.Of(graph, randn(graph.Inputs[0].ShapeAt(1)), FlipBits);
        }
        var part = DataSplits.Open(data, new SplitOptions()).Parts.Select(p => p.Data).Last(d => d.Count > 0);
        var loader = new ImageLoader(new Subset(part, Enumerable.Range(0, Math.Min(FlipPictures, part.Count))), FlipPictures,
            new LoaderOptions { Preprocessing = source.Preprocessing });
        using var batch = new LoaderSource(loader).Epoch(0, 0, default).First();
        return ProductFlips.Of(graph, batch.Images, FlipBits);
    }
}
