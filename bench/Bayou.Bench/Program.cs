using System.CommandLine;
using System.Text.Json;
using Bayou.Bench;
using Bayou.Core;
using Bayou.Fit;
using Bayou.Kernels;
using Spectre.Console;
using TorchSharp;

var name = new Argument<string?>("NAME") { Description = "a benchmark; without it they are listed", Arity = ArgumentArity.ZeroOrOne };
var json = new Option<bool>("--json") { Description = "print one JSON object on standard output; everything else goes to standard error" };
var threads = new Option<int>("--threads") { Description = "threads of ours and of the peers; 0: all cores", DefaultValueFactory = _ => 0 };
var only = new Option<string>("--only")
{
    Description = "only rows whose name (and case: after a colon) contains this; marks about others are left out",
    DefaultValueFactory = _ => ""
};
var seed = new Option<int>("--seed") { Description = "seed of drawn shapes and data", DefaultValueFactory = _ => 0 };
var root = new RootCommand("""
    Side-by-side speed tables: ours, what you would use otherwise, and the machine's measured limit, in one run (medians; competitors take turns).

    Examples:
      bayou bench                     what there is
      bayou bench core
      bayou bench depthwise --json > depthwise.json
    """)
{
    name, json, threads, seed, only,
};
root.SetAction(parsed =>
{
    if (parsed.GetValue(name) is not { } wanted)
    {
        foreach (var b in Benchmarks.All) Console.Out.WriteLine($"{b.Name,-16} {b.Summary}");
        return 0;
    }
    var benchmark = Benchmarks.All.FirstOrDefault(b => b.Name.Equals(wanted, StringComparison.OrdinalIgnoreCase))
        ?? throw new BayouException($"no benchmark is named '{wanted}'; there are: {string.Join(", ", Benchmarks.All.Select(b => b.Name))}");
    var count = parsed.GetValue(threads) > 0 ? parsed.GetValue(threads) : Environment.ProcessorCount;
    torch.set_num_threads(count);
    KernelThreads.Count = count;
    torch.manual_seed(parsed.GetValue(seed));
    var context = new BenchContext(count, parsed.GetValue(seed), row => Console.Error.WriteLine(
        $"  {row.Name} {row.Case}: {row.OursMs:0.###} ms{string.Concat(row.Peers.Select(p => $", {p.Key} {p.Value:0.###}"))}{(row.RatioBestPeer is { } r ? $"; {r:0.00}x the best peer" : "")}"));
    context.Only = parsed.GetValue(only) ?? "";
    Console.Error.WriteLine($"{Machine.Here.Cpu}, {count} threads, seed {parsed.GetValue(seed)}");
    benchmark.Run(context);
    if (parsed.GetValue(json))
    {
        Console.Out.WriteLine(JsonSerializer.Serialize(
            new
            {
                bench = benchmark.Name,
                machine = Machine.Here,
                threads = count,
                seed = parsed.GetValue(seed),
                fma_peak_gmacs = context.FmaPeak,
                gemm_peak_gmacs = context.GemmPeak,
                rows = context.Rows,
                marks = context.Marks
            },
            FitResult.Json));
        return 0;
    }
    Print(context);
    return 0;
});
try
{
    return root.Parse(args).Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (BayouException e)
{
    Console.Error.WriteLine($"bayou: {e.Message}");
    return 1;
}

static void Print(BenchContext context)
{
    // A file has room for every column.
    if (Console.IsOutputRedirected) AnsiConsole.Profile.Width = 200;
    Console.Out.WriteLine($"measured limits: {context.FmaPeak:0.0} G multiply-adds/s in registers, {context.GemmPeak:0.0} in libtorch's matrix product");
    foreach (var group in context.Rows.GroupBy(r => r.Name))
    {
        var peers = group.SelectMany(r => r.Peers.Keys).Distinct().ToList();
        var notes = group.SelectMany(r => r.Notes.Keys).Distinct().ToList();
        var table = new Table().Border(TableBorder.Rounded).Title(Markup.Escape(group.Key)).AddColumn("case").AddColumn("ours ms");
        foreach (var column in peers.Concat(["best peer / ours", "share of peak"]).Concat(notes)) table.AddColumn(Markup.Escape(column));
        foreach (var row in group)
        {
            string[] cells =
            [
                row.Case, $"{row.OursMs:0.###}", .. peers.Select(p => row.Peers.TryGetValue(p, out var ms) ? $"{ms:0.###}" : ""),
                row.RatioBestPeer is { } r ? $"{r:0.00}x" : "",
                row.PeakShare is { } s ? $"{s:P0}" : "", .. notes.Select(n => row.Notes.TryGetValue(n, out var v) ? $"{v:0.###}" : ""),
            ];
            table.AddRow(cells.Select(Markup.Escape).ToArray());
        }
        AnsiConsole.Write(table);
    }
    foreach (var mark in context.Marks) Console.Out.WriteLine($"{(mark.Met ? "met   " : "missed")} {mark.Name}: {mark.Value:0.00}, wanted {mark.Wanted:0.00}");
}
