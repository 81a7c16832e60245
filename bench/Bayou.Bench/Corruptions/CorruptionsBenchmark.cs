using Bayou.Core;
using Bayou.Data;
using Bayou.Kernels;

namespace Bayou.Bench;

/// <summary>
/// Corrupted pictures a second at severity 3, all threads, against plain loops; both give the same pictures (checked), but for the last digits of their
/// arithmetic.
/// </summary>
public sealed class CorruptionsBenchmark : IBenchmark
{
    private const int Severity = 3;

    /// <inheritdoc/>
    public string Name => "corruptions";

    /// <inheritdoc/>
    public string Summary => "19 corruptions at 224 and 32 pixels: the library against plain loops (JPEG: against SkiaSharp's encoder and decoder)";

    /// <inheritdoc/>
    public void Run(BenchContext context)
    {
        var ratios = new List<double>();
        foreach (var (side, set, pictures) in new[] { (224, CorruptionSet.ImageNet224, 4), (32, CorruptionSet.Small32, 64) })
        {
            var inputs = Enumerable.Range(0, pictures).Select(i => Picture(side, context.Seed + i)).ToArray();
            var corruptor = new Corruptor(set);
            foreach (var corruption in Data.Corruptions.All)
            {
                byte[] Ours(int i) => corruptor.Apply(inputs[i], corruption, Severity, new SeededDraws((uint)i)).Pixels;
                byte[]? Plain(int i) => new PlainCorruptions(set == CorruptionSet.Small32).Apply(inputs[i], corruption, new SeededDraws((uint)i));
                List<(string, Action)> peers = [];
                if (Plain(0) is { } theirs)
                {
                    Check(corruption, Ours(0), theirs);
                    peers.Add((corruption == Corruption.JpegCompression ? "skia" : "plain", () => All(pictures, i => Plain(i))));
                }
                var times = context.Time(3, [() => All(pictures, Ours), .. peers.Select(p => p.Item2)]);
                var row = context.Add(corruption.Name(), $"{pictures} x {side}x{side}", times[0],
                    peers.Zip(times.Skip(1)).ToDictionary(p => p.First.Item1, p => p.Second),
                    notes: new Dictionary<string, double> { ["img/s"] = 1000 * pictures / times[0] });
                if (row.RatioBestPeer is { } ratio) ratios.Add(ratio);
            }
        }
        context.Mark("corruptions: geometric mean of the speed-ups over plain loops", BenchContext.GeometricMean(ratios), 1);
    }

    private static void All(int pictures, Func<int, object?> run) =>
        Parallel.For(0, pictures, new ParallelOptions { MaxDegreeOfParallelism = KernelThreads.Count }, i => run(i));

    // Plain loops that compute something else would be no peer. Elastic rounds its affine map to 1/32 pixels as published, the plain one does not; frost is
    // scaled differently at 32.
    private static void Check(Corruption corruption, byte[] ours, byte[] plain)
    {
        var difference = ours.Zip(plain, (a, b) => (double)Math.Abs(a - b)).Average();
        var allowed = corruption is Corruption.ElasticTransform or Corruption.Frost ? 6 : 0.6;
        if (difference > allowed)
            throw new BayouException($"{corruption.Name()}: the plain loops differ by {difference:0.00} grey levels on average; they measure something else");
    }

    // Smooth shapes with edges and some texture.
    private static ImageBuffer Picture(int side, int seed)
    {
        var image = new ImageBuffer(side, side, 3);
        for (var i = 0; i < image.Pixels.Length; i++)
        {
            double x = (double)(i / 3 % side) / side, y = (double)(i / 3 / side) / side;
            var value = 120 + 70 * Math.Sin(6 * x + seed + i % 3) + 50 * Math.Cos(9 * y - seed) + ((int)(8 * x) + (int)(7 * y)) % 2 * 25;
            image.Pixels[i] = (byte)Math.Clamp(value, 0, 255);
        }
        return image;
    }
}
