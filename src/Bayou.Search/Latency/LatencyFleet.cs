using Bayou.Core;

namespace Bayou.Search;

/// <summary>A machine, or one setting of it, that `bayou latency collect` measured: another runtime, batch or thread count is another device.</summary>
/// <param name="Device">What was measured.</param>
/// <param name="Measured">Latencies.</param>
/// <param name="Hardware">Its descriptor; null where none was made.</param>
public sealed record CollectedMachine(CollectedDevice Device, IReadOnlyList<CollectedLatency> Measured, HardwareDescriptor? Hardware)
{
    /// <summary>Whether a folder is a run folder.</summary>
    public static bool IsFolder(string folder) => File.Exists(Path.Combine(folder, "run.db"));

    /// <summary>Reads a run folder.</summary>
    /// <exception cref="BayouException">It holds no collected latencies.</exception>
    public static CollectedMachine Read(string folder)
    {
        if (!IsFolder(folder)) throw new BayouException($"'{folder}' is neither a device of the table nor a run folder of `bayou latency collect`");
        using var store = RunStore.Open(folder);
        var (device, measured) = LatencyCollector.Read(store);
        return new(device, measured, store.Facts.Get<HardwareDescriptor>("hardware"));
    }
}

/// <summary>Source devices of predictors: columns of a table, and collected machines beside them, of which only some networks are known.</summary>
/// <param name="Table">The table with one more column for each collected machine; NaN where a network was not measured.</param>
/// <param name="Hardware">Descriptors of the collected machines.</param>
public sealed record LatencyFleet(LatencyTable Table, IReadOnlyDictionary<string, HardwareDescriptor> Hardware)
{
    /// <summary>Joins run folders to a table.</summary>
    /// <param name="table">The table.</param>
    /// <param name="names">Devices; those that the table lacks are run folders.</param>
    /// <exception cref="BayouException">A name is neither, or a folder is of another space.</exception>
    public static LatencyFleet Join(LatencyTable table, IEnumerable<string> names)
    {
        var hardware = new Dictionary<string, HardwareDescriptor>();
        foreach (var name in names.Where(n => !table.Devices.Contains(n)).Distinct().ToArray())
        {
            var machine = CollectedMachine.Read(name);
            if (machine.Device.Space != table.Space.Name)
                throw new BayouException($"'{name}' holds networks of {machine.Device.Space}, the table those of {table.Space.Name}");
            var column = new double[table.Space.Count];
            Array.Fill(column, double.NaN);
            foreach (var m in machine.Measured) column[m.Architecture] = m.Ms;
            table = table.With(name, column);
            if (machine.Hardware is { } known) hardware[name] = known;
        }
        return new(table, hardware);
    }
}
