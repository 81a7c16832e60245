using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>How much a classifier goes by shape rather than by texture, on small pictures and without stylised data.</summary>
public static class ShapeBias
{
    /// <summary>
    /// Cue conflict by frequency: the coarse structure of one picture (Gaussian blur) with the fine structure of another one of another class. The share of
    /// answers that name the coarse picture's class among those that name either, in percent. (Geirhos et al., ICLR 2019, measure it on stylised pictures.)
    /// </summary>
    public static double CueConflict(SmallCifar cifar, Layer network, double sigma = 1.5)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (x, y) = All(cifar);
        var partner = randperm(x.shape[0], generator: new Generator(1));
        var coarse = Blur(x, sigma);
        var fine = x - coarse;
        var answers = Answers(network, coarse.Plus(fine.index_select(0, partner)));
        var other = y.index_select(0, partner);
        var conflict = y.ne(other);
        var (shape, texture) = (Share(answers.eq(y).logical_and(conflict)), Share(answers.eq(other).logical_and(conflict)));
        return 100.0 * shape / Math.Max(1, shape + texture);
    }

    /// <summary>
    /// The part of its accuracy, in percent, that a network loses when 8x8 patches are put in another order: what it got from the global arrangement.
    /// </summary>
    public static double LostByShuffling(SmallCifar cifar, Layer network)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (x, y) = All(cifar);
        var n = x.shape[0];
        var patches = x.reshape(n, 3, 4, 8, 4, 8).permute(2, 4, 0, 1, 3, 5).reshape(16, n, 3, 8, 8);
        var shuffled = patches.index_select(0, randperm(16, generator: new Generator(2))).reshape(4, 4, n, 3, 8, 8).permute(2, 3, 0, 4, 1, 5)
            .reshape(n, 3, 32, 32);
        var (plain, mixed) = (Share(Answers(network, x).eq(y)), Share(Answers(network, shuffled).eq(y)));
        return 100.0 * (plain - mixed) / Math.Max(1, plain);
    }

    private static (Tensor X, Tensor Y) All(SmallCifar cifar)
    {
        var batches = cifar.Batches(cifar.Test).Epoch(0).ToList();
        var all = (cat([.. batches.Select(b => b.Images)]), cat([.. batches.Select(b => b.Labels)]));
        batches.ForEach(b => b.Dispose());
        return all;
    }

    private static Tensor Answers(Layer network, Tensor x)
    {
        network.eval();
        return cat([.. x.split(250).Select(part => network.call(part).argmax(1))]);
    }

    private static long Share(Tensor hits) => hits.sum(type: ScalarType.Int64).item<long>();

    private static Tensor Blur(Tensor x, double sigma)
    {
        var radius = (int)Math.Ceiling(3 * sigma);
        var line = Enumerable.Range(-radius, 2 * radius + 1).Select(i => Math.Exp(-i * i / (2 * sigma * sigma))).ToArray();
        var k = tensor(line.Select(v => (float)(v / line.Sum())).ToArray());
        var padded = nn.functional.pad(x, [radius, radius, radius, radius], PaddingModes.Reflect);
        var rows = nn.functional.conv2d(padded, k.reshape(1, 1, -1, 1).expand(3, 1, -1, 1), groups: 3);
        return nn.functional.conv2d(rows, k.reshape(1, 1, 1, -1).expand(3, 1, 1, -1), groups: 3);
    }
}
