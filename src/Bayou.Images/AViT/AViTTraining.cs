using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

// Ponder loss and distributional prior beside the recipe's loss; first without, then with halting: what `bayou train` does with an A-ViT.
public sealed partial class AViT : ITrainingLoss, IStagedNetwork, ITrainingSettings
{
    /// <summary>Weight of the ponder loss.</summary>
    public double PonderScale { get; set; } = 5e-4;

    /// <summary>Weight of the distributional prior; 0: none.</summary>
    public double PriorScale { get; set; } = 1e-3;

    /// <summary>The layer (from 0) around which the prior wants tokens to halt; null: two thirds of the depth, 8 of 12.</summary>
    public double? PriorMean { get; set; }

    /// <summary>What the prior averages over.</summary>
    public HaltingStatistics Statistics { get; set; }

    /// <summary>Part of the epochs with halting; before them the plain transformer is trained.</summary>
    public double HaltingShare { get; set; } = 0.5;

    /// <inheritdoc/>
    public IReadOnlyList<TrainingSetting> Settings =>
    [
        new("ponder", "weight of the ponder loss, alpha_p: larger halts earlier", () => PonderScale, v => PonderScale = v),
        new("prior", "weight of the distributional prior, alpha_d; 0: none", () => PriorScale, v => PriorScale = v),
        new("prior-mean", "layer (from 0) around which the prior wants tokens to halt", () => PriorMean ?? DefaultPriorMean, v => PriorMean = v),
        new("halting-share", "part of the epochs with halting, 0 to 1", () => HaltingShare, v => HaltingShare = v),
        new("scale", "gate: gamma, factor on channel 0", () => Gate.Scale, v => Gate = Gate with { Scale = v }),
        new("center", "gate: -beta, what is subtracted", () => Gate.Center, v => Gate = Gate with { Center = v }),
    ];

    private double DefaultPriorMean => Math.Round(Config.Depth * 2.0 / 3);

    /// <summary>
    /// Log-odds of the mean halting probability with which the halting stage begins: 0.018, so that almost all tokens run through almost all layers.
    /// </summary>
    public const double FirstLogit = -4;

    /// <inheritdoc/>
    public IReadOnlyList<TrainStage> Stages(Recipe recipe)
    {
        if (HaltingShare is < 0 or > 1)
            throw new BayouException($"A-ViT: the halting stage's share of the epochs is {HaltingShare}; it must be between 0 and 1");
        var halting = recipe.Epochs == 1 ? HaltingShare >= 0.5 ? 1 : 0 : (int)Math.Round(recipe.Epochs * HaltingShare);
        TrainStage Stage(string name, int epochs, Action begin, Action<IBatchSource>? change) =>
            new(name, recipe with { Epochs = epochs, WarmupEpochs = Math.Min(recipe.WarmupEpochs, epochs) }, begin, change);
        var stages = new List<TrainStage>();
        if (halting < recipe.Epochs) stages.Add(Stage("dense", recipe.Epochs - halting, () => Halts = false, null));
        if (halting > 0) stages.Add(Stage("halting", halting, () => Halts = true, Wake));
        return stages;
    }

    /// <inheritdoc/>
    public Tensor Loss(TrainBatch batch)
    {
        if (!Halts) return batch.Objective(call(batch.Images));
        var trace = Masked(batch.Images);
        return batch.Objective(trace.Logits).Plus(Penalty(trace));
    }

    /// <summary>Weighted ponder loss and, where it is on and positive, weighted prior.</summary>
    public Tensor Penalty(HaltingTrace trace)
    {
        var penalty = HaltingLoss.Ponder(trace.Ponder).mul(Number.Of(PonderScale));
        if (PriorScale == 0) return penalty;
        var target = HaltingLoss.Target(Config.Depth, PriorMean ?? DefaultPriorMean);
        var prior = HaltingLoss.Prior(HaltingLoss.LayerMeans(trace.Layers, Statistics), target);
        // NaN (no statistics) fails the test too.
        return prior.detach().item<float>() > 0 ? penalty.Plus(prior.mul(Number.Of(PriorScale))) : penalty;
    }

    /// <summary>
    /// Moves channel 0 of the position table so that some pictures' mean halting probability has the log-odds <see cref="FirstLogit"/>, if it is lower: gates
    /// far below zero pass no gradient and would never wake (the published constants suit published DeiT weights). The residual stream carries the shift
    /// through all layers, and it is saved with the weights.
    /// </summary>
    public void Wake(IBatchSource pictures)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var batch = pictures.Epoch(0).First();
        var mode = training;
        eval();
        // The norms see the shift too: the secant method finds how far the logit follows it.
        var (slope, before, shift) = (Gate.Scale, 0.0, 0.0);
        for (var i = 0; i < 12; i++)
        {
            var logit = FirstHalting(batch.Images);
            if (i == 0 && logit >= FirstLogit || Math.Abs(logit - FirstLogit) < 0.1) break;
            if (i > 0 && Math.Abs(shift) > 1e-6) slope = Math.Max((logit - before) / shift, Gate.Scale / 4);
            (before, shift) = (logit, (FirstLogit - logit) / slope);
            Positions.select(2, 0).PlusInPlace(Number.Of(shift));
        }
        train(mode);
    }

    // Log-odds of the mean halting probability in the plain transformer: halted tokens would count as zeros. In double precision, for gates far below zero.
    private double FirstHalting(Tensor images)
    {
        var (tokens, mean) = (Embed(images), 0.0);
        foreach (var block in Blocks)
        {
            tokens = block.call(tokens);
            mean += tokens.select(2, 0).to(float64).mul(Number.Of(Gate.Scale)).sub(Number.Of(Gate.Center)).sigmoid().mean().item<double>() / Config.Depth;
        }
        return Math.Log(mean / (1 - mean));
    }
}
