using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Bayou.Core;

namespace Bayou.Parity;

/// <summary>The tool behind <c>./bayou parity</c>: runs the cases and prints what became of them.</summary>
public static class ParityTool
{
    private const int ShownReasons = 6;

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    /// <summary>Runs the tool and returns its exit code.</summary>
    public static int Run(IReadOnlyList<string> args, IEnumerable<IParityAdapter> adapters, TextWriter output, TextWriter error)
    {
        try
        {
            var options = ParityOptions.Parse(args);
            if (options.Help)
            {
                output.WriteLine(ParityOptions.Usage);
                return 0;
            }
            return Run(options, new ParityRunner(adapters), output);
        }
        catch (BayouException e)
        {
            error.WriteLine($"parity: {e.Message}");
            return 2;
        }
    }

    private static int Run(ParityOptions options, ParityRunner runner, TextWriter output)
    {
        var results = new List<CaseResult>();
        foreach (var folder in ParityRunner.FindCases(options.Folders))
        {
            var result = runner.Run(folder, options.System);
            if (result is null) continue;
            results.Add(result);
            if (!options.Json && !(options.KnownOnly && result.Outcome == Outcome.Unknown)) Print(result, options.Verbose, output);
        }
        int passed = results.Count(r => r.Outcome == Outcome.Passed), failed = results.Count(r => r.Outcome == Outcome.Failed),
            unknown = results.Count - passed - failed;
        if (options.Json)
        {
            var shown = results.Where(r => !(options.KnownOnly && r.Outcome == Outcome.Unknown));
            output.WriteLine(JsonSerializer.Serialize(new { cases = shown, passed, failed, unknown }, Json));
        }
        else
        {
            if (results.Count == 0) output.WriteLine("no cases found");
            output.WriteLine($"{passed} passed, {failed} failed, {unknown} unknown");
        }
        return failed > 0 || results.Count == 0 || (unknown > 0 && !options.KnownOnly) ? 1 : 0;
    }

    private static void Print(CaseResult r, bool verbose, TextWriter output)
    {
        var outcome = r.Outcome switch { Outcome.Passed => "pass", Outcome.Failed => "FAIL", _ => "unknown" };
        var skipped = r.Skipped > 0 ? $" ({r.Skipped} skipped)" : "";
        var worst = r.WorstTensor is null ? "" : $"  worst {r.Worst.ToString("G3", CultureInfo.InvariantCulture)} of its bound ({r.WorstTensor})";
        var reason = r.Outcome == Outcome.Unknown ? $"  {r.Reasons[0]}" : "";
        output.WriteLine($"{outcome,-7} {r.System,-20} {r.Case,-36} {r.Tensors,4} tensors{skipped}  {r.Seconds.ToString("F2", CultureInfo.InvariantCulture),6} s{worst}{reason}");
        if (r.Outcome != Outcome.Failed) return;
        foreach (var text in r.Reasons.Take(verbose ? int.MaxValue : ShownReasons))
            output.WriteLine($"        {(verbose ? text : text.Split(Environment.NewLine)[0])}");
        if (!verbose && r.Reasons.Count > ShownReasons) output.WriteLine($"        and {r.Reasons.Count - ShownReasons} more (--verbose)");
    }
}
