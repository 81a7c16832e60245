using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

// Supervised pre-training, then hybrid reinforcement learning (paper, section 3.3): what `bayou train` does with a SkipNet.
public sealed partial class SkipNet : ITrainingLoss, IStagedNetwork, ITrainingSettings
{
    /// <summary>Sharpening of an ImageNet policy before its reinforcement learning: the projection is divided by this temperature.</summary>
    public const double PolicyTemperature = 0.05;

    /// <summary>The reward of the hybrid stage.</summary>
    public HybridReward Reward { get; set; } = new();

    /// <summary>Part of the epochs that the hybrid stage takes (official CIFAR schedule: 10k of 74k iterations); 0: supervised only.</summary>
    public double HybridShare { get; set; } = 0.25;

    /// <summary>
    /// The hybrid stage's learning rate as a part of the recipe's (official: 1e-4 for 0.1 with SGD; AdamW, whose steps do not shrink with the gradient, wants a
    /// smaller cut).
    /// </summary>
    public double HybridRate { get; set; } = 0.1;

    /// <inheritdoc/>
    public IReadOnlyList<TrainingSetting> Settings =>
    [
        new("alpha", "reward for skipping all blocks: larger skips more", () => Reward.Alpha, v => Reward = Reward with { Alpha = v }),
        new("rl-weight", "weight of the policy terms beside the cross entropy", () => Reward.Weight, v => Reward = Reward with { Weight = v }),
        new("gamma", "discount of the reward from a gate to the one before it", () => Reward.Gamma, v => Reward = Reward with { Gamma = v }),
        new("hybrid-share", "part of the epochs with reinforcement learning, 0 to 1", () => HybridShare, v => HybridShare = v),
        new("hybrid-rate", "their learning rate as a part of the recipe's", () => HybridRate, v => HybridRate = v),
    ];

    /// <inheritdoc/>
    public IReadOnlyList<TrainStage> Stages(Recipe recipe)
    {
        if (HybridShare is < 0 or > 1)
            throw new BayouException($"SkipNet: the hybrid stage's share of the epochs is {HybridShare}; it must be between 0 and 1");
        var soft = Config.Mode == GateMode.Soft;
        var hybrid = soft || recipe.Epochs < 2 ? 0 : (int)Math.Round(recipe.Epochs * HybridShare);
        var stages = new List<TrainStage>();
        if (hybrid < recipe.Epochs)
        {
            var supervised = recipe with { Epochs = recipe.Epochs - hybrid, WarmupEpochs = Math.Min(recipe.WarmupEpochs, recipe.Epochs - hybrid) };
            stages.Add(new("supervised", supervised, () => Mode = soft ? GateMode.Soft : GateMode.StraightThrough));
        }
        if (hybrid > 0)
        {
            var rate = recipe.BaseLr * HybridRate;
            stages.Add(new("hybrid-rl", recipe with { Epochs = hybrid, BaseLr = rate, MinLr = Math.Min(recipe.MinLr, rate), WarmupEpochs = 0 },
                () => Mode = GateMode.Sampled, _ => Sharpen()));
        }
        return stages;
    }

    /// <inheritdoc/>
    public Tensor Loss(TrainBatch batch)
    {
        var trace = Run(batch.Images);
        var loss = batch.Objective(trace.Logits);
        return Mode == GateMode.Sampled ? loss.Plus(PolicyLoss(trace, batch)) : loss;
    }

    /// <summary>Weighted policy terms of a pass whose decisions were drawn.</summary>
    private Tensor PolicyLoss(SkipTrace trace, TrainBatch batch)
    {
        var crossEntropy = SkipPolicyLoss.CrossEntropy(trace.Logits, batch.Labels, batch.Targets);
        var returns = SkipPolicyLoss.Returns(trace.Decisions, crossEntropy, Reward);
        return SkipPolicyLoss.Of(trace.Probabilities, trace.Decisions, returns, Reward.Reduction).mul(Number.Of(Reward.Weight));
    }

    // Drawn from libtorch's generator, whose state a checkpoint holds: a resumed training draws the same.
    private static Tensor Sample(Tensor probability) => probability.detach().bernoulli();

    private void BeginRunning(double logit)
    {
        using var noGrad = no_grad();
        if (control is not null) nn.init.constant_(control.ProjectionBias, logit);
        // Softmax over (skip, run): the difference of both is the logit.
        foreach (var gate in gates.OfType<FeedForwardGate>()) nn.init.constant_(gate.ChoiceBias.narrow(0, 1, 1), logit);
    }

    private void Sharpen()
    {
        if (!Config.ImageNet || control is null) return;
        using var noGrad = no_grad();
        foreach (var parameter in control.Projection.parameters()) parameter.div_(Number.Of(PolicyTemperature));
    }
}
