using Bayou.Core;
using Bayou.Data;
using Bayou.Search;

namespace Bayou.Claims;

/// <summary>MAPLE: what a hardware descriptor is worth, how devices agree in their ranking, and a fleet run on this machine.</summary>
public sealed class MapleClaim : IClaim
{
    /// <inheritdoc/>
    public string Name => "maple";

    /// <inheritdoc/>
    public string Paper => "MAPLE, CVPR 2022 workshop, arXiv 2111.15106; MAPLE-Edge, arXiv 2204.12950; MAPLE-X, arXiv 2205.12660";

    /// <inheritdoc/>
    public string Statement =>
        "A descriptor of the hardware as an input of the regression lifts the share of predictions within 10 % on an unseen device by far at the same number of measurements; more measurements help; devices rank networks alike.";

    /// <inheritdoc/>
    public string Data =>
        "measured latencies of 15,625 NAS-Bench-201 cells on 23 devices (HELP's lists), descriptor: latency of five probe cells, a stand-in for counters; and cells measured on this machine";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        var claims = new LatencyClaims(context);
        var table = claims.Table;
        Unseen(context, claims);
        Agreement(context, table);
        Fleet(context, claims);
        context.Note(LatencyClaims.Nested);
    }

    private static void Unseen(ClaimContext context, LatencyClaims claims)
    {
        var table = claims.Table;
        LatencyScore Score(string method, string device, int k, int seed) =>
            claims.Score(() => LatencyMethods.Create(method, table, table.MetaTrain), method, device, k, seed);
        Func<int, double> Within(string method, int k) => seed => 100 * table.MetaTest.Average(d => Score(method, d, k, seed).Metrics.Within10);
        const string unit = "% within 10 %, mean of 3 unseen devices";
        context.Compare("the descriptor, 3 samples", unit, ("MAPLE", Within("maple", 3)), ("without descriptor", Within("maple-blind", 3)),
            paper: ("+6 points over the state of the art", "HELP, BRP-NAS"));
        context.Compare("the descriptor, 10 samples", unit, ("MAPLE", Within("maple", 10)), ("without descriptor", Within("maple-blind", 10)),
            paper: ("+12 points", "HELP, BRP-NAS"));
        context.Compare("more samples", unit, ("10", Within("maple", 10)), ("3", Within("maple", 3)));
        context.Compare("against the rescaled prior, 3 samples", unit, ("MAPLE", Within("maple", 3)),
            ("mean of the sources, two parameters", Within("prior", 3)));
        context.Compare("MAPLE-X: likeness and virtual examples, 10 samples", unit, ("MAPLE-X", Within("maple-x", 10)), ("MAPLE", Within("maple", 10)),
            paper: ("+5 points", "MAPLE"));
        context.Compare("against linear transfer, 10 samples", unit, ("MAPLE", Within("maple", 10)),
            ("linear transfer from the same 9 devices", Within("transfer", 10)));
        string[] methods = ["macs", "additive", "prior", "transfer", "maple-blind", "maple", "maple-x"];
        context.Table($"By device, mean of {context.Seeds.Length} draws: share within 10 %, Spearman", ["device", "samples", .. methods],
            from device in table.MetaTest
            from k in new[] { 3, 10 }
            select (string[])[device, $"{k}",
                .. methods.Select(m =>
                $"{100 * context.Seeds.Average(s => Score(m, device, k, s).Metrics.Within10):0} %, {context.Seeds.Average(s => Score(m, device, k, s).Metrics.Spearman):0.000}")]);
    }

    // The hypothesis that MAPLE-X stands on.
    private static void Agreement(ClaimContext context, LatencyTable table)
    {
        var pairs = context.Remember("agreement", () =>
        {
            var devices = table.Devices.ToArray();
            return new Pairs([.. from i in Enumerable.Range(0, devices.Length) from j in Enumerable.Range(i + 1,
                devices.Length - i - 1) select new Pair(devices[i], devices[j], RankCorrelation.Spearman(table[devices[i]], table[devices[j]]))]);
        }).All.OrderBy(p => p.Spearman).ToArray();
        context.Check("devices rank networks alike: median over all pairs of the 23 devices", "Spearman",
            ("all 15,625 cells", pairs[pairs.Length / 2].Spearman), ("0.8", 0.8), atMost: false);
        context.Table($"Rank agreement of {pairs.Length} pairs of devices: {100.0 * pairs.Count(p => p.Spearman > 0.9) / pairs.Length:0} % above 0.9, {100.0 * pairs.Count(p => p.Spearman < 0.7) / pairs.Length:0} % below 0.7",
            ["pair", "Spearman"],
            pairs.Take(4).Concat(pairs[(pairs.Length / 2 - 1)..(pairs.Length / 2 + 1)]).Concat(pairs[^3..])
            .Select(p => new[] { $"{p.A}, {p.B}", $"{p.Spearman:0.000}" }));
    }

    private static void Fleet(ClaimContext context, LatencyClaims claims)
    {
        var options = new CollectOptions { Count = 200, MaxSeconds = context.Pick(200, 0) };
        using var store = RunStore.Open(Path.Combine(context.RunFolder, "fleet"));
        if (!LatencyCollector.Collect(store, options, (done, all) => context.Status((double)done / all, $"cells of this machine: {done} of {all}"),
            context.Cancel))
            context.Note("The time for measuring cells was over before all were measured; the same command goes on.");
        var measured = LatencyCollector.Read(store).Measured;
        var table = claims.Table;
        var sources = table.Devices;
        using var help = claims.Help("help-23", sources, 0);
        string[] methods = ["macs", "additive", "prior", "transfer", "maple", "help"];
        var scores = methods.ToDictionary(m => m, m => context.Seeds.Select(s => context.Remember($"fleet/{measured.Count}/{m}/seed{s}",
            () => LatencyEvaluation.RunCollected(table, LatencyMethods.Create(m, table, sources, help), measured, 10, s))).ToArray());
        context.Table($"Fleet run: {measured.Count} cells measured here ({Machine.Here.Cpu}, one thread, ONNX Runtime; {measured.Count(m => m.Spread > 0.1)} noisy), trained on all 23 devices, 10 samples of this machine, error on the others",
            ["method", "within 10 %", "MAPE", "Spearman", "seconds to adapt"],
            methods.Select(m => new[]
            {
                m, $"{100 * scores[m].Average(s => s.Metrics.Within10):0.0} %", $"{100 * scores[m].Average(s => s.Metrics.Mape):0.0} %",
                $"{scores[m].Average(s => s.Metrics.Spearman):0.000}", $"{scores[m].Average(s => s.AdaptSeconds):0.00}",
            }));
    }

    private sealed record Pair(string A, string B, double Spearman);

    private sealed record Pairs(Pair[] All);
}
