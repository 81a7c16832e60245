using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class TrainerTests
{
    private static readonly Recipe Full = new()
    {
        Epochs = 3,
        Batch = 8,
        UpdateFreq = 2,
        BaseLr = 5e-3,
        WarmupEpochs = 0.5,
        EmaDecay = 0.9,
        LabelSmoothing = 0.1,
        MixupAlpha = 0.8,
        CutmixAlpha = 1,
        LayerDecay = 0.8,
        ClipNorm = 1,
    };

    private static TinyNet NewNet(int seed = 11)
    {
        manual_seed(seed);
        return new TinyNet();
    }

    private static Dictionary<string, Tensor> StateOf(nn.Module network) =>
        network.named_parameters().Select(p => (p.name, (Tensor)p.parameter)).Concat(network.named_buffers().Select(b => (b.name, b.buffer)))
            .ToDictionary(p => p.name, p => p.Item2);

    private static void AssertSameState(IEnumerable<KeyValuePair<string, Tensor>> expected, IEnumerable<KeyValuePair<string, Tensor>> actual)
    {
        var found = actual.ToDictionary(a => a.Key, a => a.Value);
        foreach (var (name, value) in expected) TensorAssert.Same(value, found[name]);
        Assert.Equal(expected.Count(), found.Count);
    }

    // 9 batches with UpdateFreq 2: 4 steps an epoch, the odd batch is left out. Steps 1, 3, 6: mid-epoch; 4, 8: the last of an epoch.
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(6)]
    [InlineData(8)]
    public void A_cancelled_run_resumes_to_bit_identical_weights(int stopAfter)
    {
        using var whole = NewNet();
        using var expected = Trainer.Train(whole, new SyntheticSource(9), new SyntheticSource(3, shuffled: false), Full, new() { Seed = 5 });
        Assert.Equal(TrainOutcome.Completed, expected.Outcome);

        using var folder = new TempFolder();
        using (var first = NewNet())
        {
            using var cancel = new CancellationTokenSource();
            var options = new TrainerOptions
            {
                Seed = 5,
                RunFolder = folder.Root,
                Cancellation = cancel.Token,
                Progress = p => { if (p.Step == stopAfter) cancel.Cancel(); }
            };
            using var stopped = Trainer.Train(first, new SyntheticSource(9), new SyntheticSource(3, shuffled: false), Full, options);
            Assert.Equal(TrainOutcome.Cancelled, stopped.Outcome);
            Assert.Equal(stopAfter, stopped.Steps);
        }

        // Another network, another generator state: all must come from the checkpoint.
        using var second = NewNet(99);
        rand(17).Dispose();
        using var actual = Trainer.Train(second, new SyntheticSource(9), new SyntheticSource(3, shuffled: false), Full,
            new() { Seed = 5, RunFolder = folder.Root, Resume = true });
        Assert.Equal(TrainOutcome.Completed, actual.Outcome);
        AssertSameState(StateOf(whole), StateOf(second));
        AssertSameState(expected.Ema!.State, actual.Ema!.State);
        AssertSameState(expected.Best!.State, actual.Best!.State);
        Assert.Equal(expected.Curves.Select(c => (c.Epoch, c.Step, c.TrainLoss, c.Val, c.EmaVal)),
            actual.Curves.Select(c => (c.Epoch, c.Step, c.TrainLoss, c.Val, c.EmaVal)));
        Assert.Equal((expected.BestAccuracy, expected.BestEpoch, expected.BestIsEma), (actual.BestAccuracy, actual.BestEpoch, actual.BestIsEma));
    }

    [Fact]
    public void A_killed_run_resumes_from_its_last_periodic_checkpoint()
    {
        using var whole = NewNet();
        using var expected = Trainer.Train(whole, new SyntheticSource(9), null, Full, new() { Seed = 5 });
        using var folder = new TempFolder();
        using (var first = NewNet())
        {
            // The source dies in epoch 1, batch 7: after the checkpoint of step 6 (batch 4), with step 7 done and lost.
            var dying = new SyntheticSource(9) { OnBatch = (e, n) => { if (e == 1 && n == 7) throw new IOException("killed"); } };
            Assert.Throws<IOException>(() => Trainer.Train(first, dying, null, Full, new() { Seed = 5, RunFolder = folder.Root, CheckpointEvery = 3 }));
        }
        using var second = NewNet(98);
        var firstBatch = (-1, -1);
        var source = new SyntheticSource(9) { OnBatch = (e, n) => { if (firstBatch == (-1, -1)) firstBatch = (e, n); } };
        using var actual = Trainer.Train(second, source, null, Full, new() { Seed = 5, RunFolder = folder.Root, Resume = true });
        Assert.Equal((1, 4), firstBatch);
        AssertSameState(StateOf(whole), StateOf(second));
    }

    [Fact]
    public void Another_seed_gives_other_weights()
    {
        using var a = NewNet();
        using var b = NewNet();
        using var first = Trainer.Train(a, new SyntheticSource(4), null, Full with { Epochs = 1 }, new() { Seed = 1 });
        using var second = Trainer.Train(b, new SyntheticSource(4), null, Full with { Epochs = 1 }, new() { Seed = 2 });
        Assert.False(StateOf(a)["head.weight"].equal(StateOf(b)["head.weight"]).all().item<bool>());
    }

    [Fact]
    public void A_checkpoint_of_another_recipe_network_or_source_is_refused()
    {
        using var folder = new TempFolder();
        using var network = NewNet();
        var recipe = Full with { Epochs = 1 };
        Trainer.Train(network, new SyntheticSource(4), null, recipe, new() { RunFolder = folder.Root }).Dispose();
        var resume = new TrainerOptions { RunFolder = folder.Root, Resume = true };
        Assert.Contains("recipe",
            Assert.Throws<BayouException>(() => Trainer.Train(network, new SyntheticSource(4), null, recipe with { BaseLr = 1e-3 }, resume)).Message);
        Assert.Contains("seed",
            Assert.Throws<BayouException>(() => Trainer.Train(network, new SyntheticSource(4), null, recipe, resume with { Seed = 3 })).Message);
        Assert.Contains("pictures", Assert.Throws<BayouException>(() => Trainer.Train(network, new SyntheticSource(5), null, recipe, resume)).Message);
        using var other = new TinyNet(5);
        Assert.Contains("head", Assert.Throws<BayouException>(() => Trainer.Train(other, new SyntheticSource(4), null, recipe, resume)).Message);
    }

    [Fact]
    public void Resuming_a_finished_run_changes_nothing()
    {
        using var folder = new TempFolder();
        using var network = NewNet();
        using var first = Trainer.Train(network, new SyntheticSource(4), new SyntheticSource(2), Full, new() { RunFolder = folder.Root });
        using var fresh = NewNet(3);
        using var again = Trainer.Train(fresh, new SyntheticSource(4), new SyntheticSource(2), Full, new() { RunFolder = folder.Root, Resume = true });
        AssertSameState(StateOf(network), StateOf(fresh));
        Assert.Equal(first.Curves.Count, again.Curves.Count);
        Assert.Equal(first.Steps, again.Steps);
        using var last = new TinyNet();
        last.Load(Path.Combine(folder.Root, "last.safetensors"));
        AssertSameState(StateOf(network), StateOf(last));
        using var best = new TinyNet();
        best.Load(Path.Combine(folder.Root, "best.safetensors"));
        AssertSameState(first.Best!.State, StateOf(best));
    }

    [Fact]
    public void It_learns_and_UseBest_gives_the_reported_accuracy()
    {
        using var network = NewNet();
        var recipe = Recipe.Short(6, 8, 1e-2);
        var val = new SyntheticSource(6, shuffled: false);
        using var result = Trainer.Train(network, new SyntheticSource(20), val, recipe);
        Assert.True(result.BestAccuracy > 0.9, $"best accuracy {result.BestAccuracy}");
        Assert.True(result.Curves[^1].TrainLoss < 0.8 * result.Curves[0].TrainLoss, string.Join(", ", result.Curves.Select(c => c.TrainLoss)));
        result.UseBest(network);
        Assert.Equal(result.BestAccuracy, Evaluator.Evaluate(network, val).Top1);
    }

    [Fact]
    public void A_NaN_loss_stops_with_the_last_good_weights_and_leaves_the_checkpoint_alone()
    {
        using var folder = new TempFolder();
        using var network = NewNet();
        var source = new SyntheticSource(6) { Poison = (1, 3) };
        using var result = Trainer.Train(network, source, new SyntheticSource(2), Full with { UpdateFreq = 1 }, new() { RunFolder = folder.Root });
        Assert.Equal(TrainOutcome.Diverged, result.Outcome);
        Assert.Contains("step 10", result.Message);
        Assert.Contains("learning rate", Assert.Throws<BayouException>(result.OrThrow).Message);
        using var last = new TinyNet();
        last.Load(Path.Combine(folder.Root, "last.safetensors"));
        AssertSameState(StateOf(last), StateOf(network));
        foreach (var (_, tensor) in StateOf(network)) Assert.True(tensor.isfinite().all().item<bool>());
        foreach (var (_, tensor) in result.Ema!.State) Assert.True(tensor.isfinite().all().item<bool>());
        using var file = WeightFile.Open(Path.Combine(folder.Root, "checkpoint.safetensors"));
        Assert.Contains("\"Epoch\":1", file.Metadata["state"]);
    }

    [Fact]
    public void Accumulated_small_batches_equal_one_large_batch()
    {
        // Without batch norm, dropout and mixing the gradient of the mean is the mean of the gradients.
        using var one = new LinearNet();
        using var two = new LinearNet();
        using (no_grad())
        {
            foreach (var (a, b) in one.parameters().Zip(two.parameters())) b.copy_(a);
        }
        var recipe = new Recipe { Epochs = 2, Batch = 16, BaseLr = 1e-2 };
        Trainer.Train(one, new Joined(new SyntheticSource(8)), null, recipe).Dispose();
        Trainer.Train(two, new SyntheticSource(8), null, recipe with { Batch = 8, UpdateFreq = 2 }).Dispose();
        foreach (var (a, b) in one.parameters().Zip(two.parameters())) TensorAssert.Close(a, b, 1e-4, 1e-5);
    }

    [Fact]
    public void Time_is_up_after_the_step_under_way()
    {
        using var network = NewNet();
        using var result = Trainer.Train(network, new SyntheticSource(6), null, Full, new() { MaxSeconds = 1e-9 });
        Assert.Equal((TrainOutcome.TimeUp, 1), (result.Outcome, result.Steps));
    }

    [Fact]
    public void Steps_leave_no_tensors_behind()
    {
        using var network = NewNet();
        var counts = new List<long>();
        var options = new TrainerOptions
        {
            Progress = p =>
            { if (p.Step % 50 == 0) counts.Add(counts.Count < 2 ? LiveTensors.Settled() : Tensor.TotalCount); }
        };
        Trainer.Train(network, new SyntheticSource(300, 2), null, Full with { Batch = 2, Epochs = 1, UpdateFreq = 1 }, options).Dispose();
        Assert.Equal(6, counts.Count);
        Assert.True(counts[^1] - counts[1] <= 2, $"live tensors: {string.Join(", ", counts)}");
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        using var network = NewNet();
        Assert.Contains("batches of 16",
            Assert.Throws<BayouException>(() => Trainer.Train(network, new SyntheticSource(4), null, new Recipe { Batch = 16 })).Message);
        Assert.Contains("classes",
            Assert.Throws<BayouException>(() => Trainer.Train(network, new SyntheticSource(4), new SyntheticSource(4, classes: 3), new Recipe { Batch = 8 }))
            .Message);
        Assert.Contains("shorter",
            Assert.Throws<BayouException>(() => Trainer.Train(network, new SyntheticSource(1), null, new Recipe { Batch = 8, UpdateFreq = 2 })).Message);
    }

    [Fact]
    public void The_evaluator_counts_what_the_classifier_says()
    {
        var source = new SyntheticSource(4, 8, classes: 6);
        var labels = new List<long>();
        foreach (var batch in source.Epoch(0))
        {
            labels.AddRange(batch.Labels.data<long>().ToArray());
            batch.Dispose();
        }
        // Logits that always say class 2, with a logit of 3 against zeros.
        var evaluation = Evaluator.Evaluate(x => zeros(x.shape[0], 6).index_fill_(1, tensor(new[] { 2L }), 3), source);
        var share = labels.Count(l => l == 2) / 32.0;
        Assert.Equal(share, evaluation.Top1, 12);
        Assert.Equal(labels.Count(l => l <= 4) / 32.0, evaluation.Top5, 12);
        var z = Math.Log(5 + Math.Exp(3));
        Assert.Equal(labels.Average(l => l == 2 ? z - 3 : z), evaluation.Loss, 5);
        Assert.Equal(labels.Count(l => l == 1), evaluation.Confusion[1, 2]);
        Assert.Equal(labels.Select((l, i) => (i, (int)l)), evaluation.Predictions.Select(p => (p.Index, p.Label)));
        Assert.Equal(Math.Exp(3 - z), evaluation.Predictions[0].Confidence, 5);
        Assert.All(evaluation.ConfidentMistakes, p => Assert.NotEqual(2, p.Label));
    }

    private sealed class LinearNet : Layer
    {
        private readonly Linear head = new(192, 4);

        public LinearNet() => RegisterComponents();

        public override Tensor forward(Tensor x) => head.call(Ops.Flatten(x));
    }

    /// <summary>Two batches as one.</summary>
    private sealed class Joined(SyntheticSource source) : IBatchSource
    {
        public int Samples => source.Samples;

        public int BatchSize => 2 * source.BatchSize;

        public int BatchCount => source.BatchCount / 2;

        public int Classes => source.Classes;

        public IEnumerable<Data.Batch> Epoch(int epoch, int skipBatches = 0, CancellationToken cancellation = default)
        {
            foreach (var pair in source.Epoch(epoch, 2 * skipBatches, cancellation).Chunk(2))
            {
                using (pair[0])
                using (pair[1])
                {
                    yield return new(cat([pair[0].Images, pair[1].Images]).DetachFromDisposeScope(),
                        cat([pair[0].Labels, pair[1].Labels]).DetachFromDisposeScope(), [.. pair[0].Indices, .. pair[1].Indices], pair[0].Number / 2);
                }
            }
        }
    }
}
