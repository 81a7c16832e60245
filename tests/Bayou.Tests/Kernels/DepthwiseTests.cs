using Bayou.Kernels;
using CsCheck;

namespace Bayou.Tests;

/// <summary>The depthwise kernels against the definition in double, for every width of register, both memory layouts and every kind of tail.</summary>
public unsafe class DepthwiseTests
{
    private enum Layout
    {
        Planar,
        ChannelsLast,
        Strided,
    }

    // Straight from the definition, with the sums of magnitudes that bound the rounding error.
    private static (double[] Y, double[] Dx, double[] Dw, double[] Db, double[] YBound, double[] DxBound, double[] DwBound) Reference(float[] x, float[] w,
        float[] bias, float[] dy, DepthwiseShape s)
    {
        var (y, dx, dw, db) = (new double[dy.Length], new double[x.Length], new double[w.Length], new double[bias.Length]);
        var (yb, dxb, dwb) = (new double[dy.Length], new double[x.Length], new double[w.Length]);
        for (var n = 0; n < s.N; n++)
            for (var c = 0; c < s.C; c++)
                for (var i = 0; i < s.OutH; i++)
                    for (var j = 0; j < s.OutW; j++)
                    {
                        var o = ((n * s.C + c) * s.OutH + i) * s.OutW + j;
                        y[o] += bias[c];
                        yb[o] += Math.Abs(bias[c]);
                        db[c] += dy[o];
                        for (var a = 0; a < s.KH; a++)
                            for (var b = 0; b < s.KW; b++)
                            {
                                int p = i * s.StrideH + a - s.PadH, q = j * s.StrideW + b - s.PadW;
                                if (p < 0 || p >= s.H || q < 0 || q >= s.W) continue;
                                var k = ((n * s.C + c) * s.H + p) * s.W + q;
                                var t = (c * s.KH + a) * s.KW + b;
                                y[o] += (double)x[k] * w[t];
                                yb[o] += Math.Abs((double)x[k] * w[t]);
                                dx[k] += (double)dy[o] * w[t];
                                dxb[k] += Math.Abs((double)dy[o] * w[t]);
                                dw[t] += (double)dy[o] * x[k];
                                dwb[t] += Math.Abs((double)dy[o] * x[k]);
                            }
                    }
        return (y, dx, dw, db, yb, dxb, dwb);
    }

    private static void Check(DepthwiseShape s, int layout, int seed)
    {
        var random = new Random(seed);
        float[] x = Draw(s.N * s.C * s.H * s.W), w = Draw(s.C * s.KH * s.KW), bias = Draw(s.C), dy = Draw(s.N * s.C * s.OutH * s.OutW);
        float[] y = new float[dy.Length], dx = new float[x.Length], dw = Filled(w.Length), db = Filled(s.C);
        // NaN around and in what is written: nothing else may be touched, nothing left out.
        using Memory mx = new(x, s.N, s.C, s.H, s.W, layout % 3), mdy = new(dy, s.N, s.C, s.OutH, s.OutW, layout / 3 % 3);
        using Memory my = new(Filled(dy.Length), s.N, s.C, s.OutH, s.OutW, layout / 3 % 3), mdx = new(Filled(x.Length), s.N, s.C, s.H, s.W, layout % 3);
        using Memory alone = new(Filled(x.Length), s.N, s.C, s.H, s.W, layout % 3);
        using Memory positive = new(Filled(dy.Length), s.N, s.C, s.OutH, s.OutW, layout / 3 % 3);
        fixed (float* pw = w, pb = bias, pdw = dw, pdb = db)
        {
            DepthwiseKernel.Forward(mx.Planes, pw, pb, my.Planes, s);
            DepthwiseKernel.Forward(mx.Planes, pw, pb, positive.Planes, s, relu: true);
            DepthwiseKernel.Backward(mx.Planes, pw, mdy.Planes, mdx.Planes, pdw, pdb, s);
            // The input gradient alone goes other ways.
            DepthwiseKernel.Backward(mx.Planes, pw, mdy.Planes, alone.Planes, null, null, s);
        }
        positive.Read(y);
        var rectified = y.ToArray();
        my.Read(y);
        Assert.Equal(y.Select(v => Math.Max(v, 0)), rectified);
        var e = Reference(x, w, bias, dy, s);
        alone.Read(dx);
        Close(e.Dx, dx, e.DxBound, "dx alone");
        mdx.Read(dx);
        Close(e.Y, y, e.YBound, "y");
        Close(e.Dx, dx, e.DxBound, "dx");
        Close(e.Dw, dw, e.DwBound, "dw");
        for (var c = 0; c < s.C; c++) Assert.True(Math.Abs(e.Db[c] - db[c]) <= 1e-5 * s.N * s.OutH * s.OutW, $"{s} db[{c}]");

        float[] Draw(int n) => Enumerable.Range(0, n).Select(_ => (float)(2 * random.NextDouble() - 1)).ToArray();

        void Close(double[] expected, float[] actual, double[] bound, string what)
        {
            for (var i = 0; i < expected.Length; i++)
                Assert.True(Math.Abs(expected[i] - actual[i]) <= 1e-5 * bound[i],
                    $"{KernelIsa.Current} {s} layout {layout} {what}[{i}]: {actual[i]}, expected {expected[i]} +- {1e-5 * bound[i]}");
        }
    }

    private static float[] Filled(int count)
    {
        var values = new float[count];
        Array.Fill(values, float.NaN);
        return values;
    }

    /// <summary>Values in one of the layouts, with NaN guards before and after; reading checks that they are intact.</summary>
    private sealed class Memory : IDisposable
    {
        private const int Guard = 64;
        private readonly float[] data;
        private readonly System.Runtime.InteropServices.GCHandle pin;
        private readonly (int N, int C, int H, int W) size;
        private readonly HashSet<long> used = [];

        public Memory(float[] values, int n, int c, int h, int w, int layout)
        {
            size = (n, c, h, w);
            var gaps = (Layout)layout == Layout.Strided;
            data = Filled(2 * Guard + (gaps ? n * c * h * (w * 2 + 3) : n * c * h * w));
            pin = System.Runtime.InteropServices.GCHandle.Alloc(data, System.Runtime.InteropServices.GCHandleType.Pinned);
            var first = (float*)pin.AddrOfPinnedObject() + Guard;
            Planes = (Layout)layout switch
            {
                Layout.Planar => DepthwisePlanes.Planar(first, c, h, w),
                Layout.ChannelsLast => DepthwisePlanes.ChannelsLast(first, c, h, w),
                _ => new((nint)first, (long)c * h * (2 * w + 3), (long)h * (2 * w + 3), 2 * w + 3, 2),
            };
            Each((i, at) => data[at] = values[i]);
        }

        public DepthwisePlanes Planes { get; }

        public void Read(float[] values)
        {
            Each((i, at) => values[i] = data[at]);
            for (var i = 0; i < data.Length; i++) Assert.True(used.Contains(i) || float.IsNaN(data[i]), $"memory beside the tensor was written at {i}");
        }

        public void Dispose() => pin.Free();

        private void Each(Action<int, long> visit)
        {
            var i = 0;
            for (var n = 0; n < size.N; n++)
                for (var c = 0; c < size.C; c++)
                    for (var y = 0; y < size.H; y++)
                        for (var x = 0; x < size.W; x++)
                        {
                            var at = Guard + n * Planes.Image + c * Planes.Channel + y * Planes.Row + x * Planes.Pixel;
                            used.Add(at);
                            visit(i++, at);
                        }
        }
    }

    private static void ForEveryWidth(Action check)
    {
        try
        {
            foreach (var isa in Enum.GetValues<KernelIsaLevel>().Where(l => l <= KernelIsa.Available))
            {
                KernelIsa.Max = isa;
                check();
            }
        }
        finally
        {
            KernelIsa.Max = KernelIsaLevel.Vector512;
        }
    }

    [Fact]
    public void Forward_and_gradients_equal_the_definition_for_any_size_and_every_width() => ForEveryWidth(() =>
    {
        var axis = Gen.Select(Gen.Int[1, 19], Gen.Int[1, 15], Gen.Int[1, 3], Gen.Int[0, 8]);
        Gen.Select(Gen.Int[1, 5], Gen.Int[1, 37], axis, axis, Gen.Int[0, 8], Gen.Int[0, 1 << 20]).Where(v => Fits(v.Item3) && Fits(v.Item4)).Sample(
            (n, c, v, h, layout, seed) => Check(
                new(n, c, v.Item1, h.Item1, v.Item2, h.Item2) { StrideH = v.Item3, StrideW = h.Item3, PadH = v.Item4, PadW = h.Item4 }, layout, seed),
            iter: 30, threads: 1);

        static bool Fits((int Size, int Kernel, int Stride, int Pad) a) => a.Size + 2 * a.Pad >= a.Kernel;
    });

    // Batch, channels, rows, columns, kernel, stride; padding of half the kernel.
    [Theory]
    [InlineData(1, 1, 1, 1, 61, 61, 1)]         // a 1x1 map under the largest kernel
    [InlineData(2, 17, 5, 7, 61, 61, 1)]        // kernel larger than the picture, odd channels
    [InlineData(1, 16, 20, 33, 51, 5, 1)]       // the decomposed pair; W just over two registers
    [InlineData(1, 16, 33, 20, 5, 51, 1)]
    [InlineData(3, 18, 9, 21, 5, 31, 2)]        // flat and wide with a stride: rows and columns exchanged
    [InlineData(1, 9, 31, 31, 31, 31, 1)]
    [InlineData(1, 3, 15, 16, 13, 13, 1)]
    [InlineData(2, 4, 14, 14, 3, 3, 2)]         // stride 2, even and odd
    [InlineData(2, 20, 15, 13, 3, 3, 2)]
    [InlineData(1, 5, 21, 18, 13, 13, 2)]
    [InlineData(1, 33, 7, 7, 13, 13, 1)]
    [InlineData(1, 18, 75, 9, 5, 5, 1)]         // high pictures: rows are moved up in their plane several times
    [InlineData(2, 16, 90, 11, 7, 9, 1)]
    [InlineData(2, 85, 31, 13, 7, 7, 1)]        // groups of registers in channels-last memory, the last of them shared
    [InlineData(1, 150, 6, 11, 3, 9, 1)]
    [InlineData(3, 49, 17, 30, 5, 5, 1)]
    [InlineData(3, 2, 9, 1, 7, 7, 1)]           // a single column
    [InlineData(3, 2, 1, 9, 7, 7, 1)]           // a single row
    public void Shapes_of_the_papers_and_every_tail(int n, int c, int h, int w, int kh, int kw, int stride) => ForEveryWidth(() =>
    {
        for (var layout = 0; layout < 9; layout += 4) Check(new(n, c, h, w, kh, kw) { StrideH = stride, StrideW = stride }, layout, 7);
    });

    [Fact]
    public void Kernels_in_channels_last_memory_equal_the_definition() => ForEveryWidth(() =>
    {
        var axis = Gen.Select(Gen.Int[2, 38], Gen.Int[1, 15], Gen.Int[0, 7]).Where((size, taps, pad) => size + 2 * pad >= taps);
        Gen.Select(Gen.Int[1, 3], Gen.Int[1, 50], axis, axis, Gen.Int[0, 1 << 20]).Sample(
            (n, c, v, h, seed) => Check(new(n, c, v.Item1, h.Item1, v.Item2, h.Item2) { PadH = v.Item3, PadW = h.Item3 }, 4, seed), iter: 40, threads: 1);
    });

    [Fact]
    public void Weights_of_which_some_never_meet_the_picture_leave_the_planes_alone() => ForEveryWidth(() => Check(new(1, 23, 34, 3, 11, 11) { PadH = 4, PadW = 7 }, 4, 1));

    [Theory]
    [InlineData(32, 20, 23)]
    [InlineData(48, 9, 40)]
    [InlineData(37, 20, 23)]
    public void Sums_of_convolutions_in_channels_last_memory_equal_the_definition(int c, int h, int width) => ForEveryWidth(() =>
    {
        var s = new DepthwiseShape(2, c, h, width, 31, 5);
        (int Rows, int Columns)[] sizes = [(31, 5), (5, 31), (3, 3)];
        var random = new Random(7);
        float[] x = Draw(2 * c * h * width), dy = Draw(x.Length), w = Draw(c * sizes.Sum(k => k.Rows * k.Columns)), bias = Draw(c);
        float[] xl = Last(x), dyl = Last(dy), y = new float[x.Length], dx = new float[x.Length];
        double[] wanted = new double[x.Length], bound = new double[x.Length], wantedDx = new double[x.Length], boundDx = new double[x.Length];
        fixed (float* px = xl, pdy = dyl, pw = w, pb = bias, py = y, pdx = dx)
        {
            var kernels = new DepthwiseTaps[sizes.Length];
            var at = 0;
            for (var i = 0; i < sizes.Length; i++)
            {
                var (rows, columns) = sizes[i];
                kernels[i] = new((nint)(pw + at), rows, columns, rows / 2, columns / 2);
                var one = Reference(x, w[at..(at + c * rows * columns)], i == 0 ? bias : new float[c], dy, new(2, c, h, width, rows, columns));
                for (var j = 0; j < x.Length; j++)
                {
                    wanted[j] += one.Y[j];
                    bound[j] += one.YBound[j];
                    wantedDx[j] += one.Dx[j];
                    boundDx[j] += one.DxBound[j];
                }
                at += c * rows * columns;
            }
            DepthwiseKernel.Forward(DepthwisePlanes.ChannelsLast(px, c, h, width), kernels, pb, DepthwisePlanes.ChannelsLast(py, c, h, width), s, relu: true);
            DepthwiseKernel.InputGradient(kernels, DepthwisePlanes.ChannelsLast(pdy, c, h, width), DepthwisePlanes.ChannelsLast(pdx, c, h, width), s);
        }
        for (var j = 0; j < x.Length; j++)
        {
            var (picture, channel, pixel) = (j / (h * width) / c, j / (h * width) % c, j % (h * width));
            var k = (picture * h * width + pixel) * c + channel;
            Assert.True(Math.Abs(Math.Max(0, wanted[j]) - y[k]) <= 1e-5 * bound[j], $"y[{j}]: {y[k]}, expected {wanted[j]}");
            Assert.True(Math.Abs(wantedDx[j] - dx[k]) <= 1e-5 * boundDx[j], $"dx[{j}]: {dx[k]}, expected {wantedDx[j]}");
        }

        float[] Draw(int n) => Enumerable.Range(0, n).Select(_ => (float)(2 * random.NextDouble() - 1)).ToArray();

        float[] Last(float[] planar)
        {
            var last = new float[planar.Length];
            for (var j = 0; j < planar.Length; j++)
                last[(j / (h * width) / c * h * width + j % (h * width)) * c + j / (h * width) % c] = planar[j];
            return last;
        }
    });

    [Theory]
    [InlineData(5, 7, 21)]          // tiles of one row
    [InlineData(4, 9, 21)]          // tiles of two rows
    [InlineData(3, 3, 5)]
    [InlineData(13, 3, 9)]          // packed planes
    public void A_pixel_that_is_no_number_reaches_only_the_outputs_around_it(int kh, int kw, int width) => ForEveryWidth(() =>
    {
        const int c = 19, h = 14;
        var s = new DepthwiseShape(1, c, h, width, kh, kw);
        int row = h / 2, column = width / 2, channel = 17;
        float[] x = new float[c * h * width], w = Enumerable.Repeat(1f, c * kh * kw).ToArray(), y = new float[c * s.OutH * s.OutW];
        x[(row * width + column) * c + channel] = float.NaN;
        fixed (float* px = x, pw = w, py = y)
            DepthwiseKernel.Forward(DepthwisePlanes.ChannelsLast(px, c, h, width), pw, null, DepthwisePlanes.ChannelsLast(py, c, s.OutH, s.OutW), s);
        for (var i = 0; i < y.Length; i++)
        {
            var (oy, ox) = (i / c / s.OutW, i / c % s.OutW);
            var reached = i % c == channel && row - oy + s.PadH is var a && a >= 0 && a < kh && column - ox + s.PadW is var b && b >= 0 && b < kw;
            Assert.True(reached == float.IsNaN(y[i]), $"{s}: row {oy}, column {ox}, channel {i % c}: {y[i]}");
        }
    });

    [Theory]
    [InlineData(20, 15, 13, false)]
    [InlineData(85, 5, 7, true)]
    [InlineData(32, 8, 8, true)]
    [InlineData(48, 5, 29, true)]
    public void Results_do_not_depend_on_the_number_of_threads(int channels, int kh, int kw, bool last)
    {
        var before = KernelThreads.Count;
        var results = new List<float[]>();
        var s = new DepthwiseShape(3, channels, 29, 23, kh, kw);
        var random = new Random(1);
        float[] x = Draw(3 * channels * 29 * 23), dy = Draw(3 * channels * s.OutH * s.OutW), w = Draw(channels * kh * kw);
        try
        {
            foreach (var threads in new[] { 1, 2, 5 })
            {
                KernelThreads.Count = threads;
                float[] y = new float[dy.Length], dx = new float[x.Length], alone = new float[x.Length], dw = new float[w.Length], db = new float[channels];
                fixed (float* px = x, pdy = dy, pw = w, py = y, pdx = dx, pa = alone, pdw = dw, pdb = db)
                {
                    DepthwiseKernel.Forward(Input(px), pw, null, Output(py), s);
                    DepthwiseKernel.Backward(Input(px), pw, Output(pdy), Input(pdx), pdw, pdb, s);
                    DepthwiseKernel.Backward(Input(px), pw, Output(pdy), Input(pa), null, null, s);
                }
                results.Add([.. y, .. dx, .. alone, .. dw, .. db]);
            }
        }
        finally
        {
            KernelThreads.Count = before;
        }
        Assert.Equal(results[0], results[1]);
        Assert.Equal(results[0], results[2]);

        DepthwisePlanes Input(float* data) => Planes(data, s.H, s.W);

        DepthwisePlanes Output(float* data) => Planes(data, s.OutH, s.OutW);

        DepthwisePlanes Planes(float* data, int h, int w) =>
            last ? DepthwisePlanes.ChannelsLast(data, channels, h, w) : DepthwisePlanes.Planar(data, channels, h, w);

        float[] Draw(int n) => Enumerable.Range(0, n).Select(_ => (float)(2 * random.NextDouble() - 1)).ToArray();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(16)]
    public void Squares_are_turned_around(int side)
    {
        var source = Enumerable.Range(0, side * 20).Select(i => (float)i).ToArray();
        var target = new float[side * 24];
        fixed (float* from = source, to = target)
        {
            switch (side)
            {
                case 16: Lanes512.Transpose(from, 20, to, 24); break;
                case 8: Lanes256.Transpose(from, 20, to, 24); break;
                case 4: Lanes128.Transpose(from, 20, to, 24); break;
                default: for (var i = 0; i < side; i++) for (var j = 0; j < side; j++) Lane.Transpose(from + i * 20 + j, 20, to + j * 24 + i, 24); break;
            }
        }
        for (var i = 0; i < side; i++) for (var j = 0; j < side; j++) Assert.Equal(source[i * 20 + j], target[j * 24 + i]);
    }

    [Fact]
    public void Useful_multiply_adds_leave_the_padding_out()
    {
        var s = new DepthwiseShape(2, 3, 5, 4, 3, 7);
        var count = 0L;
        for (var i = 0; i < 5; i++) for (var j = 0; j < 4; j++) for (var a = 0; a < 3; a++) for (var b = 0; b < 7; b++)
            if (i + a - 1 is >= 0 and < 5 && j + b - 3 is >= 0 and < 4) count++;
        Assert.Equal(6 * count, s.UsefulMacs);
    }
}
