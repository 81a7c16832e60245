using Bayou.Core;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>SkipNet at small scale: supervised gates, hybrid reinforcement learning, soft gates, and networks without gates.</summary>
public sealed class SkipNetClaim : IClaim
{
    private static readonly SkipNetConfig Base = new() { Layers = [2, 2, 2], Widths = [8, 16, 32] };

    /// <inheritdoc/>
    public string Name => "skipnet";

    /// <inheritdoc/>
    public string Paper => "SkipNet: Learning Dynamic Routing in Convolutional Networks, ECCV 2018, arXiv 1711.09485";

    /// <inheritdoc/>
    public string Statement => "Gates trained supervised and then by hybrid reinforcement learning skip blocks picture by picture with little loss, better than a network that is shallower for all, and far better than soft gates made hard.";

    /// <inheritdoc/>
    public string Data => "CIFAR-10 at 32 pixels: 2,000 training and 1,000 test pictures (--full: 20,000 and 5,000)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(2000, 20_000), context.Pick(1000, 5000));
        var recipe = Recipe.Short(context.Pick(6, 20), batch: 64, lr: 4e-3) with { EmaDecay = 0 };
        SkipNet Net(double share, GateMode mode = GateMode.StraightThrough) => new(Base with { Mode = mode })
        {
            HybridShare = share,
            HybridRate = 0.5,
            Reward = new HybridReward(Alpha: 2, Weight: 0.02),
        };
        Gated Of(string key, Func<SkipNet> create, int seed) => context.Remember($"{key}/seed{seed}", () =>
        {
            using var scope = NewDisposeScope();
            using var net = (SkipNet)cifar.Trained(key, create, recipe, seed);
            return Measure(cifar, net);
        });
        Gated Supervised(int seed) => Of("supervised", () => Net(0), seed);
        Gated Hybrid(int seed) => Of("hybrid", () => Net(0.34), seed);
        Gated Soft(int seed) => Of("soft", () => Net(0, GateMode.Soft), seed);
        double Plain(int[] layers, int seed) => cifar.Accuracy($"plain-{string.Join('-', layers)}", () => new PlainResNet(Base with { Layers = layers }), recipe, seed);

        context.Compare("blocks run: reinforcement learning against supervised gates alone", "% of the blocks", ("supervised, then hybrid RL", s => Hybrid(s).Blocks), ("supervised", s => Supervised(s).Blocks),
            higherIsBetter: false, paper: ("49.5 (SkipNet-110)", "77"));
        context.Compare("accuracy beside the base network, which runs every block", "% top-1", ("hybrid RL", s => Hybrid(s).Top1), ("all blocks, no gates", s => Plain(Base.Layers, s)), paper: ("93.30", "93.60"));

        // The static network whose compute is nearest to the mean of the adaptive one.
        var macs = context.Seeds.Average(s => Hybrid(s).Macs);
        int[][] shallower = [[1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2]];
        var near = shallower.MinBy(l => Math.Abs(PlainMacs(context, l) - macs))!;
        context.Compare("accuracy at about equal compute", "% top-1", ($"hybrid RL ({macs / 1e6:0.00}M MACs on average)", s => Hybrid(s).Top1),
            ($"static {string.Join("-", near)} blocks ({PlainMacs(context, near) / 1e6:0.00}M MACs)", s => Plain(near, s)));
        context.Compare("hard gates by reinforcement learning against soft gates made hard", "% top-1", ("hybrid RL", s => Hybrid(s).Top1), ("soft gates", s => Soft(s).Top1), paper: ("92.38 (SkipNet-74)", "52.29"));
        context.Compare("blocks run on pictures it gets wrong against those it gets right", "% of the blocks", ("wrong", s => Hybrid(s).BlocksWrong), ("right", s => Hybrid(s).BlocksRight));
        context.Check("skipping gives the logits of the blended forward", "logit", ("largest difference", context.Seeds.Max(s => Hybrid(s).Difference)), ("1e-4", 1e-4));
        context.Table("Networks, means over the seeds", ["network", "top-1", "blocks run", "MACs"],
        [
            Row("supervised", Supervised), Row("hybrid RL", Hybrid), Row("soft gates made hard", Soft),
            ["all blocks, no gates", $"{context.Seeds.Average(s => Plain(Base.Layers, s)):0.00} %", "100 %", $"{PlainMacs(context, Base.Layers) / 1e6:0.00}M"],
        ]);

        string[] Row(string name, Func<int, Gated> of) =>
            [name, $"{context.Seeds.Average(s => of(s).Top1):0.00} %", $"{context.Seeds.Average(s => of(s).Blocks):0.0} %", $"{context.Seeds.Average(s => of(s).Macs) / 1e6:0.00}M"];
    }

    private sealed record Gated(double Top1, double Blocks, double BlocksRight, double BlocksWrong, double Macs, double Difference);

    private static Gated Measure(SmallCifar cifar, SkipNet net)
    {
        using var noGrad = no_grad();
        var costs = BlockMacs(net);
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
        return new(100.0 * right / count, scale * (blocksRight + blocksWrong) / count, right == 0 ? double.NaN : scale * blocksRight / right,
            right == count ? double.NaN : scale * blocksWrong / (count - right), macs / count, difference);
    }

    // Of the captured graph, which holds every block: what always runs, and for each gated block its own work and what a skipped one leaves (the projection).
    private static (double Always, double[] Block, double[] Skipped) BlockMacs(SkipNet net)
    {
        var nodes = Cost.Of(net, 1, 3, 32, 32).Nodes;
        var names = Enumerable.Range(0, net.Config.Layers.Length).SelectMany(g => Enumerable.Range(0, net.Config.Layers[g]).Select(i => (Block: $"group{g + 1}_layer{i}.", Projection: $"group{g + 1}_ds{i}."))).Skip(1).ToArray();
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
