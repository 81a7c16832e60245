using Bayou.Core;

namespace Bayou.Search;

/// <summary>A network that might be trained.</summary>
/// <param name="Key">Unique and readable; identical in every run with the same seed, so that a resumed run finds its trials.</param>
/// <param name="Description">What it is, for people: "ConvNeXt 24-48-96, 2-2-4 blocks, patch 2, input 28".</param>
/// <param name="InputSize">Side of its square input.</param>
/// <param name="Estimate">Cost counted from the configuration alone, before anything is built.</param>
/// <param name="Build">Makes the network with fresh weights.</param>
public sealed record Candidate(string Key, string Description, int InputSize, CostEstimate Estimate, Func<ModelOptions, Layer> Build);

/// <summary>Cost of a configuration in closed form; what latency predictors read.</summary>
/// <param name="Parameters">Parameters.</param>
/// <param name="Macs">Multiply-accumulates.</param>
/// <param name="Activations">Elements written by all layers.</param>
/// <param name="Nodes">Layers that run one after another.</param>
public sealed record CostEstimate(long Parameters, long Macs, long Activations, int Nodes);

/// <summary>What is known about the data when candidates are proposed.</summary>
/// <param name="PictureSize">Typical shorter side of the pictures in pixels.</param>
/// <param name="Channels">1 for grey pictures, 3 otherwise.</param>
/// <param name="Classes">Number of classes.</param>
public sealed record ProposalContext(int PictureSize, int Channels, int Classes);

/// <summary>What proposes: the first of the three exchangeable parts of a search.</summary>
public interface IProposer
{
    /// <summary>Short name, for reports and the run store.</summary>
    string Name { get; }

    /// <summary>First proposals, spread over the space from small to large.</summary>
    IReadOnlyList<Candidate> Spread(ProposalContext context, int count);

    /// <summary>Further proposals among those an estimate says are near the limit: as large as the budget allows, of different shapes.</summary>
    /// <param name="context">The data.</param>
    /// <param name="count">How many at most.</param>
    /// <param name="load">Estimated use of the budget, 1 at the limit; above 1 does not fit.</param>
    /// <param name="known">Keys already proposed.</param>
    IReadOnlyList<Candidate> Near(ProposalContext context, int count, Func<CostEstimate, double> load, IReadOnlySet<string> known);
}

/// <summary>What predicts the cost: the second part.</summary>
public interface ICostModel
{
    /// <summary>Short name.</summary>
    string Name { get; }

    /// <summary>Cost of a candidate in both shipped forms.</summary>
    CandidateCost Cost(Candidate candidate);
}

/// <summary>Cost of a candidate in both forms.</summary>
public sealed record CandidateCost(string Key, FormCost Fp32, FormCost Int8)
{
    /// <summary>The forms in order.</summary>
    public IEnumerable<FormCost> Forms => [Fp32, Int8];
}

/// <summary>What judges the quality: the third part.</summary>
public interface IQualityJudge
{
    /// <summary>Short name.</summary>
    string Name { get; }

    /// <summary>Judges a candidate with an effort (pictures seen in training).</summary>
    Trial Judge(Candidate candidate, int rung, long effort, CancellationToken cancel);
}

/// <summary>One judgement.</summary>
/// <param name="Key">The candidate.</param>
/// <param name="Rung">Round of successive halving, from 0.</param>
/// <param name="Effort">Pictures seen.</param>
/// <param name="Accuracy">Validation accuracy, 0..1; NaN when the training failed.</param>
/// <param name="Loss">Validation loss.</param>
/// <param name="Seconds">Time it took.</param>
/// <param name="Note">Why it failed, otherwise null.</param>
/// <param name="Folds">Accuracy on every fold of a cross-validation; null where there was none.</param>
public sealed record Trial(string Key, int Rung, long Effort, double Accuracy, double Loss, double Seconds, string? Note = null, double[]? Folds = null);
