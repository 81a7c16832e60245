using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Bench;

/// <summary>
/// Networks that do less: A-ViT against its dense base beside the ideal (tokens kept), SkipNet against its base network beside the ideal (blocks kept). Weights
/// are random, so gates are set such that some half of the work remains; the arithmetic is that of trained networks.
/// </summary>
internal static class AdaptivePart
{
    public static void Run(BenchContext context)
    {
        using var noGrad = no_grad();
        manual_seed(context.Seed);
        if (context.Wants("A-ViT"))
            context.Mark("A-ViT-S at 224: speed-up over DeiT-S by the ideal (worse of batch 1 and 32)",
                Math.Min(Tokens(context, 1), Tokens(context, 32)), 0.85);
        if (!context.Wants("SkipNet")) return;
        var cifar = new SkipNetConfig { Layers = [18, 18, 18] };
        var imagenet = new SkipNetConfig
        {
            Layers = [3, 4, 23, 3],
            Widths = [64, 128, 256, 512],
            Block = ResidualKind.Bottleneck,
            ImageNet = true,
            Classes = 1000
        };
        var blocks = new[]
        {
            Blocks(context, "SkipNet-110 at 32", cifar, 32, 1), Blocks(context, "SkipNet-110 at 32", cifar, 32, 32),
            Blocks(context, "SkipNet-101 at 224", imagenet, 224, 1), Blocks(context, "SkipNet-101 at 224", imagenet, 224, 8),
        };
        context.Mark("SkipNet: speed-up over its base by the ideal (worst case)", blocks.Min(), 0.85);
    }

    private static double Tokens(BenchContext context, int batch)
    {
        using var scope = NewDisposeScope();
        using var net = new AViT(new VisionTransformerConfig { Dim = 384, Heads = 6 }, new HaltingGate(Scale: 10));
        net.eval();
        var x = randn(batch, 3, 224, 224);
        net.Positions.select(2, 0).PlusInPlace(randn(net.Positions.shape[1]).mul(Number.Of(0.5)));
        net.Positions[0, 0, 0].fill_(Number.Of(-2));      // the class token stays to the end
        // The centre at which six tenths of the tokens' layers remain.
        double low = -40, high = 60;
        for (var i = 0; i < 7; i++)
        {
            var middle = (low + high) / 2;
            net.Gate = net.Gate with { Center = middle };
            if (net.Removing(x.slice(0, 0, Math.Min(batch, 2), 1)).TokensKept < 0.6) low = middle;
            else high = middle;
        }
        var kept = net.Removing(x).TokensKept;
        context.Seconds = 6;
        var times = context.Time(3, () => Ours(net, x), () => Dense(net, x));
        return Add(context, "A-ViT", $"ViT-S at 224, batch {batch}", times[0], "dense DeiT-S", times[1], kept, "tokens kept");
    }

    private static double Blocks(BenchContext context, string name, SkipNetConfig config, int size, int batch)
    {
        using var scope = NewDisposeScope();
        using var net = new SkipNet(config);
        using var plain = new PlainResNet(config);
        net.eval();
        plain.eval();
        var x = randn(batch, 3, size, size);
        // Every picture skips its own half of the gated blocks.
        var decisions = Enumerable.Range(0, net.GatedBlocks).Select(_ => rand(batch, 1).gt(Number.Of(0.5)).to(float32)).ToArray();
        var kept = (decisions.Sum(d => d.mean().item<float>()) + 1) / (net.GatedBlocks + 1);
        context.Seconds = 4;
        var never = zeros(batch, 1);
        void Run(Func<int, Tensor> decide)
        {
            using var step = NewDisposeScope();
            net.Run(x, (block, _) => decide(block));
        }
        var times = context.Time(3, () => Run(block => decisions[block]), () =>
        {
            using var step = NewDisposeScope();
            plain.call(x);
        }, () => Run(_ => never));
        // Stem, first block and projections run in any case: no skipping can be faster than they and the kept share of the rest.
        var reachable = times[2] + kept * (times[1] - times[2]);
        return Add(context, "SkipNet", $"{name}, batch {batch}", times[0], "all blocks, no gates", times[1], kept, "blocks kept",
            new() { ["never skipped ms"] = times[2], ["share of what can be skipped"] = reachable / times[0] });
    }

    private static double Add(BenchContext context, string name, string title, double ours, string peer, double dense, double kept, string what,
        Dictionary<string, double>? more = null)
    {
        var share = dense / ours * kept;
        var notes = new Dictionary<string, double> { [what] = kept, ["ideal speed-up"] = 1 / kept, ["speed-up"] = dense / ours, ["share of ideal"] = share };
        foreach (var (note, value) in more ?? []) notes[note] = value;
        context.Add(name, title, ours, new Dictionary<string, double> { [peer] = dense }, null, notes);
        return share;
    }

    private static void Ours(AViT net, Tensor x)
    {
        using var step = NewDisposeScope();
        net.Removing(x);
    }

    private static void Dense(AViT net, Tensor x)
    {
        using var step = NewDisposeScope();
        net.Halts = false;
        net.call(x);
        net.Halts = true;
    }
}
