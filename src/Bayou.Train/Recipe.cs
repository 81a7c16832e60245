using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Bayou.Core;

namespace Bayou.Train;

/// <summary>
/// Everything that decides how a network is trained, apart from data, network and seed. Every part can be switched off: zero (or an empty string) is off
/// unless said otherwise. Plain JSON in both directions.
/// </summary>
public sealed record Recipe
{
    /// <summary>Name for people.</summary>
    public string Name { get; init; } = "custom";

    /// <summary>Passes over the training part.</summary>
    public int Epochs { get; init; } = 10;

    /// <summary>Pictures in a batch.</summary>
    public int Batch { get; init; } = 128;

    /// <summary>Batches whose gradients are averaged into one optimizer step; at least 1.</summary>
    public int UpdateFreq { get; init; } = 1;

    /// <summary>Top learning rate, for <see cref="BaseBatch"/> pictures a step.</summary>
    public double BaseLr { get; init; } = 1e-3;

    /// <summary>Pictures a step for which <see cref="BaseLr"/> holds; it is scaled linearly to Batch x UpdateFreq. 0: not scaled.</summary>
    public int BaseBatch { get; init; }

    /// <summary>The learning rate the cosine tends to.</summary>
    public double MinLr { get; init; } = 1e-6;

    /// <summary>Linear warm-up from <see cref="WarmupStartLr"/>, in epochs (fractions allowed, cut to whole steps).</summary>
    public double WarmupEpochs { get; init; }

    /// <summary>Warm-up in optimizer steps instead; counts only with <see cref="WarmupEpochs"/> above 0.</summary>
    public int WarmupSteps { get; init; }

    /// <summary>Learning rate of the very first step of the warm-up.</summary>
    public double WarmupStartLr { get; init; }

    /// <summary>Decay of the first moment of AdamW.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment of AdamW.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Epsilon of AdamW.</summary>
    public double Eps { get; init; } = 1e-8;

    /// <summary>Weight decay of tensors with more than one axis.</summary>
    public double WeightDecay { get; init; } = 0.05;

    /// <summary>Weight decay at the end of a cosine; null keeps it constant.</summary>
    public double? WeightDecayEnd { get; init; }

    /// <summary>Largest norm of all gradients together.</summary>
    public double ClipNorm { get; init; }

    /// <summary>Factor on the learning rate from one layer group to the one before it; 1 is off.</summary>
    public double LayerDecay { get; init; } = 1;

    /// <summary>Decay of the running average of the weights.</summary>
    public double EmaDecay { get; init; }

    /// <summary>Whether the decay grows from small values (for runs much shorter than 1 / (1 - EmaDecay) steps; the official code has no ramp).</summary>
    public bool EmaRamp { get; init; }

    /// <summary>Label smoothing.</summary>
    public double LabelSmoothing { get; init; }

    /// <summary>Beta parameter of mixup.</summary>
    public double MixupAlpha { get; init; }

    /// <summary>Beta parameter of cutmix.</summary>
    public double CutmixAlpha { get; init; }

    /// <summary>Probability that a batch is mixed.</summary>
    public double MixProbability { get; init; } = 1;

    /// <summary>Probability of cutmix where both are on.</summary>
    public double MixSwitchProbability { get; init; } = 0.5;

    /// <summary>Stochastic depth of the last block; for whoever builds the network.</summary>
    public double DropPath { get; init; }

    /// <summary>Initial layer scale; for whoever builds the network. 0 leaves layer scale out.</summary>
    public double LayerScale { get; init; } = 1e-6;

    /// <summary>Factor on the head's initial weights; for whoever builds the network.</summary>
    public double HeadInitScale { get; init; } = 1;

    /// <summary>RandAugment in timm's notation, such as "rand-m9-mstd0.5-inc1"; for whoever builds the loader.</summary>
    public string RandAugment { get; init; } = "";

    /// <summary>Probability of random erasing (pixel mode); for whoever builds the loader.</summary>
    public double RandomErasing { get; init; }

    /// <summary>Loss weight of every class, in the order of the labels; null: all the same.</summary>
    public IReadOnlyList<double>? ClassWeights { get; init; }

    /// <summary>
    /// Share of the distillation loss, 0..1: loss = (1 - w) cross entropy + w <see cref="DistillationLoss"/>. Above 0 the training needs a teacher.
    /// </summary>
    public double DistillWeight { get; init; }

    /// <summary>Temperature of the distillation.</summary>
    public double DistillTemperature { get; init; } = 2;

    /// <summary>Sparse training; null: dense.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SparseOptions? Sparse { get; init; }

    /// <summary>Whether batches are mixed, and the loss therefore takes soft targets.</summary>
    [JsonIgnore]
    public bool Mixes => MixProbability > 0 && (MixupAlpha > 0 || CutmixAlpha > 0);

    /// <summary>The top learning rate after scaling to the pictures a step.</summary>
    [JsonIgnore]
    public double LearningRate => BaseBatch > 0 ? BaseLr * Batch * UpdateFreq / BaseBatch : BaseLr;

    /// <summary>ImageNet-1K training of ConvNeXt (paper, table 5): 300 epochs, learning rate 4e-3 at 4,096 pictures a step.</summary>
    /// <param name="batch">Pictures in a batch; the learning rate is scaled to it.</param>
    /// <param name="updateFreq">Batches per step.</param>
    /// <param name="dropPath">T 0.1, S 0.4, B 0.5, L 0.5.</param>
    public static Recipe ConvNeXt300(int batch = 4096, int updateFreq = 1, double dropPath = 0.1) => new()
    {
        Name = "convnext-300",
        Epochs = 300,
        Batch = batch,
        UpdateFreq = updateFreq,
        BaseLr = 4e-3,
        BaseBatch = 4096,
        MinLr = 1e-6,
        WarmupEpochs = 20,
        WeightDecay = 0.05,
        EmaDecay = 0.9999,
        LabelSmoothing = 0.1,
        MixupAlpha = 0.8,
        CutmixAlpha = 1,
        DropPath = dropPath,
        LayerScale = 1e-6,
        RandAugment = "rand-m9-mstd0.5-inc1",
        RandomErasing = 0.25,
    };

    /// <summary>Fine-tuning a published ConvNeXt to ImageNet-1K (paper, table 6; code): constant small decay, layer-wise learning rates, small head.</summary>
    /// <param name="batch">Pictures in a batch; the learning rate is scaled to it.</param>
    /// <param name="dropPath">From 22K: S 0.1, B 0.2, L 0.3, XL 0.4.</param>
    /// <param name="layerDecay">0.8 from 22K, 0.7 from 1K at 384.</param>
    public static Recipe ConvNeXtFineTune(int batch = 512, double dropPath = 0.2, double layerDecay = 0.8) => new()
    {
        Name = "convnext-finetune",
        Epochs = 30,
        Batch = batch,
        BaseLr = 5e-5,
        BaseBatch = 512,
        MinLr = 1e-6,
        WeightDecay = 1e-8,
        LayerDecay = layerDecay,
        LabelSmoothing = 0.1,
        DropPath = dropPath,
        LayerScale = 1e-6,
        HeadInitScale = 0.001,
        RandAugment = "rand-m9-mstd0.5-inc1",
        RandomErasing = 0.25,
    };

    /// <summary>
    /// A few epochs on a CPU: a learning rate that is not scaled, a warm-up of a twentieth of the run, an average with a ramp, layer scale that lets the blocks
    /// learn from the start, and none of the regularisation that only pays over hundreds of epochs.
    /// </summary>
    public static Recipe Short(int epochs, int batch = 128, double lr = 4e-3) => new()
    {
        Name = "short",
        Epochs = epochs,
        Batch = batch,
        BaseLr = lr,
        MinLr = lr / 100,
        WarmupEpochs = epochs / 20.0,
        WeightDecay = 0.05,
        ClipNorm = 5,
        EmaDecay = 0.998,
        EmaRamp = true,
        LabelSmoothing = 0.1,
        LayerScale = 1,
    };

    /// <summary>Learning rate of every optimizer step.</summary>
    /// <exception cref="BayouException">The warm-up does not fit.</exception>
    public double[] LearningRates(int stepsPerEpoch) =>
        Schedules.Cosine(LearningRate, MinLr, Epochs * stepsPerEpoch, Schedules.WarmupSteps(WarmupEpochs, stepsPerEpoch, WarmupSteps), WarmupStartLr);

    /// <summary>Weight decay of every optimizer step.</summary>
    public double[] WeightDecays(int stepsPerEpoch) => Schedules.Cosine(WeightDecay, WeightDecayEnd ?? WeightDecay, Epochs * stepsPerEpoch);

    /// <summary>This recipe if its numbers make sense.</summary>
    /// <exception cref="BayouException">A number is out of range; the message names it.</exception>
    public Recipe Checked()
    {
        Require(Epochs >= 1, nameof(Epochs), Epochs, "at least 1");
        Require(Batch >= 1, nameof(Batch), Batch, "at least 1");
        Require(UpdateFreq >= 1, nameof(UpdateFreq), UpdateFreq, "at least 1");
        Require(double.IsFinite(BaseLr) && BaseLr > 0, nameof(BaseLr), BaseLr, "above 0");
        Require(BaseBatch >= 0, nameof(BaseBatch), BaseBatch, "0 or more");
        Require(MinLr >= 0, nameof(MinLr), MinLr, "0 or more");
        Require(WarmupEpochs >= 0 && WarmupEpochs <= Epochs, nameof(WarmupEpochs), WarmupEpochs, "between 0 and the epochs");
        Require(WarmupSteps >= 0, nameof(WarmupSteps), WarmupSteps, "0 or more");
        Require(WarmupStartLr >= 0, nameof(WarmupStartLr), WarmupStartLr, "0 or more");
        Require(Beta1 is >= 0 and < 1, nameof(Beta1), Beta1, "in [0, 1)");
        Require(Beta2 is >= 0 and < 1, nameof(Beta2), Beta2, "in [0, 1)");
        Require(Eps > 0, nameof(Eps), Eps, "above 0");
        Require(WeightDecay >= 0, nameof(WeightDecay), WeightDecay, "0 or more");
        Require(WeightDecayEnd is null or >= 0, nameof(WeightDecayEnd), WeightDecayEnd ?? 0, "0 or more");
        Require(ClipNorm >= 0, nameof(ClipNorm), ClipNorm, "0 or more");
        Require(LayerDecay is > 0 and <= 1, nameof(LayerDecay), LayerDecay, "in (0, 1]");
        Require(EmaDecay is >= 0 and < 1, nameof(EmaDecay), EmaDecay, "in [0, 1)");
        Require(LabelSmoothing is >= 0 and < 1, nameof(LabelSmoothing), LabelSmoothing, "in [0, 1)");
        Require(MixupAlpha >= 0, nameof(MixupAlpha), MixupAlpha, "0 or more");
        Require(CutmixAlpha >= 0, nameof(CutmixAlpha), CutmixAlpha, "0 or more");
        Require(MixProbability is >= 0 and <= 1, nameof(MixProbability), MixProbability, "in [0, 1]");
        Require(MixSwitchProbability is >= 0 and <= 1, nameof(MixSwitchProbability), MixSwitchProbability, "in [0, 1]");
        Require(DropPath is >= 0 and < 1, nameof(DropPath), DropPath, "in [0, 1)");
        Require(RandomErasing is >= 0 and <= 1, nameof(RandomErasing), RandomErasing, "in [0, 1]");
        Require(DistillWeight is >= 0 and <= 1, nameof(DistillWeight), DistillWeight, "in [0, 1]");
        Require(DistillTemperature > 0, nameof(DistillTemperature), DistillTemperature, "above 0");
        foreach (var weight in ClassWeights ?? []) Require(double.IsFinite(weight) && weight >= 0, nameof(ClassWeights), weight, "0 or more");
        Sparse?.Checked();
        return this;

        static void Require(bool holds, string name, double value, string range)
        {
            if (!holds) throw new BayouException($"recipe: {name} is {value}, it must be {range}");
        }
    }

    /// <summary>The recipe as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Json);

    /// <summary>A recipe from JSON; what is absent keeps its default.</summary>
    /// <exception cref="BayouException">No such JSON, an unknown name, or a number out of range.</exception>
    public static Recipe FromJson(string json)
    {
        try
        {
            return (JsonSerializer.Deserialize<Recipe>(json, Json) ?? throw new BayouException("recipe: the JSON is null")).Checked();
        }
        catch (JsonException e)
        {
            throw new BayouException($"recipe: {e.Message}", e);
        }
    }

    /// <summary>A short hash of everything in the recipe but its name; a checkpoint resumes only under the same one.</summary>
    public string Hash() => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes((this with { Name = "" }).ToJson())))[..16];

    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow };
}
