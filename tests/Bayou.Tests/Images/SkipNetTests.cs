using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class SkipNetTests
{
    private static SkipNet Net(SkipGateKind gate = SkipGateKind.Recurrent, GateMode mode = GateMode.StraightThrough, int[]? layers = null) =>
        new(new SkipNetConfig { Layers = layers ?? [2, 3, 2], Widths = [4, 6, 8], Gate = gate, Mode = mode, Classes = 4 });

    // Untrained gates agree on all pictures: a mixed batch needs decisions of our own.
    private static Func<int, Tensor, Tensor> Mixed => (block, p) => arange(p.shape[0]).add(block).remainder(block % 3 + 1).eq(0).to(float32).unsqueeze(1);

    [Theory]
    [InlineData(SkipGateKind.Recurrent)]
    [InlineData(SkipGateKind.FeedForward1)]
    [InlineData(SkipGateKind.FeedForward2)]
    public void Skipping_gives_the_blended_logits_when_the_pictures_disagree(SkipGateKind gate)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        using var net = Net(gate);
        net.eval();
        var x = randn(6, 3, 16, 16);
        var skipping = net.Run(x, Mixed);
        net.Skips = false;
        var blended = net.Run(x, Mixed);
        TensorAssert.Close(blended.Logits, skipping.Logits, 1e-5, 1e-6);
        Assert.Contains(skipping.Decisions, d => d.mean().item<float>() is > 0 and < 1);
        // Each picture alone takes the way it took in the batch.
        net.Skips = true;
        for (var n = 0; n < 6; n++)
        {
            var alone = net.Run(x.slice(0, n, n + 1, 1), (block, _) => skipping.Decisions[block].slice(0, n, n + 1, 1));
            TensorAssert.Close(skipping.Logits.slice(0, n, n + 1, 1), alone.Logits, 1e-4, 1e-5);
        }
    }

    /// <summary>
    /// Inference without gradients computes the recurrent gate beside libtorch and writes rows in place: the same decisions, probabilities and logits.
    /// </summary>
    [Theory]
    [InlineData(false, 6)]
    [InlineData(false, 1)]
    [InlineData(true, 3)]
    public void Fast_inference_decides_as_the_layers_do(bool imageNet, int batch)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(3);
        using var net = new SkipNet(new SkipNetConfig
        {
            Layers = [2, 3, 2],
            Widths = [4, 6, 8],
            Classes = 4,
            ImageNet = imageNet,
            Block = imageNet ? ResidualKind.Bottleneck : ResidualKind.Basic,
            EmbedDim = 5,
            HiddenDim = 7,
        });
        foreach (var (name, p) in net.named_parameters())
            if (name.StartsWith("control.", StringComparison.Ordinal)) p.copy_(randn_like(p) * 2);
        net.eval();
        var x = randn(batch, 3, 40, 24);
        var input = x.clone();
        foreach (var choose in new[] { null, Mixed })
        {
            var fast = net.Run(x, choose, lastGate: true);
            net.Skips = false;
            var blended = net.Run(x, choose, lastGate: true);
            net.Skips = true;
            TensorAssert.Close(blended.Logits, fast.Logits, 1e-4, 1e-5);
            Assert.Equal(blended.Probabilities.Count, fast.Probabilities.Count);
            foreach (var (expected, p) in blended.Probabilities.Zip(fast.Probabilities)) TensorAssert.Close(expected, p, 1e-4, 1e-5);
            foreach (var (expected, d) in blended.Decisions.Zip(fast.Decisions)) TensorAssert.Same(expected, d);
            Assert.Contains(fast.Decisions, d => d.mean().item<float>() < 1);
        }
        TensorAssert.Same(input, x);
        var before = Tensor.TotalCount;
        for (var i = 0; i < 3; i++)
        {
            using var inner = NewDisposeScope();
            net.Run(x, Mixed);
        }
        Assert.True(Tensor.TotalCount <= before);
    }

    [Fact]
    public void Gates_begin_by_running_where_they_are_told_to()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(4);
        foreach (var gate in Enum.GetValues<SkipGateKind>())
        {
            using var net = new SkipNet(new SkipNetConfig { Layers = [2, 2], Widths = [4, 6], Gate = gate, GateBias = 30 });
            net.eval();
            var trace = net.Run(randn(4, 3, 16, 16));
            Assert.All(trace.Decisions, d => Assert.Equal(1, d.mean().item<float>()));
        }
    }

    [Fact]
    public void Many_pictures_at_once_have_the_logits_and_gates_of_each_alone()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(6);
        using var net = new SkipNet(new SkipNetConfig { Layers = [2, 3], Widths = [4, 6] });
        net.eval();
        var x = randn(11, 3, 12, 12);
        var trace = net.Run(x);
        TensorAssert.Close(trace.Logits, net.call(x), 0, 0);
        for (var n = 0; n < 11; n++)
        {
            var one = net.Run(x.slice(0, n, n + 1, 1));
            TensorAssert.Close(trace.Logits[n], one.Logits[0], 1e-5, 1e-5);
            foreach (var (all, own) in trace.Probabilities.Zip(one.Probabilities)) TensorAssert.Close(all[n], own[0], 1e-5, 1e-5);
        }
    }

    [Fact]
    public void A_way_runs_only_the_rows_that_take_it()
    {
        using var scope = NewDisposeScope();
        var x = arange(5).to(float32).reshape(5, 1, 1, 1);
        var decision = tensor(new float[] { 0, 1, 0, 0, 1 }).reshape(5, 1, 1, 1);
        var (then, otherwise) = (new List<long>(), new List<long>());
        Tensor Then(Tensor t) { then.Add(t.shape[0]); return t * 10; }
        Tensor Otherwise(Tensor t) { otherwise.Add(t.shape[0]); return -t; }
        Assert.Equal([0, 10, -2, -3, 40], RowChoice.Of(decision, x, Then, Otherwise, skip: true).data<float>().ToArray());
        Assert.Equal([0, 10, 2, 3, 40], RowChoice.Of(decision, x, Then, null, skip: true).data<float>().ToArray());
        Assert.Equal([0, 10, -2, -3, 40], RowChoice.Of(decision, x, Then, Otherwise, skip: false).data<float>().ToArray());
        Assert.Equal([2, 2, 5], then);
        Assert.Equal([3, 5], otherwise);
        Assert.Same(x, RowChoice.Of(zeros(5, 1, 1, 1), x, Then, null, skip: true));
        Assert.Equal(3, then.Count);
    }

    [Fact]
    public void A_hard_gate_decides_strictly_and_its_gradient_passes_straight_through()
    {
        using var scope = NewDisposeScope();
        var p = tensor(new float[] { 0.2f, 0.5f, 0.50001f, 0.9f }, requires_grad: true);
        var hard = Ops.HardGate(p);
        Assert.Equal([0, 0, 1, 1], hard.data<float>().ToArray().Select(v => MathF.Round(v, 5)));
        hard.mul(tensor(new float[] { 1, 2, 3, 4 })).sum().backward();
        Assert.Equal([1, 2, 3, 4], p.grad!.data<float>().ToArray());
    }

    [Fact]
    public void The_recurrent_cell_is_the_frameworks_lstm()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        using var cell = new LstmCell(5, 7);
        using var reference = nn.LSTM(5, 7);
        using (no_grad())
        {
            foreach (var (name, parameter) in reference.named_parameters()) parameter.copy_(cell.get_parameter(name)!);
        }
        var x = randn(4, 3, 5);
        var (expected, _, _) = reference.call(x);
        (Tensor, Tensor)? state = null;
        for (var t = 0; t < 4; t++)
        {
            state = cell.Step(x[t], state);
            TensorAssert.Close(expected[t], state.Value.Item1, 1e-5, 1e-6);
        }
    }

    [Fact]
    public void Returns_and_policy_loss_of_two_gates_by_hand()
    {
        using var scope = NewDisposeScope();
        var actions = new[] { tensor(new float[] { 1, 0 }, [2, 1]), tensor(new float[] { 0, 0 }, [2, 1]) };
        var probabilities = new[] { tensor(new float[] { 0.7f, 0.4f }, [2, 1]), tensor(new float[] { 0.2f, 0.9f }, [2, 1]) };
        var reward = new HybridReward(Alpha: 0.4, Gamma: 0.5);
        // alpha / N = 0.2 for a skipped block; R_2 = r_2 - gamma CE, R_1 = r_1 + gamma R_2.
        var returns = SkipPolicyLoss.Returns(actions, tensor(new float[] { 1, 2 }), reward);
        TensorAssert.Close(tensor(new float[] { -0.15f, -0.2f, -0.3f, -0.8f }, [2, 2]), returns, 1e-5, 1e-6);
        var expected = new[] { 0.15 * Math.Log(0.7) + 0.3 * Math.Log(0.8), 0.2 * Math.Log(0.6) + 0.8 * Math.Log(0.1) };
        Assert.Equal(expected.Sum(), SkipPolicyLoss.Of(probabilities, actions, returns, PolicyReduction.BatchSum).item<float>(), 1e-5);
        Assert.Equal(expected.Sum() / 2, SkipPolicyLoss.Of(probabilities, actions, returns, PolicyReduction.BatchMean).item<float>(), 1e-5);
        var scaled = SkipPolicyLoss.Returns(actions, tensor(new float[] { 1, 2 }), reward with { ScaleCrossEntropy = true, Gamma = 1 });
        TensorAssert.Close(tensor(new float[] { 0, 0, 0, -0.2f }, [2, 2]), scaled, 1e-5, 1e-6);
    }

    [Theory]
    [InlineData(SkipGateKind.Recurrent)]
    [InlineData(SkipGateKind.FeedForward1)]
    public void The_exported_file_decides_as_the_network_does(SkipGateKind gate)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        using var net = Net(gate, layers: [2, 2, 1]);
        using var folder = new TempFolder();
        var path = folder["skipnet.onnx"];
        OnnxWriter.Write(Capture.Trace(net, 1, 3, 16, 16), path);       // compares with the network on random pictures, at two batch sizes
        using var runner = new OnnxRunner(path, new OnnxRunnerOptions());
        net.eval();
        var x = randn(5, 3, 16, 16);
        TensorAssert.Close(net.call(x), runner.Run(x), 1e-4, 1e-5);
    }

    [Fact]
    public void Both_stages_train_and_a_stopped_training_goes_on_in_the_stage_it_was_in()
    {
        using var folder = new TempFolder();
        var recipe = Recipe.Short(3, batch: 8, lr: 1e-2) with { WarmupEpochs = 0 };
        var whole = Train(null, false, null);
        Assert.Equal(["supervised", "hybrid-rl"], whole.Stages);

        using var stop = new CancellationTokenSource();
        var steps = 0;
        Assert.Equal(TrainOutcome.Cancelled, Train(folder.Root, false, () => { if (++steps == 10) stop.Cancel(); }, stop.Token).Outcome);
        var resumed = Train(folder.Root, true, null);
        Assert.Equal(TrainOutcome.Completed, resumed.Outcome);
        Assert.Equal(12, resumed.Steps);
        Assert.Equal(3, resumed.Epochs);
        foreach (var (name, value) in whole.State) Assert.True(value.SequenceEqual(resumed.State[name]), name);

        (TrainOutcome Outcome, List<string> Stages, int Steps, int Epochs, Dictionary<string, float[]> State) Train(string? run, bool resume, Action? step,
            CancellationToken cancel = default)
        {
            using var scope = NewDisposeScope();
            manual_seed(4);
            using var net = Net(layers: [1, 2, 1]);
            net.HybridShare = 0.34;
            var stages = new List<string>();
            using var result = StagedTraining.Train(net, new SyntheticSource(4), null, recipe,
                new TrainerOptions { RunFolder = run, Resume = resume, Seed = 5, Progress = _ => step?.Invoke(), Cancellation = cancel }, stages.Add);
            return (result.Outcome, stages, result.Steps, result.Curves.Count,
                net.state_dict().Where(p => p.Value.dtype == float32).ToDictionary(p => p.Key, p => p.Value.data<float>().ToArray()));
        }
    }

    [Fact]
    public void A_reward_for_skipping_makes_the_gates_skip()
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        using var net = Net(layers: [2, 2, 2]);
        net.HybridShare = 1;
        net.HybridRate = 1;
        net.Reward = new HybridReward(Alpha: 20, Weight: 0.1);
        var x = randn(16, 3, 8, 8);
        var before = Mean(net);
        using var result = StagedTraining.Train(net, new SyntheticSource(30), null, Recipe.Short(2, batch: 8, lr: 1e-2) with { EmaDecay = 0 });
        Assert.InRange(Mean(net), 0, before - 0.2);

        float Mean(SkipNet n)
        {
            n.eval();
            return stack(n.Run(x).Probabilities).mean().item<float>();
        }
    }

    [Theory]
    [InlineData("skipnet38", 574_000, 83.3)]
    [InlineData("skipnet38_ff", 1_149_000, 0)]
    [InlineData("skipnet110_ff", 2_610_000, 0)]
    public void Catalog_networks_have_the_counted_parameters(string name, long parameters, double millionMacs)
    {
        using var scope = NewDisposeScope();
        var entry = ImageModels.All.Single(e => e.Name == name);
        using var net = entry.Create(new ModelOptions(Classes: 10));
        using var published = entry.Create(new ModelOptions());
        Assert.Equal(entry.Parameters, published.parameters().Sum(p => p.numel()));
        Assert.InRange(net.parameters().Sum(p => p.numel()), parameters - 2500, parameters + 2500);
        if (millionMacs > 0) Assert.InRange(Cost.Of(net, 1, 3, 32, 32).Macs / 1e6, millionMacs, millionMacs * 1.02);
    }

    [Fact]
    public void Nonsense_is_refused()
    {
        Assert.Throws<BayouException>(() => new SkipNet(new SkipNetConfig { Layers = [1, 1], Widths = [4] }));
        Assert.Throws<BayouException>(() => new SkipNet(new SkipNetConfig { Layers = [1, 0], Widths = [4, 4] }));
        using var net = Net();
        net.HybridShare = 2;
        Assert.Throws<BayouException>(() => net.Stages(Recipe.Short(4)));
    }
}
