using Bayou.Core;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>SkipNet at small scale: supervised gates, hybrid reinforcement learning, soft gates, and networks without gates.</summary>
public sealed class SkipNetClaim : IClaim
{
    private static readonly SkipNetConfig Base = new() { Layers = [2, 2, 2], Widths = [8, 16, 32], GateBias = 1 };

    /// <inheritdoc/>
    public string Name => "skipnet";

    /// <inheritdoc/>
    public string Paper => "SkipNet: Learning Dynamic Routing in Convolutional Networks, ECCV 2018, arXiv 1711.09485";

    /// <inheritdoc/>
    public string Statement =>
        "Gates trained supervised and then by hybrid reinforcement learning skip blocks picture by picture with little loss, better than a network that is shallower for all, and far better than soft gates made hard.";

    /// <inheritdoc/>
    public string Data =>
        "CIFAR-10 at 32 pixels: 3,000 training and 1,000 test pictures (--full: 20,000 and 5,000); supervised stage of 5 epochs, hybrid stage of 3, networks without gates 8 (--full: 15, 5, 20)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(3000, 20_000), context.Pick(1000, 5000));
        double[] alphas = [HighAlpha / 3, HighAlpha];
        var (first, second) = (context.Pick(5, 15), context.Pick(3, 5));
        Recipe Of(int epochs) => Recipe.Short(epochs, batch: 64, lr: 4e-3) with { EmaDecay = 0 };
        SkipNet Supervised(int seed) => (SkipNet)cifar.Trained("supervised", () => new SkipNet(Base) { HybridShare = 0 }, Of(first), seed);
        // The hybrid stage starts from the supervised weights; it takes the recipe's full rate, for it has few steps.
        SkipNet Hybrid(double alpha, int seed) => (SkipNet)cifar.Trained(Key(alpha), () =>
        {
            using var before = Supervised(seed);
            var net = new SkipNet(Base) { HybridShare = 1, HybridRate = 1, Reward = new HybridReward(alpha, Weight: 0.02) };
            net.LoadState(before.state_dict());
            return net;
        }, Of(second), seed);
        SkipNet Softly(int seed) => (SkipNet)cifar.Trained("soft", () => new SkipNet(Base with { Mode = GateMode.Soft }), Of(first + second), seed);
        Gated Measured(string key, Func<int, SkipNet> trained, int seed) => context.Remember($"{key}/seed{seed}", () =>
        {
            using var scope = NewDisposeScope();
            using var net = trained(seed);
            return Measure(cifar, net, seed);
        });
        Gated Sp(int seed) => Measured("supervised", Supervised, seed);
        Gated Rl(double alpha, int seed) => Measured(Key(alpha), s => Hybrid(alpha, s), seed);
        Gated High(int seed) => Rl(HighAlpha, seed);
        Gated Soft(int seed) => Measured("soft", Softly, seed);
        double Plain(int[] layers, int seed) =>
            cifar.Accuracy($"plain-{string.Join('-', layers)}", () => new PlainResNet(Base with { Layers = layers }), Of(first + second), seed);

        context.Compare("blocks run: reinforcement learning against supervised gates alone", "% of the blocks",
            ($"hybrid RL, alpha {HighAlpha}", s => High(s).Blocks), ("supervised", s => Sp(s).Blocks),
            higherIsBetter: false, paper: ("49.5 (SkipNet-110)", "77"));
        context.Compare("blocks run: larger against smaller reward for skipping", "% of the blocks", ($"alpha {alphas[1]}", s => Rl(alphas[1], s).Blocks),
            ($"alpha {alphas[0]}", s => Rl(alphas[0], s).Blocks), higherIsBetter: false);
        context.Compare("accuracy beside the base network, which runs every block", "% top-1", ("hybrid RL", s => High(s).Top1),
            ("all blocks, no gates, as many epochs", s => Plain(Base.Layers, s)), paper: ("93.30", "93.60"));

        // The static network whose compute is nearest to the mean of the adaptive one.
        var macs = context.Seeds.Average(s => High(s).Macs);
        int[][] shallower = [[1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2]];
        var near = shallower.MinBy(l => Math.Abs(PlainMacs(context, l) - macs))!;
        context.Compare("accuracy at about equal compute", "% top-1", ($"hybrid RL ({macs / 1e6:0.00}M MACs on average)", s => High(s).Top1),
            ($"static {string.Join("-", near)} blocks ({PlainMacs(context, near) / 1e6:0.00}M MACs)", s => Plain(near, s)));
        context.Compare("the gates' choice against as many blocks skipped at random", "% top-1", ("hybrid RL", s => High(s).Top1),
            ("the same network, each block skipped as often, whatever the picture", s => High(s).Top1AtRandom));
        context.Compare("hard gates by reinforcement learning against soft gates made hard", "% top-1", ("hybrid RL", s => High(s).Top1),
            ("soft gates", s => Soft(s).Top1), paper: ("92.38 (SkipNet-74)", "52.29"));
        context.Compare("blocks run on pictures it gets wrong against those it gets right", "% of the blocks", ("wrong", s => High(s).BlocksWrong),
            ("right", s => High(s).BlocksRight));
        context.Check("skipping gives the logits of the blended forward", "logit", ("largest difference", context.Seeds.Max(s => High(s).Difference)),
            ("1e-4", 1e-4));
        context.Table("Networks, means over the seeds", ["network", "top-1", "blocks run", "MACs", "top-1 with random skipping"],
        [
            Row("supervised", Sp), .. alphas.Select(a => Row($"hybrid RL, alpha {a}", s => Rl(a, s))), Row("soft gates made hard", Soft),
            ["all blocks, no gates", $"{context.Seeds.Average(s => Plain(Base.Layers, s)):0.00} %", "100 %",
                $"{PlainMacs(context, Base.Layers) / 1e6:0.00}M", ""],
        ]);
        context.Note("Gates begin by running their blocks (log-odds 1): left to chance, a gate that begins by skipping never trains its block in so few steps. Reinforcement learning alone, without a supervised stage, was not run.");

        static string Key(double alpha) => $"hybrid-alpha{alpha}";
        string[] Row(string name, Func<int, Gated> of) =>
        [
            name, $"{context.Seeds.Average(s => of(s).Top1):0.00} %", $"{context.Seeds.Average(s => of(s).Blocks):0.0} %",
            $"{context.Seeds.Average(s => of(s).Macs) / 1e6:0.00}M",
            $"{context.Seeds.Average(s => of(s).Top1AtRandom):0.00} %",
        ];
    }

    private const double HighAlpha = 1.5;

    private sealed record Gated(double Top1, double Top1AtRandom, double Blocks, double BlocksRight, double BlocksWrong, double Macs, double Difference);

    private static Gated Measure(SmallCifar cifar, SkipNet net, int seed)
    {
        using var noGrad = no_grad();
        var (costs, rates) = (BlockMacs(net), new double[net.GatedBlocks]);
        var (right, count, blocksRight, blocksWrong, macs, difference) = (0, 0, 0.0, 0.0, 0.0, 0.0);
        foreach (var batch in cifar.Batches(cifar.Test).Epoch(0))
        {
            using var owned = batch;
            using var scope = NewDisposeScope();
            var trace = net.Run(batch.Images);
            net.Skips = false;
            difference = Math.Max(difference, net.call(batch.Images).sub(trace.Logits).abs().max().item<float>());
            net.Skips = true;
            var correct = trace.Logits.argmax(1).eq(batch.Labels).data<bool>().ToArray();
            var decisions = trace.Decisions.Select(d => d.data<float>().ToArray()).ToArray();
            for (var g = 0; g < rates.Length; g++) rates[g] += decisions[g].Sum();
            for (var n = 0; n < correct.Length; n++)
            {
                var ran = 1 + decisions.Sum(d => d[n]);
                macs += costs.Always + decisions.Select((d, b) => d[n] > 0.5f ? costs.Block[b] : costs.Skipped[b]).Sum();
                if (correct[n]) blocksRight += ran;
                else blocksWrong += ran;
                if (correct[n]) right++;
                count++;
            }
        }
        var scale = 100.0 / (net.GatedBlocks + 1);
        return new(100.0 * right / count, 100.0 * AtRandom(cifar, net, rates.Select(r => r / count).ToArray(), seed) / count,
            scale * (blocksRight + blocksWrong) / count, right == 0 ? double.NaN : scale * blocksRight / right,
            right == count ? double.NaN : scale * blocksWrong / (count - right), macs / count, difference);
    }

    // Right answers where every block runs as often as the gates let it, but for pictures drawn at random.
    private static int AtRandom(SmallCifar cifar, SkipNet net, double[] rates, int seed)
    {
        manual_seed(seed);
        var right = 0;
        foreach (var batch in cifar.Batches(cifar.Test).Epoch(0))
        {
            using var owned = batch;
            using var scope = NewDisposeScope();
            var trace = net.Run(batch.Images, (block, p) => full_like(p, Number.Of(rates[block])).bernoulli());
            right += trace.Logits.argmax(1).eq(batch.Labels).sum().to(int32).item<int>();
        }
        return right;
    }

    // Of the captured graph, which holds every block: what always runs, and for each gated block its own work and what a skipped one leaves (the projection).
    private static (double Always, double[] Block, double[] Skipped) BlockMacs(SkipNet net)
    {
        var nodes = Cost.Of(net, 1, 3, 32, 32).Nodes;
        var names = Enumerable.Range(0, net.Config.Layers.Length)
            .SelectMany(g => Enumerable.Range(0, net.Config.Layers[g]).Select(i => (Block: $"group{g + 1}_layer{i}.", Projection: $"group{g + 1}_ds{i}.")))
            .Skip(1).ToArray();
        double Sum(string prefix) => nodes.Where(n => n.Node.StartsWith(prefix, StringComparison.Ordinal)).Sum(n => (double)n.Macs);
        // The projection is captured twice under one name: inside the block and beside it.
        var skipped = names.Select(n => (Sum(n.Projection) + Sum(n.Block + "downsample.")) / 2).ToArray();
        var block = names.Select((n, b) => Sum(n.Block) - Sum(n.Block + "downsample.") + skipped[b]).ToArray();
        var gated = names.Sum(n => Sum(n.Block) + Sum(n.Projection));
        return (nodes.Sum(n => (double)n.Macs) - gated, block, skipped);
    }

    private static double PlainMacs(ClaimContext context, int[] layers) => context.Measure($"macs/{string.Join('-', layers)}", () =>
    {
        using var net = new PlainResNet(Base with { Layers = layers });
        return Cost.Of(net, 1, 3, 32, 32).Macs;
    });
}
