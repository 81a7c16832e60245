using Bayou.Core;
using Bayou.Kernels;

namespace Bayou.Bench;

/// <summary>One row's shape: a map under one kernel, or under several whose outputs are added (the decomposition of SLaK).</summary>
/// <param name="N">Pictures.</param>
/// <param name="C">Channels.</param>
/// <param name="H">Rows.</param>
/// <param name="W">Columns.</param>
/// <param name="Kernels">Rows and columns of each kernel, odd; padding of half of them.</param>
/// <param name="Stride">Of both axes.</param>
/// <param name="Label">How the kernels are called.</param>
public sealed record DepthwiseCase(int N, int C, int H, int W, (int H, int W)[] Kernels, int Stride, string Label)
{
    /// <summary>Whether it is one of the fixed shapes.</summary>
    public bool Fixed { get; init; } = true;

    /// <summary>Whether the marks for large kernels are about it: 31, 51 and the decomposition.</summary>
    public bool Large => Fixed && Kernels[0].H >= 31;

    /// <summary>Multiply-adds that meet the picture.</summary>
    public long UsefulMacs => Kernels.Sum(k => new DepthwiseShape(N, C, H, W, k.H, k.W) { StrideH = Stride, StrideW = Stride }.UsefulMacs);

    /// <summary>The convolutions as ops.</summary>
    public Conv2dOp[] Ops => [.. Kernels.Select(k => new Conv2dOp(new(Stride, Stride), new(k.H / 2, k.W / 2), new(1, 1), C))];

    /// <inheritdoc/>
    public override string ToString() => $"{N}x{C}x{H}x{W} {Label}{(Stride > 1 ? $" stride {Stride}" : "")}";

    /// <summary>The fixed shapes: 7, 13, 31, 51 and the decomposition on three maps, batch 1 and 8.</summary>
    public static IEnumerable<DepthwiseCase> Standard()
    {
        foreach (var n in new[] { 1, 8 })
            foreach (var (c, side) in new[] { (96, 56), (192, 28), (384, 14) })
            {
                foreach (var k in new[] { 7, 13, 31, 51 }) yield return new(n, c, side, side, [(k, k)], 1, $"{k}x{k}");
                yield return new(n, c, side, side, [(51, 5), (5, 51), (5, 5)], 1, "51x5 + 5x51 + 5x5");
            }
    }

    /// <summary>3x3, which the marks leave out: libtorch's own kernel in channels-last memory is Bayou's choice, too.</summary>
    public static IEnumerable<DepthwiseCase> Smallest() =>
        from n in new[] { 1, 8 } from c in new[] { (96, 56), (192, 28), (384, 14) } select new DepthwiseCase(n, c.Item1, c.Item2, c.Item2, [(3, 3)], 1, "3x3");

    /// <summary>
    /// Drawn shapes: odd kernels of 3 to 61, square or not, on maps of 5 to 64, up to 320 channels and four pictures, a fifth with stride 2; at most 300 M
    /// useful multiply-adds.
    /// </summary>
    public static IEnumerable<DepthwiseCase> Drawn(int seed, int count)
    {
        var random = new Random(seed);
        while (count > 0)
        {
            int kh = 3 + 2 * random.Next(30), kw = random.Next(2) == 0 ? kh : 3 + 2 * random.Next(30);
            var drawn = new DepthwiseCase(random.Next(1, 5), random.Next(8, 321), random.Next(5, 65), random.Next(5, 65), [(kh, kw)],
                random.Next(5) == 0 ? 2 : 1, $"{kh}x{kw}")
            { Fixed = false };
            if (drawn.UsefulMacs > 300_000_000) continue;
            count--;
            yield return drawn;
        }
    }
}
