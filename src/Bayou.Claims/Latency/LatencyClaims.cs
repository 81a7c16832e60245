using Bayou.Core;
using Bayou.Search;

namespace Bayou.Claims;

/// <summary>What the claims of HELP and MAPLE share: the table, cached scores, a meta-trained network.</summary>
internal sealed class LatencyClaims(ClaimContext context)
{
    private AccuracyTable? accuracies;

    /// <summary>Episodes of the quick mode.</summary>
    public const int Episodes = 250;

    /// <summary>How free parameters were chosen.</summary>
    public const string Nested =
        "Smoothing and penalty of linear transfer, and how far HELP widens the range of its samples, are chosen by leaving out each training device in turn: the test devices have no part in it.";

    /// <summary>The published checkpoint of HELP for NAS-Bench-201, which a parity case of the repository carries; null elsewhere.</summary>
    public static string? PublishedCheckpoint
    {
        get
        {
            for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            {
                var file = Path.Combine(folder.FullName, "tests", "parity", "help", "nasbench201_official_gold6226", "weights.safetensors");
                if (File.Exists(file)) return file;
            }
            return null;
        }
    }

    /// <summary>Measured latencies of 23 devices.</summary>
    public LatencyTable Table { get; } = LatencyTable.OfSamples();

    /// <summary>Accuracies of all cells.</summary>
    public AccuracyTable Accuracies => accuracies ??= AccuracyTable.OfSamples();

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
            var options = new HelpOptions
            {
                LayerSize = context.Pick(32, 100),
                Episodes = context.Pick(Episodes, 2000),
                DevicesPerEpisode = context.Pick(4, 8),
                LearningRate = context.Pick(2e-3, 1e-4)
            };
            using var trained = HelpTraining.Train(Table, sources, options, seed,
                (e, loss) => context.Status((double)e / options.Episodes, $"{key}, seed {seed}: error {loss:0.0000}"), context.Cancel);
            trained.Save(path);
        }
        return HelpNetwork.Load(path);
    }
}
