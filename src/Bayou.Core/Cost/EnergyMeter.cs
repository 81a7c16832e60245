using System.Diagnostics;
using System.Globalization;

namespace Bayou.Core;

/// <summary>Energy that was used between two readings.</summary>
/// <param name="Joules">Joules.</param>
/// <param name="Measured">Whether an instrument of the machine measured them; otherwise they are modelled.</param>
/// <param name="Source">Which instrument or which model, with what it leaves out.</param>
public sealed record EnergyReading(double Joules, bool Measured, string Source);

/// <summary>
/// Energy of this machine (specs/ace.md, section 4): Intel's and AMD's RAPL counters where the system shows them, otherwise a model: watts given by the user
/// times the processor time used, divided by the cores. RAPL counts the whole package, other programs included.
/// </summary>
public sealed class EnergyMeter
{
    /// <summary>Where Linux shows RAPL.</summary>
    public const string DefaultFolder = "/sys/class/powercap";

    private readonly List<Zone> zones = [];
    private readonly double watts;
    private readonly TimeSpan startTime;

    private EnergyMeter(double watts, string why)
    {
        (this.watts, WhyModelled) = (watts, why);
        startTime = ProcessorTime;
    }

    /// <summary>Why the energy is modelled; empty when it is measured.</summary>
    public string WhyModelled { get; }

    /// <summary>Begins to count.</summary>
    /// <param name="watts">Power of the machine at full load, for the model.</param>
    /// <param name="folder">The powercap folder.</param>
    public static EnergyMeter Start(double watts = 65, string folder = DefaultFolder)
    {
        var found = new List<Zone>();
        var why = "this machine shows no RAPL counters (virtual machines and ARM boards have none)";
        if (Directory.Exists(folder))
        {
            foreach (var path in Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal))
            {
                // Packages, and memory beside them; "psys" contains both and must not be added. Cores are part of the package.
                var name = Text(Path.Combine(path, "name"));
                if (name is null || !(name.StartsWith("package", StringComparison.Ordinal) || name == "dram")) continue;
                if (Zone.Open(path, name) is { } zone) found.Add(zone);
                else why = $"'{Path.Combine(path, "energy_uj")}' may not be read: it is for root only on most systems";
            }
        }
        var meter = new EnergyMeter(watts, found.Any(z => z.Name != "dram") ? "" : why);
        if (meter.WhyModelled.Length == 0) meter.zones.AddRange(found);
        return meter;
    }

    /// <summary>Joules since the start; call it at least every few minutes, because the counters wrap around.</summary>
    public EnergyReading Read()
    {
        if (zones.Count > 0)
            return new(zones.Sum(z => z.Joules()), true, $"RAPL, {string.Join(" + ", zones.Select(z => z.Name))}; the whole package, other programs included");
        var busy = (ProcessorTime - startTime).TotalSeconds / Environment.ProcessorCount;
        return new(watts * busy, false,
            string.Create(CultureInfo.InvariantCulture,
            $"modelled, not measured: {watts:0.#} W x processor time / {Environment.ProcessorCount} cores ({WhyModelled})"));
    }

    /// <summary>Power of this machine while the process sleeps, watts, by its instruments; null where energy is modelled.</summary>
    /// <param name="seconds">How long to look.</param>
    /// <param name="folder">The powercap folder.</param>
    public static double? IdleWatts(double seconds = 1, string folder = DefaultFolder)
    {
        var meter = Start(folder: folder);
        if (meter.WhyModelled.Length > 0) return null;
        var clock = Stopwatch.StartNew();
        Thread.Sleep(TimeSpan.FromSeconds(seconds));
        return meter.Read().Joules / clock.Elapsed.TotalSeconds;
    }

    private static TimeSpan ProcessorTime
    {
        get
        {
            using var process = Process.GetCurrentProcess();
            return process.TotalProcessorTime;
        }
    }

    private static string? Text(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private sealed class Zone(string path, string name, long last, long range)
    {
        private long last = last, microjoules;

        public string Name => name;

        public static Zone? Open(string path, string name) =>
            Number(Path.Combine(path, "energy_uj")) is { } now ? new(path, name, now, Number(Path.Combine(path, "max_energy_range_uj")) ?? 0) : null;

        public double Joules()
        {
            if (Number(Path.Combine(path, "energy_uj")) is { } now)
            {
                microjoules += now >= last ? now - last : now - last + range;
                last = now;
            }
            return microjoules / 1e6;
        }

        private static long? Number(string file) => long.TryParse(Text(file), CultureInfo.InvariantCulture, out var value) ? value : null;
    }
}
