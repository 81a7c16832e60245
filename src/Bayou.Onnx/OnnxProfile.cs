using System.Text.Json;
using Bayou.Core;
using Bayou.Onnx.Proto;

namespace Bayou.Onnx;

/// <summary>Where the time of a run goes.</summary>
/// <param name="Node">
/// Name of the graph's node (the latest one of those that ONNX Runtime fused into one kernel); "" for what ONNX Runtime added itself, such as changes of memory
/// layout.
/// </param>
/// <param name="Kernel">The kernel that ran, as ONNX Runtime calls it, e.g. "QLinearConv"; several joined by "+" where one graph node became several.</param>
/// <param name="Microseconds">Median over the profiled runs of the time the node's kernels took in one run.</param>
public sealed record NodeLatency(string Node, string Kernel, double Microseconds);

/// <summary>Times every kernel of a file by ONNX Runtime's own profiler and puts them down to the graph's nodes.</summary>
public static class OnnxProfile
{
    /// <summary>
    /// Per-node latency, in running order. The profiler itself costs some microseconds a kernel: compare shares, not sums, with
    /// <see cref="OnnxRunner.MeasureLatency"/>.
    /// </summary>
    /// <param name="path">An .onnx file.</param>
    /// <param name="options">Threads.</param>
    /// <param name="batch">Pictures at a time.</param>
    /// <param name="runs">Profiled runs, after as many unprofiled in the statistics (at least 3).</param>
    /// <exception cref="BayouException">The file cannot be loaded or run.</exception>
    public static IReadOnlyList<NodeLatency> PerNodeLatency(string path, OnnxRunnerOptions? options = null, int batch = 1, int runs = 20)
    {
        var folder = Path.Combine(Path.GetTempPath(), $"bayou-profile-{Guid.NewGuid():N}");
        Directory.CreateDirectory(folder);
        try
        {
            string report, optimised = Path.Combine(folder, "optimised.onnx");
            var warmUp = Math.Max(3, runs);
            using (var runner = new OnnxRunner(path, (options ?? new()) with { ProfilePrefix = Path.Combine(folder, "p"), OptimizedModelPath = optimised }))
            {
                runner.MeasureLatency(new LatencyOptions
                {
                    Batch = batch,
                    WarmUpSeconds = 0,
                    MinSeconds = 0,
                    MinRuns = runs + warmUp,
                    Rounds = 1,
                    MaxSeconds = 120
                });
                report = runner.EndProfiling();
            }
            return Read(File.ReadAllText(report), Owners(path, optimised), warmUp);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // Which graph node a kernel belongs to. ONNX Runtime gives some of its kernels names of its own; the value such a kernel writes still has the name it has
    // in the file.
    private static Func<string, string> Owners(string path, string optimised)
    {
        var nodes = Nodes(path);
        var known = nodes.Select(n => GraphName(n.Name)).Where(n => n.Length > 0).ToHashSet();
        var writers = nodes.SelectMany(n => n.Output.Select(o => (o, GraphName(n.Name)))).ToDictionary(p => p.o, p => p.Item2);
        var outputs = Nodes(optimised).Where(n => n.Name.Length > 0).DistinctBy(n => n.Name).ToDictionary(n => n.Name, n => n.Output);
        return kernel => Match(kernel, known) is { Length: > 0 } name ? name
            : outputs.TryGetValue(kernel, out var written) ? written.Select(o => writers.GetValueOrDefault(o, "")).FirstOrDefault(n => n.Length > 0, "") : "";
    }

    private static IReadOnlyList<NodeProto> Nodes(string path)
    {
        using var stream = File.OpenRead(path);
        return ModelProto.Parser.ParseFrom(stream).Graph.Node;
    }

    // "head::Add" is part of node "head".
    private static string GraphName(string name)
    {
        var cut = name.IndexOf(OnnxEmitter.Separator, StringComparison.Ordinal);
        return cut < 0 ? name : name[..cut];
    }

    internal static IReadOnlyList<NodeLatency> Read(string json, Func<string, string> owner, int skipRuns)
    {
        var times = new Dictionary<string, List<double>>();         // by profiled node: one entry a run
        var kernels = new Dictionary<string, string>();
        using var document = JsonDocument.Parse(json);
        foreach (var item in document.RootElement.EnumerateArray())
        {
            const string suffix = "_kernel_time";
            if (!item.TryGetProperty("cat", out var category) || category.GetString() != "Node") continue;
            var name = item.GetProperty("name").GetString() ?? "";
            if (!name.EndsWith(suffix, StringComparison.Ordinal)) continue;
            name = name[..^suffix.Length];
            if (!times.TryGetValue(name, out var list)) times[name] = list = [];
            list.Add(item.GetProperty("dur").GetDouble());
            kernels[name] = item.GetProperty("args").GetProperty("op_name").GetString() ?? "";
        }
        return times
            .Select(entry => (Node: owner(entry.Key), Kernel: kernels[entry.Key],
                Time: Median([.. entry.Value.Skip(Math.Min(skipRuns, entry.Value.Count - 1))])))
            .GroupBy(entry => entry.Node)
            .Select(group => new NodeLatency(group.Key, string.Join("+", group.Select(g => g.Kernel).Distinct()), group.Sum(g => g.Time)))
            .ToArray();
    }

    /// <summary>
    /// ONNX Runtime decorates names when it fuses or moves nodes: the longest graph name that the profiled name contains, whole path segments only.
    /// </summary>
    internal static string Match(string profiled, HashSet<string> known)
    {
        var plain = GraphName(profiled);
        if (known.Contains(plain)) return plain;
        var best = "";
        foreach (var name in known)
        {
            if (name.Length <= best.Length) continue;
            for (var at = profiled.IndexOf(name, StringComparison.Ordinal); at >= 0; at = profiled.IndexOf(name, at + 1, StringComparison.Ordinal))
            {
                var end = at + name.Length;
                if ((at == 0 || !IsNamePart(profiled[at - 1])) && (end == profiled.Length || !IsNamePart(profiled[end])))
                {
                    best = name;
                    break;
                }
            }
        }
        return best;
    }

    // "_" separates ONNX Runtime's own words from ours: "head_nchwc".
    private static bool IsNamePart(char c) => char.IsLetterOrDigit(c) || c == '.';

    private static double Median(double[] values)
    {
        Array.Sort(values);
        return values.Length % 2 == 1 ? values[values.Length / 2] : (values[values.Length / 2 - 1] + values[values.Length / 2]) / 2;
    }
}
