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
    public string Statement =>
        "Tokens that halt on their own save compute and time at nearly the same accuracy, without further parameters; easy pictures need fewer.";

    /// <inheritdoc/>
    public string Data =>
        "CIFAR-10 at 32 pixels: 2,000 training and 1,000 test pictures (--full: 20,000 and 5,000); for known objects: pictures made here, Fashion-MNIST items pasted half on CIFAR-10 pictures and half on plain ground, 1,500 for training and 300 for testing";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(2000, 20_000), context.Pick(1000, 5000));
        var recipe = Recipe.Short(context.Pick(8, 20), batch: 50, lr: 2e-3) with { EmaDecay = 0 };
        AViT Net(double share, double ponder = 0.005, double prior = 0.05) =>
            new(Small, new HaltingGate()) { HaltingShare = share, PonderScale = ponder, PriorScale = prior };
        Adaptive Of(string key, Func<AViT> create, int seed) => context.Remember($"{key}/seed{seed}", () =>
        {
            using var scope = NewDisposeScope();
            using var net = (AViT)cifar.Trained(key, create, recipe, seed);
            net.Halts = true;
            return Measure(cifar, net);
        });
        AViT Dense(int seed)
        {
            var net = (AViT)cifar.Trained("dense", () => Net(0), recipe, seed);
            net.Halts = false;
            return net;
        }
        double DenseTop1(int seed) => context.Measure($"dense/seed{seed}", () =>
        {
            using var net = Dense(seed);
            return 100 * cifar.Evaluate(net).Top1;
        });
        double AtRandom(int seed) => context.Measure($"random/seed{seed}", () =>
        {
            var kept = Halting(seed).Kept;
            using var net = Dense(seed);
            return RandomTokens(cifar, net, kept, seed);
        });
        Adaptive Halting(int seed) => Of("halting", () => Net(0.5), seed);
        Adaptive Dearer(int seed) => Of("halting-dear", () => Net(0.5, 0.02, 0.02), seed);

        context.Compare("accuracy: adaptive tokens against the plain transformer", "% top-1", ("A-ViT", s => Halting(s).Top1),
            ("plain, as many epochs", DenseTop1), paper: ("71.4 (A-ViT-T)", "71.3 (DeiT-Ti)"));
        context.Compare("tokens' layers that run", "%", ("A-ViT", s => 100 * Halting(s).Kept), ("plain", _ => 100), higherIsBetter: false,
            paper: ("62 (MACs, A-ViT-T)", "100"));
        context.Compare("speed with removed tokens, batch 50", "pictures/s", ("tokens removed", s => Halting(s).PerSecond),
            ("the same network, all tokens", s => Halting(s).AllPerSecond), paper: ("3400", "2100"));
        context.Compare("tokens chosen by halting against as many tokens at random", "% top-1", ("A-ViT", s => Halting(s).Top1),
            ("plain, patches left out at random", AtRandom));
        context.Compare("tokens on hard against easy pictures (less and more than the median confidence)", "% kept", ("hard", s => 100 * Halting(s).KeptHard),
            ("easy", s => 100 * Halting(s).KeptEasy));
        var objects = new KnownObjects(context, () => Net(0.5), recipe);
        context.Compare("depth of patches on the object and beside it", "layers", ("object", s => objects.Of(s).Object), ("ground", s => objects.Of(s).Ground),
            note: "patches with more than half and with none of the object's pixels");
        context.Compare("tokens of objects on cluttered and on plain ground", "% kept", ("cluttered", s => 100 * objects.Of(s).KeptCluttered),
            ("plain", s => 100 * objects.Of(s).KeptPlain));
        context.Check("removal gives the masked logits", "logit", ("largest difference", context.Seeds.Max(s => Halting(s).Difference)), ("1e-3", 1e-3));
        context.Table("Where tokens halt, % of all tokens, mean over the seeds",
            ["weights of ponder loss and prior", .. Enumerable.Range(1, Small.Depth).Select(l => $"after layer {l}"), "kept", "top-1"],
            [Row("0.005, 0.05", Halting), Row("0.02, 0.02", Dearer)]);

        string[] Row(string name, Func<int, Adaptive> of) =>
        [
            name, .. Enumerable.Range(0, Small.Depth).Select(l => $"{100 * context.Seeds.Average(s => of(s).Halted[l]):0.0}"),
            $"{100 * context.Seeds.Average(s => of(s).Kept):0.0} %",
            $"{context.Seeds.Average(s => of(s).Top1):0.00} %",
        ];
    }

    private sealed record Adaptive(double Top1, double Kept, double KeptEasy, double KeptHard, double PerSecond, double AllPerSecond, double Difference,
        double[] Halted);

    private static Adaptive Measure(SmallCifar cifar, AViT net)
    {
        using var noGrad = no_grad();
        var (right, difference, seconds, all) = (0, 0.0, new List<double>(), new List<double>());
        var pictures = new List<(float Confidence, double Kept)>();
        var halted = new double[net.Config.Depth];
        foreach (var batch in cifar.Batches(cifar.Test, 50).Epoch(0))
        {
            using var owned = batch;
            using var scope = NewDisposeScope();
            // In turns, so that both meet the same machine.
            net.Halts = false;
            all.Add(Seconds(() => net.call(batch.Images)));
            net.Halts = true;
            RemovalTrace trace = null!;
            seconds.Add(Seconds(() => trace = net.Removing(batch.Images)));
            difference = Math.Max(difference, net.Masked(batch.Images).Logits.sub(trace.Logits).abs().max().item<float>());
            var labels = batch.Labels.data<long>().ToArray();
            var (confidence, best) = nn.functional.softmax(trace.Logits, 1).max(1);
            var (c, b) = (confidence.data<float>().ToArray(), best.data<long>().ToArray());
            right += labels.Where((l, i) => l == b[i]).Count();
            for (var n = 0; n < c.Length; n++)
            {
                var depths = trace.Depths[n];
                pictures.Add((c[n], depths.Average() / net.Config.Depth));
                foreach (var depth in depths) halted[depth - 1] += 1.0 / depths.Length;
            }
        }
        var count = pictures.Count;
        var ordered = pictures.OrderBy(p => p.Confidence).ToArray();
        return new(100.0 * right / count, pictures.Average(p => p.Kept), ordered[(count / 2)..].Average(p => p.Kept),
            ordered[..(count / 2)].Average(p => p.Kept),
            50 / Median(seconds), 50 / Median(all), difference, halted.Select(h => h / count).ToArray());
    }

    // The plain network on the class token and randomly chosen patches of each picture, as many as give the wanted share of tokens.
    private static double RandomTokens(SmallCifar cifar, AViT net, double kept, int seed)
    {
        using var noGrad = no_grad();
        var (right, random) = (0, new Random(seed));
        foreach (var batch in cifar.Batches(cifar.Test, 50).Epoch(0))
        {
            using var owned = batch;
            using var scope = NewDisposeScope();
            var tokens = net.Embed(batch.Images);
            var (pictures, patches) = ((int)tokens.shape[0], (int)tokens.shape[1] - 1);
            var count = Math.Max(1, (int)Math.Round(kept * (patches + 1)) - 1);
            var chosen = Enumerable.Range(0, pictures).SelectMany(_ =>
            {
                var order = Enumerable.Range(1, patches).Select(i => (long)i).ToArray();
                random.Shuffle(order);
                return order.Take(count).Prepend(0L);
            }).ToArray();
            tokens = tokens.gather(1, tensor(chosen, [pictures, count + 1, 1]).expand(-1, -1, tokens.shape[2]));
            foreach (var block in net.Blocks) tokens = block.call(tokens);
            right += net.Classify(net.Norm.call(tokens)).Class.argmax(1).eq(batch.Labels).sum().to(int32).item<int>();
        }
        return 100.0 * right / cifar.Test.Count;
    }

    private static double Seconds(Action run)
    {
        var clock = Stopwatch.StartNew();
        run();
        return clock.Elapsed.TotalSeconds;
    }

    private static double Median(IEnumerable<double> values)
    {
        var ordered = values.Order().ToArray();
        return ordered[ordered.Length / 2];
    }
}
