using System.CommandLine;

namespace Bayou.Cli;

/// <summary>bayou demo: the main job on Fashion-MNIST, sized for a few minutes on two cores.</summary>
internal static class DemoCommand
{
    // What a demo is: this very command line.
    private static readonly string[] Line =
        ["fit", "fashion-mnist", "--latency", "median", "--epochs", "8", "--near", "4", "--trainees", "4", "--effort", "5000"];

    public static Command Create()
    {
        var command = new Command("demo", $"""
            The main job on Fashion-MNIST, with the budget at the median latency of the first proposals, so that it binds.

            It runs exactly
              bayou {string.Join(' ', Line)}

            Examples:
              bayou demo
              bayou demo --json > demo.json
            """);
        var output = new Option<string?>("--out") { Description = "run folder; default runs/fit-fashion-mnist-TIME" };
        var resume = new Option<bool>("--resume") { Description = "go on with the run in --out" };
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        foreach (var option in (Option[])[output, resume, seed, threads, json]) command.Add(option);
        command.SetAction(async (parsed, cancel) =>
        {
            var line = new List<string>(Line);
            if (parsed.GetValue(output) is { } folder) line.AddRange(["--out", folder]);
            if (parsed.GetValue(resume)) line.Add("--resume");
            if (parsed.GetValue(seed) != 0) line.AddRange(["--seed", $"{parsed.GetValue(seed)}"]);
            if (parsed.GetValue(threads) != 0) line.AddRange(["--threads", $"{parsed.GetValue(threads)}"]);
            if (parsed.GetValue(json)) line.Add("--json");
            return await BayouCli.Root().Parse(line)
                .InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, cancel);
        });
        return command;
    }
}
