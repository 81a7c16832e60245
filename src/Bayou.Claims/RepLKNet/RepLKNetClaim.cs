using Bayou.Core;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>RepLKNet at small scale: exact merging, receptive fields, the four guidelines that can be tried on two cores, and the bias to shapes.</summary>
public sealed class RepLKNetClaim : IClaim
{
    // On CIFAR's 8x8 and 4x4 maps these kernels reach every place from every other.
    private static readonly RepLKNetConfig Large = new() { LargeKernels = [13, 7], Layers = [1, 1], Channels = [24, 48], SmallKernel = 3, Classes = 10 };
    private static readonly RepLKNetConfig Small = Large with { LargeKernels = [3, 3], SmallKernel = null };

    /// <inheritdoc/>
    public string Name => "replknet";

    /// <inheritdoc/>
    public string Paper => "Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs, CVPR 2022, arXiv 2203.06717";

    /// <inheritdoc/>
    public string Statement =>
        "A few large kernels see farther than many small ones and need fewer layers; they train well with a parallel small kernel, which merges into them exactly, and with " +
        "identity shortcuts; they go by shape more than 3x3 networks of equal cost.";

    /// <inheritdoc/>
    public string Data =>
        "CIFAR-10 at 32 pixels: 2,500 training and 1,000 test pictures (--full: 20,000 and 5,000); procedural: noise pictures of 256 pixels, and two marks 20 to 50 pixels apart";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        Merging(context);
        ReceptiveFields(context);
        LongRange(context);
        Cifar(context);
        context.Note("The paper's own comparisons train 120 epochs on ImageNet; here some thousand pictures and minutes. Differences within a point are noise of the seed, and the verdicts go by the interval.");
    }

    // Blocks of the published shapes on maps of 14 pixels, with random running statistics.
    private static void Merging(ClaimContext context)
    {
        (int Channels, int Kernel, int? Small)[] shapes = [(128, 31, 5), (256, 29, 5), (192, 31, 5), (384, 27, null), (1024, 13, 5), (128, 13, 5)];
        var worst = context.Measure("merging", () => shapes.Max(s =>
        {
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            manual_seed(s.Channels + s.Kernel);
            using var layer = new ReparamLargeKernelConv(s.Channels, s.Kernel, s.Small);
            for (var i = 0; i < 2; i++) layer.call(rand(2, s.Channels, 14, 14));
            layer.eval();
            var x = randn(1, s.Channels, 14, 14);
            var before = layer.call(x);
            layer.Merge();
            return (double)((layer.call(x) - before).abs().max() / before.abs().max()).item<float>();
        }));
        context.Check("merging is exact", "relative difference", ("largest over the large-kernel layers of 31B, 31L, XL and 13", worst), ("1e-5", 1e-5));
        var saved = context.Measure("merged-parameters", () =>
        {
            using var network = RepLKNetVariants.Entries.First(e => e.Name == "replknet_31b").Create(new ModelOptions());
            var training = network.parameters().Sum(p => p.numel());
            return (training - network.Merge().parameters().Sum(p => p.numel())) / 1e6;
        });
        context.Check("parameters that merging 31B saves", "M", ("distance to the counted 0.34", Math.Abs(saved - 0.34)), ("0.005", 0.005));
    }

    private static void ReceptiveFields(ClaimContext context)
    {
        int[] kernels = [3, 7, 13];
        var pictures = context.Pick(3, 20);
        Erf Of(int kernel, int seed) => context.Remember($"erf/k{kernel}/seed{seed}", () => Erf.Measure(kernel, seed, pictures));
        context.Compare("area that holds 50 % of the contributions, untrained", "% of the picture", ("kernels 13", s => Of(13, s).Half),
            ("kernels 3", s => Of(3, s).Half), paper: ("30.2 (RepLKNet-13)", "3.2 (ResNet-101)"),
            note: "(2, 2, 6, 2) layers, 16 to 128 channels, 256 pixels; the paper's are trained networks at 1024 pixels");
        context.Compare("area that holds 99 % of the contributions, untrained", "% of the picture", ("kernels 13", s => Of(13, s).Most),
            ("kernels 3", s => Of(3, s).Most), paper: ("96.3", "22.4"));
        context.Table("Receptive field by kernel, mean over the seeds", ["kernels", "50 %", "99 %"],
            kernels.Select(k => new[] { $"{k}", $"{context.Seeds.Average(s => Of(k, s).Half):0.0} %", $"{context.Seeds.Average(s => Of(k, s).Most):0.0} %" }));
        var maps = kernels.Select(k => Of(k, context.Seeds[0]).ToHeatMap($"kernels {k}")).ToList();
        var png = HeatMaps.Row(maps, side: 200).ToPng(1);
        AtomicFile.Write(context.Figure("replknet-erf.png"), stream => stream.Write(png));
    }

    private static void LongRange(ClaimContext context)
    {
        var recipe = Recipe.Short(context.Pick(4, 20), batch: 64, lr: 4e-3) with { EmaDecay = 0, LabelSmoothing = 0 };
        double Marks(string key, int kernel, int layers, int seed) => TwoMarks.Accuracy(context, key, () => new RepLKNet(new RepLKNetConfig
        {
            LargeKernels = [kernel],
            Layers = [layers],
            Channels = [16],
            SmallKernel = kernel > 3 ? 3 : null,
            Classes = 2,
        }), recipe, context.Pick(40, 100), seed);
        context.Compare("two marks 20 to 50 pixels apart", "% right", ("one block with kernel 31", s => Marks("k31", 31, 1, s)),
            ("one block with kernel 3", s => Marks("k3", 3, 1, s)),
            note: "procedural; guessing gives 50 %");
        context.Compare("the same with fewer layers", "% right", ("one block with kernel 31", s => Marks("k31", 31, 1, s)),
            ("four blocks with kernel 3", s => Marks("k3x4", 3, 4, s)), note: "procedural; the deep network costs three times as much");
    }

    private static void Cifar(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(2500, 20_000), context.Pick(1000, 5000));
        var recipe = Recipe.Short(context.Pick(5, 15), batch: 64, lr: 3e-3) with { EmaDecay = 0.98 };
        var networks = new Dictionary<string, RepLKNetConfig>
        {
            ["large"] = Large,
            ["no-small-kernel"] = Large with { SmallKernel = null },
            ["no-shortcut"] = Large with { Shortcut = false },
            ["deep-3"] = Small with { Layers = [2, 2] },
            ["wide-3"] = Small with { Channels = [27, 54] },
        };
        double Accuracy(string key, int seed) => cifar.Accuracy(key, () => new RepLKNet(networks[key]), recipe, seed);
        var macs = networks.ToDictionary(n => n.Key, n => context.Measure($"macs/{n.Key}", () => Cost.Of(new RepLKNet(n.Value).Merge(), 1, 3, 32, 32).Macs));
        string Named(string what, string key) => $"{what} ({macs[key] / 1e6:0.00}M MACs)";
        void Against(string name, string key, string what, (string, string)? paper, string? note = null) => context.Compare(
            name, "% top-1", (Named("kernels 13 and 7", "large"), s => Accuracy("large", s)), (Named(what, key), s => Accuracy(key, s)), paper: paper,
            note: note);
        Against("a parallel small kernel helps large kernels train", "no-small-kernel", "without it", ("73.24", "72.53"), "paper: MobileNetV2 with 13x13");
        Against("large kernels need the identity shortcut", "no-shortcut", "without it", ("72.53", "53.98"), "paper: MobileNetV2 with 13x13");
        Against("fewer layers with larger kernels", "deep-3", "twice the layers with 3x3", null, "at least equal is what is claimed");
        double Conflict(string key, int seed) =>
            context.Measure($"conflict/{key}/seed{seed}",
            () => Using(cifar.Trained(key, () => new RepLKNet(networks[key]), recipe, seed), n => ShapeBias.CueConflict(cifar, n)));
        double Lost(string key, int seed) =>
            context.Measure($"shuffled/{key}/seed{seed}",
            () => Using(cifar.Trained(key, () => new RepLKNet(networks[key]), recipe, seed), n => ShapeBias.LostByShuffling(cifar, n)));
        foreach (var seed in context.Seeds) _ = (Accuracy("large", seed), Accuracy("wide-3", seed));
        context.Compare("bias to coarse structure in conflicting pictures", "% of decided answers",
            (Named("kernels 13 and 7", "large"), s => Conflict("large", s)), (Named("3x3, wider", "wide-3"), s => Conflict("wide-3", s)),
            note: "blurred picture of one class with the fine structure of another; a stand-in for the stylised pictures that the field uses");
        context.Compare("accuracy lost when patches are shuffled", "% of the accuracy", (Named("kernels 13 and 7", "large"), s => Lost("large", s)),
            (Named("3x3, wider", "wide-3"), s => Lost("wide-3", s)),
            note: "8x8 patches: what is lost came from the global arrangement");

        static double Using(Layer network, Func<Layer, double> measure)
        {
            using (network) return measure(network);
        }
    }

    /// <summary>Receptive field of an untrained network: shares in percent, and the analysed map on 64 x 64 places.</summary>
    private sealed record Erf(double Half, double Most, double[] Map, int HalfSide)
    {
        private const int Side = 256, Shown = 64;

        public static Erf Measure(int kernel, int seed, int pictures)
        {
            using var scope = NewDisposeScope();
            manual_seed(seed);
            using var network = new RepLKNet(new RepLKNetConfig
            {
                LargeKernels = [kernel, kernel, kernel, kernel],
                Layers = [2, 2, 6, 2],
                Channels = [16, 32, 64, 128],
                SmallKernel = kernel > 5 ? 5 : null,
                Classes = 10
            });
            using (no_grad())
            {
                for (var i = 0; i < 3; i++) network.call(randn(2, 3, Side, Side));
            }
            network.eval();
            network.Merge();
            var field = new ReceptiveField();
            for (var i = 0; i < pictures; i++) field.Add(network, randn(1, 3, Side, Side));
            var map = ReceptiveField.Analysed(field.Average());
            var (half, most) = (ReceptiveField.Area(map, Side, Side, 0.5), ReceptiveField.Area(map, Side, Side, 0.99));
            var small = nn.functional.avg_pool2d(tensor(map, [1, 1, Side, Side]), Side / Shown).reshape(-1);
            var top = small.max().item<double>();
            return new(100 * (half.Exists ? half.Ratio : 1), 100 * (most.Exists ? most.Ratio : 1),
                [.. small.data<double>().ToArray().Select(v => Math.Round(v / top, 4))], half.Side);
        }

        public HeatMap ToHeatMap(string title) => new(title, Map, Shown, Shown, HalfSide > 0 ? [("50 %", HalfSide * Shown / Side)] : []);
    }
}
