using Bayou.Core;
using Bayou.Search;

namespace Bayou.Claims;

/// <summary>What the claims of HELP and MAPLE share: the table, cached scores, a meta-trained network.</summary>
internal sealed class LatencyClaims(ClaimContext context)
{
    /// <summary>Measured latencies of 23 devices.</summary>
    public LatencyTable Table { get; } = LatencyTable.OfSamples();

    /// <summary>A score, measured once a run.</summary>
    public LatencyScore Score(Func<ILatencyMethod> method, string name, string device, int samples, int seed)
    {
        context.Status(0, $"{name}, {device}, {samples} samples, seed {seed}");
        return context.Remember($"{name}/{device}/k{samples}/seed{seed}", () => LatencyEvaluation.Run(Table, method(), device, samples, seed));
    }

    /// <summary>HELP meta-trained on devices with a seed; its weights stay in the run folder.</summary>
    public HelpNetwork Help(string key, IReadOnlyList<string> sources, int seed)
    {
        var path = Path.Combine(context.RunFolder, $"{key}-seed{seed}.safetensors");
        if (!File.Exists(path))
        {
            var options = new HelpOptions { LayerSize = context.Pick(32, 100), Episodes = context.Pick(300, 2000), LearningRate = context.Pick(1e-3, 1e-4) };
            using var trained = HelpTraining.Train(Table, sources, options, seed, (e, loss) => context.Status((double)e / options.Episodes, $"{key}, seed {seed}: error {loss:0.0000}"), context.Cancel);
            trained.Save(path);
        }
        return HelpNetwork.Load(path);
    }
}
