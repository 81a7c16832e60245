using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>
/// FAN at small scale: accuracy kept under corruption, against a convolutional network and a plain vision transformer of equal size, and with more or fewer
/// blocks of self-attention.
/// </summary>
public sealed class FanClaim : IClaim
{
    private const int Width = 48, Depth = 4;

    private static readonly (string Key, string Name, int Attention, FanChannelMixing Channels)[] Networks =
    [
        ("fan", "FAN: attention over tokens and channels", Depth, FanChannelMixing.Attention),
        ("fixed-gate", "FAN with its channel gate fixed at 0.5", Depth, FanChannelMixing.FixedGate),
        ("vit", "plain ViT", Depth, FanChannelMixing.Mlp),
        ("half", "convolution in 2 blocks, then attention in 2", Depth / 2, FanChannelMixing.Mlp),
        ("cnn", "ConvNeXt", 0, FanChannelMixing.Mlp),
    ];

    /// <inheritdoc/>
    public string Name => "fan";

    /// <inheritdoc/>
    public string Paper => "Understanding The Robustness in Vision Transformers, ICML 2022, arXiv 2204.12451";

    /// <inheritdoc/>
    public string Statement =>
        "Fully attentional networks keep more of their accuracy under corruption than a convolutional network and a plain vision transformer of equal size; the more blocks of self-attention, the more robust.";

    /// <inheritdoc/>
    public string Data =>
        "CIFAR-10 at 32 pixels: 3,000 training pictures, 200 test pictures, clean and under the 15 test corruptions at severities 1, 3, 5 (--full: 20,000 and 2,000)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(3000, 20_000), context.Pick(1000, 5000));
        var corruptions = new SmallCorruptions(context, cifar, context.Pick(200, 2000), 1, 3, 5);
        var recipe = Recipe.Short(context.Pick(6, 15), batch: 64, lr: 2e-3) with { EmaDecay = 0.99 };
        Layer Network(string key)
        {
            var (_, _, attention, channels) = Networks.Single(n => n.Key == key);
            return new MixingNet(Width, Depth, attention, channels);
        }
        Layer Trained(string key, int seed) => cifar.Trained(key, () => Network(key), recipe, seed);
        CorruptedAccuracy Robust(string key, int seed) => corruptions.Measure(key, seed, () => Trained(key, seed));
        double Kept(string key, int seed) => Robust(key, seed).Retention;
        var size = Networks.ToDictionary(n => n.Key, n => Cost.Of(Network(n.Key), 1, 3, 32, 32));
        string Named(string key) => $"{Networks.Single(n => n.Key == key).Name} ({size[key].Parameters / 1e3:0}k)";

        void Compare(string name, string ours, string baseline, string? note = null) =>
            context.Compare(name, "% of clean accuracy kept", (Named(ours), seed => Kept(ours, seed)), (Named(baseline), seed => Kept(baseline, seed)),
                note: note);
        // Seed by seed over all networks, so that a stopped run has whole comparisons.
        foreach (var seed in context.Seeds)
            foreach (var network in Networks) Kept(network.Key, seed);
        Compare("FAN against a CNN", "fan", "cnn");
        Compare("FAN against a plain ViT", "fan", "vit");
        void Corrupted(string name, string ours, string baseline) =>
            context.Compare(name, "% top-1, mean over the corruptions", (Named(ours), seed => Robust(ours, seed).Mean),
                (Named(baseline), seed => Robust(baseline, seed).Mean));
        Corrupted("accuracy under corruption: FAN against a CNN", "fan", "cnn");
        Corrupted("accuracy under corruption: FAN against a plain ViT", "fan", "vit");
        Compare("channel attention against a fixed gate", "fan", "fixed-gate", "the gate alone: everything else is equal");
        Compare("self-attention in 4 blocks against none", "vit", "cnn");
        Compare("self-attention in 2 blocks against none", "half", "cnn");

        string Mean(Func<int, double> of) => $"{context.Seeds.Average(of):0.0}";
        context.Table("Mean accuracy over the seeds, %",
            ["network", "parameters", "MACs", "clean", "corrupted", "kept", "noise", "blur", "weather", "digital"], Networks.Select(n => new[]
        {
            n.Name, $"{size[n.Key].Parameters:N0}", $"{size[n.Key].Macs / 1e6:0.0}M", Mean(s => Robust(n.Key, s).Clean), Mean(s => Robust(n.Key, s).Mean),
            Mean(s => Kept(n.Key, s)),
            Mean(s => Robust(n.Key, s).Group(CorruptionGroup.Noise)), Mean(s => Robust(n.Key, s).Group(CorruptionGroup.Blur)),
            Mean(s => Robust(n.Key, s).Group(CorruptionGroup.Weather)), Mean(s => Robust(n.Key, s).Group(CorruptionGroup.Digital)),
        }));
        Grouping(context, cifar, Trained);
        context.Note("Clean and corrupted accuracy are of the same pictures. At this size networks are far from their best, and a network with a lower clean accuracy can keep more of it without being better under corruption: the table has both.");
    }

    // Section 3 of the paper: noise fades and tokens group from block to block.
    private static void Grouping(ClaimContext context, SmallCifar cifar, Func<string, int, Layer> trained)
    {
        double[] Decay(string key, int seed) => context.Remember($"decay/{key}/seed{seed}", () =>
        {
            using var scope = NewDisposeScope();
            using var network = trained(key, seed);
            network.eval();
            using var batch = cifar.Batches(new Subset(cifar.Test, Enumerable.Range(0, 64)), 64).Epoch(0).First();
            using var generator = new Generator(1);
            var noise = randn(batch.Images.shape, generator: generator).mul(Number.Of(0.3));
            return TokenGrouping.NoiseDecay(network, batch.Images, batch.Images.Plus(noise), m => m is Block);
        });
        double[] Spread(string key, int seed) => context.Remember($"spread/{key}/seed{seed}", () =>
        {
            using var network = trained(key, seed);
            network.eval();
            var counts = new double[Depth];
            const int pictures = 16;
            foreach (var batch in cifar.Batches(new Subset(cifar.Test, Enumerable.Range(0, pictures)), 1).Epoch(0))
            {
                using var scope = NewDisposeScope();
                using (batch)
                {
                    var blocks = TokenGrouping.Outputs(network, batch.Images, m => m is Block);
                    for (var b = 0; b < Depth; b++)
                        counts[b] += TokenGrouping.Significant(TokenGrouping.Eigenvalues(blocks[b].permute(0, 3, 1, 2))) / (double)pictures;
                }
            }
            return counts;
        });
        context.Compare("noise left after the last block, FAN against CNN", "||f(x + e) - f(x)|| / ||f(x)||", ("FAN", s => Decay("fan", s)[^1]),
            ("ConvNeXt", s => Decay("cnn", s)[^1]), higherIsBetter: false,
            note: "e: normal with deviation 0.3 in normalised units, not seen in training");
        context.Compare("tokens of the last block span fewer directions than those of the first, FAN", "eigenvalues above 1 % of the largest",
            ("last block", s => Spread("fan", s)[^1]), ("first block", s => Spread("fan", s)[0]), higherIsBetter: false);
        string Row(string key, int block) =>
            $"{context.Seeds.Average(s => Decay(key, s)[block]):0.000}, {context.Seeds.Average(s => Spread(key, s)[block]):0.0}";
        context.Table("Block by block, mean over the seeds: noise left, significant eigenvalues of 64 tokens",
            ["network", .. Enumerable.Range(1, Depth).Select(b => $"block {b}")],
            ((string[])["fan", "vit", "cnn"]).Select(key => (string[])[key, .. Enumerable.Range(0, Depth).Select(b => Row(key, b))]));
    }
}
