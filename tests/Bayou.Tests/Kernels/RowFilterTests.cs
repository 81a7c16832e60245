using Bayou.Kernels;

namespace Bayou.Tests;

/// <summary>Filters of doubles: every instruction set against the plain sums, bit for bit; the Gaussian against its definition.</summary>
public sealed class RowFilterTests
{
    private static double[] Values(int count, int seed = 1)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.NextDouble() - 0.3)];
    }

    private static void OnEveryIsa(Action run)
    {
        try
        {
            for (var level = KernelIsaLevel.Scalar; level <= KernelIsa.Available; level++)
            {
                KernelIsa.Max = level;
                run();
            }
        }
        finally
        {
            KernelIsa.Max = KernelIsaLevel.Vector512;
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(45)]
    [InlineData(101)]
    public void SumsAreThoseOfThePlainLoop(int count) => OnEveryIsa(() =>
    {
        double[] source = Values(count + 40), weights = Values(9, 2), to = new double[count];
        int[] offsets = [0, 40, 3, 17, 17, 39, 1, 2, 8];
        RowFilter.Sum(source, offsets, weights, to);
        for (var i = 0; i < count; i++)
        {
            var sum = 0.0;
            for (var k = 0; k < weights.Length; k++) sum += weights[k] * source[offsets[k] + i];
            Assert.Equal(sum, to[i]);
        }
    });

    [Theory]
    [InlineData(3, 1)]
    [InlineData(50, 3)]
    [InlineData(131, 7)]
    public void SymmetricSumsAreThoseOfThePlainLoop(int count, int step) => OnEveryIsa(() =>
    {
        double[] source = Values(count + 8 * step), weights = Values(5, 2), to = new double[count];
        RowFilter.Symmetric(source, 4 * step, step, weights, to);
        for (var i = 0; i < count; i++)
        {
            var centre = 4 * step + i;
            var sum = weights[0] * source[centre];
            for (var k = 4; k > 0; k--) sum += (source[centre - k * step] + source[centre + k * step]) * weights[k];
            Assert.Equal(sum, to[i]);
        }
    });

    [Fact]
    public void TapsOutsideTheSourceAreErrors()
    {
        var to = new double[10];
        Assert.Throws<ArgumentException>(() => RowFilter.Sum(new double[12], [3], [1], to));
        Assert.Throws<ArgumentException>(() => RowFilter.Sum(new double[12], [-1], [1], to));
        Assert.Throws<ArgumentException>(() => RowFilter.Symmetric(new double[12], 1, 1, [1, 1, 1], to));
        Assert.Throws<ArgumentException>(() => GaussianFilter.Apply(new double[10], 3, 3, 1, 1, 1));
    }

    [Theory]
    [InlineData(FilterBorder.Nearest, "aaaaa", "ddddd")]
    [InlineData(FilterBorder.Reflect, "ddcba", "dcbaa")]
    [InlineData(FilterBorder.Reflect101, "bcdcb", "cbabc")]
    public void BordersReadWhatTheyAreNamedFor(FilterBorder border, string before, string after)
    {
        var read = string.Concat(Enumerable.Range(-5, 14).Select(i => "abcd"[border.Index(i, 4)]));
        Assert.Equal(before + "abcd" + after, read);
        Assert.Equal(0, border.Index(123, 1));
    }

    [Theory]
    [InlineData(9, 7, 1, 1.3, 0.6)]
    [InlineData(6, 8, 3, 2.0, 2.0)]
    [InlineData(5, 6, 1, 40.0, 40.0)]       // far wider than the picture: the folded form
    public void GaussianIsTheDefinition(int height, int width, int channels, double sigmaY, double sigmaX)
    {
        foreach (var border in new[] { FilterBorder.Nearest, FilterBorder.Reflect })
        {
            var values = Values(height * width * channels, 5);
            var expected = Direct(values, height, width, channels, sigmaY, sigmaX, border);
            GaussianFilter.Apply(values, height, width, channels, sigmaY, sigmaX, 3, border);
            for (var i = 0; i < values.Length; i++) Assert.Equal(expected[i], values[i], 1e-12);
        }
    }

    // The two-dimensional sum, without separating it.
    private static double[] Direct(double[] x, int height, int width, int channels, double sigmaY, double sigmaX, FilterBorder border)
    {
        static double[] Weights(double sigma)
        {
            var r = (int)(3 * sigma + 0.5);
            var w = Enumerable.Range(-r, 2 * r + 1).Select(k => Math.Exp(-k * k / (2 * sigma * sigma))).ToArray();
            return Array.ConvertAll(w, v => v / w.Sum());
        }
        double[] wy = Weights(sigmaY), wx = Weights(sigmaX), to = new double[x.Length];
        int ry = wy.Length / 2, rx = wx.Length / 2;
        for (var y = 0; y < height; y++)
        {
            for (var c = 0; c < width * channels; c++)
            {
                for (var j = -ry; j <= ry; j++)
                {
                    for (var i = -rx; i <= rx; i++)
                        to[y * width * channels + c] += wy[j + ry] * wx[i
                            + rx] * x[(border.Index(y + j, height) * width + border.Index(c / channels + i, width)) * channels + c % channels];
                }
            }
        }
        return to;
    }

    [Fact]
    public void ZoomKeepsEndPointsAndRamps()
    {
        var ramp = Enumerable.Range(0, 12).Select(i => (double)(i % 4) + 10 * (i / 4)).ToArray();      // 3 x 4, linear both ways
        var (rows, columns) = (BilinearZoom.Length(3, 2.5), BilinearZoom.Length(4, 2.5));
        Assert.Equal((8, 10), (rows, columns));
        var to = new double[rows * columns];
        BilinearZoom.Window(ramp, 3, 4, 2.5, 0, 0, to, rows, columns);
        for (var y = 0; y < rows; y++)
        {
            for (var x = 0; x < columns; x++) Assert.Equal(10.0 * y * 2 / (rows - 1) + x * 3.0 / (columns - 1), to[y * columns + x], 1e-12);
        }
        var same = new double[12];
        BilinearZoom.Window(ramp, 3, 4, 1, 0, 0, same, 3, 4);
        Assert.Equal(ramp, same);
        Assert.Throws<ArgumentException>(() => BilinearZoom.Window(ramp, 3, 4, 1, 1, 0, same, 3, 4));
    }

    [Fact]
    public void FourChannelZoomAddsWhatTheOneChannelZoomGives()
    {
        var source = Values(5 * 6 * 4, 9);
        var (rows, columns) = (BilinearZoom.Length(5, 1.7), BilinearZoom.Length(6, 1.7));
        var sums = new float[rows * columns * 4];
        Array.Fill(sums, 1f);
        BilinearZoom.AddWindow4(source, 6, 5, 6, 1.7, 0, 0, sums, columns, rows, columns);
        for (var channel = 0; channel < 4; channel++)
        {
            var plane = source.Where((_, i) => i % 4 == channel).ToArray();
            var expected = new double[rows * columns];
            BilinearZoom.Window(plane, 5, 6, 1.7, 0, 0, expected, rows, columns);
            for (var i = 0; i < expected.Length; i++) Assert.Equal(1f + (float)expected[i], sums[i * 4 + channel]);
        }
    }
}
