using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>How HELP is meta-trained.</summary>
public sealed record HelpOptions
{
    /// <summary>H; 100 as published.</summary>
    public int LayerSize { get; init; } = 100;

    /// <summary>Episodes; 2000 as published for NAS-Bench-201, 4000 for FBNet.</summary>
    public int Episodes { get; init; } = 2000;

    /// <summary>Devices in an episode, drawn from the source devices.</summary>
    public int DevicesPerEpisode { get; init; } = 8;

    /// <summary>Measured networks that a device adapts to.</summary>
    public int Support { get; init; } = 10;

    /// <summary>Networks that judge the adaptation.</summary>
    public int Query { get; init; } = 200;

    /// <summary>Gradient steps of the adaptation.</summary>
    public int InnerSteps { get; init; } = 2;

    /// <summary>Learning rate of Adam over weights, rates and inference network.</summary>
    public double LearningRate { get; init; } = 1e-4;

    /// <summary>Weight of the divergence of z.</summary>
    public double KlScale { get; init; } = 0.1;

    /// <summary>Whether gradients pass through the adaptation's gradients; otherwise the cheaper first-order approximation.</summary>
    public bool SecondOrder { get; init; } = true;
}

/// <summary>Meta-training of <see cref="HelpNetwork"/> on source devices (specs/help.md, section 1.5).</summary>
public static class HelpTraining
{
    /// <summary>Trains a network.</summary>
    /// <param name="table">Measured latencies.</param>
    /// <param name="sources">Devices to train on.</param>
    /// <param name="options">How.</param>
    /// <param name="seed">Makes it repeatable.</param>
    /// <param name="progress">Called after every episode with its number and loss.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="BayouException">There are too few source devices or networks.</exception>
    public static HelpNetwork Train(LatencyTable table, IReadOnlyList<string> sources, HelpOptions options, int seed, Action<int, double>? progress = null,
        CancellationToken cancel = default)
    {
        if (sources.Count < 2) throw new BayouException($"HELP is meta-trained on several devices; {sources.Count} was given");
        using var scope = NewDisposeScope();
        manual_seed(seed);
        var random = new Random(seed);
        var space = table.Space;
        var pool = Enumerable.Range(0, space.TrainingPool).ToArray();
        var all = space.EncodeForHelp(pool);
        var network = new HelpNetwork(all.Graph is null ? (int)all.Features.shape[1] : null, options.LayerSize, space.References.Count);
        var devices = sources.Select(name =>
        {
            var (column, middle) = (table[name], table.TrainPool(name));
            if (middle.Length < options.Support + options.Query)
                throw new BayouException($"HELP: {name} has {middle.Length} networks for training, an episode needs {options.Support + options.Query}");
            var scaling = Scaling.Of([.. middle.Select(a => column[a])], 0.9);
            var references = space.References.Select(a => column[a]).ToArray();
            return (Pool: middle, Target: Floats(scaling.Scale([.. pool.Select(a => column[a])])).reshape(-1, 1),
                Hardware: Floats(Scaling.Of(references, 1).Scale(references)));
        }).ToArray();
        using var optimizer = optim.Adam(network.All, options.LearningRate);
        for (var episode = 0; episode < options.Episodes; episode++)
        {
            cancel.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            optimizer.zero_grad();
            var sum = 0.0;
            var drawn = devices.ToArray();
            random.Shuffle(drawn);
            var tasks = Math.Min(options.DevicesPerEpisode, drawn.Length);
            foreach (var (middle, target, hardware) in drawn.Take(tasks))
            {
                using var task = NewDisposeScope();
                var picked = (int[])middle.Clone();
                random.Shuffle(picked);
                var support = Indices(picked.Take(options.Support));
                var query = Indices(picked.Skip(options.Support).Take(options.Query));
                var (mean, std) = network.Posterior(hardware);
                var modulated = network.Modulate(mean.Plus(randn_like(mean) * std));
                var (adapted, _) = network.Adapt(modulated, all.Rows(support), target.index_select(0, support), hardware, options.InnerSteps,
                    differentiable: true, options.SecondOrder);
                var loss = nn.functional.mse_loss(network.Forward(adapted, all.Rows(query), hardware), target.index_select(0, query));
                sum += loss.item<float>();
                // Task by task: the gradients add up, and a task's graph is gone before the next.
                loss.Plus(HelpNetwork.Kl(mean, std).mul(Number.Of(options.KlScale))).div(Number.Of(tasks)).backward();
            }
            optimizer.step();
            progress?.Invoke(episode, sum / tasks);
        }
        return network;
    }

    private static Tensor Indices(IEnumerable<int> values) => tensor(values.Select(v => (long)v).ToArray());

    private static Tensor Floats(double[] values) => tensor(values.Select(v => (float)v).ToArray());
}
