using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class LatencyTests
{
    private static LatencyTable Table()
    {
        Assert.SkipWhen(DataCatalog.SamplesFolder is null, "the measured latencies are not here (BAYOU_SAMPLES)");
        return LatencyTable.OfSamples();
    }

    [Fact]
    public void Rank_correlations_by_hand()
    {
        double[] a = [1, 2, 3, 4], b = [1, 3, 2, 4];
        Assert.Equal(0.8, RankCorrelation.Spearman(a, b), 12);
        Assert.Equal(4.0 / 6, RankCorrelation.Kendall(a, b), 12);
        Assert.Equal([1.5, 1.5, 3, 4], RankCorrelation.Ranks([5, 5, 6, 7]));
        Assert.Throws<BayouException>(() => RankCorrelation.Spearman(a, [1.0, 2]));
    }

    [Fact]
    public void Kendall_agrees_with_the_count_of_all_pairs()
    {
        var random = new Random(4);
        double[] a = [.. Enumerable.Range(0, 200).Select(_ => (double)random.Next(20))], b = [.. a.Select(v => v + random.Next(15))];
        long concordant = 0, discordant = 0, tiedA = 0, tiedB = 0, pairs = 0;
        for (var i = 0; i < a.Length; i++)
        {
            for (var j = 0; j < i; j++)
            {
                pairs++;
                var sign = Math.Sign(a[i] - a[j]) * Math.Sign(b[i] - b[j]);
                if (a[i] == a[j]) tiedA++;
                if (b[i] == b[j]) tiedB++;
                if (sign > 0) concordant++;
                else if (sign < 0) discordant++;
            }
        }
        Assert.Equal((concordant - discordant) / Math.Sqrt((double)(pairs - tiedA) * (pairs - tiedB)), RankCorrelation.Kendall(a, b), 12);
    }

    [Fact]
    public void Ridge_recovers_a_line()
    {
        var random = new Random(1);
        var x = Enumerable.Range(0, 50).Select(_ => new[] { random.NextDouble(), random.NextDouble() }).ToArray();
        var fit = Ridge.Fit(x, [.. x.Select(r => 3 + 2 * r[0] - r[1])], 1e-9);
        Assert.Equal(3 + 2 * 0.3 - 0.9, fit.Predict([0.3, 0.9]), 5);
        Assert.Throws<BayouException>(() => Ridge.Fit(x, [1.0], 1));
    }

    [Fact]
    public void Protocol_of_help_on_the_published_lists()
    {
        var table = Table();
        Assert.Equal(23, table.Devices.Count);
        Assert.Equal((9, 3), (table.MetaTrain.Count, table.MetaTest.Count));
        Assert.Equal((720, 800), (table.TrainPool("gold_6226").Length, table.TestPool("gold_6226").Length));
        Assert.All(table.TestPool("eyeriss"), a => Assert.InRange(a, 900, 1899));
        // README of the table, published by HELP: FLOPs rank these devices with .950, .826, .437 (.951, .830, .387 in this table).
        foreach (var (device, published) in new[] { ("titan_rtx_256", 0.951), ("gold_6226", 0.830), ("eyeriss", 0.387) })
            Assert.Equal(published, LatencyEvaluation.Run(table, new MacsMethod(table.Space), device, 10, 0).Metrics.Spearman, 3);
    }

    [Fact]
    public void Transfer_and_additive_tables_are_as_strong_as_the_data_says()
    {
        var table = Table();
        var transfer = new TransferMethod(table, table.MetaTrain);
        var mean = table.MetaTest.Average(d => Enumerable.Range(0, 3).Average(s => LatencyEvaluation.Run(table, transfer, d, 10, s).Metrics.Spearman));
        Assert.True(mean > 0.95, $"{mean:0.000}");
        Assert.True(LatencyEvaluation.Run(table, new AdditiveMethod(table.Space), "gold_6226", 100, 0).Metrics.Spearman > 0.98);
    }

    [Fact]
    public void Maple_learns_from_its_descriptor()
    {
        var table = Table();
        var options = new MapleOptions { Steps = 120, Hidden = 32 };
        var (seeing, blind) = (new MapleMethod(table, table.MetaTrain, options), new MapleMethod(table, table.MetaTrain, options, useDescriptor: false));
        double Within(MapleMethod m) => LatencyEvaluation.Run(table, m, "gold_6226", 3, 1).Metrics.Within10;
        Assert.True(Within(seeing) > Within(blind) + 0.2, $"{Within(seeing):P0} against {Within(blind):P0}");
    }

    [Fact]
    public void Maple_files_keep_the_predictions()
    {
        using var folder = new TempFolder();
        manual_seed(1);
        float[][] codes = [[1, 0], [0, 1]];
        using var model = MapleModel.Create(MapleModel.NewNetwork(2 + 3, 8), [[1.0, 2, 3], [2, 2, 4]], [1.0, 2, 4, 8]);
        var path = Path.Combine(folder.Root, "m.safetensors");
        model.Save(path);
        using var again = MapleModel.Load(path);
        Assert.Equal(model.Predict(codes, [1.5, 2, 3]), again.Predict(codes, [1.5, 2, 3]));
        Assert.Throws<BayouException>(() => MapleModel.Create(MapleModel.NewNetwork(5, 8), [[1.0]], [0.0]));
    }

    [Fact]
    public void Likeness_weights_and_virtual_pairs()
    {
        double[][] sources = [[0, 0], [3, 4], [6, 8]];
        var likeness = MapleWeights.Similarity(sources, [0, 0]);
        Assert.Equal(1, likeness[0]);
        Assert.Equal(Math.Exp(-0.5), likeness[1], 12);       // distance = median
        var rows = MapleWeights.Rows([1, 3], 4, 2);
        Assert.Equal([0.5, 0.5, 0.5, 0.5, 1.5, 1.5, 1.5, 1.5, 2, 2], rows);
        double[][] latencies = [[10, 11, 20], [5, 5.5, 5]];
        Assert.Equal([(0, 1)], MapleWeights.VirtualPairs(latencies, [0], 0.1));
    }

    [Fact]
    public void Help_meta_training_lowers_the_error_and_its_file_keeps_every_parameter()
    {
        var table = Table();
        using var folder = new TempFolder();
        var errors = new List<double>();
        using var trained = HelpTraining.Train(table, table.MetaTrain, new HelpOptions { LayerSize = 12, Episodes = 30, DevicesPerEpisode = 3, Query = 60, LearningRate = 5e-3 }, seed: 1, (_, e) => errors.Add(e));
        Assert.True(errors.TakeLast(6).Average() < 0.8 * errors.Take(6).Average(), $"{errors.Take(6).Average()} to {errors.TakeLast(6).Average()}");
        var path = Path.Combine(folder.Root, "help.safetensors");
        trained.Save(path);
        using var network = HelpNetwork.Load(path);
        Assert.All(trained.All.Zip(network.All), p => TensorAssert.Same(p.First, p.Second));
        var score = LatencyEvaluation.Run(table, new HelpMethod(table, table.MetaTrain, network), "gold_6226", 10, 0);
        Assert.True(double.IsFinite(score.Metrics.Mape) && score.Metrics.Mape < 1, $"{score.Metrics.Mape}");
        Assert.Throws<BayouException>(() => HelpTraining.Train(table, ["gold_6226"], new HelpOptions(), 0));
    }

    [Fact]
    public void Help_gradients_through_the_adaptation_are_right()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        using var network = new HelpNetwork(features: 5, layerSize: 4);
        foreach (var p in network.All) { using (no_grad()) p.copy_(p.to(float32)); }
        var (x, y, hardware) = (new HelpInput(rand(8, 5), null), rand(8, 1), rand(10));
        Tensor Loss()
        {
            var (mean, _) = network.Posterior(hardware);
            var (adapted, _) = network.Adapt(network.Modulate(mean), x.Slice(0, 4), y.slice(0, 0, 4, 1), hardware, differentiable: true);
            return nn.functional.mse_loss(network.Forward(adapted, x.Slice(4, 8), hardware), y.slice(0, 4, 8, 1));
        }

        foreach (var rate in network.Rates.Values) { using (no_grad()) rate.fill_(Number.Of(0.2)); }
        Loss().backward();
        foreach (var (parameter, index) in new[] { (network.Weights["fc5.bias"], 0L), (network.Rates["fc5.bias"], 0L), (network.Weights["fc2.bias"], 1L) })
        {
            var gradient = parameter.grad!.reshape(-1)[index].item<float>();
            const double step = 0.01;
            double At(double delta)
            {
                using (no_grad()) parameter.reshape(-1)[index].add_(Number.Of(delta));
                var loss = Loss().item<float>();
                using (no_grad()) parameter.reshape(-1)[index].add_(Number.Of(-delta));
                return loss;
            }

            var numeric = (At(step) - At(-step)) / (2 * step);
            Assert.InRange(gradient, numeric - 0.02 * Math.Abs(numeric) - 1e-4, numeric + 0.02 * Math.Abs(numeric) + 1e-4);
        }
    }

    [Fact]
    public void Collecting_resumes_and_refuses_another_protocol()
    {
        using var folder = new TempFolder();
        var options = new CollectOptions { Count = 1, Seconds = 0.001, Attempts = 1, MaxSeconds = 1e-9 };
        using var store = RunStore.Open(folder.Root);
        var space = new NasBench201LatencySpace();
        var wanted = LatencyCollector.Wanted(space, options);
        Assert.Equal(space.Probes, wanted.Take(5));
        Assert.Equal(15, wanted.Count);      // five probes and ten references, one of them both, and one drawn
        // Everything but one cell is there already: only that one is measured.
        foreach (var a in wanted.Skip(1)) store.Measurements.Put($"latency/{a}", new CollectedLatency(a, 1, 1, 1, 0, 1));
        Assert.False(LatencyCollector.Collect(store, options));
        Assert.True(LatencyCollector.Collect(store, options with { MaxSeconds = 0 }));
        var (_, measured) = LatencyCollector.Read(store);
        Assert.Equal(wanted.Order(), measured.Select(m => m.Architecture).Order());
        Assert.Single(measured, m => m.Runs > 1);
        Assert.Throws<BayouException>(() => LatencyCollector.Collect(store, options with { Threads = 2 }));
    }

    [Fact]
    public void Damaged_tables_are_refused()
    {
        using var folder = new TempFolder();
        Assert.Contains("meta.json", Assert.Throws<BayouException>(() => LatencyTable.Read(folder.Root)).Message);
        File.WriteAllText(Path.Combine(folder.Root, "meta.json"), """{"space":"nasbench201"}""");
        File.WriteAllText(Path.Combine(folder.Root, "latency_ms.csv"), "index,a\n0,1\n1,2\n");
        Assert.Contains("rows", Assert.Throws<BayouException>(() => LatencyTable.Read(folder.Root)).Message);
        File.WriteAllText(Path.Combine(folder.Root, "latency_ms.csv"), "index,a\n0,1,5\n");
        Assert.Contains("line 2", Assert.Throws<BayouException>(() => LatencyTable.Read(folder.Root)).Message);
    }
}
