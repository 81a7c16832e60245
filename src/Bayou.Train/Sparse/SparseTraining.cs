using Bayou.Core;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>
/// Keeps a network sparse while it trains, for any network: masks over its weights, applied after every optimizer step, and exchanged every so often. Weights
/// outside the mask are exactly zero in the network, in its running average and in what is saved. The optimizer's moments are not masked, as in the official
/// code.
/// </summary>
public sealed class SparseTraining : IDisposable
{
    private readonly nn.Module network;
    private readonly SparseOptions options;
    private readonly long totalSteps;
    private readonly List<Masked> layers;
    private readonly List<SparseUpdate> updates = [];

    /// <summary>Takes the parameters that will be masked; <see cref="Initialise(Func{ValueTuple{Tensor, Tensor}})"/> makes the masks.</summary>
    /// <param name="network">The network; its parameter objects must stay the same.</param>
    /// <param name="options">How.</param>
    /// <param name="totalSteps">Optimizer steps over which the prune rate goes to its end.</param>
    /// <exception cref="BayouException">Options out of range, or no parameter fits <see cref="SparseOptions.Only"/>.</exception>
    public SparseTraining(nn.Module network, SparseOptions options, long totalSteps)
    {
        (this.network, this.options, this.totalSteps) = (network, options.Checked(), totalSteps);
        layers = [.. Candidates(network, options).Select(p => new Masked(p.Name, p.Parameter))];
        if (layers.Count == 0)
            throw new BayouException($"sparse training: {network.GetName()} has no parameter of two or four dimensions{(options.Only is null ? "" : $" whose name contains '{options.Only}'")}");
    }

    /// <summary>
    /// Draws uniform numbers for a layer: libtorch's generator, unless a run of another framework is to be reproduced. Arguments: the layer's key, the shape.
    /// </summary>
    public Func<string, long[], Tensor> Uniform { get; set; } = (_, shape) => rand(shape);

    /// <summary>Optimizer steps made.</summary>
    public long Steps { get; private set; }

    /// <summary>Share exchanged at an update now.</summary>
    public double PruneRate => SparseMasks.PruneRate(options, Steps, totalSteps);

    /// <summary>The masks (bool) by parameter key.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> Masks => layers.Select(l => new KeyValuePair<string, Tensor>(l.Name, l.Mask));

    /// <summary>
    /// Weights that may be masked: every parameter of two or four dimensions (kernels and linear weights, not biases, norms and layer scales).
    /// </summary>
    public static IEnumerable<(string Name, Parameter Parameter)> Candidates(nn.Module network, SparseOptions options) =>
        network.named_parameters()
            .Where(p => p.parameter.dim() is 2 or 4 && p.parameter.requires_grad
            && (options.Only is null || p.name.Contains(options.Only, StringComparison.Ordinal)))
            .Select(p => (p.name, p.parameter));

    /// <summary>
    /// The factor on all widths that gives a sparse network the MACs of the dense one: 1 / sqrt(1 - sparsity), 1.29 at 40 % (the paper takes 1.3).
    /// </summary>
    public static double WidthFactor(double sparsity) => 1 / Math.Sqrt(1 - sparsity);

    /// <summary>Makes the first masks and applies them.</summary>
    /// <param name="batch">One batch (pictures, labels int64) for SNIP; asked for only then.</param>
    /// <exception cref="BayouException">SNIP's gradients are not finite, or all zero.</exception>
    public void Initialise(Func<(Tensor Images, Tensor Labels)> batch)
    {
        using var scope = NewDisposeScope();
        var density = 1 - options.Sparsity;
        if (options.Init == SparseInit.Resume)
        {
            using var noGrad = no_grad();
            SetMasks(l => l.Weight.ne(Number.Of(0)));
            return;
        }
        Initialise(options.Init switch
        {
            SparseInit.Snip => SnipDensities(batch(), density),
            SparseInit.Erk => SparseMasks.Erk([.. layers.Select(l => l.Weight.shape)], density),
            _ => [.. layers.Select(_ => density)],
        });
    }

    /// <summary>
    /// Makes random masks of given densities, one a layer in order, and applies them. Layers that come out 99 % dense or more stay dense and are masked no
    /// longer.
    /// </summary>
    public void Initialise(IReadOnlyList<double> densities)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var byLayer = layers.Zip(densities).ToDictionary(p => p.First, p => p.Second);
        SetMasks(l => SparseMasks.Random(Uniform(l.Name, l.Weight.shape), byLayer[l]));
    }

    /// <summary>
    /// After an optimizer step and before its gradients are forgotten: masks the weights, and every so often prunes and grows. All layers are pruned first,
    /// then all grown.
    /// </summary>
    /// <param name="optimizer">For growing by momentum; may be null otherwise.</param>
    public void Step(AdamW? optimizer = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        Apply();
        Steps++;
        if (options.UpdateEvery == 0 || Steps % options.UpdateEvery != 0) return;
        var rate = PruneRate;
        var pruned = layers.ConvertAll(l => SparseMasks.Prune(PruneScore(l), l.Mask, rate, options.PerChannel ? l.Weight.shape[0] : 1));
        long both = 0, either = 0, active = 0, seen = 0;
        foreach (var (layer, (mask, removed)) in layers.Zip(pruned))
        {
            var next = options.Grow == SparseCriterion.Random
                ? SparseMasks.GrowRandom(Uniform(layer.Name, layer.Weight.shape), mask, removed)
                : SparseMasks.GrowBest(GrowScore(layer, optimizer), mask, removed);
            var (common, union) = (Count(layer.Mask.logical_and(next)), Count(layer.Mask.logical_or(next)));
            layer.Overlap = union == 0 ? 1 : (double)common / union;
            layer.Set(next);
            (both, either, active, seen) = (both + common, either + union, active + Count(next), seen + Count(layer.Ever));
        }
        Apply();
        updates.Add(new(Steps, rate, active, either == 0 ? 1 : (double)both / either, (double)seen / layers.Sum(l => l.Weight.numel())));
    }

    /// <summary>
    /// Updates a running average after <see cref="Step"/>: e = d e + (1 - d) w; a masked weight's average is zero, and a weight that has just become active
    /// starts at w itself. The average of all other state is the plain one.
    /// </summary>
    public void Average(Ema ema)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var decay = ema.NextDecay;
        foreach (var layer in layers)
        {
            var average = ema.AverageOf(layer.Weight);
            var fresh = average.eq(Number.Of(0)).logical_and_(layer.Mask);
            average.mul_(Number.Of(decay)).add_(layer.Weight, Number.Of(1 - decay)).masked_fill_(layer.Off, Number.Of(0));
            average.add_(layer.Weight.mul(fresh), Number.Of(decay));
        }
        ema.UpdateExcept(new HashSet<Tensor>(layers.Select(l => (Tensor)l.Weight), ReferenceEqualityComparer.Instance));
    }

    /// <summary>Where the network is sparse now, and how the masks changed.</summary>
    public SparsityReport Report() =>
        new SparsityReport([.. layers.Select(l => new SparseLayer(l.Name, l.Weight.shape, l.Weight.numel(), Count(l.Mask), l.Overlap))], [.. updates])
            .Recounted(network);

    /// <summary>Frees the masks.</summary>
    public void Dispose() => layers.ForEach(l => l.Dispose());

    /// <summary>Everything a checkpoint needs: masks "mask.KEY" and what was ever active "ever.KEY".</summary>
    internal IEnumerable<KeyValuePair<string, Tensor>> State() =>
        layers.SelectMany(l => new KeyValuePair<string, Tensor>[] { new("mask." + l.Name, l.Mask), new("ever." + l.Name, l.Ever) });

    /// <summary>Counters and history for a checkpoint.</summary>
    internal SparseProgress Progress => new(Steps, [.. updates], layers.ToDictionary(l => l.Name, l => l.Overlap));

    /// <summary>Sets what <see cref="State"/> and <see cref="Progress"/> gave.</summary>
    internal void Restore(Func<string, Tensor?> get, SparseProgress progress)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        foreach (var layer in layers.ToList())
        {
            if (get("mask." + layer.Name) is { } mask)
            {
                layer.Set(mask);
                layer.Ever.copy_(get("ever." + layer.Name)!);
                layer.Overlap = progress.Overlaps.GetValueOrDefault(layer.Name);
                continue;
            }
            layers.Remove(layer);
            layer.Dispose();
        }
        Steps = progress.Steps;
        updates.Clear();
        updates.AddRange(progress.Updates);
    }

    private void SetMasks(Func<Masked, Tensor> make)
    {
        foreach (var layer in layers.ToList())
        {
            var mask = make(layer);
            if (Count(mask) < 0.99 * mask.numel())
            {
                layer.Set(mask);
                continue;
            }
            layers.Remove(layer);
            layer.Dispose();
        }
        Apply();
    }

    private void Apply()
    {
        foreach (var layer in layers) layer.Weight.masked_fill_(layer.Off, Number.Of(0));
    }

    // Plain cross entropy of one batch in training mode; the running statistics are put back, they are not trained yet.
    private double[] SnipDensities((Tensor Images, Tensor Labels) batch, double density)
    {
        var training = network.training;
        var buffers = network.named_buffers().Select(b => (b.buffer, Kept: b.buffer.clone())).ToList();
        network.train();
        network.zero_grad();
        var loss = nn.functional.cross_entropy(((nn.Module<Tensor, Tensor>)network).call(batch.Images), batch.Labels);
        loss.backward();
        using var noGrad = no_grad();
        var scores = layers.ConvertAll(l => l.Weight.grad is { } g ? l.Weight.mul(g).abs() : zeros_like(l.Weight));
        var total = scores.Sum(s => s.sum().item<float>());
        if (!(total > 0 && float.IsFinite(total)))
            throw new BayouException($"SNIP: the gradients of the first batch are useless (loss {loss.item<float>()}, sum of scores {total}): use ERK or uniform densities");
        var densities = SparseMasks.Snip(scores, density);
        network.zero_grad();
        foreach (var (buffer, kept) in buffers) buffer.copy_(kept);
        network.train(training);
        return densities;
    }

    private Tensor PruneScore(Masked l) => options.Prune switch
    {
        SparseCriterion.Magnitude => l.Weight.abs(),
        SparseCriterion.Gradient => l.Weight.mul(GradientOf(l)).abs(),
        _ => Uniform(l.Name, l.Weight.shape),
    };

    private Tensor GrowScore(Masked l, AdamW? optimizer)
    {
        if (options.Grow == SparseCriterion.Gradient) return GradientOf(l).abs();
        if (optimizer is null) throw new BayouException("sparse training: growing by momentum needs the optimizer");
        var (mean, square) = optimizer.MomentsOf(l.Weight);
        return mean.div(square.sqrt().Plus(Number.Of(1e-8))).abs();
    }

    private static Tensor GradientOf(Masked l) => l.Weight.grad ?? throw new BayouException($"sparse training: {l.Name} has no gradient to be judged by");

    private static long Count(Tensor mask) => mask.sum(type: ScalarType.Int64).item<long>();

    private sealed class Masked(string name, Parameter weight) : IDisposable
    {
        public string Name { get; } = name;

        public Parameter Weight { get; } = weight;

        public Tensor Mask { get; } = ones(weight.shape, @bool).DetachFromDisposeScope();

        public Tensor Off { get; } = zeros(weight.shape, @bool).DetachFromDisposeScope();

        public Tensor Ever { get; } = zeros(weight.shape, @bool).DetachFromDisposeScope();

        public double? Overlap { get; set; }

        public void Set(Tensor mask)
        {
            Mask.copy_(mask);
            Off.copy_(mask.logical_not());
            Ever.logical_or_(mask);
        }

        public void Dispose()
        {
            foreach (var tensor in (Tensor[])[Mask, Off, Ever]) tensor.Dispose();
        }
    }
}

/// <summary>Counters and history of a sparse training, for a checkpoint.</summary>
internal sealed record SparseProgress(long Steps, IReadOnlyList<SparseUpdate> Updates, IReadOnlyDictionary<string, double?> Overlaps);
