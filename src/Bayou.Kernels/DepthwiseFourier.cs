using System.Buffers;

namespace Bayou.Kernels;

/// <summary>One kernel of a sum of depthwise convolutions.</summary>
/// <param name="Weights">[C, Rows, Columns].</param>
/// <param name="Rows">Kernel rows.</param>
/// <param name="Columns">Kernel columns.</param>
/// <param name="PadH">Rows of zeros above the picture.</param>
/// <param name="PadW">Columns of zeros left of it.</param>
public readonly record struct DepthwiseTaps(nint Weights, int Rows, int Columns, int PadH, int PadW);

/// <summary>
/// Depthwise convolution with large kernels, and its input gradient, by Fourier transforms: a 51x51 kernel on a 56x56 map takes a seventh of the arithmetic of
/// the sum itself. Stride 1. Several
/// kernels whose outputs are added (SLaK's decomposition) are one kernel here, and cost what one costs.
/// <para>
/// In double precision: intermediate values are as large as the sums over the whole picture, and their rounding must vanish beside a single output's. A lane of
/// a register is a channel. Two rows of a
/// picture are the real and the imaginary part of one transform; the half spectra of all rows lie in one plane, the kernel's spectrum in another; columns are
/// transformed, multiplied and transformed
/// back where the first-level cache holds them.
/// </para>
/// </summary>
internal sealed unsafe class DepthwiseFourier
{
    private const int Lanes = Fourier.Lanes, Element = Fourier.Element;

    // Both planes of a thread stay in the second-level cache (doubles of the larger one).
    private const int LargestPlane = 100_000;

    private readonly DepthwiseShape s;
    private readonly DepthwiseTaps[] kernels;
    private readonly bool transposed;
    private readonly int inH, inW, outH, outW, firstRow, kernelRows, blocks, chunks, bins, step;
    private readonly Fourier rows, columns;

    /// <param name="s">Sizes of input and output; kernel and padding are the kernels' own.</param>
    /// <param name="kernels">Kernels.</param>
    /// <param name="transposed">The input gradient: X is the output's gradient, Y the input's.</param>
    /// <param name="size">Lengths of the transforms of columns and of rows, from <see cref="Plan"/>.</param>
    public DepthwiseFourier(DepthwiseShape s, DepthwiseTaps[] kernels, bool transposed, (int Columns, int Rows) size)
    {
        (this.s, this.kernels, this.transposed) = (s, kernels, transposed);
        (inH, inW, outH, outW) = transposed ? (s.OutH, s.OutW, s.H, s.W) : (s.H, s.W, s.OutH, s.OutW);
        (columns, rows) = (Fourier.Of(size.Columns), Fourier.Of(size.Rows));
        bins = size.Rows / 2 + 1;
        // An odd number of elements from row to row: else a column falls into few sets of the first-level cache.
        step = (bins | 1) * Element;
        (firstRow, var last) = (int.MaxValue, int.MinValue);
        foreach (var k in kernels)
        {
            var (first, count) = Reach(s.H, s.OutH, k.Rows, k.PadH);
            (firstRow, last) = (Math.Min(firstRow, first - k.PadH), Math.Max(last, first + count - 1 - k.PadH));
        }
        kernelRows = last - firstRow + 1;
        blocks = (s.C + Lanes - 1) / Lanes;
        // Few channels: pictures are dealt out too, and each part transforms the kernel again.
        chunks = Math.Clamp(2 * KernelThreads.Count / blocks, 1, s.N);
    }

    /// <summary>Input (of the transposed: gradient of the output).</summary>
    public DepthwisePlanes X { get; init; }

    /// <summary>Added to every output, [C] or null.</summary>
    public float* Bias { get; init; }

    /// <summary>Whether negative outputs become zero.</summary>
    public bool Relu { get; init; }

    /// <summary>Output (of the transposed: gradient of the input).</summary>
    public DepthwisePlanes Y { get; init; }

    /// <summary>
    /// The cheapest lengths of transforms of columns and rows, and their cost: instructions a picture and 16 channels. Null where there are none.
    /// </summary>
    public static ((int Columns, int Rows) Size, double Cost)? Plan(DepthwiseShape s, ReadOnlySpan<DepthwiseTaps> kernels)
    {
        if (s.StrideH != 1 || s.StrideW != 1 || !Fourier.IsSupported || KernelIsa.Current != KernelIsaLevel.Vector512) return null;
        int height = 0, width = 0, taps = 0;
        foreach (var k in kernels)
        {
            (height, width) = (Math.Max(height, Need(s.H, s.OutH, k.Rows, k.PadH)), Math.Max(width, Need(s.W, s.OutW, k.Columns, k.PadW)));
            taps = Math.Max(taps, Reach(s.H, s.OutH, k.Rows, k.PadH).Count);
        }
        ((int, int), double)? best = null;
        for (var h = height; h < height * 5 / 4 + 4; h++)
        {
            if (Fourier.Cost(h) is not (> 0 and var column)) continue;
            for (var w = width; w < width * 5 / 4 + 4; w++)
            {
                if (Fourier.Cost(w) is not (> 0 and var row)) continue;
                var bins = w / 2 + 1;
                if ((long)h * bins * Element > LargestPlane) break;
                // Twice: a register holds eight doubles, not sixteen floats.
                var picture = (s.H + s.OutH) / 2.0 * (row + 8 * w) + bins * (2.0 * column + 10 * h);
                var kernel = taps / 2.0 * (row + 8 * w) + bins * (column + 6.0 * h);
                var cost = 2 * (picture + kernel / s.N);
                if (best is null || cost < best.Value.Item2) best = ((h, w), cost);
            }
        }
        return best;

        // Circular sums must not wrap around into the picture.
        static int Need(int size, int outputs, int count, int pad)
        {
            var (first, taps) = Reach(size, outputs, count, pad);
            return Math.Max(size + Math.Max(0, pad - first), outputs + Math.Max(0, first + taps - 1 - pad));
        }
    }

    /// <summary>Runs it.</summary>
    public void Run() => KernelThreads.Run(blocks * chunks, s.UsefulMacs, Unit);

    // Taps of one axis that can meet the picture.
    private static (int First, int Count) Reach(int size, int outputs, int taps, int pad)
    {
        var first = Math.Min(taps - 1, Math.Max(0, pad - (outputs - 1)));
        return (first, Math.Max(1, Math.Min(taps, pad + size) - first));
    }

    private void Unit(int unit)
    {
        var (block, chunk) = (unit % blocks, unit / blocks);
        int channel = block * Lanes, count = Math.Min(Lanes, s.C - channel);
        var longest = Math.Max(rows.Length, columns.Length) * Element;
        int plane = (Math.Max(Math.Max(inH, outH), kernelRows) + 1) * step, spectrum = bins * columns.Length * Element;
        var memory = ArrayPool<double>.Shared.Rent(plane + spectrum + 3 * longest + Lanes * Lanes + 8);
        fixed (double* start = memory)
        {
            var p = (double*)(((nint)start + 63) & ~63);
            double* a = p + plane + spectrum, b = a + longest, taps = b + longest;
            var channels = new FourierRows(rows, bins, step, count, a, b, (float*)(taps + longest));
            Kernel(channels, channel, taps, p, p + plane);
            var bias = stackalloc float[Lanes];
            for (var l = 0; l < Lanes; l++) bias[l] = Bias is null || l >= count ? 0 : Bias[channel + l];
            for (var n = chunk * s.N / chunks; n < (chunk + 1) * s.N / chunks; n++)
            {
                for (var y = 0; y < inH; y += 2)
                {
                    var from = X.At(n, channel) + y * X.Row;
                    channels.Load(from, X, inW, a);
                    if (y + 1 < inH) channels.Load(from + X.Row, X, inW, a + Lanes);
                    else FourierRows.Clear(a + Lanes, inW, Element);
                    FourierRows.Clear(a + inW * Element, 2 * (rows.Length - inW), Lanes);
                    channels.Split(p + y * step);
                }
                Columns(p, p + plane, a, b);
                for (var y = 0; y < outH; y += 2)
                {
                    if (y + 1 == outH) FourierRows.Clear(p + (y + 1) * step, 2 * bins, Lanes);
                    var z = channels.Join(p + y * step);
                    var to = Y.At(n, channel) + y * Y.Row;
                    channels.Store(z, to, Y, outW, bias, Relu);
                    if (y + 1 < outH) channels.Store(z + Lanes, to + Y.Row, Y, outW, bias, Relu);
                }
            }
        }
        ArrayPool<double>.Shared.Return(memory);
    }

    // The kernels' spectrum, [bin of rows][bin of columns]: conjugated where the sum is a correlation; the factors of the transforms and of splitting rows
    // (2 each) are divided out here.
    private void Kernel(FourierRows channels, int channel, double* taps, double* plane, double* spectrum)
    {
        double* a = channels.A, b = channels.B;
        for (var d = 0; d < kernelRows; d += 2)
        {
            FourierRows.Clear(a, 2 * rows.Length, Lanes);
            for (var i = 0; i < 2; i++)
            {
                foreach (var k in kernels)
                {
                    var row = firstRow + d + i + k.PadH;
                    if (row < 0 || row >= k.Rows || d + i >= kernelRows) continue;
                    var (first, count) = Reach(s.W, s.OutW, k.Columns, k.PadW);
                    var from = (float*)k.Weights + (long)channel * k.Rows * k.Columns + row * k.Columns + first;
                    channels.Load(from, new(0, 0, k.Rows * k.Columns, 0, 1), count, taps);
                    // Columns left of the centre stand at the end of the circle.
                    var left = Math.Clamp(k.PadW - first, 0, count);
                    FourierRows.Add(taps, a + (first - k.PadW + (left > 0 ? rows.Length : 0)) * Element + i * Lanes, left);
                    FourierRows.Add(taps + left * Element, a + (first + left - k.PadW) * Element + i * Lanes, count - left);
                }
            }
            channels.Split(plane + d * step);
        }
        var scale = 0.25 / ((double)rows.Length * columns.Length);
        int above = Math.Clamp(-firstRow, 0, kernelRows), below = kernelRows - above, start = above > 0 ? 0 : firstRow;
        for (var j = 0; j < bins; j++)
        {
            // Rows above the centre stand at the end.
            FourierRows.Clear(a, 2 * start, Lanes);
            FourierRows.Gather(plane + j * Element + above * step, step, a + start * Element, below);
            var end = columns.Length + (above > 0 ? firstRow : 0);
            FourierRows.Clear(a + (start + below) * Element, 2 * (end - start - below), Lanes);
            FourierRows.Gather(plane + j * Element, step, a + end * Element, above);
            FourierRows.Clear(a + (end + above) * Element, 2 * (columns.Length - end - above), Lanes);
            FourierRows.Scale(columns.Run(a, b, false), spectrum + j * columns.Length * Element, columns.Length, scale, transposed ? scale : -scale);
        }
    }

    // Columns of the plane: transform, times the kernel's spectrum, back.
    private void Columns(double* plane, double* spectrum, double* a, double* b)
    {
        FourierRows.Clear(a, 2 * columns.Length, Lanes);
        for (var j = 0; j < bins; j++)
        {
            FourierRows.Gather(plane + j * Element, step, a, inH);
            FourierRows.Clear(a + inH * Element, 2 * (columns.Length - inH), Lanes);
            var f = columns.Run(a, b, false);
            FourierRows.Multiply(f, spectrum + j * columns.Length * Element, columns.Length);
            FourierRows.Scatter(columns.Run(f, f == a ? b : a, true), plane + j * Element, step, outH);
        }
    }
}
