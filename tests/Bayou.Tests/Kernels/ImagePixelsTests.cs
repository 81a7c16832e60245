using Bayou.Kernels;

namespace Bayou.Tests;

public class ImagePixelsTests
{
    [Fact]
    public void Normalize_is_the_three_rounded_steps_on_every_instruction_set()
    {
        var random = new Random(3);
        foreach (var channels in new[] { 1, 3, 4 })
        {
            foreach (var pixels in new[] { 1, 15, 16, 17, 31, 100, 28 * 28 })
            {
                var source = new byte[pixels * channels];
                random.NextBytes(source);
                float[] mean = new float[channels], std = new float[channels];
                for (var c = 0; c < channels; c++) (mean[c], std[c]) = (random.NextSingle(), 0.1f + random.NextSingle());
                var expected = new float[source.Length];
                for (var i = 0; i < pixels; i++)
                {
                    for (var c = 0; c < channels; c++)
                    {
                        var unit = source[i * channels + c] / 255f;
                        var centred = unit - mean[c];
                        expected[c * pixels + i] = centred / std[c];
                    }
                }
                foreach (var level in Enum.GetValues<KernelIsaLevel>())
                {
                    KernelIsa.Max = level;
                    var actual = new float[source.Length];
                    ImagePixels.Normalize(source, channels, actual, mean, std);
                    KernelIsa.Max = KernelIsaLevel.Vector512;
                    Assert.Equal(expected, actual);
                }
            }
        }
    }

    [Fact]
    public void Luma_equals_pillow()
    {
        // The hash is of Image.convert("L") by Pillow 9.4.
        var picture = Pictures.Formula(61, 47, 3);
        var grey = new byte[61 * 47];
        ImagePixels.ToLuma(picture.Pixels, grey);
        Assert.Equal(0xf4e7956du, Pictures.Fnv(grey));
        var back = new byte[grey.Length * 3];
        ImagePixels.ToRgb(grey, back);
        var again = new byte[grey.Length];
        ImagePixels.ToLuma(back, again);
        Assert.Equal(grey, again);
    }

    [Fact]
    public void Lengths_that_do_not_fit_are_refused()
    {
        Assert.Throws<ArgumentException>(() => ImagePixels.Normalize(new byte[6], 3, new float[5], [0, 0, 0], [1, 1, 1]));
        Assert.Throws<ArgumentException>(() => ImagePixels.Normalize(new byte[6], 3, new float[6], [0, 0], [1, 1, 1]));
        Assert.Throws<ArgumentException>(() => ImagePixels.ToLuma(new byte[6], new byte[3]));
        Assert.Throws<ArgumentException>(() => ImagePixels.ToRgb(new byte[6], new byte[6]));
    }
}
