using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Train;
using TorchSharp;

namespace Bayou.Tests;

/// <summary>The robustness evaluator on a task whose quality is known.</summary>
public sealed class RobustnessTests
{
    private static readonly RobustnessOptions Two = new() { Corruptions = [Corruption.Contrast, Corruption.Spatter], Severities = [1, 5] };

    private static ImageBuffer Picture(int index)
    {
        var image = new ImageBuffer(12, 10, 3);
        for (var i = 0; i < image.Pixels.Length; i++) image.Pixels[i] = (byte)((i * 7 + index * 31) % 251);
        return image;
    }

    /// <summary>Quality is the part of pictures whose pixels are unchanged; it counts what it is asked.</summary>
    private sealed class Unchanged(string name, string geometry) : IRobustnessTask
    {
        public int Measured, Cleaned;

        public string Name => name;

        public string Metric => "unchanged";

        public string Identity => name;

        public string Geometry => geometry;

        public int Count => 5;

        public double Measure(SeePicture see, CancellationToken cancellation)
        {
            Measured++;
            return Enumerable.Range(0, Count).Average(i => see(i, () => Clean(i)).Pixels.AsSpan().SequenceEqual(Picture(i).Pixels) ? 1.0 : 0.0);
        }

        public ImageBuffer Clean(int index)
        {
            Interlocked.Increment(ref Cleaned);
            return Picture(index);
        }

        public (string Text, bool Right) Answer(int index, ImageBuffer picture) => ("same", true);
    }

    [Fact]
    public void ModelsOfOneGeometryShareCorruptedPictures()
    {
        Unchanged a = new("a", "g"), b = new("b", "g"), other = new("c", "h");
        var results = RobustnessEvaluator.Run([a, b, other], Two);
        Assert.Equal([5, 5, 5], new[] { a, b, other }.Select(t => t.Measured));
        Assert.Equal([25, 5, 25], new[] { a, b, other }.Select(t => t.Cleaned));        // clean ones are not kept
        Assert.All(results, r =>
        {
            Assert.Equal((1.0, 0.0), (r.Clean, r.Quality(Corruption.Contrast)));
            Assert.Equal(4, r.Cells.Count);
            Assert.Equal([CorruptionSet.Small32], r.Sets);
            Assert.Equal(0, r.MeanQuality);                                              // spatter is for validation
            Assert.Equal(100 / 0.5, r.Mce(new Dictionary<Corruption, double> { [Corruption.Contrast] = 0.5, [Corruption.Spatter] = 0.1 })!.Value, 1e-9);
        });
    }

    [Fact]
    public void FinishedMeasurementsAreNotRepeated()
    {
        using var folder = new TempFolder();
        var first = new Unchanged("a", "g");
        IReadOnlyList<RobustnessResult> before;
        using (var store = RunStore.Open(folder.Root)) before = RobustnessEvaluator.Run([first], Two with { Store = store });
        using (var store = RunStore.Open(folder.Root))
        {
            var again = new Unchanged("a", "g");
            var after = RobustnessEvaluator.Run([again], Two with { Store = store });
            Assert.Equal(0, again.Measured);
            Assert.Equal(before[0].Cells, after[0].Cells);
            var seeded = new Unchanged("a", "g");
            RobustnessEvaluator.Run([seeded], Two with { Store = store, Seed = 1 });
            Assert.Equal(5, seeded.Measured);                                            // another seed is another measurement
        }
    }

    [Fact]
    public void TimeEndsBetweenCorruptions()
    {
        var result = RobustnessEvaluator.Run([new Unchanged("a", "g")], Two with { Seconds = -1 })[0];
        Assert.Empty(result.Cells);
        Assert.Throws<BayouException>(() => RobustnessEvaluator.Run([], Two));
        Assert.Throws<BayouException>(() => RobustnessEvaluator.Run([new Unchanged("a", "g")], Two with { Severities = [0] }));
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => RobustnessEvaluator.Run([new Unchanged("a", "g")], Two, stopped.Token));
    }

    [Fact]
    public void ClassifiersSeePicturesAtTheirInputSize()
    {
        // The classifier answers by the mean brightness: fog and brightness move it, a small picture is corrupted as it is.
        var data = new Bright();
        var task = new ClassificationRobustness("bright", "1", x =>
        {
            var mean = x.mean(new long[] { 1, 2, 3 });
            return torch.stack([mean.neg(), mean], 1);
        }, Preprocessing.For(40, 3) with { Mean = [0.5f, 0.5f, 0.5f], Std = [1f, 1f, 1f] }, data, 2);
        Assert.Equal((20, 20), (task.Clean(0).Width, task.Clean(0).Height));
        var result = RobustnessEvaluator.Run([task], new RobustnessOptions { Corruptions = [Corruption.Brightness, Corruption.Contrast], Severities = [5] })[0];
        Assert.Equal(1, result.Clean);
        Assert.Equal(0.5, result.Quality(Corruption.Brightness));       // dark ones become bright
        Assert.Equal(1, result.Quality(Corruption.Contrast));           // the mean stays
        Assert.Equal(0.75, result.Retention);
        Assert.True(task.Answer(0, task.Clean(0)).Right);
        var strip = RobustnessStrip.Draw([task], task.Clean(0), 0, 3, Two);
        Assert.Equal("png", ImageDecoder.ReadHeader(strip).Format);
    }

    private sealed class Bright : IImageDataset
    {
        public string Name => "bright";

        public IReadOnlyList<string> Classes => ["dark", "bright"];

        public int Count => 8;

        public int Label(int index) => index % 2;

        public string Id(int index) => $"{index}";

        public ImageBuffer Read(int index)
        {
            var image = new ImageBuffer(20, 20, 3);
            Array.Fill(image.Pixels, index % 2 == 0 ? (byte)105 : (byte)150);
            return image;
        }
    }
}
