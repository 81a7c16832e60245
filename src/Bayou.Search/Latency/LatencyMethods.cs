using Bayou.Core;

namespace Bayou.Search;

/// <summary>The methods by name, and HELP's published figures beside which they stand.</summary>
public static class LatencyMethods
{
    /// <summary>Names in the order of tables.</summary>
    public static IReadOnlyList<string> Names { get; } = ["macs", "additive", "prior", "transfer", "maple", "maple-x", "maple-edge", "help"];

    /// <summary>Makes a method.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="table">Measured latencies.</param>
    /// <param name="sources">Devices to learn from.</param>
    /// <param name="help">HELP's network; needed for "help".</param>
    /// <param name="hardware">Descriptors of collected machines; needed for "maple-edge".</param>
    /// <exception cref="BayouException">Unknown name, HELP without a network, or MAPLE-Edge with sources whose hardware is not described.</exception>
    public static ILatencyMethod Create(
        string name, LatencyTable table, IReadOnlyList<string> sources, HelpNetwork? help = null,
            IReadOnlyDictionary<string, HardwareDescriptor>? hardware = null) => name switch
            {
                "macs" => new MacsMethod(table.Space),
                "additive" => new AdditiveMethod(table.Space),
                "prior" => new PriorMethod(table, sources),
                "transfer" => new TransferMethod(table, sources),
                "maple" => new MapleMethod(table, sources),
                "maple-blind" => new MapleMethod(table, sources, useDescriptor: false),
                "maple-x" => new MapleMethod(table, sources, new MapleOptions { WeightBySimilarity = true, VirtualTolerance = 0.03 }),
                "maple-edge" => new MapleMethod(table, sources, hardware: hardware is not null && sources.All(hardware.ContainsKey) ? hardware
                    : throw new BayouException("maple-edge reads descriptors of the hardware: --sources must name run folders of `bayou latency collect`, at least two")),
                "help" => new HelpMethod(table, sources,
                    help ?? throw new BayouException("HELP needs weights: --weights FILE (published or from `bayou latency train`)")),
                _ => throw new BayouException($"there is no latency method '{name}': {string.Join(", ", Names)}, maple-blind (MAPLE without a descriptor)"),
            };

    /// <summary>
    /// HELP's published Spearman with 10 samples (README of the official code): NAS-Bench-201 on six devices, FBNet on three. The same training and test pools,
    /// devices and number of samples; HELP additionally knows the ends of the target's training pool.
    /// </summary>
    /// <param name="space">"nasbench201" or "fbnet".</param>
    /// <param name="device">A device of the table.</param>
    public static double? PublishedHelp(string space, string device) => (space, device) switch
    {
        ("nasbench201", "titan_rtx_256") => 0.987,
        ("nasbench201", "gold_6226") => 0.989,
        ("nasbench201", "eyeriss") => 0.940,
        ("nasbench201", "pixel2") => 0.802,
        ("nasbench201", "raspi4") => 0.890,
        ("nasbench201", "fpga") => 0.985,
        ("fbnet", "raspi4") => 0.887,
        ("fbnet", "eyeriss") => 0.943,
        ("fbnet", "fpga") => 0.892,
        _ => null,
    };
}
