using System.Globalization;
using Bayou.Core;
using Bayou.Data;
using Bayou.Images;

namespace Bayou.Search;

/// <summary>One network of a tabular benchmark.</summary>
/// <param name="Number">Its row, from 0; for NAS-Bench-201 the benchmark's index.</param>
/// <param name="Name">Digits, one for each choice.</param>
/// <param name="Accuracies">Test accuracies in per cent, in the order of <see cref="AccuracyTable.Sets"/>.</param>
/// <param name="Macs">Multiply-accumulates.</param>
/// <param name="Parameters">Parameters.</param>
/// <param name="Class">Number that isomorphic networks share; the row itself where the table has none.</param>
public sealed record BenchmarkNetwork(int Number, string Name, IReadOnlyList<double> Accuracies, long Macs, long Parameters, int Class);

/// <summary>
/// Accuracies of every network of a space, as tabular benchmarks publish them: archs.csv of NAS-Bench-201 (15,625 cells, CIFAR-10 and CIFAR-100, mean of the
/// benchmark's seeds) or of NAS-Bench-Macro (6,561 chains of eight layers, CIFAR-10, mean of three seeds and each of them). A search that would train a network
/// looks it up.
/// </summary>
public sealed class AccuracyTable
{
    private AccuracyTable(string space, string[] sets, BenchmarkNetwork[] networks) => (Space, Sets, Networks) = (space, sets, networks);

    /// <summary>"nasbench201" or "nasbench-macro".</summary>
    public string Space { get; }

    /// <summary>Names of the accuracies: data sets, and for NAS-Bench-Macro its seeds.</summary>
    public IReadOnlyList<string> Sets { get; }

    /// <summary>All networks in the table's order.</summary>
    public IReadOnlyList<BenchmarkNetwork> Networks { get; }

    /// <summary>Test accuracies of all networks on a data set, per cent.</summary>
    /// <exception cref="BayouException">The table has no such data set.</exception>
    public double[] Of(string set)
    {
        var at = Sets.ToList().IndexOf(set);
        return at >= 0 ? [.. Networks.Select(n => n.Accuracies[at])]
            : throw new BayouException($"the accuracies of {Space} have no '{set}'; they have {string.Join(", ", Sets)}");
    }

    /// <summary>The most accurate network among those that may be taken; null when there is none.</summary>
    /// <param name="set">Data set.</param>
    /// <param name="allowed">Which may be taken; null: all.</param>
    public BenchmarkNetwork? Best(string set, Func<BenchmarkNetwork, bool>? allowed = null)
    {
        var accuracies = Of(set);
        return Networks.Where(n => allowed is null || allowed(n)).MaxBy(n => accuracies[n.Number]);
    }

    /// <summary>Reads archs.csv of a folder; its columns say which benchmark it is.</summary>
    /// <exception cref="BayouException">It is neither, or a row does not fit the space.</exception>
    public static AccuracyTable Read(string folder)
    {
        var path = Path.Combine(folder, "archs.csv");
        if (!File.Exists(path)) throw new BayouException($"'{folder}' is no table of accuracies: it lacks archs.csv");
        var (header, rows) = CsvTable.Parse(File.ReadAllText(path), path);
        if (header.Contains("cifar10_test"))
        {
            var cells = Rows(path, header, rows, "ops", ["cifar10_test", "cifar100_test"], "flops", "iso_class");
            if (cells.Length != NasBench201Cell.Count)
                throw new BayouException($"'{path}' has {cells.Length} rows, NAS-Bench-201 has {NasBench201Cell.Count} cells");
            if (Array.Find(cells, c => c.Name != NasBench201Cell.At(c.Number).Digits) is { } wrong)
                throw new BayouException($"'{path}': row {wrong.Number} is cell {wrong.Name}, the benchmark's index {wrong.Number} is {NasBench201Cell.At(wrong.Number).Digits}");
            return new("nasbench201", ["cifar10", "cifar100"], cells);
        }
        if (header.Contains("mean_acc"))
        {
            const int layers = 8;
            var chains = Rows(path, header, rows, "arch", ["mean_acc", "acc_seed0", "acc_seed1", "acc_seed2"], "flops", null);
            if (Array.Find(chains, c => c.Name.Length != layers || c.Name.Any(d => d is < '0' or > '2')) is { } wrong)
                throw new BayouException($"'{path}': '{wrong.Name}' in row {wrong.Number} is no network of NAS-Bench-Macro: {layers} digits 0 to 2");
            return new("nasbench-macro", ["cifar10", "cifar10 seed 0", "cifar10 seed 1", "cifar10 seed 2"], chains);
        }
        throw new BayouException($"'{path}' has the columns {string.Join(", ", header)}: accuracies of NAS-Bench-201 (cifar10_test) or NAS-Bench-Macro (mean_acc) are read");
    }

    /// <summary>The table among the samples.</summary>
    /// <param name="space">"nasbench201" or "nasbench-macro".</param>
    /// <exception cref="BayouException">It is not here; the message says how to name a samples folder.</exception>
    public static AccuracyTable OfSamples(string space = "nasbench201")
    {
        var name = space == "nasbench201" ? "nasbench201-latency" : space;
        return DataCatalog.SamplesFolder is { } samples && Directory.Exists(Path.Combine(samples, name))
            ? Read(Path.Combine(samples, name))
            : throw new BayouException($"the accuracies of {space} are not here: set BAYOU_SAMPLES to the folder that holds {name}");
    }

    private static BenchmarkNetwork[] Rows(string path, string[] header, IReadOnlyList<string[]> rows, string name, string[] accuracies, string macs,
        string? kind)
    {
        int Column(string wanted) => Array.IndexOf(header, wanted) is var at and >= 0 ? at : throw new BayouException($"'{path}' has no column {wanted}");
        long Whole(string text) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value : throw new BayouException($"'{path}': '{text}' is no whole number");
        var (nameAt, macsAt, parametersAt, kindAt) = (Column(name), Column(macs), Column("params"), kind is null ? -1 : Column(kind));
        var accuracyAt = accuracies.Select(Column).ToArray();
        return [.. rows.Select((r, i) =>
            new BenchmarkNetwork(i, r[nameAt], [.. accuracyAt.Select(c => CsvTable.Number(r[c], path))], Whole(r[macsAt]), Whole(r[parametersAt]),
            kindAt < 0 ? i : (int)Whole(r[kindAt])))];
    }
}
