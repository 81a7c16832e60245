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
        using var trained = HelpTraining.Train(table, table.MetaTrain,
            new HelpOptions { LayerSize = 12, Episodes = 30, DevicesPerEpisode = 3, Query = 60, LearningRate = 5e-3 }, seed: 1, (_, e) => errors.Add(e));
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

    [Fact]
    public void Choices_of_transfer_leave_out_the_target()
    {
        var table = Table();
        // Whatever the predicted device's column holds, the choice is the same: it is made on the sources.
        var spoilt = table.With("spoilt", [.. table["gold_6226"].Select((_, i) => 1.0 + i % 7)]);
        string[] sources = ["1080ti_32", "silver_4114", "samsung_a50", "silver_4210r"];
        var chosen = new TransferMethod(table, sources).Choose(10);
        Assert.Equal(chosen, new TransferMethod(spoilt, sources).Choose(10));
        Assert.Contains(chosen, TransferOptions.Candidates);
        // A single source cannot be left out: the first candidate.
        Assert.Equal(TransferOptions.Candidates[0], new TransferMethod(table, ["silver_4114"]).Choose(10));
        Assert.Equal(("titan_rtx", "gold_6226", "eyeriss"), (LatencyTable.Kind("titan_rtx_256"), LatencyTable.Kind("gold_6226"), LatencyTable.Kind("eyeriss")));
    }

    [Fact]
    public void Samples_of_one_size_give_a_proportion()
    {
        var space = new NasBench201LatencySpace();
        // Two cells with one 3x3 convolution each.
        int a = NasBench201Cell.Parse("300000").Index, b = NasBench201Cell.Parse("000003").Index, larger = NasBench201Cell.Parse("333333").Index;
        using var predictor = new MacsMethod(space).Adapt(new LatencyTarget("d", [(a, 2), (b, 2)], null, null), 0);
        Assert.Equal(2 * space.Macs(larger)!.Value / space.Macs(a)!.Value, predictor.Predict([larger])[0], 6);
    }

    [Fact]
    public void Predicting_all_at_once_is_predicting_each()
    {
        var space = new NasBench201LatencySpace();
        manual_seed(5);
        using var network = new HelpNetwork(layerSize: 12);
        var random = new Random(5);
        var table = new LatencyTable(space,
            new[] { "a", "b", "c" }.Select(d =>
            KeyValuePair.Create(d, Enumerable.Range(0, space.Count).Select(i => 1 + space.Encode(i).Skip(3).Sum() + random.NextDouble()).ToArray())));
        var target = LatencyTarget.Of(table, "c", 8, 0);
        foreach (var name in (string[])["macs", "additive", "prior", "transfer", "help"])
        {
            using var predictor = LatencyMethods.Create(name, table, ["a", "b"], network).Adapt(target, 0);
            var all = predictor.Predict([.. Enumerable.Range(0, 1200)]);
            foreach (var i in new[] { 0, 511, 512, 1199 }) Assert.Equal(predictor.Predict([i])[0], all[i], 4);
        }
    }

    [Fact]
    public void Saved_maple_models_predict_again_and_know_their_space()
    {
        using var folder = new TempFolder();
        manual_seed(3);
        var space = new NasBench201LatencySpace();
        using var model = MapleModel.Create(MapleModel.NewNetwork(30 + 2, 8), [[1.0, 2], [2, 2]], [1.0, 2, 4, 8]);
        using var predictor = new MaplePredictor(space, model, [1.5, -0.1]);
        var path = Path.Combine(folder.Root, "m.safetensors");
        predictor.Save(path, "maple");
        using var again = MaplePredictor.Load(path, space);
        Assert.Equal(predictor.Predict([1, 2, 9]), again.Predict([1, 2, 9]));
        Assert.Contains("--space nasbench201", Assert.Throws<BayouException>(() => MaplePredictor.Load(path, new FBNetLatencySpace([new int[22]]))).Message);
        Assert.Contains("no HELP checkpoint", Assert.Throws<BayouException>(() => HelpNetwork.Load(path)).Message);
    }

    [Fact]
    public void Maple_edge_learns_from_machines_that_know_a_part_of_the_space()
    {
        using var folder = new TempFolder();
        var space = new NasBench201LatencySpace();
        var complete = new LatencyTable(space, [KeyValuePair.Create("other", Enumerable.Range(0, space.Count).Select(a => 1.0 + a % 5).ToArray())]);
        var random = new Random(1);
        string Machine(string name, double speed, string kind = "probes")
        {
            var path = Path.Combine(folder.Root, name);
            using var store = RunStore.Open(path);
            store.Facts.Put("device", new CollectedDevice(space.Name, "ONNX Runtime", 1, 1, name, "", 0));
            store.Facts.Put("hardware", new HardwareDescriptor(kind, "", ["conv3x3 ms", "copy GB/s"], [2 / speed, 3 * speed]));
            foreach (var a in Enumerable.Range(0, 60).Select(_ => random.Next(space.Count)).Concat(space.References).Concat(space.Probes).Distinct())
                store.Measurements.Put($"latency/{a}", new CollectedLatency(a, (1 + space.Macs(a)!.Value / 4e7) / speed, 1, 1, 0, 50));
            return path;
        }

        var (slow, fast, target) = (Machine("slow", 1), Machine("fast", 4), CollectedMachine.Read(Machine("new", 2)));
        var fleet = LatencyFleet.Join(complete, [slow, fast, "other"]);
        Assert.True(double.IsNaN(fleet.Table[slow].First(double.IsNaN)));
        var method = LatencyMethods.Create("maple-edge", fleet.Table, [slow, fast], hardware: fleet.Hardware);
        var score = LatencyEvaluation.RunCollected(fleet.Table, method, target.Measured, 5, 0, target.Hardware, "new");
        Assert.True(score.Metrics is { Mape: < 0.15, Spearman: > 0.9 }, $"{score.Metrics}");
        Assert.Equal(("maple-edge", 0), (score.Method, score.Descriptor));
        // Counters and micro-benchmarks are no descriptors of one kind, and a device of a list has none.
        Assert.Contains("one kind",
            Assert.Throws<BayouException>(() =>
            method.Adapt(LatencyEvaluation.Target(space, target.Measured, 5, 0, target.Hardware! with { Source = "counters" }), 0)).Message);
        Assert.Contains("run folders",
            Assert.Throws<BayouException>(() => LatencyMethods.Create("maple-edge", fleet.Table, [slow, "other"], hardware: fleet.Hardware)).Message);
        Assert.Contains("neither", Assert.Throws<BayouException>(() => LatencyFleet.Join(complete, ["nowhere"])).Message);
        // The other methods take machines that know a part, too.
        foreach (var name in (string[])["transfer", "prior", "maple"])
            Assert.True(double.IsFinite(LatencyEvaluation.RunCollected(fleet.Table, LatencyMethods.Create(name, fleet.Table, [slow, fast, "other"]),
                target.Measured, 5, 0).Metrics.Mape), name);
    }

    [Fact]
    public void Once_for_all_encodings()
    {
        using var scope = NewDisposeScope();
        var kernels = Enumerable.Repeat(5, 20).ToArray();
        var expansions = Enumerable.Range(0, 20).Select(b => (int[])[3, 4, 6]).Select((e, b) => e[b % 3]).ToArray();
        var row = HelpEncoding.Ofa([new OfaArchitecture(kernels, expansions, [2, 4, 3, 2, 4], 160)]).Features[0].data<float>().ToArray();
        Assert.Equal(145, row.Length);
        Assert.Equal(15 + 15 + 1, row.Sum());
        Assert.Equal([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], row[..12]);                  // two of four blocks
        Assert.Equal([1, 0, 0, 0, 1, 0, 0, 0, 0], row[60..69]);
        Assert.Equal(1, row[120 + 8]);
        Assert.Throws<BayouException>(() => HelpEncoding.Ofa([new OfaArchitecture(kernels, expansions, [2, 4, 3, 2, 5], 160)]));
        Assert.Throws<BayouException>(() => HelpEncoding.Ofa([new OfaArchitecture(kernels, expansions, [2, 4, 3, 2, 4], 130)]));
    }
}
