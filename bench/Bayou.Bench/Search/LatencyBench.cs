using Bayou.Core;
using Bayou.Search;
using TorchSharp;

namespace Bayou.Bench;

/// <summary>
/// Predicting all 15,625 cells of NAS-Bench-201 on one thread, with each predictor, against asking it for one cell after the other. Devices are drawn: additive
/// latencies with noise; the time does not depend on them.
/// </summary>
public sealed class LatencyBench : IBenchmark
{
    private const int Devices = 9, Samples = 10;

    public string Name => "latency";

    public string Summary => "latency predictors on all 15,625 cells of NAS-Bench-201, one thread: in one call against cell by cell";

    public void Run(BenchContext context)
    {
        var before = torch.get_num_threads();
        torch.set_num_threads(1);
        try
        {
            var table = Table(context.Seed);
            var sources = table.Devices.Take(Devices).ToArray();
            torch.manual_seed(context.Seed);
            using var network = new HelpNetwork();
            var target = LatencyTarget.Of(table, table.Devices[^1], Samples, context.Seed);
            var all = Enumerable.Range(0, table.Space.Count).ToArray();
            var slowest = 0.0;
            foreach (var name in LatencyMethods.Names.Where(n => n != "maple-edge" && context.Wants("predict_all")))
            {
                // Predicting takes the same time whatever was trained: few steps do.
                var method = name.StartsWith("maple", StringComparison.Ordinal)
                    ? new MapleMethod(table, sources, new MapleOptions { Steps = 2, WeightBySimilarity = name == "maple-x" })
                    : LatencyMethods.Create(name, table, sources, network);
                using var predictor = method.Adapt(target, context.Seed);
                var row = context.Row("predict_all", $"{name}, 15,625 cells, one thread", () => predictor.Predict(all),
                    [("cell by cell", () => Singly(predictor, all))], least: 3);
                slowest = Math.Max(slowest, row.OursMs);
            }
            if (slowest > 0)
                context.Mark("all 15,625 predictions of the slowest predictor measured, on one thread: seconds allowed (1) by seconds taken",
                1000 / slowest, 1);
        }
        finally
        {
            torch.set_num_threads(before);
        }
    }

    private static void Singly(ILatencyPredictor predictor, int[] all)
    {
        foreach (var a in all) predictor.Predict([a]);
    }

    private static LatencyTable Table(int seed)
    {
        var space = new NasBench201LatencySpace();
        var random = new Random(seed);
        return new LatencyTable(space, Enumerable.Range(0, Devices + 1).Select(d =>
        {
            var cost = Enumerable.Range(0, space.Encode(0).Length).Select(_ => 1 + random.NextDouble()).ToArray();
            return KeyValuePair.Create($"device {d}",
                Enumerable.Range(0, space.Count).Select(a => space.Encode(a).Zip(cost, (on, ms) => on * ms).Sum() * (1 + 0.02 * random.NextDouble()))
                .ToArray());
        }));
    }
}
