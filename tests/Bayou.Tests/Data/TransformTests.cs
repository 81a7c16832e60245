using Bayou.Core;
using Bayou.Data;
using Bayou.Kernels;
using CsCheck;

namespace Bayou.Tests;

public class TransformTests
{
    [Fact]
    public void Sample_random_is_pinned_and_uniform()
    {
        // Pinned: changing the generator would silently change every recorded run.
        var random = SampleRandom.For(1, 2, 3);
        var first = random.NextBits();
        Assert.Equal(first, SampleRandom.For(1, 2, 3).NextBits());
        Assert.NotEqual(first, SampleRandom.For(1, 2, 4).NextBits());
        Assert.NotEqual(first, SampleRandom.For(1, 3, 3).NextBits());
        Assert.NotEqual(first, SampleRandom.For(2, 2, 3).NextBits());
        var counts = new int[7];
        for (var i = 0; i < 70_000; i++) counts[random.NextInt(7)]++;
        Assert.All(counts, c => Assert.InRange(c, 9_600, 10_400));
        double sum = 0, squares = 0, fourth = 0;
        for (var i = 0; i < 100_000; i++)
        {
            var x = random.NextGaussian();
            sum += x;
            squares += x * x;
            fourth += x * x * x * x;
        }
        Assert.InRange(sum / 100_000, -0.02, 0.02);
        Assert.InRange(squares / 100_000, 0.98, 1.02);
        Assert.InRange(fourth / 100_000, 2.85, 3.15);
    }

    [Fact]
    public void Shuffle_is_a_permutation_and_reaches_every_order()
    {
        var seen = new HashSet<string>();
        for (var i = 0; i < 400; i++)
        {
            int[] items = [0, 1, 2, 3];
            SampleRandom.For(i, 0, 0).Shuffle<int>(items);
            Assert.Equal([0, 1, 2, 3], items.Order());
            seen.Add(string.Join(",", items));
        }
        Assert.Equal(24, seen.Count);
    }

    [Fact]
    public void Eval_transform_resizes_the_shorter_side_and_cuts_the_centre()
    {
        var image = Pictures.Formula(100, 61, 3);
        var preprocessing = Preprocessing.For(32) with { CropPct = 0.875 };
        // floor(32 / 0.875) = 36; the longer side int(36 * 100 / 61) = 59; offsets round((59 - 32) / 2) = round(13.5) = 14 (to even) and 2.
        var resized = image.Resize(59, 36, ResampleFilter.Bicubic);
        var expected = resized.Crop(14, 2, 32, 32);
        Assert.Equal(expected.Pixels, preprocessing.Fit(image).Pixels);
        var chw = preprocessing.Apply(image);
        for (var c = 0; c < 3; c++)
        {
            for (var i = 0; i < 32 * 32; i++)
                Assert.Equal((expected.Pixels[i * 3 + c] / 255f - Preprocessing.ImageNetMean[c]) / Preprocessing.ImageNetStd[c], chw[c * 1024 + i]);
        }
        Assert.Equal(expected.Pixels, preprocessing.Denormalize(chw, 32, 32).Pixels);
        // Warp: straight to the size.
        Assert.Equal(image.Resize(48, 48).Pixels, (preprocessing with { Size = 48, Resize = ResizeMode.Warp }).Fit(image).Pixels);
        // A small picture at its own size is untouched.
        var small = Pictures.Formula(28, 28, 1);
        Assert.Same(small, Preprocessing.For(28, 1).Fit(small));
    }

    [Fact]
    public void Defaults_by_size()
    {
        Assert.Equal((ResizeMode.Crop, 0.875), (Preprocessing.For(224).Resize, Preprocessing.For(224).CropPct));
        Assert.Equal(ResizeMode.Warp, Preprocessing.For(384).Resize);
        Assert.Equal(1.0, Preprocessing.For(32).CropPct);
        Assert.Equal([0.5f], Preprocessing.For(28, 1).Mean);
    }

    [Fact]
    public void Centre_crop_of_a_smaller_picture_pads_with_black()
    {
        var image = new ImageBuffer(3, 5, 1);
        Array.Fill(image.Pixels, (byte)9);
        var cut = Preprocessing.CenterCrop(image, 4);
        // One column is missing: torchvision puts (4 - 3) / 2 = 0 on the left, 1 on the right; rows: round((5 - 4) / 2) = round(0.5) = 0.
        Assert.Equal([9, 9, 9, 0, 9, 9, 9, 0, 9, 9, 9, 0, 9, 9, 9, 0], cut.Pixels);
    }

    [Fact]
    public void Preprocessing_round_trips_through_json_and_refuses_nonsense()
    {
        var one = Preprocessing.For(28, 1) with { Mean = [0.2860f], Std = [0.3530f], Interpolation = ResampleFilter.Lanczos, Resize = ResizeMode.Warp };
        var back = Preprocessing.FromJson(one.ToJson());
        Assert.Equal(one, back);
        Assert.Equal(one.GetHashCode(), back.GetHashCode());
        Assert.Contains("\"lanczos\"", one.ToJson());
        Assert.NotEqual(one, one with { Mean = [0.28f] });
        foreach (var text in new[] { "", "null", "[]", "{\"size\":0}", "{\"channels\":2}", "{\"std\":[0,1,1]}", "{\"resize\":\"sideways\"}",
            "{\"mean\":[0.5]}", "{\"cropPct\":1.5}", "{\"size\":\"x\"}" })
            Assert.Throws<BayouException>(() => Preprocessing.FromJson(text));
    }

    [Fact]
    public void Random_resized_crop_stays_inside_with_the_area_and_proportions_asked_for()
    {
        var augmentation = new Augmentation { ScaleMin = 0.2, ScaleMax = 0.6 };
        double smallest = 1, largest = 0;
        for (var i = 0; i < 2000; i++)
        {
            var (x, y, width, height) = augmentation.DrawCrop(320, 240, SampleRandom.For(5, 0, i));
            Assert.True(x >= 0 && y >= 0 && x + width <= 320 && y + height <= 240);
            var area = width * height / (320.0 * 240);
            smallest = Math.Min(smallest, area);
            largest = Math.Max(largest, area);
            Assert.InRange(area, 0.195, 0.61);
            Assert.InRange((double)width / height, 0.73, 1.36);
        }
        Assert.InRange(smallest, 0.195, 0.21);
        Assert.InRange(largest, 0.58, 0.61);
        // No crop of allowed proportions and this area fits into a thin picture: the largest centre part with ratio 4/3.
        Assert.Equal((493, 0, 13, 10), new Augmentation { ScaleMin = 1 }.DrawCrop(1000, 10, SampleRandom.For(1, 1, 1)));
        Assert.Equal((0, 493, 10, 13), new Augmentation { ScaleMin = 1 }.DrawCrop(10, 1000, SampleRandom.For(1, 1, 1)));
    }

    [Fact]
    public void Padded_crop_is_a_shifted_window_and_reaches_every_offset()
    {
        var image = Pictures.Formula(8, 8, 1);
        var preprocessing = Preprocessing.For(8, 1);
        var augmentation = Augmentation.SmallPictures with { Flip = 0 };
        var offsets = new HashSet<(int, int)>();
        for (var i = 0; i < 1500; i++)
        {
            var cut = augmentation.ApplyBytes(image, preprocessing, SampleRandom.For(0, 0, i));
            var found = (from dy in Enumerable.Range(-4, 9)
                         from dx in Enumerable.Range(-4, 9)
                         where image.Crop(dx, dy, 8, 8).Pixels.AsSpan()
                .SequenceEqual(cut.Pixels)
                         select (dx, dy)).ToArray();
            offsets.Add(Assert.Single(found));
        }
        Assert.Equal(81, offsets.Count);
    }

    [Fact]
    public void Equal_seeds_give_equal_pictures_and_the_input_is_never_changed()
    {
        var augmentation = Augmentation.ImageNet with { Erasing = 1 };
        var preprocessing = Preprocessing.For(32);
        Gen.Select(Gen.Int[1, 60], Gen.Int[1, 60], Gen.Bool, Gen.Int).Sample((width, height, grey, seed) =>
        {
            var image = Pictures.Formula(width, height, grey ? 1 : 3);
            var copy = image.Clone();
            float[] a = new float[preprocessing.Length], b = new float[preprocessing.Length];
            augmentation.Apply(image, preprocessing, SampleRandom.For(seed, 1, 2), a);
            augmentation.Apply(image, preprocessing, SampleRandom.For(seed, 1, 2), b);
            return a.AsSpan().SequenceEqual(b) && a.All(float.IsFinite) && image.Pixels.AsSpan().SequenceEqual(copy.Pixels);
        }, iter: 100);
    }

    [Fact]
    public void Nothing_random_equals_the_eval_transform()
    {
        var image = Pictures.Formula(50, 41, 3);
        var preprocessing = Preprocessing.For(24);
        var chw = new float[preprocessing.Length];
        Augmentation.None.Apply(image, preprocessing, new SampleRandom(3), chw);
        Assert.Equal(preprocessing.Apply(image), chw);
    }

    [Fact]
    public void Flip_happens_half_of_the_time()
    {
        var image = Pictures.Formula(8, 8, 3);
        var flipped = ImageOps.FlipHorizontal(image).Pixels;
        var augmentation = Augmentation.None with { Flip = 0.5 };
        var count = 0;
        for (var i = 0; i < 2000; i++)
        {
            var pixels = augmentation.ApplyBytes(image, Preprocessing.For(8), SampleRandom.For(9, 0, i)).Pixels;
            if (pixels.AsSpan().SequenceEqual(flipped)) count++;
            else Assert.Equal(image.Pixels, pixels);
        }
        Assert.InRange(count, 900, 1100);
    }

    [Fact]
    public void Rand_augment_reads_timms_notation()
    {
        Assert.Equal(new RandAugment(), RandAugment.Parse("rand-m9-mstd0.5-inc1"));
        Assert.Equal(new RandAugment { Magnitude = 7, MagnitudeStd = 0, Layers = 3, Probability = 0.8 }, RandAugment.Parse("rand-n3-m7-inc1-p0.8"));
        foreach (var text in new[] { "augmix-m3", "rand-m9", "rand-x3-inc1", "rand-m99-inc1", "rand-m-inc1" })
            Assert.Throws<BayouException>(() => RandAugment.Parse(text));
    }

    [Fact]
    public void Rand_augment_levels_are_timms()
    {
        var image = Pictures.Formula(20, 20, 3);
        byte[] fill = [1, 2, 3];
        ImageBuffer At(string operation, double magnitude, int seed) =>
            RandAugment.Apply(image, operation, magnitude, new SampleRandom((ulong)seed), ResampleFilter.Bilinear, fill);
        Assert.Equal(ImageOps.Posterize(image, 4 - 3).Pixels, At("PosterizeIncreasing", 9, 1).Pixels);        // int(0.9 * 4) = 3
        Assert.Equal(ImageOps.Solarize(image, 256 - 230).Pixels, At("SolarizeIncreasing", 9, 1).Pixels);      // int(0.9 * 256) = 230
        Assert.Equal(ImageOps.SolarizeAdd(image, 99).Pixels, At("SolarizeAdd", 9, 1).Pixels);                 // int(0.9 * 110) = 99
        // Signed ones: both directions occur, and nothing else.
        void Both(string operation, ImageBuffer plus, ImageBuffer minus)
        {
            var seen = new HashSet<bool>();
            for (var seed = 0; seed < 40; seed++)
            {
                var pixels = At(operation, 10, seed).Pixels;
                var isPlus = pixels.AsSpan().SequenceEqual(plus.Pixels);
                Assert.True(isPlus || pixels.AsSpan().SequenceEqual(minus.Pixels), operation);
                seen.Add(isPlus);
            }
            Assert.Equal(2, seen.Count);
        }
        Both("Rotate", ImageOps.Rotate(image, 30, ResampleFilter.Bilinear, fill), ImageOps.Rotate(image, -30, ResampleFilter.Bilinear, fill));
        Both("ShearX", ImageOps.ShearX(image, 0.3, ResampleFilter.Bilinear, fill), ImageOps.ShearX(image, -0.3, ResampleFilter.Bilinear, fill));
        Both("TranslateYRel", ImageOps.Translate(image, 0, 9, ResampleFilter.Bilinear, fill), ImageOps.Translate(image, 0, -9, ResampleFilter.Bilinear, fill));
        Both("BrightnessIncreasing", ImageOps.Brightness(image, 1.9), ImageOps.Brightness(image, 0.1));
        Both("ColorIncreasing", ImageOps.Color(image, 1.9), ImageOps.Color(image, 0.1));
    }

    [Fact]
    public void Random_erasing_fills_one_box_of_the_right_size_with_noise()
    {
        const int side = 64;
        double areas = 0;
        for (var i = 0; i < 200; i++)
        {
            var chw = new float[3 * side * side];
            Array.Fill(chw, 100f);
            Augmentation.Erase(chw, 3, side, side, SampleRandom.For(4, 0, i));
            var touched = Enumerable.Range(0, side * side).Where(p => chw[p] != 100f).ToArray();
            int left = touched.Min(p => p % side), right = touched.Max(p => p % side), top = touched.Min(p => p / side), bottom = touched.Max(p => p / side);
            var area = (right - left + 1) * (bottom - top + 1);
            Assert.Equal(area, touched.Length);         // a full box
            Assert.InRange(area / (double)(side * side), 0.015, 0.35);
            Assert.All(touched, p => Assert.True(chw[p + side * side] != 100f && chw[p + 2 * side * side] != 100f && Math.Abs(chw[p]) < 7));
            areas += area / (double)(side * side) / 200;
        }
        Assert.InRange(areas, 0.14, 0.21);      // mean of 0.02..0.33, a little less for the boxes that do not fit
    }

    [Fact]
    public void Colour_jitter_uses_every_order_and_stays_deterministic()
    {
        var image = Pictures.Formula(12, 12, 3);
        var augmentation = Augmentation.None with { ColorJitter = 0.4, HueJitter = 0.1 };
        var hashes = Enumerable.Range(0, 50).Select(i => Pictures.Fnv(augmentation.ApplyBytes(image, Preprocessing.For(12), SampleRandom.For(0, 0, i)).Pixels))
            .ToArray();
        Assert.Equal(50, hashes.Distinct().Count());
        Assert.Equal(hashes[7], Pictures.Fnv(augmentation.ApplyBytes(image, Preprocessing.For(12), SampleRandom.For(0, 0, 7)).Pixels));
        Assert.Throws<BayouException>(() =>
            new ImageLoader(new MemoryDataset(4, 4, 4, 3), 2,
            new LoaderOptions { Preprocessing = Preprocessing.For(4), Augmentation = augmentation with { Flip = 2 } }));
    }
}
