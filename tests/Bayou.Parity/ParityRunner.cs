using System.Diagnostics;
using System.Text.Json;
using Bayou.Core;
using TorchSharp;

namespace Bayou.Parity;

public enum Outcome { Passed, Failed, Unknown }

/// <summary>What became of one case.</summary>
/// <param name="System">The system, from config.json or the adapter's name.</param>
/// <param name="Case">The case folder's name.</param>
/// <param name="Folder">The case's folder.</param>
/// <param name="Outcome">Unknown: no adapter of that name.</param>
/// <param name="Tensors">Tensors compared.</param>
/// <param name="Skipped">Tensors that a rule leaves out.</param>
/// <param name="Worst">The largest error as a multiple of its bound.</param>
/// <param name="WorstTensor">Where that is; null when nothing was compared.</param>
/// <param name="Reasons">Why it failed.</param>
/// <param name="Seconds">Time taken.</param>
public sealed record CaseResult(
    string System, string Case, string Folder, Outcome Outcome, int Tensors, int Skipped, double Worst, string? WorstTensor, IReadOnlyList<string> Reasons,
    double Seconds);

/// <summary>Finds golden cases in folders and compares what the adapters compute with what the cases expect.</summary>
/// <param name="adapters">One for each value of "adapter".</param>
public sealed class ParityRunner(IEnumerable<IParityAdapter> adapters)
{
    private const int MaxDepth = 16;

    private readonly Dictionary<string, IParityAdapter> adapters = adapters.ToDictionary(a => a.Name);

    /// <summary>
    /// The case folders below the given ones, in order of their paths: those with a config.json, and those that have a case's other files but lack it.
    /// </summary>
    /// <exception cref="BayouException">A folder does not exist.</exception>
    public static IReadOnlyList<string> FindCases(IEnumerable<string> folders)
    {
        var options = new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = MaxDepth };
        var found = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var folder in folders)
        {
            if (!Directory.Exists(folder)) throw new BayouException($"the folder '{folder}' does not exist");
            foreach (var name in (string[])["config.json", "outputs.safetensors"])
                foreach (var path in Directory.EnumerateFiles(Path.GetFullPath(folder), name, options)) found.Add(Path.GetDirectoryName(path)!);
        }
        // A config.json of something else (no "adapter", nothing to compare with) is not a case.
        return [.. found.Where(f => File.Exists(Path.Combine(f, "outputs.safetensors")) || !IsForeign(Path.Combine(f, "config.json")))];
    }

    /// <summary>Runs one case. Never throws: whatever goes wrong is the case's failure.</summary>
    /// <param name="folder">The case's folder.</param>
    /// <param name="onlySystem">Run it only if it is a case of this system.</param>
    /// <returns>What became of it; null if it is of another system.</returns>
    public CaseResult? Run(string folder, string? onlySystem)
    {
        var clock = Stopwatch.StartNew();
        var progress = new Progress();
        string system = Path.GetFileName(Path.GetDirectoryName(Path.GetFullPath(folder))) ?? "", name = Path.GetFileName(Path.GetFullPath(folder));
        var outcome = Outcome.Failed;
        try
        {
            var config = ReadConfig(folder);
            var adapterName = Text(config, "adapter") ?? throw new BayouException("config.json has no \"adapter\"");
            system = Text(config, "system") ?? adapterName.Split('/')[0];
            if (onlySystem is not null && system != onlySystem) return null;
            if (!adapters.TryGetValue(adapterName, out var adapter))
            {
                outcome = Outcome.Unknown;
                progress.Reasons.Add($"no adapter '{adapterName}'");
            }
            else
            {
                Run(folder, config, adapter, progress);
                if (progress.Reasons.Count == 0) outcome = Outcome.Passed;
            }
        }
        catch (BayouException e)
        {
            if (onlySystem is not null && system != onlySystem) return null;       // a broken case, by its folder of another system
            progress.Reasons.Add(e.Message);
        }
        catch (Exception e)
        {
            progress.Reasons.Add($"{e.GetType().Name}: {e.Message}{Environment.NewLine}{e.StackTrace}");
        }
        return new CaseResult(system, name, folder, outcome, progress.Compared, progress.Skipped, progress.Worst, progress.WorstTensor, progress.Reasons,
            clock.Elapsed.TotalSeconds);
    }

    /// <summary>Runs one case, of whatever system.</summary>
    public CaseResult Run(string folder) => Run(folder, null)!;

    private sealed class Progress
    {
        internal int Compared, Skipped;
        internal double Worst;
        internal string? WorstTensor;
        internal readonly List<string> Reasons = [];
    }

    private static void Run(string folder, JsonElement config, IParityAdapter adapter, Progress progress)
    {
        torch.manual_seed(0);       // an adapter that draws does so repeatably
        using var scope = torch.NewDisposeScope();
        using var weights = new TrackedTensors(Path.Combine(folder, "weights.safetensors"));
        using var inputs = new TrackedTensors(Path.Combine(folder, "inputs.safetensors"));
        using var outputs = new TrackedTensors(Path.Combine(folder, "outputs.safetensors"));
        var parityCase = new ParityCase(folder, config, weights, inputs, outputs);

        if (config.TryGetProperty("error", out var error))
        {
            if (error.ValueKind != JsonValueKind.String) throw new BayouException("config.json: \"error\" is not text");
            ExpectError(parityCase, adapter, error.GetString()!, progress);
            return;
        }

        var rules = CompareRule.ReadAll(config);
        var ours = adapter.Run(parityCase);
        var expected = outputs.Concat(adapter.ExpectedFromConfig(parityCase) ?? new Dictionary<string, torch.Tensor>()).ToList();
        if (expected.Count == 0) throw new BayouException("the case has neither outputs.safetensors nor expected values the adapter finds in config.json");
        foreach (var (name, reference) in expected) Compare(name, reference, ours, rules, progress);
        foreach (var name in weights.Unread) progress.Reasons.Add($"weight '{name}' was never read");
        foreach (var name in inputs.Unread) progress.Reasons.Add($"input '{name}' was never read");
        if (progress.Compared == 0 && progress.Reasons.Count == 0) progress.Reasons.Add("every output is skipped: nothing was compared");
    }

    private static void Compare(string name, torch.Tensor reference, IReadOnlyDictionary<string, torch.Tensor> ours, IReadOnlyList<CompareRule> rules,
        Progress progress)
    {
        if (rules.FirstOrDefault(r => r.Matches(name)) is not { } rule)
        {
            progress.Reasons.Add($"{name}: no entry of \"compare\" matches it");
            return;
        }
        if (rule.Mode == CompareMode.Skip)
        {
            progress.Skipped++;
            return;
        }
        if (!ours.TryGetValue(name, out var tensor))
        {
            progress.Reasons.Add($"{name}: not produced");
            return;
        }
        var result = Comparison.Of(rule, tensor, reference);
        progress.Compared++;
        if (progress.WorstTensor is null || result.Ratio > progress.Worst) (progress.Worst, progress.WorstTensor) = (result.Ratio, name);
        if (!result.Passed) progress.Reasons.Add($"{name} ({rule.Mode.ToString().ToLowerInvariant()}): {result.Reason}");
    }

    private static void ExpectError(ParityCase parityCase, IParityAdapter adapter, string word, Progress progress)
    {
        try
        {
            adapter.Run(parityCase);
        }
        catch (BayouException e)
        {
            if (!e.Message.Contains(word, StringComparison.OrdinalIgnoreCase)) progress.Reasons.Add($"the error does not say '{word}': {e.Message}");
            return;
        }
        progress.Reasons.Add($"no error was raised; one that says '{word}' is expected");
    }

    private static JsonElement ReadConfig(string folder)
    {
        var path = Path.Combine(folder, "config.json");
        if (!File.Exists(path)) throw new BayouException("config.json is missing");
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            var config = document.RootElement.Clone();
            return config.ValueKind == JsonValueKind.Object ? config : throw new BayouException("config.json is not an object");
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new BayouException($"config.json cannot be read: {e.Message}", e);
        }
    }

    private static bool IsForeign(string configPath)
    {
        try
        {
            var config = ReadConfig(Path.GetDirectoryName(configPath)!);
            return !config.TryGetProperty("adapter", out _) && !config.TryGetProperty("compare", out _) && !config.TryGetProperty("error", out _);
        }
        catch (BayouException)
        {
            return false;       // broken: reported when it is run
        }
    }

    private static string? Text(JsonElement config, string key) =>
        config.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
