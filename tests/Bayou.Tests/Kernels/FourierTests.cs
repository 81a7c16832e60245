using Bayou.Kernels;
using CsCheck;

namespace Bayou.Tests;

/// <summary>Transforms against their definition, and depthwise convolutions by transforms against theirs, in double.</summary>
public unsafe class FourierTests
{
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(30)]
    [InlineData(40)]
    [InlineData(54)]
    [InlineData(72)]
    [InlineData(75)]
    [InlineData(81)]
    [InlineData(96)]
    [InlineData(120)]
    public void Transforms_equal_their_definition_and_come_back(int n)
    {
        Assert.SkipUnless(Fourier.IsSupported, "needs AVX-512");
        var random = new Random(n);
        double[] a = new double[n * Fourier.Element + 8], b = new double[n * Fourier.Element + 8];
        var x = Enumerable.Range(0, n * Fourier.Element).Select(_ => random.NextDouble() - 0.5).ToArray();
        x.CopyTo(a, 0);
        fixed (double* p = a, q = b)
        {
            var f = Fourier.Of(n).Run(p, q, false);
            for (var l = 0; l < Fourier.Lanes; l++)
            {
                for (var k = 0; k < n; k++)
                {
                    double re = 0, im = 0;
                    for (var t = 0; t < n; t++)
                    {
                        var (sin, cos) = Math.SinCos(-2 * Math.PI * t * k / n);
                        var (r, i) = (x[t * Fourier.Element + l], x[t * Fourier.Element + Fourier.Lanes + l]);
                        re += r * cos - i * sin;
                        im += r * sin + i * cos;
                    }
                    Assert.Equal(re, f[k * Fourier.Element + l], 1e-12 * n);
                    Assert.Equal(im, f[k * Fourier.Element + Fourier.Lanes + l], 1e-12 * n);
                }
            }
            var back = Fourier.Of(n).Run(f, f == p ? q : p, true);
            for (var i = 0; i < x.Length; i++) Assert.Equal(x[i], back[i] / n, 1e-13 * n);
        }
    }

    [Fact]
    public void Convolutions_by_transforms_and_sums_of_kernels_equal_their_definition()
    {
        Assert.SkipUnless(Fourier.IsSupported, "needs AVX-512");
        var kernel = Gen.Select(Gen.Int[1, 12], Gen.Int[1, 12], Gen.Int[0, 9], Gen.Int[0, 9]);
        Gen.Select(Gen.Int[1, 3], Gen.Int[1, 19], Gen.Int[3, 15], Gen.Int[3, 15], kernel, Gen.Int[1, 3], Gen.Int[0, 4000])
            .Where((n, c, h, w, k, more, seed) => h + 2 * k.Item3 >= k.Item1 && w + 2 * k.Item4 >= k.Item2)
            .Sample((n, c, h, w, k, more, seed) => Check(n, c, h, w, k, more, seed % 2 == 0, seed / 2 % 2 == 0, seed), iter: 150);
    }

    private static void Check(int n, int c, int h, int w, (int H, int W, int PadH, int PadW) k, int more, bool last, bool transposed, int seed)
    {
        var random = new Random(seed);
        var s = new DepthwiseShape(n, c, h, w, k.H, k.W) { PadH = k.PadH, PadW = k.PadW };
        // Further kernels give the same outputs: two taps more and one more row or column of padding.
        var shapes = Enumerable.Range(0, more).Select(i => (H: k.H + 2 * (i % 2), W: k.W + 2 * (i / 2), PadH: k.PadH + i % 2, PadW: k.PadW + i / 2)).ToArray();
        var weights = shapes.Select(t => Draw(c * t.H * t.W)).ToArray();
        var (inH, inW, outH, outW) = transposed ? (s.OutH, s.OutW, h, w) : (h, w, s.OutH, s.OutW);
        float[] x = Draw(n * c * inH * inW), bias = Draw(c), y = new float[n * c * outH * outW];
        var pins = weights.Select(t => System.Runtime.InteropServices.GCHandle.Alloc(t, System.Runtime.InteropServices.GCHandleType.Pinned)).ToArray();
        var taps = shapes.Select((t, i) => new DepthwiseTaps(pins[i].AddrOfPinnedObject(), t.H, t.W, t.PadH, t.PadW)).ToArray();
        fixed (float* px = x, py = y, pb = bias)
        {
            DepthwisePlanes Planes(float* p, int height, int width) =>
                last ? DepthwisePlanes.ChannelsLast(p, c, height, width) : DepthwisePlanes.Planar(p, c, height, width);
            new DepthwiseFourier(s, taps, transposed, DepthwiseFourier.Plan(s, taps)!.Value.Size)
            {
                X = Planes(px, inH, inW),
                Y = Planes(py, outH, outW),
                Bias = transposed ? null : pb
            }.Run();
        }
        foreach (var pin in pins) pin.Free();
        for (var i = 0; i < n; i++)
            for (var ch = 0; ch < c; ch++)
                for (var oy = 0; oy < outH; oy++)
                    for (var ox = 0; ox < outW; ox++)
                    {
                        double sum = transposed ? 0 : bias[ch], bound = Math.Abs(sum);
                        for (var t = 0; t < more; t++)
                            for (var a = 0; a < shapes[t].H; a++)
                                for (var b = 0; b < shapes[t].W; b++)
                                {
                                    var (iy, ix) = transposed
                                        ? (oy - a + shapes[t].PadH, ox - b + shapes[t].PadW) : (oy + a - shapes[t].PadH, ox + b - shapes[t].PadW);
                                    if (iy < 0 || iy >= inH || ix < 0 || ix >= inW) continue;
                                    var product = (double)x[At(i, ch, iy, ix, inH, inW)] * weights[t][(ch * shapes[t].H + a) * shapes[t].W + b];
                                    sum += product;
                                    bound += Math.Abs(product);
                                }
                        Assert.Equal(sum, y[At(i, ch, oy, ox, outH, outW)], 3e-7 * bound + 1e-12);
                    }

        float[] Draw(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() * 2 - 1))];

        int At(int i, int ch, int row, int column, int height, int width) =>
            last ? ((i * height + row) * width + column) * c + ch : ((i * c + ch) * height + row) * width + column;
    }
}
