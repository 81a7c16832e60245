using System.Text.Json;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Search;

/// <summary>
/// Measured latencies of a space on many devices: a folder with archs.csv, latency_ms.csv (one column a device) and meta.json (specs/nasbench201.md, section
/// 5). Also how HELP divides architectures and devices.
/// </summary>
public sealed class LatencyTable
{
    private readonly Dictionary<string, double[]> devices;

    /// <summary>A table of given columns.</summary>
    /// <exception cref="BayouException">A column has another length than the space.</exception>
    public LatencyTable(LatencySpace space, IEnumerable<KeyValuePair<string, double[]>> devices)
    {
        Space = space;
        this.devices = new(devices);
        foreach (var (name, column) in this.devices)
            if (column.Length != space.Count)
                throw new BayouException($"latency table: {name} has {column.Length} latencies, {space.Name} has {space.Count} networks");
    }

    /// <summary>The space.</summary>
    public LatencySpace Space { get; }

    /// <summary>Names of the devices.</summary>
    public IReadOnlyList<string> Devices => [.. devices.Keys];

    /// <summary>Devices of HELP's meta-training that the table has; for FBNet those of the same kinds.</summary>
    public IReadOnlyList<string> MetaTrain { get; private init; } = [];

    /// <summary>Devices of HELP's test that the table has.</summary>
    public IReadOnlyList<string> MetaTest { get; private init; } = [];

    /// <summary>Milliseconds of every network on a device; NaN where it was not measured.</summary>
    /// <exception cref="BayouException">No such device.</exception>
    public double[] this[string device] => devices.TryGetValue(device, out var column) ? column
        : throw new BayouException($"the latency table has no device '{device}'; it has {string.Join(", ", devices.Keys)}");

    /// <summary>A device's name without the batch (titan_rtx_256: titan_rtx): the same card with another batch would give the answer away.</summary>
    public static string Kind(string device) =>
        device.LastIndexOf('_') is var at and > 0 && int.TryParse(device[(at + 1)..], out var batch) && batch <= 256 ? device[..at] : device;

    /// <summary>The table with one more device.</summary>
    public LatencyTable With(string device, double[] latencies) =>
        new(Space, devices.Append(new(device, latencies))) { MetaTrain = MetaTrain, MetaTest = MetaTest };

    /// <summary>Networks for training on a device: the pool's middle 80 % by latency.</summary>
    public int[] TrainPool(string device) => Middle(device, 0, Space.TrainingPool);

    /// <summary>Networks for tests on a device: the next thousand's middle 80 % by latency.</summary>
    public int[] TestPool(string device) => Middle(device, Space.TrainingPool, Math.Min(Space.Count, Space.TrainingPool + 1000));

    /// <summary>Reads a folder.</summary>
    /// <exception cref="BayouException">A file is missing or does not fit the others.</exception>
    public static LatencyTable Read(string folder)
    {
        string Text(string file) => File.Exists(Path.Combine(folder, file))
            ? File.ReadAllText(Path.Combine(folder, file)) : throw new BayouException($"'{folder}' is no latency table: it lacks {file}");
        JsonElement meta;
        try
        {
            meta = JsonDocument.Parse(Text("meta.json")).RootElement;
        }
        catch (JsonException e)
        {
            throw new BayouException($"'{folder}': meta.json cannot be read: {e.Message}", e);
        }
        var (header, rows) = CsvTable.Parse(Text("latency_ms.csv"), Path.Combine(folder, "latency_ms.csv"));
        var name = meta.TryGetProperty("space", out var s) ? s.GetString() : null;
        LatencySpace space = name switch
        {
            "nasbench201" => new NasBench201LatencySpace(),
            "fbnet" => new FBNetLatencySpace([.. CsvTable.Parse(Text("archs.csv"), Path.Combine(folder, "archs.csv"))
                .Rows.Select(r => r[1].Select(c => c - '0').ToArray())]),
            _ => throw new BayouException($"'{folder}': meta.json names the space '{name}'; nasbench201 and fbnet are known"),
        };
        if (rows.Count != space.Count) throw new BayouException($"'{folder}': latency_ms.csv has {rows.Count} rows, {space.Name} has {space.Count} networks");
        var columns = header.Select((device, c) => (device, c)).Skip(1)
            .Select(d => KeyValuePair.Create(d.device, rows.Select(r => CsvTable.Number(r[d.c], folder)).ToArray())).ToArray();
        string[] List(string key) =>
            meta.TryGetProperty(key, out var list) ? [.. list.EnumerateArray().Select(d => d.GetString()!).Where(header.Contains)] : [];
        var train = List("help_meta_train");
        var test = List("help_meta_test_public");
        // meta.json of FBNet names no split: as for NAS-Bench-201, no device of the test's kind is trained on.
        if (train.Length == 0)
            train = [.. ((string[])["1080ti_1", "1080ti_32", "1080ti_64", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1",
            "samsung_s7"]).Where(header.Contains)];
        if (test.Length == 0) test = [.. ((string[])["fpga", "eyeriss", "gold_6240", "titan_rtx_64"]).Where(header.Contains)];
        return new(space, columns) { MetaTrain = train, MetaTest = test };
    }

    /// <summary>The measured table of NAS-Bench-201 or FBNet among the samples.</summary>
    /// <param name="space">"nasbench201" or "fbnet".</param>
    /// <exception cref="BayouException">There is no samples folder; the message says how to name one.</exception>
    public static LatencyTable OfSamples(string space = "nasbench201")
    {
        var folder = DataCatalog.SamplesFolder is { } samples ? Path.Combine(samples, $"{space}-latency") : null;
        return folder is not null && Directory.Exists(folder)
            ? Read(folder)
            : throw new BayouException($"the measured latencies of {space} are not here: set BAYOU_SAMPLES to the folder that holds {space}-latency, or name a table with --table");
    }

    private int[] Middle(string device, int from, int to)
    {
        var column = this[device];
        var pool = Enumerable.Range(from, to - from).Where(i => double.IsFinite(column[i])).OrderBy(i => column[i]).ThenBy(i => i).ToArray();
        return pool[(pool.Length / 10)..(pool.Length - pool.Length / 10)];
    }
}
