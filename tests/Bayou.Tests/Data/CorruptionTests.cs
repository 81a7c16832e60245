using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

/// <summary>Corruptions: properties that hold for any picture, and the known traps of the published code.</summary>
public sealed class CorruptionTests
{
    private static ImageBuffer Photo(int width, int height, int channels = 3)
    {
        var image = new ImageBuffer(width, height, channels);
        for (var i = 0; i < image.Pixels.Length; i++)
        {
            int x = i / channels % width, y = i / channels / width, c = i % channels;
            image.Pixels[i] = (byte)Math.Clamp(120 + 60 * Math.Sin(x / 3.0 + c) + 45 * Math.Cos(y / 4.0 - c) + ((x / 5 + y / 4) % 2 == 0 ? 20 : -20), 0, 255);
        }
        return image;
    }

    private static double Distance(ImageBuffer a, ImageBuffer b) => a.Pixels.Zip(b.Pixels, (x, y) => (double)Math.Abs(x - y)).Average();

    [Fact]
    public void FifteenTestAndFourAreForValidation()
    {
        Assert.Equal(15, Corruptions.Test.Count);
        Assert.Equal(["speckle_noise", "gaussian_blur", "spatter", "saturate"], Corruptions.Validation.Select(c => c.Name()));
        Assert.Equal([3, 4, 4, 4], Enum.GetValues<CorruptionGroup>().Select(g => Corruptions.Test.Count(c => c.Group() == g)));
        Assert.Equal([Corruption.DefocusBlur, Corruption.Fog], Corruptions.Parse(["fog, defocus-blur", "fog"]));
        Assert.Equal(Corruptions.Test, Corruptions.Parse(["test"]));
        Assert.Equal(4, Corruptions.Parse(["weather"]).Count);
        Assert.Contains("fogg", Assert.Throws<BayouException>(() => Corruptions.Parse(["fogg"])).Message);
        Assert.Throws<BayouException>(() => Corruptions.Parse(["2"]));
    }

    [Fact]
    public void EveryCorruptionTakesEverySizeAndKeepsIt()
    {
        foreach (var (set, width, height, channels) in new[]
        {
            (CorruptionSet.AnySize, 1, 1, 3), (CorruptionSet.AnySize, 3, 50, 3), (CorruptionSet.AnySize, 41, 17, 1), (CorruptionSet.Small32, 8, 8, 3),
            (CorruptionSet.Small32, 28, 28, 1), (CorruptionSet.Small32, 64, 33, 3),
        })
        {
            var corruptor = new Corruptor(set);
            var clean = Photo(width, height, channels);
            var before = clean.Clone();
            foreach (var corruption in Corruptions.All)
            {
                foreach (var severity in new[] { 1, 5 })
                {
                    var first = corruptor.Apply(clean, corruption, severity, 7);
                    Assert.Equal((width, height, channels), (first.Width, first.Height, first.Channels));
                    Assert.Equal(first.Pixels, corruptor.Apply(clean, corruption, severity, 7).Pixels);      // the seed decides
                }
            }
            Assert.Equal(before.Pixels, clean.Pixels);
        }
    }

    [Fact]
    public void HarderSeveritiesTakePicturesFurtherAway()
    {
        foreach (var (set, picture) in new[] { (CorruptionSet.AnySize, Photo(60, 52)), (CorruptionSet.ImageNet224, Photo(224, 224)) })
        {
            var corruptor = new Corruptor(set);
            foreach (var corruption in new[] { Corruption.GaussianNoise, Corruption.ShotNoise, Corruption.ImpulseNoise, Corruption.SpeckleNoise,
                Corruption.DefocusBlur,
                Corruption.GaussianBlur, Corruption.ZoomBlur, Corruption.Fog, Corruption.Brightness, Corruption.Contrast, Corruption.JpegCompression })
            {
                var distances = new[] { 1, 3, 5 }.Select(s => Distance(picture, corruptor.Apply(picture, corruption, s, 1))).ToArray();
                Assert.True(distances[0] < distances[1] && distances[1] < distances[2], $"{set} {corruption.Name()}: {string.Join(", ", distances)}");
            }
        }
    }

    [Fact]
    public void SeedsDecideNoiseAndNothingElse()
    {
        var picture = Photo(40, 40);
        var corruptor = new Corruptor(CorruptionSet.Small32);
        foreach (var corruption in Corruptions.All)
        {
            var same = corruptor.Apply(picture, corruption, 3, 1).Pixels.AsSpan().SequenceEqual(corruptor.Apply(picture, corruption, 3, 2).Pixels);
            var draws = corruption is not (Corruption.DefocusBlur or Corruption.ZoomBlur or Corruption.Brightness or Corruption.Contrast or Corruption.Pixelate
                or Corruption.JpegCompression or Corruption.GaussianBlur or Corruption.Saturate);
            Assert.Equal(!draws, same);
        }
    }

    [Fact]
    public void ValuesAreTruncatedNotRounded()
    {
        var grey = new ImageBuffer(1, 2, 1, [100, 100]);
        // One deviation is 0.08 of 255 = 20.4: 100.96 and 99.98.
        double[] z = [0.96 / 20.4, -0.02 / 20.4];
        Assert.Equal([100, 99], new Corruptor(CorruptionSet.AnySize).Apply(grey, Corruption.GaussianNoise, 1, new RecordedDraws { ValueZ = z }).Pixels);
    }

    [Fact]
    public void GlassBlurCopiesAndDoesNotSwap()
    {
        // The mildest small constants blur by a twentieth of a pixel, which is nothing, and move by at most one.
        var picture = Photo(10, 9);
        int row = 10 * 3, moves = (9 - 2) * (10 - 2);
        var up = new sbyte[2 * moves];
        for (var i = 0; i < moves; i++) up[2 * i + 1] = -1;      // dx 0, dy -1: every pixel takes the one above
        var result = new Corruptor(CorruptionSet.Small32).Apply(picture, Corruption.GlassBlur, 1, new RecordedDraws { GlassOffsets = up });
        for (var y = 0; y < 9; y++)
        {
            for (var x = 0; x < 10; x++)
            {
                var from = y >= 2 && x >= 2 ? y - 1 : y;
                Assert.Equal(picture.Pixels.AsSpan(from * row + x * 3, 3).ToArray(), result.Pixels.AsSpan(y * row + x * 3, 3).ToArray());
            }
        }
    }

    [Fact]
    public void ZoomsAreAsManyAsTheFloatingPointRangesHave()
    {
        (CorruptionSet Set, double[] Stops, double[] Steps)[] published =
        [
            (CorruptionSet.ImageNet224, [1.11, 1.16, 1.21, 1.26, 1.31], [.01, .01, .02, .02, .03]),
            (CorruptionSet.Small32, [1.06, 1.11, 1.16, 1.21, 1.26], [.01, .01, .01, .01, .01]),
        ];
        foreach (var (set, stops, steps) in published)
        {
            for (var s = 1; s <= 5; s++)
            {
                var constants = CorruptionConstants.Of(Corruption.ZoomBlur, set, s);
                Assert.Equal([steps[s - 1], Math.Ceiling((stops[s - 1] - 1) / steps[s - 1])], constants);
            }
        }
    }

    [Fact]
    public void FrostTakesOneOfTheFirstFivePictures()
    {
        var draws = new Watched();
        var ice = FrostPictures.Procedural.Cut(32, 30, CorruptionSet.Small32, draws);
        Assert.Equal((32, 30), (ice.Width, ice.Height));
        Assert.Equal((0, 5), draws.Asked[0]);
        var picture = FrostPictures.Procedural[0];
        Assert.Equal([(0, picture.Height / 5 - 30), (0, picture.Width / 5 - 32)], draws.Asked.Skip(1));
        Assert.True(FrostPictures.Procedural.IsProcedural);
        Assert.Throws<BayouException>(() => FrostPictures.FromFolder(Path.GetTempPath()));
    }

    private sealed class Watched : CorruptionDraws
    {
        public List<(int, int)> Asked { get; } = [];

        public override int Integer(int low, int high)
        {
            Asked.Add((low, high));
            return low;
        }

        public override void ValueNormals(Span<double> z) => throw new NotSupportedException();

        public override void PixelNormals(Span<double> z) => throw new NotSupportedException();

        public override void Counts(ReadOnlySpan<double> rates, Span<double> counts) => throw new NotSupportedException();

        public override void Impulses(double amount, Span<byte> codes) => throw new NotSupportedException();

        public override void Offsets(int maxDelta, Span<sbyte> pairs) => throw new NotSupportedException();

        public override double Angle(double from, double to) => throw new NotSupportedException();

        public override void FogNoise(double halfRange, Span<double> noise) => throw new NotSupportedException();

        public override void ElasticShifts(double halfRange, Span<double> shifts) => throw new NotSupportedException();

        public override void ElasticField(bool alongX, double halfRange, Span<double> field) => throw new NotSupportedException();
    }

    [Fact]
    public void BlueFirstIsTheSameWithChannelsExchanged()
    {
        static ImageBuffer Turned(ImageBuffer x) => new(x.Width, x.Height, 3, [.. x.Pixels.Chunk(3).SelectMany(p => p.Reverse())]);
        var picture = Photo(24, 20);
        ImageBuffer Apply(ImageBuffer x, ChannelOrder order) => new Corruptor(CorruptionSet.AnySize, order: order).Apply(x, Corruption.Frost, 2, 3);
        Assert.Equal(Turned(Apply(Turned(picture), ChannelOrder.Rgb)).Pixels, Apply(picture, ChannelOrder.Bgr).Pixels);
        Assert.NotEqual(Apply(picture, ChannelOrder.Rgb).Pixels, Apply(picture, ChannelOrder.Bgr).Pixels);
    }

    [Fact]
    public void BadRequestsSayWhatIsWrong()
    {
        var picture = Photo(30, 30);
        var corruptor = new Corruptor(CorruptionSet.AnySize);
        Assert.Contains("severity of 6", Assert.Throws<BayouException>(() => corruptor.Apply(picture, Corruption.Fog, 6, 0)).Message);
        Assert.Throws<BayouException>(() => corruptor.Apply(picture, (Corruption)19, 1, 0));
        Assert.Contains("224x224", Assert.Throws<BayouException>(() => new Corruptor(CorruptionSet.ImageNet224).Apply(picture, Corruption.Fog, 1, 0)).Message);
        Assert.Throws<BayouException>(() => new Corruptor(CorruptionSet.Small32).Apply(Photo(65, 20), Corruption.Fog, 1, 0));
        Assert.Contains("not recorded", Assert.Throws<BayouException>(() => corruptor.Apply(picture, Corruption.Fog, 1, new RecordedDraws())).Message);
        Assert.Contains("ValueZ",
            Assert.Throws<BayouException>(() => corruptor.Apply(picture, Corruption.GaussianNoise, 1, new RecordedDraws { ValueZ = new double[3] })).Message);
        Assert.Throws<BayouException>(() =>
            corruptor.Apply(picture, Corruption.GlassBlur, 1, new RecordedDraws { GlassOffsets = [.. Enumerable.Repeat((sbyte)9, 2 * 2 * 28 * 28)] }));
        Assert.Throws<BayouException>(() => corruptor.Apply(picture, Corruption.Frost, 1, new RecordedDraws { Frost = Photo(8, 8) }));
    }

    [Fact]
    public void HsvGoesThereAndBack()
    {
        for (var i = 0; i < 3000; i++)
        {
            double r = i * 37 % 256 / 255.0, g = i * 101 % 256 / 255.0, b = i * i % 256 / 255.0;
            var (h, s, v) = Hsv.FromRgb(r, g, b);
            Assert.InRange(h, 0, 1);
            var back = Hsv.ToRgb(h, s, v);
            Assert.Equal(r, back.R, 1e-12);
            Assert.Equal(g, back.G, 1e-12);
            Assert.Equal(b, back.B, 1e-12);
        }
        Assert.Equal((1.0 / 3, 1, 1), Hsv.FromRgb(0, 1, 0));
        Assert.Equal((0, 0, 0.25), Hsv.FromRgb(0.25, 0.25, 0.25));
    }

    [Fact]
    public void PlasmaSpansZeroToOneAndWrapsRound()
    {
        var map = PlasmaFractal.Create<double>(64, 3, new SeededDraws(5));
        Assert.Equal((0.0, 1.0), (map.Min(), map.Max()));
        // A strong decay leaves it smooth, across the border too.
        for (var i = 0; i < 64; i++)
        {
            Assert.InRange(Math.Abs(map[i * 64] - map[i * 64 + 63]), 0, 0.2);
            Assert.InRange(Math.Abs(map[i] - map[63 * 64 + i]), 0, 0.2);
        }
        Assert.Equal([0.0], PlasmaFractal.Create<double>(1, 2, new SeededDraws(5)));
    }

    [Fact]
    public void EdgesAndDistancesOfAStep()
    {
        const int side = 20;
        var step = new byte[side * side];
        for (var i = 0; i < step.Length; i++) step[i] = i % side < 8 ? (byte)20 : (byte)220;
        var edges = CannyEdges.Find(step, side, side, 50, 150);
        for (var i = 0; i < edges.Length; i++) Assert.Equal(i % side == 7, edges[i]);      // one pixel wide, the first of two equally steep columns
        Assert.DoesNotContain(true, CannyEdges.Find(new byte[side * side], side, side, 50, 150));

        var point = new bool[side * side];
        point[7 * side + 9] = true;
        var distances = ChamferDistance.To(point, side, side);
        for (var i = 0; i < distances.Length; i++)
        {
            var exact = Math.Sqrt(Math.Pow(i / side - 7, 2) + Math.Pow(i % side - 9, 2));
            Assert.InRange(distances[i], 0.97 * exact, 1.03 * exact);
        }
        Assert.All(ChamferDistance.To(new bool[9], 3, 3), d => Assert.Equal(8192f, d, 1f));
    }

    [Fact]
    public void ErrorsAgainstABaseline()
    {
        var ce = Corruptions.All.ToDictionary(c => c,
            c => c.IsValidation() ? 1000.0 : CorruptionErrors.Ce([CorruptionErrors.AlexNet[c]], CorruptionErrors.AlexNet[c]));
        Assert.Equal(100, CorruptionErrors.Mce(ce), 1e-9);       // validation corruptions do not count
        Assert.Equal(75, CorruptionErrors.Ce([0.2, 0.4], 0.4), 1e-9);
        Assert.Equal(50, CorruptionErrors.RelativeCe([0.3, 0.5], 0.2, 0.9, 0.5), 1e-9);
        Assert.Equal(0.75, CorruptionErrors.Retention(0.6, 0.8), 1e-12);
        Assert.Throws<BayouException>(() => CorruptionErrors.Ce([], 0.4));
        Assert.Throws<BayouException>(() => CorruptionErrors.Ce([0.1], 0));
        Assert.Throws<BayouException>(() => CorruptionErrors.RelativeCe([0.1], 0.1, 0.4, 0.4));
        Assert.Throws<BayouException>(() => CorruptionErrors.Mce(new Dictionary<Corruption, double> { [Corruption.Spatter] = 3 }));
    }
}
