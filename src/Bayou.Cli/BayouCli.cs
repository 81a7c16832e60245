using System.CommandLine;
using System.Runtime.InteropServices;
using Bayou.Core;

namespace Bayou.Cli;

/// <summary>The command line: exit code 0, 1 failed, 2 wrong usage; errors in one line unless --verbose.</summary>
public static class BayouCli
{
    /// <summary>Runs a command line.</summary>
    public static async Task<int> RunAsync(string[] args)
    {
        using var stop = new CancellationTokenSource();
        // First Ctrl-C (or SIGTERM): finish the step, save, end. Second Ctrl-C: end at once.
        ConsoleCancelEventHandler onCancel = (_, e) =>
        {
            e.Cancel = !stop.IsCancellationRequested;
            if (e.Cancel) Console.Error.WriteLine("\nstopping: what is finished is being saved (Ctrl-C again to stop at once)");
            stop.Cancel();
        };
        Console.CancelKeyPress += onCancel;
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            stop.Cancel();
        });
        // A file has room for every column.
        if (Console.IsOutputRedirected) Spectre.Console.AnsiConsole.Profile.Width = 200;
        var parsed = Root().Parse(args);
        if (parsed.Errors.Count > 0 && parsed.Action is not HelpText)
        {
            foreach (var error in parsed.Errors) Console.Error.WriteLine($"bayou: {error.Message}");
            var path = string.Join(' ', Path(parsed.CommandResult));
            Console.Error.WriteLine($"`{path} --help` shows what it takes.");
            return 2;
        }
        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null },
                stop.Token);
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("bayou: stopped. Finished work is kept; where the command has a run folder, the same command with --resume goes on");
            return 1;
        }
        catch (BayouException e)
        {
            Console.Error.WriteLine($"bayou: {(parsed.GetValue(Common.Verbose) ? e.ToString() : e.Message)}");
            return 1;
        }
        catch (Exception e)
        {
            Console.Error.WriteLine(parsed.GetValue(Common.Verbose)
                ? $"bayou: {e}" : $"bayou: unexpected {e.GetType().Name}: {e.Message.Split('\n')[0]} (--verbose shows where; please report it)");
            return 1;
        }
        finally
        {
            Console.CancelKeyPress -= onCancel;
        }
    }

    /// <summary>All commands.</summary>
    public static RootCommand Root()
    {
        var root = new RootCommand("""
            Bayou: from a folder of pictures and a budget to a model that was found, trained, shrunk, measured and exported.

            Examples:
              bayou demo                                    the main job on Fashion-MNIST
              bayou fit photos/ --latency 3ms               your pictures, one sub-folder a class
              bayou predict runs/photos/model.onnx new.jpg  use the result
            """);
        root.Add(FitCommand.Create());
        root.Add(DemoCommand.Create());
        root.Add(PredictCommand.Create());
        root.Add(ModelsCommand.Create());
        root.Add(DataCommand.Create());
        root.Add(TrainCommand.Create());
        root.Add(EvalCommand.Create());
        root.Add(RobustnessCommand.Create());
        root.Add(CompressCommand.Create());
        root.Add(ProfileCommand.Create());
        root.Add(ErfCommand.Create());
        root.Add(ExportCommand.Create());
        root.Add(ExplainCommand.Create());
        root.Add(LatencyCommand.Create());
        root.Add(PointsCommand.Create());
        root.Add(ClaimsCommand.Create());
        root.Add(Common.Verbose);
        HelpText.Install(root);
        return root;
    }

    private static IEnumerable<string> Path(System.CommandLine.Parsing.CommandResult command)
    {
        var names = new List<string>();
        for (System.CommandLine.Parsing.SymbolResult? c = command; c is System.CommandLine.Parsing.CommandResult r; c = c.Parent)
            names.Insert(0, r.Command is RootCommand ? "bayou" : r.Command.Name);
        return names;
    }
}
