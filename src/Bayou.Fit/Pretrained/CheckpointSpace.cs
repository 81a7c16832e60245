using Bayou.Core;
using Bayou.Search;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>What a checkpoint can become under a budget: its network at several input sizes, all with its weights.</summary>
public sealed class CheckpointSpace(PretrainedModel pretrained, IReadOnlyList<string> classes, Action<string>? note = null) : IProposer
{
    private readonly Dictionary<int, Candidate?> made = [];

    /// <inheritdoc/>
    public string Name => "checkpoint";

    /// <summary>From the smallest size to the largest.</summary>
    public IReadOnlyList<Candidate> Spread(ProposalContext context, int count)
    {
        var sizes = Sizes(context);
        var chosen = sizes.Count <= count ? sizes : Enumerable.Range(0, count).Select(i => sizes[(int)((i + 0.5) * sizes.Count / count)]).ToList();
        return chosen.Select(s => At(s, context)).OfType<Candidate>().ToList();
    }

    /// <summary>The largest of the remaining sizes that fit.</summary>
    public IReadOnlyList<Candidate> Near(ProposalContext context, int count, Func<CostEstimate, double> load, IReadOnlySet<string> known) =>
        Sizes(context).Select(s => At(s, context)).OfType<Candidate>().Where(c => !known.Contains(c.Key) && load(c.Estimate) <= 1)
            .OrderByDescending(c => c.Estimate.Macs).Take(count).ToList();

    // From the size of the checkpoint down to a third of it; a larger input than the pictures have tells nothing new, a smaller one than the network takes is
    // left out when it is built.
    private List<int> Sizes(ProposalContext context)
    {
        var top = pretrained.InputSize <= 40 ? pretrained.InputSize : Math.Min(pretrained.InputSize, Math.Max(64, (context.PictureSize + 31) / 32 * 32));
        var step = top <= 40 ? 4 : top <= 96 ? 16 : 32;
        return Enumerable.Range(0, 12).Select(i => top - i * step).Where(s => s >= Math.Max(8, top / 3)).Order().ToList();
    }

    private Candidate? At(int size, ProposalContext context)
    {
        if (made.TryGetValue(size, out var known)) return known;
        var options = new ModelOptions(context.Classes, context.Channels);
        Cost cost;
        try
        {
            using var scope = NewDisposeScope();
            using var network = pretrained.CreateFresh(options);
            network.eval();
            cost = Cost.Of(Capture.Trace(network, 1, context.Channels, size, size));
        }
        catch (Exception e) when (e is BayouException or System.Runtime.InteropServices.ExternalException)
        {
            // Too small for the network's strides, or a network of one fixed size.
            return made[size] = null;
        }
        var estimate = new CostEstimate(cost.Parameters, cost.Macs, cost.Nodes.Sum(n => n.ElementsWritten), cost.Nodes.Count);
        return made[size] = new Candidate(
            $"{pretrained.Model}-pretrained-i{size}", $"{pretrained.Model} from {Path.GetFileName(pretrained.Path)}, input {size}", size, estimate,
            o => pretrained.Create(o, classes, note));
    }
}
