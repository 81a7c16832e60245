using System.Buffers;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// Enlarging by linear interpolation with the end points kept (scipy's zoom of order 1): output i of n reads position i (m - 1) / (n - 1) of m. A position that
/// rounding puts beyond the last value reads 0, as there.
/// </summary>
public static unsafe class BilinearZoom
{
    /// <summary>Length of a side after the zoom: size * factor, rounded half to even.</summary>
    public static int Length(int size, double factor) => (int)Math.Round(size * factor);

    /// <summary>A window of a zoomed picture of one channel.</summary>
    /// <param name="source">[height, width].</param>
    /// <param name="height">Rows.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="factor">Zoom, above 0.</param>
    /// <param name="top">First row wanted of the zoomed picture.</param>
    /// <param name="left">First column wanted.</param>
    /// <param name="destination">[rows, columns]; the window must lie inside the zoomed picture.</param>
    /// <param name="rows">Rows wanted.</param>
    /// <param name="columns">Columns wanted.</param>
    /// <exception cref="ArgumentException">Sizes that do not fit together.</exception>
    public static void Window(ReadOnlySpan<double> source, int height, int width, double factor, int top, int left, Span<double> destination, int rows,
        int columns)
    {
        Check(source.Length, destination.Length, 1, height, width, factor, top, left, rows, columns);
        var along = new Axis(width, Length(width, factor), left, columns);
        var down = new Axis(height, Length(height, factor), top, rows);
        for (var y = 0; y < rows; y++)
        {
            ReadOnlySpan<double> upper = source.Slice(down.First[y] * width, width), lower = source.Slice(down.Second[y] * width, width);
            double w0 = down.Weight0[y], w1 = down.Weight1[y];
            var to = destination.Slice(y * columns, columns);
            for (var x = 0; x < columns; x++)
            {
                int a = along.First[x], b = along.Second[x];
                double v0 = along.Weight0[x], v1 = along.Weight1[x];
                to[x] = upper[a] * w0 * v0 + upper[b] * w0 * v1 + lower[a] * w1 * v0 + lower[b] * w1 * v1;
            }
        }
    }

    /// <summary>Adds a window of a zoomed picture of four channels, rounded to float first, to sums.</summary>
    /// <param name="source">Begins at the top left pixel of the part to be zoomed; four values a pixel.</param>
    /// <param name="sourceWidth">Pixels from one row to the next, at least <paramref name="width"/>.</param>
    /// <param name="height">Rows of the part.</param>
    /// <param name="width">Pixels of a row of the part.</param>
    /// <param name="factor">Zoom, above 0.</param>
    /// <param name="top">First row wanted of the zoomed picture.</param>
    /// <param name="left">First column wanted.</param>
    /// <param name="sums">[>= rows, sumWidth, 4].</param>
    /// <param name="sumWidth">Pixels of a row of <paramref name="sums"/>, at least <paramref name="columns"/>.</param>
    /// <param name="rows">Rows wanted.</param>
    /// <param name="columns">Columns wanted.</param>
    /// <exception cref="ArgumentException">Sizes that do not fit together.</exception>
    public static void AddWindow4(
        ReadOnlySpan<double> source, int sourceWidth, int height, int width, double factor, int top, int left, Span<float> sums, int sumWidth, int rows,
        int columns)
    {
        var reach = ((long)(height - 1) * sourceWidth + width) * 4;
        if (sourceWidth < width || source.Length < reach || sumWidth < columns || sums.Length < (long)rows * sumWidth * 4)
            throw new ArgumentException($"{source.Length} values with rows of {sourceWidth} pixels hold no {height}x{width}x4, or {sums.Length} sums no {rows}x{sumWidth}x4.");
        Check((int)Math.Min(int.MaxValue, (long)height * width * 4), rows * columns * 4, 4, height, width, factor, top, left, rows, columns);
        var along = new Axis(width, Length(width, factor), left, columns);
        var down = new Axis(height, Length(height, factor), top, rows);
        var rented = ArrayPool<double>.Shared.Rent(width * 8);
        fixed (double* from = source, weighted = rented, weight0 = along.Weight0, weight1 = along.Weight1)
        fixed (int* first = along.First, second = along.Second)
        fixed (float* to = sums)
        {
            var lowerWeighted = weighted + width * 4;
            for (var y = 0; y < rows; y++)
            {
                double* upper = from + (long)down.First[y] * sourceWidth * 4, lower = from + (long)down.Second[y] * sourceWidth * 4;
                Vector256<double> w0 = Vector256.Create(down.Weight0[y]), w1 = Vector256.Create(down.Weight1[y]);
                for (var i = 0; i < width * 4; i += 4)
                {
                    (Vector256.Load(upper + i) * w0).Store(weighted + i);
                    (Vector256.Load(lower + i) * w1).Store(lowerWeighted + i);
                }
                var row = to + (long)y * sumWidth * 4;
                for (var x = 0; x < columns; x++)
                {
                    int a = first[x] * 4, b = second[x] * 4;
                    Vector256<double> v0 = Vector256.Create(weight0[x]), v1 = Vector256.Create(weight1[x]);
                    var value = Vector256.Load(weighted + a) * v0 + Vector256.Load(weighted + b) * v1
                        + Vector256.Load(lowerWeighted + a) * v0 + Vector256.Load(lowerWeighted + b) * v1;
                    var rounded = Vector256.Narrow(value, Vector256<double>.Zero).GetLower();
                    (Vector128.Load(row + x * 4) + rounded).Store(row + x * 4);
                }
            }
        }
        ArrayPool<double>.Shared.Return(rented);
    }

    private static void Check(int source, int destination, int channels, int height, int width, double factor, int top, int left, int rows, int columns)
    {
        if (height < 1 || width < 1 || source < (long)height * width * channels || !(factor > 0) || rows < 0 || columns < 0
            || destination < (long)rows * columns * channels)
            throw new ArgumentException($"{source} values of {height}x{width}x{channels}, zoomed by {factor}, do not fill {destination} of {rows}x{columns}.");
        if (top < 0 || left < 0 || top > Length(height, factor) - rows)
            throw new ArgumentException($"A window at ({left}, {top}) leaves the picture zoomed by {factor}.");
    }

    /// <summary>For each output position the two values it reads and their weights.</summary>
    private readonly struct Axis
    {
        public readonly int[] First, Second;
        public readonly double[] Weight0, Weight1;

        public Axis(int size, int zoomed, int start, int count)
        {
            First = new int[count];
            Second = new int[count];
            Weight0 = new double[count];
            Weight1 = new double[count];
            var step = zoomed > 1 ? (size - 1.0) / (zoomed - 1) : 1.0;
            for (var i = 0; i < count; i++)
            {
                var position = (start + i) * step;
                if (position > size - 1) continue;              // both weights stay 0
                var floor = Math.Floor(position);
                First[i] = (int)floor;
                Second[i] = Math.Min(First[i] + 1, size - 1);
                var t = position - floor;
                (Weight0[i], Weight1[i]) = (1 - t, t);
            }
        }
    }
}
