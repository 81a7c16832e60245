using Bayou.Data;
using Bayou.Kernels;
using CsCheck;

namespace Bayou.Tests;

/// <summary>The hashes are of what Pillow 9.4 gives for the same pictures (Pictures.Formula), by Image.resize, Image.crop and Image.convert.</summary>
public class ImageResizeTests
{
    private static readonly KernelIsaLevel[] levels = [KernelIsaLevel.Scalar, KernelIsaLevel.Vector128, KernelIsaLevel.Vector256, KernelIsaLevel.Vector512];

    private static T At<T>(KernelIsaLevel level, Func<T> run)
    {
        var before = KernelIsa.Max;
        KernelIsa.Max = level;
        try
        {
            return run();
        }
        finally
        {
            KernelIsa.Max = before;
        }
    }

    private static byte[] Resize(byte[] source, int width, int height, int channels, int newWidth, int newHeight, ResampleFilter filter, int threads = 1)
    {
        var result = new byte[newWidth * newHeight * channels];
        ImageResize.Resize(source, width, height, channels, result, newWidth, newHeight, filter, threads);
        return result;
    }

    [Theory]
    [InlineData(61, 47, 3, 24, 18, ResampleFilter.Nearest, 0x4EA49A05u)]
    [InlineData(61, 47, 3, 24, 18, ResampleFilter.Box, 0xCD2F62C4u)]
    [InlineData(61, 47, 3, 24, 18, ResampleFilter.Bilinear, 0x1A04D954u)]
    [InlineData(61, 47, 3, 24, 18, ResampleFilter.Hamming, 0x87EF144Fu)]
    [InlineData(61, 47, 3, 24, 18, ResampleFilter.Bicubic, 0x9FB7C36Eu)]
    [InlineData(61, 47, 3, 24, 18, ResampleFilter.Lanczos, 0x909549D8u)]
    [InlineData(61, 47, 1, 24, 18, ResampleFilter.Nearest, 0x0FFCC839u)]
    [InlineData(61, 47, 1, 24, 18, ResampleFilter.Box, 0x68601F97u)]
    [InlineData(61, 47, 1, 24, 18, ResampleFilter.Bilinear, 0x7B06BE50u)]
    [InlineData(61, 47, 1, 24, 18, ResampleFilter.Hamming, 0x8A0E7951u)]
    [InlineData(61, 47, 1, 24, 18, ResampleFilter.Bicubic, 0x0C3076EDu)]
    [InlineData(61, 47, 1, 24, 18, ResampleFilter.Lanczos, 0x4758AE53u)]
    [InlineData(61, 47, 3, 130, 95, ResampleFilter.Nearest, 0x06426ECBu)]
    [InlineData(61, 47, 3, 130, 95, ResampleFilter.Box, 0x06426ECBu)]
    [InlineData(61, 47, 3, 130, 95, ResampleFilter.Bilinear, 0x86A5CABDu)]
    [InlineData(61, 47, 3, 130, 95, ResampleFilter.Hamming, 0xEFF2F0BAu)]
    [InlineData(61, 47, 3, 130, 95, ResampleFilter.Bicubic, 0x380536D1u)]
    [InlineData(61, 47, 3, 130, 95, ResampleFilter.Lanczos, 0x398E38AFu)]
    [InlineData(61, 47, 1, 130, 95, ResampleFilter.Nearest, 0x8AACFEA6u)]
    [InlineData(61, 47, 1, 130, 95, ResampleFilter.Box, 0x8AACFEA6u)]
    [InlineData(61, 47, 1, 130, 95, ResampleFilter.Bilinear, 0x7E29789Cu)]
    [InlineData(61, 47, 1, 130, 95, ResampleFilter.Hamming, 0xF8BE3924u)]
    [InlineData(61, 47, 1, 130, 95, ResampleFilter.Bicubic, 0x5CD4C46Fu)]
    [InlineData(61, 47, 1, 130, 95, ResampleFilter.Lanczos, 0xB3F8AEF6u)]
    [InlineData(61, 47, 3, 61, 20, ResampleFilter.Nearest, 0x0A349C2Fu)]
    [InlineData(61, 47, 3, 61, 20, ResampleFilter.Box, 0x4059B0A5u)]
    [InlineData(61, 47, 3, 61, 20, ResampleFilter.Bilinear, 0x98F0C3DDu)]
    [InlineData(61, 47, 3, 61, 20, ResampleFilter.Hamming, 0x5B1B4F67u)]
    [InlineData(61, 47, 3, 61, 20, ResampleFilter.Bicubic, 0xD5413BC9u)]
    [InlineData(61, 47, 3, 61, 20, ResampleFilter.Lanczos, 0x01DF75A7u)]
    [InlineData(61, 47, 3, 20, 47, ResampleFilter.Nearest, 0x9F13501Fu)]
    [InlineData(61, 47, 3, 20, 47, ResampleFilter.Box, 0x28E04710u)]
    [InlineData(61, 47, 3, 20, 47, ResampleFilter.Bilinear, 0x767E6A02u)]
    [InlineData(61, 47, 3, 20, 47, ResampleFilter.Hamming, 0x89859FDFu)]
    [InlineData(61, 47, 3, 20, 47, ResampleFilter.Bicubic, 0xCB64BD44u)]
    [InlineData(61, 47, 3, 20, 47, ResampleFilter.Lanczos, 0x94EF676Eu)]
    [InlineData(7, 5, 3, 1, 1, ResampleFilter.Nearest, 0x58A39900u)]
    [InlineData(7, 5, 3, 1, 1, ResampleFilter.Box, 0x78B4EBDAu)]
    [InlineData(7, 5, 3, 1, 1, ResampleFilter.Bilinear, 0xBE7E10B5u)]
    [InlineData(7, 5, 3, 1, 1, ResampleFilter.Hamming, 0x907DC84Bu)]
    [InlineData(7, 5, 3, 1, 1, ResampleFilter.Bicubic, 0x0699E389u)]
    [InlineData(7, 5, 3, 1, 1, ResampleFilter.Lanczos, 0x983CFD95u)]
    [InlineData(1, 1, 3, 9, 7, ResampleFilter.Nearest, 0x2C3FBD47u)]
    [InlineData(1, 1, 3, 9, 7, ResampleFilter.Box, 0x2C3FBD47u)]
    [InlineData(1, 1, 3, 9, 7, ResampleFilter.Bilinear, 0x2C3FBD47u)]
    [InlineData(1, 1, 3, 9, 7, ResampleFilter.Hamming, 0x2C3FBD47u)]
    [InlineData(1, 1, 3, 9, 7, ResampleFilter.Bicubic, 0x2C3FBD47u)]
    [InlineData(1, 1, 3, 9, 7, ResampleFilter.Lanczos, 0x2C3FBD47u)]
    [InlineData(200, 3, 3, 17, 90, ResampleFilter.Nearest, 0x91382CF7u)]
    [InlineData(200, 3, 3, 17, 90, ResampleFilter.Box, 0x865A945Fu)]
    [InlineData(200, 3, 3, 17, 90, ResampleFilter.Bilinear, 0x04030708u)]
    [InlineData(200, 3, 3, 17, 90, ResampleFilter.Hamming, 0xCC0A6E0Du)]
    [InlineData(200, 3, 3, 17, 90, ResampleFilter.Bicubic, 0x0B1DFF7Au)]
    [InlineData(200, 3, 3, 17, 90, ResampleFilter.Lanczos, 0x08EDC95Eu)]
    [InlineData(3, 200, 1, 90, 17, ResampleFilter.Nearest, 0x8B125D31u)]
    [InlineData(3, 200, 1, 90, 17, ResampleFilter.Box, 0xE6838C77u)]
    [InlineData(3, 200, 1, 90, 17, ResampleFilter.Bilinear, 0xF4BA5A81u)]
    [InlineData(3, 200, 1, 90, 17, ResampleFilter.Hamming, 0x2B187F7Eu)]
    [InlineData(3, 200, 1, 90, 17, ResampleFilter.Bicubic, 0x701F0353u)]
    [InlineData(3, 200, 1, 90, 17, ResampleFilter.Lanczos, 0x953017FCu)]
    [InlineData(97, 61, 3, 96, 60, ResampleFilter.Nearest, 0x39C7D66Du)]
    [InlineData(97, 61, 3, 96, 60, ResampleFilter.Box, 0x473BE8CFu)]
    [InlineData(97, 61, 3, 96, 60, ResampleFilter.Bilinear, 0x9016D22Du)]
    [InlineData(97, 61, 3, 96, 60, ResampleFilter.Hamming, 0x658B8F54u)]
    [InlineData(97, 61, 3, 96, 60, ResampleFilter.Bicubic, 0x969198EBu)]
    [InlineData(97, 61, 3, 96, 60, ResampleFilter.Lanczos, 0x8AB0F916u)]
    public void Equals_pillow_on_every_instruction_set(int width, int height, int channels, int newWidth, int newHeight, ResampleFilter filter, uint expected)
    {
        var source = Pictures.Formula(width, height, channels).Pixels;
        foreach (var level in levels)
            Assert.Equal(expected, Pictures.Fnv(At(level, () => Resize(source, width, height, channels, newWidth, newHeight, filter))));
        Assert.Equal(expected, Pictures.Fnv(Resize(source, width, height, channels, newWidth, newHeight, filter, threads: 3)));
    }

    [Theory]
    [InlineData(ResampleFilter.Nearest, 0xA1B1242Du, 0xB4501DA5u)]
    [InlineData(ResampleFilter.Box, 0xE31D56DDu, 0x2CF05C34u)]
    [InlineData(ResampleFilter.Bilinear, 0x96509897u, 0x517F36E4u)]
    [InlineData(ResampleFilter.Hamming, 0x02DB8B13u, 0x60C15414u)]
    [InlineData(ResampleFilter.Bicubic, 0x92EC12FBu, 0x0C5A669Bu)]
    [InlineData(ResampleFilter.Lanczos, 0x6D52B8A3u, 0xF3548C7Eu)]
    public void Box_and_crop_equal_pillow(ResampleFilter filter, uint box, uint crop)
    {
        var source = Pictures.Formula(61, 47, 3).Pixels;
        foreach (var level in levels)
        {
            var boxed = At(level, () =>
            {
                var result = new byte[30 * 22 * 3];
                ImageResize.Resize(source, 61, 47, 3, 3.25, 5.5, 50.75, 40.125, result, 30, 22, filter);
                return result;
            });
            Assert.Equal(box, Pictures.Fnv(boxed));
            var cropped = At(level, () =>
            {
                var result = new byte[30 * 22 * 3];
                ImageResize.CropResize(source, 61, 47, 3, 4, 6, 46, 35, result, 30, 22, filter);
                return result;
            });
            Assert.Equal(crop, Pictures.Fnv(cropped));
        }
    }

    [Fact]
    public void Four_channels_equal_pillow()
    {
        var source = new byte[61 * 47 * 4];
        for (var i = 0; i < source.Length; i++) source[i] = Pictures.Value(i / 4 % 61, i / 4 / 61, i % 4);
        foreach (var level in levels) Assert.Equal(0x16ecd28au, Pictures.Fnv(At(level, () => Resize(source, 61, 47, 4, 24, 18, ResampleFilter.Bicubic))));
    }

    [Fact]
    public void Hand_made_values()
    {
        // Halving with a box is the rounded mean of two by two: first of pairs in a row, then of rows.
        Assert.Equal([(byte)3, 13], Resize([1, 2, 11, 12, 4, 4, 14, 14], 4, 2, 1, 2, 1, ResampleFilter.Box));
        // Doubling with the triangle: quarters and three quarters between 0 and 100.
        Assert.Equal([(byte)0, 25, 75, 100], Resize([0, 100], 2, 1, 1, 4, 1, ResampleFilter.Bilinear));
        // Doubling with bicubic (a = -0.5): weights .8672 and -.0703 at distances 1/4 and 5/4, .2266 at 3/4, over their sums; the overshoot is clipped.
        Assert.Equal([(byte)0, 53, 202, 255], Resize([0, 255], 2, 1, 1, 4, 1, ResampleFilter.Bicubic));
        Assert.Equal([(byte)7, 7, 9, 9], Resize([7, 9], 2, 1, 1, 4, 1, ResampleFilter.Nearest));
    }

    [Fact]
    public void Random_sizes_agree_with_an_independent_reference_on_every_instruction_set()
    {
        var sizes = Gen.Select(Gen.Int[1, 70], Gen.Int[1, 40], Gen.Int[0, 2].Select(i => new[] { 1, 3, 4 }[i]), Gen.Int[1, 70], Gen.Int[1, 40],
            Gen.Enum<ResampleFilter>(), Gen.Int[0, 1000]);
        sizes.Sample((width, height, channels, newWidth, newHeight, filter, seed) =>
        {
            var source = new byte[width * height * channels];
            new Random(seed).NextBytes(source);
            var expected = filter == ResampleFilter.Nearest ? null : Reference(source, width, height, channels, newWidth, newHeight, filter);
            expected ??= At(KernelIsaLevel.Scalar, () => Resize(source, width, height, channels, newWidth, newHeight, filter));
            foreach (var level in levels) Assert.Equal(expected, At(level, () => Resize(source, width, height, channels, newWidth, newHeight, filter)));
        }, iter: 150, threads: 1);
    }

    [Fact]
    public void A_constant_picture_stays_constant()
    {
        foreach (var filter in Enum.GetValues<ResampleFilter>())
        {
            foreach (var value in new byte[] { 0, 1, 127, 254, 255 })
            {
                var source = new byte[33 * 21 * 3];
                Array.Fill(source, value);
                Assert.All(Resize(source, 33, 21, 3, 50, 9, filter), v => Assert.Equal(value, v));
            }
        }
    }

    [Fact]
    public void Very_long_pictures_and_huge_ratios_work()
    {
        var line = new byte[100_000];
        for (var i = 0; i < line.Length; i++) line[i] = (byte)(i < 50_000 ? 10 : 250);
        Assert.Equal([(byte)130], Resize(line, 100_000, 1, 1, 1, 1, ResampleFilter.Box));
        Assert.Equal(60_000, Resize([77], 1, 1, 1, 60_000, 1, ResampleFilter.Lanczos).Count(v => v == 77));
    }

    [Fact]
    public void Wrong_sizes_are_refused()
    {
        Assert.Throws<ArgumentException>(() => Resize(new byte[11], 2, 2, 3, 1, 1, ResampleFilter.Box));
        Assert.Throws<ArgumentException>(() => Resize(new byte[8], 2, 2, 2, 1, 1, ResampleFilter.Box));
        Assert.Throws<ArgumentException>(() => ImageResize.Resize(new byte[12], 2, 2, 3, new byte[3], 0, 1, ResampleFilter.Box));
        Assert.Throws<ArgumentException>(() => ImageResize.Resize(new byte[12], 50_000, 50_000, 3, new byte[3], 1, 1, ResampleFilter.Box));
        Assert.Throws<ArgumentException>(() => ImageResize.CropResize(new byte[12], 2, 2, 3, 1, 1, 2, 1, new byte[3], 1, 1, ResampleFilter.Box));
        Assert.Throws<ArgumentException>(() => ImageResize.Resize(new byte[12], 2, 2, 3, 0, 0, 2.5, 2, new byte[3], 1, 1, ResampleFilter.Box));
    }

    // Written from the definition: a weight per source pixel in fixed point, all source pixels looked at, horizontal pass first.
    private static byte[] Reference(byte[] source, int width, int height, int channels, int newWidth, int newHeight, ResampleFilter filter)
    {
        var between = new byte[newWidth * height * channels];
        var across = Weights(width, newWidth, filter);
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < newWidth; x++)
            {
                for (var c = 0; c < channels; c++)
                {
                    var sum = 1L << 21;
                    for (var k = 0; k < width; k++) sum += across[x, k] * source[(y * width + k) * channels + c];
                    between[(y * newWidth + x) * channels + c] = (byte)Math.Clamp(sum >> 22, 0, 255);
                }
            }
        }
        var result = new byte[newWidth * newHeight * channels];
        var down = Weights(height, newHeight, filter);
        for (var y = 0; y < newHeight; y++)
        {
            for (var i = 0; i < newWidth * channels; i++)
            {
                var sum = 1L << 21;
                for (var k = 0; k < height; k++) sum += down[y, k] * between[k * newWidth * channels + i];
                result[y * newWidth * channels + i] = (byte)Math.Clamp(sum >> 22, 0, 255);
            }
        }
        return result;
    }

    private static long[,] Weights(int size, int newSize, ResampleFilter filter)
    {
        var result = new long[newSize, size];
        if (size == newSize)
        {
            for (var i = 0; i < size; i++) result[i, i] = 1 << 22;
            return result;
        }
        var scale = (double)size / newSize;
        var stretch = Math.Max(scale, 1);
        var support = stretch * filter switch
        {
            ResampleFilter.Box => 0.5,
            ResampleFilter.Bilinear or ResampleFilter.Hamming => 1,
            ResampleFilter.Bicubic => 2,
            _ => 3
        };
        for (var i = 0; i < newSize; i++)
        {
            var centre = (i + 0.5) * scale;
            var low = Math.Max(0, (int)(centre - support + 0.5));
            var high = Math.Min(size, (int)(centre + support + 0.5));
            var real = new double[size];
            for (var k = low; k < high; k++) real[k] = Kernel(filter, (k - centre + 0.5) * (1 / stretch));
            var sum = 0.0;
            for (var k = low; k < high; k++) sum += real[k];
            for (var k = low; k < high; k++) result[i, k] = (long)Math.Truncate(real[k] / sum * (1 << 22) + (real[k] / sum < 0 ? -0.5 : 0.5));
        }
        return result;
    }

    private static double Kernel(ResampleFilter filter, double x)
    {
        double Sinc(double v) => v == 0 ? 1 : Math.Sin(v * Math.PI) / (v * Math.PI);
        var a = Math.Abs(x);
        return filter switch
        {
            ResampleFilter.Box => x is > -0.5 and <= 0.5 ? 1 : 0,
            ResampleFilter.Bilinear => Math.Max(0, 1 - a),
            ResampleFilter.Hamming => a == 0 ? 1 : a >= 1 ? 0 : Math.Sin(a * Math.PI) / (a * Math.PI) * (0.54 + 0.46 * Math.Cos(a * Math.PI)),
            ResampleFilter.Bicubic => a < 1 ? (1.5 * a - 2.5) * a * a + 1 : a < 2 ? (((a - 5) * a + 8) * a - 4) * -0.5 : 0,
            _ => x is >= -3 and < 3 ? Sinc(x) * Sinc(x / 3) : 0,
        };
    }
}
