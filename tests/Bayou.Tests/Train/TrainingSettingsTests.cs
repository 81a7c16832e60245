using Bayou.Core;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Numbers of a network's own training, and layers that follow their weights.</summary>
public class TrainingSettingsTests
{
    private static AViT Adaptive() =>
        new(new VisionTransformerConfig { ImageSize = 16, Patch = 4, Dim = 12, Heads = 3, Depth = 6, Classes = 4 }, new HaltingGate());

    [Fact]
    public void Settings_reach_the_network_and_unknown_ones_are_refused_with_all_names()
    {
        using var avit = Adaptive();
        Assert.Equal(4, ((ITrainingSettings)avit).Settings.Single(s => s.Name == "prior-mean").Get());
        NamedSettings.Apply("avit_tiny", avit, ["ponder=0.25", "prior=0", "center=20", "halting-share=0.3", "ponder=0.5"]);
        Assert.Equal((0.5, 0.0, 20.0, 0.3), (avit.PonderScale, avit.PriorScale, avit.Gate.Center, avit.HaltingShare));

        using var skip = new SkipNet(new SkipNetConfig { Layers = [1, 1], Widths = [4, 4] });
        NamedSettings.Apply("skipnet38", skip, ["alpha=0.5", "rl-weight=0.02"]);
        Assert.Equal(new HybridReward(Alpha: 0.5, Weight: 0.02), skip.Reward);

        var error = Assert.Throws<BayouException>(() => NamedSettings.Apply("avit_tiny", avit, ["pander=1"])).Message;
        Assert.Contains("avit_tiny knows ponder=0.5, prior=0", error);
        Assert.Throws<BayouException>(() => NamedSettings.Apply("avit_tiny", avit, ["ponder=much"]));
        Assert.Throws<BayouException>(() => NamedSettings.Apply("avit_tiny", avit, ["ponder=NaN"]));
        using var plain = new TinyNet();
        Assert.Contains("no settings", Assert.Throws<BayouException>(() => NamedSettings.Apply("tiny", plain, ["alpha=1"])).Message);
    }

    /// <summary>A checkpoint belongs to the settings it was begun with.</summary>
    [Fact]
    public void A_training_is_not_resumed_with_other_settings()
    {
        using var folder = new TempFolder();
        var source = new SyntheticSource(2);
        var recipe = Recipe.Short(1, 8, 1e-3);
        void Train(double ponder, bool resume)
        {
            manual_seed(0);
            using var net = new AViT(new VisionTransformerConfig { ImageSize = 8, Patch = 4, Dim = 4, Heads = 1, Depth = 2, Classes = source.Classes },
                new HaltingGate())
            {
                PonderScale = ponder,
            };
            using var result = Trainer.Train(net, source, null, recipe, new TrainerOptions { RunFolder = folder.Root, Resume = resume });
            result.OrThrow();
        }
        Train(0.1, resume: false);
        Train(0.1, resume: true);
        Assert.Contains("settings", Assert.Throws<BayouException>(() => Train(0.2, resume: true)).Message);
    }

    private sealed class Follower : Layer, IAfterStep
    {
        public List<int> Steps { get; } = [];

        public override Tensor forward(Tensor x) => x;

        public void AfterStep(int step) => Steps.Add(step);
    }

    private sealed class Followed : Layer
    {
        private readonly Follower inner = new();
        private readonly Linear head;

        public Followed(int inputs, int classes)
        {
            head = new Linear(inputs, classes);
            RegisterComponents();
        }

        public Follower Inner => inner;

        public override Tensor forward(Tensor x) => head.call(inner.call(Ops.Reshape(x, 0, -1)));
    }

    [Fact]
    public void Layers_that_follow_their_weights_hear_of_every_step()
    {
        var source = new SyntheticSource(2);
        using var net = new Followed(3 * 8 * 8, source.Classes);
        using var result = Trainer.Train(net, source, null, Recipe.Short(2, 8, 1e-3), new TrainerOptions());
        Assert.Equal([1, 2, 3, 4], net.Inner.Steps);
    }

    [Fact]
    public void The_bound_of_static_templates_moves_every_hundred_steps()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var block = new VarsStaticBlock(2, 4, new Mlp(2, 8), inner: 3);
        var before = block.Bound.clone();
        block.Kernel.copy_(block.Kernel * 2);
        for (var step = 1; step < 100; step++) block.AfterStep(step);
        TensorAssert.Same(before, block.Bound);
        block.AfterStep(100);
        TensorAssert.Close(before * 1.3, block.Bound, 1e-4, 1e-5);
    }
}
