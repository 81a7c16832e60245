using Bayou.Compress;
using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>
/// ACE and PokeBNN at small scale: exact counts; a small binary network with PokeBNN's parts against the same plan without them; accuracy of number formats
/// after training beside their ACE.
/// </summary>
public sealed class AceClaim : IClaim
{
    private static readonly (int Stride, int Features)[] Plan = [(1, 16), (2, 32), (2, 64)];
    private static readonly string[] Formats = ["bf16", "e5m2", "e4m3", "e3m4", "int8", "mxfp8", "w4a8", "e2m3", "mxfp6", "e2m1", "mxfp4", "int4"];

    /// <inheritdoc/>
    public string Name => "ace";

    /// <inheritdoc/>
    public string Paper => "PokeBNN: A Binary Pursuit of Lightweight Accuracy, CVPR 2022, arXiv 2112.00133";

    /// <inheritdoc/>
    public string Statement =>
        "At equal arithmetic effort a binary network with shortcuts around every convolution, DPReLU and squeeze-and-excitation is clearly more accurate than a plain one; among 8-bit formats E4M3 keeps at least INT8's accuracy on heavy-tailed activations and beats E5M2.";

    /// <inheritdoc/>
    public string Data => "CIFAR-10 at 32 pixels: 1,500 training and 1,000 test pictures (--full: 20,000 and 5,000)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        Counts(context);
        var cifar = new SmallCifar(context, context.Pick(1500, 20_000), context.Pick(1000, 5000));
        Binary(context, cifar);
        AfterTraining(context, cifar);
    }

    private static void Counts(ClaimContext context)
    {
        var resnet = context.Remember("counts/resnet50", () => new Counted(Count(new ResNetLadder(new LadderConfig()), NumberFormat.Bf16)));
        context.Check("ResNet-50 at 224 in bf16", "ACE", ("counted from the captured graph", resnet.Ace), ("AQT's cost test", 1_046_831_169_536));
        var poke = context.Remember("counts/pokebnn", () => new Counted(Count(new PokeBnn(PokeBnnVariants.Config(1)), null)));
        context.Check("PokeBNN 1.0x at 224, binary, 4 and 8 bits as they are", "ACE", ("counted from the captured graph", poke.Ace),
            ("official unit test", 4_222_541_824));
    }

    private static long Count(Layer network, NumberFormat? format)
    {
        using var scope = NewDisposeScope();
        using (network)
        {
            var cost = Cost.Of(network, 1, 3, 224, 224);
            return format is null ? cost.AceAsIs() : cost.Ace(format);
        }
    }

    private static void Binary(ClaimContext context, SmallCifar cifar)
    {
        var recipe = Recipe.Short(context.Pick(4, 15), batch: 64, lr: 4e-3) with { WeightDecay = 0, EmaDecay = 0 };
        Layer Network(PokeComponents parts, double window) => new PokeBnn(new PokeBnnConfig
        {
            Plan = Plan,
            Patch = 2,
            InitGroup = 16,
            InitFeatures = 32,
            Classes = 10,
            Components = parts,
            Window = window,
        });
        string Effort(PokeComponents parts)
        {
            using var scope = NewDisposeScope();
            using var network = Network(parts, 3);
            return $"{Cost.Of(network, 1, 3, 32, 32).AceAsIs() / 1e6:0.0} M ACE";
        }

        double Of(PokeComponents parts, double window, int seed) =>
            cifar.Accuracy($"poke-{(int)parts}-window{window}", () => Network(parts, window), recipe, seed);
        context.Compare("PokeBNN's parts in a small binary network", "% top-1",
            ($"with ({Effort(PokeComponents.All)})", seed => Of(PokeComponents.All, 3, seed)),
            ($"plain binary ({Effort(PokeComponents.None)})", seed => Of(PokeComponents.None, 3, seed)), note: "the paper: 1-4 points a part on ImageNet");
        int[] seeds = context.Pick([context.Seeds[0]], context.Seeds);
        context.Table("Width of the gradient window of the binary activations (paper: worth up to 3 points)", ["window", "top-1 here"],
            context.Pick(new[] { 1.0, 3, 5 }, [1, 1.5, 3, 5])
                .Select(w => new[] { $"{w}", $"{seeds.Average(s => Of(PokeComponents.All, w, s)):0.00} % ({seeds.Length} seeds)" }));
    }

    private static void AfterTraining(ClaimContext context, SmallCifar cifar)
    {
        var recipe = Recipe.Short(context.Pick(6, 15), batch: 64, lr: 2e-3) with { EmaDecay = 0.99 };
        var config = ConvNeXtVariants.Ladder.Single(s => s.Key == "sep").Config with { Width = 16, Depths = [1, 1, 3, 1], Classes = 10 };
        Layer Create() => new ResNetLadder(config);
        var results = context.Seeds.ToDictionary(seed => seed, seed => context.Remember($"formats-mx/seed{seed}", () =>
        {
            using var scope = NewDisposeScope();
            _ = cifar.Accuracy("formats", Create, recipe, seed);
            using var network = cifar.Trained("formats", Create, recipe, seed);
            var calibration = cifar.Batches(cifar.TrainPart(seed)).Epoch(0).Take(1).Select(b => b.Images).ToArray();
            var formats = new FormatNetwork(Capture.Trace(network, 1, 3, 32, 32), calibration);
            return new Accuracies([.. Formats.Prepend("fp32").Select(name => Evaluate(formats.With(Operands(name)), name))]);

            FormatAccuracy Evaluate(Graph graph, string name)
            {
                context.Status(0, $"{name}, seed {seed}");
                using var module = new GraphModule(graph);
                module.eval();
                return new(name, 100 * Evaluator.Evaluate(module, cifar.Batches(cifar.Test), context.Cancel).Top1, Cost.Of(graph).AceAsIs());
            }
        }));
        double Of(string format, int seed) => results[seed].Formats.Single(f => f.Format == format).Top1;
        context.Compare("E4M3 against INT8, both 64 ACE a product, after training", "% top-1", ("e4m3", s => Of("e4m3", s)),
            ("int8 per tensor", s => Of("int8", s)));
        context.Compare("E4M3 against E5M2 for inference", "% top-1", ("e4m3", s => Of("e4m3", s)), ("e5m2", s => Of("e5m2", s)));
        context.Compare("FP4 (E2M1) against INT4, both 16 ACE a product", "% top-1", ("e2m1", s => Of("e2m1", s)), ("int4", s => Of("int4", s)));
        context.Compare("MXFP4, a scale for 32 values, against FP4 with one a tensor (weights: one a channel)", "% top-1", ("mxfp4", s => Of("mxfp4", s)),
            ("e2m1", s => Of("e2m1", s)));
        context.Table("Accuracy beside arithmetic effort: a ConvNeXt-like network (GELU), formats after training, no fine-tuning",
            ["format", "ACE", "top-1 (mean)", "points per G ACE"],
            Formats.Prepend("fp32").Select(f =>
            {
                var top1 = context.Seeds.Average(s => Of(f, s));
                var ace = results[context.Seeds[0]].Formats.Single(r => r.Format == f).Ace;
                return new[] { f, $"{ace / 1e6:0.0} M", $"{top1:0.00} %", $"{top1 / (ace / 1e9):0}" };
            }));
        Joules(context, Create);
        context.Note("Sums stay in float32, weights are scaled by output channel, activations by tensor. A format costs bits x bits whatever its hardware: energy is another table (`bayou profile --energy`).");
    }

    // Energy of the same network in float and in INT8 through ONNX Runtime: measured where the machine shows it.
    private static void Joules(ClaimContext context, Func<Layer> create)
    {
        var rows = context.Remember("joules", () =>
        {
            using var scope = NewDisposeScope();
            manual_seed(0);
            using var network = create();
            network.eval();
            var graph = GraphPasses.Simplify(Capture.Trace(network, 1, 3, 32, 32));
            var int8 = PostTrainingQuantization.Quantize(graph, [randn(16, 3, 32, 32)], new PtqOptions { KeepSensitiveInFloat = false, Search = false }).Graph;
            return new Energies([Of("fp32", graph), Of("int8", int8)]);
        });
        context.Table("Energy of the network in ONNX Runtime on this machine", ["form", "millijoules a picture", "source"],
            rows.Forms.Select(r => new[] { r.Form, $"{1e3 * r.Joules:0.000}", r.Source }));

        EnergyForm Of(string name, Graph graph)
        {
            using var runner = new OnnxRunner(OnnxWriter.ToBytes(graph), new OnnxRunnerOptions { Threads = context.Threads });
            var input = new float[3 * 32 * 32];
            runner.Run(input, [1, 3, 32, 32]);
            var (meter, clock, pictures) = (EnergyMeter.Start(), System.Diagnostics.Stopwatch.StartNew(), 0);
            for (; clock.Elapsed.TotalSeconds < 2; pictures++) runner.Run(input, [1, 3, 32, 32]);
            var reading = meter.Read();
            return new(name, reading.Joules / pictures, reading.Source);
        }
    }

    private static OperandFormats Operands(string name) => name == "w4a8" ? new(NumberFormat.Int4, NumberFormat.Int8) : new(NumberFormat.Parse(name));

    private sealed record Counted(long Ace);

    private sealed record FormatAccuracy(string Format, double Top1, long Ace);

    private sealed record Accuracies(FormatAccuracy[] Formats);

    private sealed record EnergyForm(string Form, double Joules, string Source);

    private sealed record Energies(EnergyForm[] Forms);
}
