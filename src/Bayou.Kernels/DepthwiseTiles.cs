using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>A grid of registers in memory: element (y, x) is the register at Data + y Row + x Pixel (in floats).</summary>
internal readonly unsafe struct LaneGrid(float* data, nint row, nint pixel, int height, int width)
{
    public readonly float* Data = data;
    public readonly nint Row = row, Pixel = pixel;
    public readonly int Height = height, Width = width;

    /// <summary>Rows and columns exchanged.</summary>
    public LaneGrid Turned => new(Data, Pixel, Row, Width, Height);

    /// <summary>The last row first, and in it the last column.</summary>
    public LaneGrid Backwards => new(Data + (Height - 1) * Row + (Width - 1) * Pixel, -Row, -Pixel, Height, Width);
}

/// <summary>
/// Memory that is packed next, fetched into the second-level cache while tiles compute: packing alone would wait for every line. A strip has as many cache
/// lines as pixels in either layout: one a pixel in channels-last memory, one of 16 channels each for 16 pixels in planar memory.
/// </summary>
/// <param name="data">Where it begins, or null for nothing.</param>
/// <param name="pixel">Floats from a pixel to the next.</param>
/// <param name="line">Floats from a line to the next.</param>
internal readonly unsafe struct DepthwiseAhead(float* data, nint pixel, nint line)
{
    private readonly float* data = data;
    private readonly nint pixel = pixel, line = line;

    /// <summary>What lies a number of pixels on.</summary>
    public DepthwiseAhead At(nint pixels) => data == null ? this : new(data + pixels * pixel, pixel, line);

    /// <summary>Fetches the lines of some pixels; what follows them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public DepthwiseAhead Fetch(int pixels)
    {
        if (!Sse.IsSupported || data == null) return this;
        var p = data;
        for (var i = 16; i > 0; i--, p += line) Sse.Prefetch1(p);
        return new(data + pixels * pixel, pixel, line);
    }
}

/// <summary>
/// The inner loops: sums of a tile of outputs stay in registers while input rows pass by. Each register loaded from the input serves all rows of the tile, each
/// register of weights all its columns. Row r of the tile meets the kernel row r above that of row 0.
/// </summary>
internal static unsafe partial class DepthwiseTiles
{
    private const MethodImplOptions Hot = MethodImplOptions.AggressiveOptimization;

    /// <summary>Adds what `rows` input rows, which all rows of the tile meet, give to 4 x 6 sums.</summary>
    [MethodImpl(Hot)]
    public static void Tile4x6<T>(float* input, nint inputRow, float* kernel, nint kernelRow, nint kernelPixel, int rows, int columns, float* sums)
        where T : struct, IFloatLanes<T>
    {
        T a0 = T.Load(sums + 0 * T.Count), a1 = T.Load(sums + 1 * T.Count), a2 = T.Load(sums + 2 * T.Count), a3 = T.Load(sums + 3 * T.Count),
            a4 = T.Load(sums + 4 * T.Count), a5 = T.Load(sums + 5 * T.Count);
        T b0 = T.Load(sums + 6 * T.Count), b1 = T.Load(sums + 7 * T.Count), b2 = T.Load(sums + 8 * T.Count), b3 = T.Load(sums + 9 * T.Count),
            b4 = T.Load(sums + 10 * T.Count), b5 = T.Load(sums + 11 * T.Count);
        T c0 = T.Load(sums + 12 * T.Count), c1 = T.Load(sums + 13 * T.Count), c2 = T.Load(sums + 14 * T.Count), c3 = T.Load(sums + 15 * T.Count),
            c4 = T.Load(sums + 16 * T.Count), c5 = T.Load(sums + 17 * T.Count);
        T d0 = T.Load(sums + 18 * T.Count), d1 = T.Load(sums + 19 * T.Count), d2 = T.Load(sums + 20 * T.Count), d3 = T.Load(sums + 21 * T.Count),
            d4 = T.Load(sums + 22 * T.Count), d5 = T.Load(sums + 23 * T.Count);
        nint above1 = -kernelRow, above2 = -2 * kernelRow, above3 = -3 * kernelRow;
        for (; rows > 0; rows--, input += inputRow, kernel += kernelRow)
        {
            float* x = input, k = kernel;
            for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
            {
                T v = T.Load(k), w = T.Load(k + above1), y = T.Load(k + above2), z = T.Load(k + above3);
                var s = T.Load(x);
                T.AddProduct(ref a0, s, v);
                T.AddProduct(ref b0, w, s);
                T.AddProduct(ref c0, y, s);
                T.AddProduct(ref d0, z, s);
                s = T.Load(x + T.Count);
                T.AddProduct(ref a1, s, v);
                T.AddProduct(ref b1, w, s);
                T.AddProduct(ref c1, y, s);
                T.AddProduct(ref d1, z, s);
                s = T.Load(x + 2 * T.Count);
                T.AddProduct(ref a2, s, v);
                T.AddProduct(ref b2, w, s);
                T.AddProduct(ref c2, y, s);
                T.AddProduct(ref d2, z, s);
                s = T.Load(x + 3 * T.Count);
                T.AddProduct(ref a3, s, v);
                T.AddProduct(ref b3, w, s);
                T.AddProduct(ref c3, y, s);
                T.AddProduct(ref d3, z, s);
                s = T.Load(x + 4 * T.Count);
                T.AddProduct(ref a4, s, v);
                T.AddProduct(ref b4, w, s);
                T.AddProduct(ref c4, y, s);
                T.AddProduct(ref d4, z, s);
                s = T.Load(x + 5 * T.Count);
                T.AddProduct(ref a5, s, v);
                T.AddProduct(ref b5, w, s);
                T.AddProduct(ref c5, y, s);
                T.AddProduct(ref d5, z, s);
            }
        }
        T.Store(sums + 0 * T.Count, a0);
        T.Store(sums + 1 * T.Count, a1);
        T.Store(sums + 2 * T.Count, a2);
        T.Store(sums + 3 * T.Count, a3);
        T.Store(sums + 4 * T.Count, a4);
        T.Store(sums + 5 * T.Count, a5);
        T.Store(sums + 6 * T.Count, b0);
        T.Store(sums + 7 * T.Count, b1);
        T.Store(sums + 8 * T.Count, b2);
        T.Store(sums + 9 * T.Count, b3);
        T.Store(sums + 10 * T.Count, b4);
        T.Store(sums + 11 * T.Count, b5);
        T.Store(sums + 12 * T.Count, c0);
        T.Store(sums + 13 * T.Count, c1);
        T.Store(sums + 14 * T.Count, c2);
        T.Store(sums + 15 * T.Count, c3);
        T.Store(sums + 16 * T.Count, c4);
        T.Store(sums + 17 * T.Count, c5);
        T.Store(sums + 18 * T.Count, d0);
        T.Store(sums + 19 * T.Count, d1);
        T.Store(sums + 20 * T.Count, d2);
        T.Store(sums + 21 * T.Count, d3);
        T.Store(sums + 22 * T.Count, d4);
        T.Store(sums + 23 * T.Count, d5);
    }

    /// <summary>Adds what `rows` input rows, which all rows of the tile meet, give to 4 x 4 sums.</summary>
    [MethodImpl(Hot)]
    public static void Tile4x4<T>(float* input, nint inputRow, float* kernel, nint kernelRow, nint kernelPixel, int rows, int columns, float* sums)
        where T : struct, IFloatLanes<T>
    {
        T a0 = T.Load(sums + 0 * T.Count), a1 = T.Load(sums + 1 * T.Count), a2 = T.Load(sums + 2 * T.Count), a3 = T.Load(sums + 3 * T.Count);
        T b0 = T.Load(sums + 4 * T.Count), b1 = T.Load(sums + 5 * T.Count), b2 = T.Load(sums + 6 * T.Count), b3 = T.Load(sums + 7 * T.Count);
        T c0 = T.Load(sums + 8 * T.Count), c1 = T.Load(sums + 9 * T.Count), c2 = T.Load(sums + 10 * T.Count), c3 = T.Load(sums + 11 * T.Count);
        T d0 = T.Load(sums + 12 * T.Count), d1 = T.Load(sums + 13 * T.Count), d2 = T.Load(sums + 14 * T.Count), d3 = T.Load(sums + 15 * T.Count);
        nint above1 = -kernelRow, above2 = -2 * kernelRow, above3 = -3 * kernelRow;
        for (; rows > 0; rows--, input += inputRow, kernel += kernelRow)
        {
            float* x = input, k = kernel;
            for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
            {
                T v = T.Load(k), w = T.Load(k + above1), y = T.Load(k + above2), z = T.Load(k + above3);
                var s = T.Load(x);
                T.AddProduct(ref a0, s, v);
                T.AddProduct(ref b0, w, s);
                T.AddProduct(ref c0, y, s);
                T.AddProduct(ref d0, z, s);
                s = T.Load(x + T.Count);
                T.AddProduct(ref a1, s, v);
                T.AddProduct(ref b1, w, s);
                T.AddProduct(ref c1, y, s);
                T.AddProduct(ref d1, z, s);
                s = T.Load(x + 2 * T.Count);
                T.AddProduct(ref a2, s, v);
                T.AddProduct(ref b2, w, s);
                T.AddProduct(ref c2, y, s);
                T.AddProduct(ref d2, z, s);
                s = T.Load(x + 3 * T.Count);
                T.AddProduct(ref a3, s, v);
                T.AddProduct(ref b3, w, s);
                T.AddProduct(ref c3, y, s);
                T.AddProduct(ref d3, z, s);
            }
        }
        T.Store(sums + 0 * T.Count, a0);
        T.Store(sums + 1 * T.Count, a1);
        T.Store(sums + 2 * T.Count, a2);
        T.Store(sums + 3 * T.Count, a3);
        T.Store(sums + 4 * T.Count, b0);
        T.Store(sums + 5 * T.Count, b1);
        T.Store(sums + 6 * T.Count, b2);
        T.Store(sums + 7 * T.Count, b3);
        T.Store(sums + 8 * T.Count, c0);
        T.Store(sums + 9 * T.Count, c1);
        T.Store(sums + 10 * T.Count, c2);
        T.Store(sums + 11 * T.Count, c3);
        T.Store(sums + 12 * T.Count, d0);
        T.Store(sums + 13 * T.Count, d1);
        T.Store(sums + 14 * T.Count, d2);
        T.Store(sums + 15 * T.Count, d3);
    }
}
