using System.Diagnostics;
using Bayou.Core;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>A-ViT at small scale: tokens and time saved beside the accuracy, against the plain transformer trained as long.</summary>
public sealed class AViTClaim : IClaim
{
    private static readonly VisionTransformerConfig Small = new() { ImageSize = 32, Patch = 4, Dim = 32, Heads = 4, Depth = 6, Classes = 10, FanInInit = true };

    /// <inheritdoc/>
    public string Name => "avit";

    /// <inheritdoc/>
    public string Paper => "A-ViT: Adaptive Tokens for Efficient Vision Transformer, CVPR 2022, arXiv 2112.07658";

    /// <inheritdoc/>
    public string Statement => "Tokens that halt on their own save compute and time at nearly the same accuracy, without further parameters; easy pictures need fewer.";

    /// <inheritdoc/>
    public string Data => "CIFAR-10 at 32 pixels: 1,500 training and 1,000 test pictures (--full: 20,000 and 5,000)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(1500, 20_000), context.Pick(1000, 5000));
        var recipe = Recipe.Short(context.Pick(8, 20), batch: 50, lr: 2e-3) with { EmaDecay = 0 };
        AViT Net(double share, double ponder = 0.02) => new(Small, new HaltingGate()) { HaltingShare = share, PonderScale = ponder, PriorScale = 0.02 };
        Adaptive Of(string key, Func<AViT> create, int seed) => context.Remember($"{key}/seed{seed}", () =>
        {
            using var scope = NewDisposeScope();
            using var net = (AViT)cifar.Trained(key, create, recipe, seed);
            net.Halts = !key.StartsWith("dense", StringComparison.Ordinal);
            return Measure(cifar, net);
        });
        Adaptive Dense(int seed) => Of("dense", () => Net(0), seed);
        Adaptive Halting(int seed) => Of("halting", () => Net(0.5), seed);
        Adaptive Dearer(int seed) => Of("halting-dear", () => Net(0.5, 0.1), seed);

        context.Compare("accuracy: adaptive tokens against the plain transformer", "% top-1", ("A-ViT", s => Halting(s).Top1), ("plain, as many epochs", s => Dense(s).Top1), paper: ("71.4 (A-ViT-T)", "71.3 (DeiT-Ti)"));
        context.Compare("tokens' layers that run", "%", ("A-ViT", s => 100 * Halting(s).Kept), ("plain", _ => 100), higherIsBetter: false, paper: ("62 (MACs, A-ViT-T)", "100"));
        context.Compare("speed with removed tokens, batch 50", "pictures/s", ("A-ViT", s => Halting(s).PerSecond), ("plain", s => Dense(s).PerSecond), paper: ("3400", "2100"));
        context.Compare("tokens on hard against easy pictures (less and more than the median confidence)", "% kept", ("hard", s => 100 * Halting(s).KeptHard), ("easy", s => 100 * Halting(s).KeptEasy));
        context.Check("removal gives the masked logits", "logit", ("largest difference", context.Seeds.Max(s => Halting(s).Difference)), ("1e-3", 1e-3));
        context.Table("Where tokens halt, % of all tokens, mean over the seeds", ["weight of the ponder loss", .. Enumerable.Range(1, Small.Depth).Select(l => $"after layer {l}"), "kept", "top-1"],
            [Row("0.02", Halting), Row("0.1", Dearer)]);

        string[] Row(string name, Func<int, Adaptive> of) =>
        [
            name, .. Enumerable.Range(0, Small.Depth).Select(l => $"{100 * context.Seeds.Average(s => of(s).Halted[l]):0.0}"), $"{100 * context.Seeds.Average(s => of(s).Kept):0.0} %",
            $"{context.Seeds.Average(s => of(s).Top1):0.00} %",
        ];
    }

    private sealed record Adaptive(double Top1, double Kept, double KeptEasy, double KeptHard, double PerSecond, double Difference, double[] Halted);

    private static Adaptive Measure(SmallCifar cifar, AViT net)
    {
        using var noGrad = no_grad();
        var (right, difference, seconds) = (0, 0.0, new List<double>());
        var pictures = new List<(float Confidence, double Kept)>();
        var halted = new double[net.Config.Depth];
        foreach (var batch in cifar.Batches(cifar.Test, 50).Epoch(0))
        {
            using var owned = batch;
            using var scope = NewDisposeScope();
            var clock = Stopwatch.StartNew();
            var logits = net.call(batch.Images);
            seconds.Add(clock.Elapsed.TotalSeconds);
            var labels = batch.Labels.data<long>().ToArray();
            var (confidence, best) = nn.functional.softmax(logits, 1).max(1);
            var (c, b) = (confidence.data<float>().ToArray(), best.data<long>().ToArray());
            right += labels.Where((l, i) => l == b[i]).Count();
            if (!net.Halts) continue;
            var trace = net.Removing(batch.Images);
            difference = Math.Max(difference, net.Masked(batch.Images).Logits.sub(trace.Logits).abs().max().item<float>());
            for (var n = 0; n < c.Length; n++)
            {
                var depths = trace.Depths[n];
                pictures.Add((c[n], depths.Average() / net.Config.Depth));
                foreach (var depth in depths) halted[depth - 1] += 1.0 / depths.Length;
            }
        }
        var count = cifar.Test.Count;
        var speed = 50 / seconds.Order().ElementAt(seconds.Count / 2);
        if (!net.Halts) return new(100.0 * right / count, 1, 1, 1, speed, 0, halted);
        var ordered = pictures.OrderBy(p => p.Confidence).ToArray();
        return new(100.0 * right / count, pictures.Average(p => p.Kept), ordered[(count / 2)..].Average(p => p.Kept), ordered[..(count / 2)].Average(p => p.Kept), speed, difference,
            halted.Select(h => h / count).ToArray());
    }
}
