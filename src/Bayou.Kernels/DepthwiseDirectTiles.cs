using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>What a tile of <see cref="DepthwiseDirect"/> reads and writes: one or two rows of outputs of a register of channels.</summary>
internal unsafe struct DirectTile<T> where T : struct, IFloatLanes<T>
{
    /// <summary>Where sums begin.</summary>
    public T Start { get; set; }

    /// <summary>Whether the sums in the output are continued (tiles of one row only).</summary>
    public bool Continue { get; init; }

    /// <summary>Whether negative sums become zero.</summary>
    public bool Relu { get; init; }

    /// <summary>Column 0 of the first input row.</summary>
    public float* Input { get; set; }

    public nint InputRow { get; init; }

    public nint InputPixel { get; init; }

    /// <summary>Input rows.</summary>
    public int Rows { get; init; }

    /// <summary>Of those, where the tile has two rows: rows that only the upper output row meets, then those that both meet, then those that only the lower one meets.</summary>
    public int Uppers { get; init; }

    public int Boths { get; init; }

    public int Lowers { get; init; }

    /// <summary>Tap 0 of the kernel row that the first input row has for the upper output row; the lower one has the kernel row before it.</summary>
    public float* Kernel { get; set; }

    public nint KernelRow { get; init; }

    public nint KernelPixel { get; init; }

    /// <summary>Taps of a kernel row.</summary>
    public int Taps { get; init; }

    public float* Output { get; set; }

    /// <summary>Outputs that lie in the picture, of a tile of one row.</summary>
    public int Outputs { get; set; }

    public nint OutputRow { get; init; }

    public nint OutputPixel { get; init; }

    /// <summary>Input column of tap 0 for the first output column; negative where the tile reaches into the padding.</summary>
    public int Left { get; private set; }

    public int Width { get; private set; }

    /// <summary>Taps [first, end) lie in the picture for all columns of the tile.</summary>
    public int MiddleFirst { get; private set; }

    public int MiddleEnd { get; private set; }

    /// <summary>Whether memory is fetched that is needed next: the tile's outputs, and the input rows that the outputs below need in addition.</summary>
    public bool IsFar { get; init; }

    /// <summary>How many those rows are.</summary>
    public int Next { get; init; }

    /// <summary>Floats from the first input row to the first of them, and from a tile's first column to the first that is fetched.</summary>
    public nint NextRow { get; init; }

    /// <summary>The tile's place.</summary>
    public void Place(int left, int columns, int width)
    {
        (Left, Width) = (left, width);
        MiddleFirst = Math.Clamp(-left, 0, Taps);
        MiddleEnd = Math.Clamp(width - left - columns + 1, MiddleFirst, Taps);
    }
}

internal static unsafe partial class DepthwiseTiles
{
    /// <summary>
    /// Two rows of four, six or eight sums; taps outside the picture are left out. Each sum is added up in the order of the taps wherever it stands in a tile:
    /// tiles overlap, and those of two threads may.
    /// </summary>
    [MethodImpl(Hot)]
    public static void Direct<T, TColumns>(in DirectTile<T> tile) where T : struct, IFloatLanes<T> where TColumns : struct, ITileSize
    {
        T a0 = tile.Start, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
        T b0 = a0, b1 = a0, b2 = a0, b3 = a0, b4 = a0, b5 = a0, b6 = a0, b7 = a0;
        nint step = tile.InputPixel, step2 = 2 * step, step3 = 3 * step, tap = tile.KernelPixel, above = -tile.KernelRow;
        int taps = tile.Taps, middleFirst = tile.MiddleFirst, middleEnd = tile.MiddleEnd, left = tile.Left, width = tile.Width;
        float* input = tile.Input + left * step, kernel = tile.Kernel;
        if (Sse.IsSupported && tile.IsFar)
        {
            for (var j = 0; j < TColumns.Count; j++) Sse.Prefetch0(tile.Output + j * tile.OutputPixel);
            for (var j = 0; j < TColumns.Count; j++) Sse.Prefetch0(tile.Output + tile.OutputRow + j * tile.OutputPixel);
            var next = input + tile.NextRow;
            for (var r = tile.Next; r > 0; r--, next += tile.InputRow)
                for (var j = 0; j < TColumns.Count; j++) Sse.Prefetch1(next + j * step);
        }
        for (var upper = tile.Uppers; upper > 0; upper--, input += tile.InputRow, kernel += tile.KernelRow)
        {
            float* x = input, k = kernel, x4 = x + 4 * step;
            for (var i = 0; i < taps;)
            {
                if (i == middleFirst && i < middleEnd)
                {
                    for (; i < middleEnd; i++, x += step, x4 += step, k += tap)
                    {
                        var v = T.Load(k);
                        T.AddProduct(ref a0, x, v);
                        T.AddProduct(ref a1, x + step, v);
                        T.AddProduct(ref a2, x + step2, v);
                        T.AddProduct(ref a3, x + step3, v);
                        if (TColumns.Count > 4)
                        {
                            T.AddProduct(ref a4, x4, v);
                            T.AddProduct(ref a5, x4 + step, v);
                        }
                        if (TColumns.Count > 6)
                        {
                            T.AddProduct(ref a6, x4 + step2, v);
                            T.AddProduct(ref a7, x4 + step3, v);
                        }
                    }
                }
                else
                {
                    int first = Math.Max(0, -left - i), count = Math.Max(0, Math.Min(TColumns.Count, width - left - i) - first);
                    var v = T.Load(k);
                    if (first == 0 && count > 0) T.AddProduct(ref a0, x, v);
                    if ((uint)(1 - first) < (uint)count) T.AddProduct(ref a1, x + step, v);
                    if ((uint)(2 - first) < (uint)count) T.AddProduct(ref a2, x + step2, v);
                    if ((uint)(3 - first) < (uint)count) T.AddProduct(ref a3, x + step3, v);
                    if (TColumns.Count > 4 && (uint)(4 - first) < (uint)count) T.AddProduct(ref a4, x4, v);
                    if (TColumns.Count > 4 && (uint)(5 - first) < (uint)count) T.AddProduct(ref a5, x4 + step, v);
                    if (TColumns.Count > 6 && (uint)(6 - first) < (uint)count) T.AddProduct(ref a6, x4 + step2, v);
                    if (TColumns.Count > 6 && (uint)(7 - first) < (uint)count) T.AddProduct(ref a7, x4 + step3, v);
                    i++;
                    x += step;
                    x4 += step;
                    k += tap;
                }
            }
        }
        for (var both = tile.Boths; both > 0; both--, input += tile.InputRow, kernel += tile.KernelRow)
        {
            float* x = input, k = kernel, x4 = x + 4 * step;
            for (var i = 0; i < taps;)
            {
                if (i == middleFirst && i < middleEnd)
                {
                    for (; i < middleEnd; i++, x += step, x4 += step, k += tap)
                    {
                        T v = T.Load(k), w = T.Load(k + above), s = T.Load(x);
                        T.AddProduct(ref a0, s, v);
                        T.AddProduct(ref b0, w, s);
                        s = T.Load(x + step);
                        T.AddProduct(ref a1, s, v);
                        T.AddProduct(ref b1, w, s);
                        s = T.Load(x + step2);
                        T.AddProduct(ref a2, s, v);
                        T.AddProduct(ref b2, w, s);
                        s = T.Load(x + step3);
                        T.AddProduct(ref a3, s, v);
                        T.AddProduct(ref b3, w, s);
                        if (TColumns.Count > 4)
                        {
                            s = T.Load(x4);
                            T.AddProduct(ref a4, s, v);
                            T.AddProduct(ref b4, w, s);
                            s = T.Load(x4 + step);
                            T.AddProduct(ref a5, s, v);
                            T.AddProduct(ref b5, w, s);
                        }
                        if (TColumns.Count > 6)
                        {
                            s = T.Load(x4 + step2);
                            T.AddProduct(ref a6, s, v);
                            T.AddProduct(ref b6, w, s);
                            s = T.Load(x4 + step3);
                            T.AddProduct(ref a7, s, v);
                            T.AddProduct(ref b7, w, s);
                        }
                    }
                }
                else
                {
                    int first = Math.Max(0, -left - i), count = Math.Max(0, Math.Min(TColumns.Count, width - left - i) - first);
                    T v = T.Load(k), w = T.Load(k + above), s;
                    if (first == 0 && count > 0)
                    {
                        s = T.Load(x);
                        T.AddProduct(ref a0, s, v);
                        T.AddProduct(ref b0, w, s);
                    }
                    if ((uint)(1 - first) < (uint)count)
                    {
                        s = T.Load(x + step);
                        T.AddProduct(ref a1, s, v);
                        T.AddProduct(ref b1, w, s);
                    }
                    if ((uint)(2 - first) < (uint)count)
                    {
                        s = T.Load(x + step2);
                        T.AddProduct(ref a2, s, v);
                        T.AddProduct(ref b2, w, s);
                    }
                    if ((uint)(3 - first) < (uint)count)
                    {
                        s = T.Load(x + step3);
                        T.AddProduct(ref a3, s, v);
                        T.AddProduct(ref b3, w, s);
                    }
                    if (TColumns.Count > 4 && (uint)(4 - first) < (uint)count)
                    {
                        s = T.Load(x4);
                        T.AddProduct(ref a4, s, v);
                        T.AddProduct(ref b4, w, s);
                    }
                    if (TColumns.Count > 4 && (uint)(5 - first) < (uint)count)
                    {
                        s = T.Load(x4 + step);
                        T.AddProduct(ref a5, s, v);
                        T.AddProduct(ref b5, w, s);
                    }
                    if (TColumns.Count > 6 && (uint)(6 - first) < (uint)count)
                    {
                        s = T.Load(x4 + step2);
                        T.AddProduct(ref a6, s, v);
                        T.AddProduct(ref b6, w, s);
                    }
                    if (TColumns.Count > 6 && (uint)(7 - first) < (uint)count)
                    {
                        s = T.Load(x4 + step3);
                        T.AddProduct(ref a7, s, v);
                        T.AddProduct(ref b7, w, s);
                    }
                    i++;
                    x += step;
                    x4 += step;
                    k += tap;
                }
            }
        }
        for (var lower = tile.Lowers; lower > 0; lower--, input += tile.InputRow, kernel += tile.KernelRow)
        {
            float* x = input, k = kernel, x4 = x + 4 * step;
            for (var i = 0; i < taps;)
            {
                if (i == middleFirst && i < middleEnd)
                {
                    for (; i < middleEnd; i++, x += step, x4 += step, k += tap)
                    {
                        var w = T.Load(k + above);
                        T.AddProduct(ref b0, x, w);
                        T.AddProduct(ref b1, x + step, w);
                        T.AddProduct(ref b2, x + step2, w);
                        T.AddProduct(ref b3, x + step3, w);
                        if (TColumns.Count > 4)
                        {
                            T.AddProduct(ref b4, x4, w);
                            T.AddProduct(ref b5, x4 + step, w);
                        }
                        if (TColumns.Count > 6)
                        {
                            T.AddProduct(ref b6, x4 + step2, w);
                            T.AddProduct(ref b7, x4 + step3, w);
                        }
                    }
                }
                else
                {
                    int first = Math.Max(0, -left - i), count = Math.Max(0, Math.Min(TColumns.Count, width - left - i) - first);
                    var w = T.Load(k + above);
                    if (first == 0 && count > 0) T.AddProduct(ref b0, x, w);
                    if ((uint)(1 - first) < (uint)count) T.AddProduct(ref b1, x + step, w);
                    if ((uint)(2 - first) < (uint)count) T.AddProduct(ref b2, x + step2, w);
                    if ((uint)(3 - first) < (uint)count) T.AddProduct(ref b3, x + step3, w);
                    if (TColumns.Count > 4 && (uint)(4 - first) < (uint)count) T.AddProduct(ref b4, x4, w);
                    if (TColumns.Count > 4 && (uint)(5 - first) < (uint)count) T.AddProduct(ref b5, x4 + step, w);
                    if (TColumns.Count > 6 && (uint)(6 - first) < (uint)count) T.AddProduct(ref b6, x4 + step2, w);
                    if (TColumns.Count > 6 && (uint)(7 - first) < (uint)count) T.AddProduct(ref b7, x4 + step3, w);
                    i++;
                    x += step;
                    x4 += step;
                    k += tap;
                }
            }
        }
        if (tile.Relu)
        {
            var zero = T.Create(0);
            a0 = T.WhereNegative(a0, zero, a0);
            a1 = T.WhereNegative(a1, zero, a1);
            a2 = T.WhereNegative(a2, zero, a2);
            a3 = T.WhereNegative(a3, zero, a3);
            a4 = T.WhereNegative(a4, zero, a4);
            a5 = T.WhereNegative(a5, zero, a5);
            a6 = T.WhereNegative(a6, zero, a6);
            a7 = T.WhereNegative(a7, zero, a7);
            b0 = T.WhereNegative(b0, zero, b0);
            b1 = T.WhereNegative(b1, zero, b1);
            b2 = T.WhereNegative(b2, zero, b2);
            b3 = T.WhereNegative(b3, zero, b3);
            b4 = T.WhereNegative(b4, zero, b4);
            b5 = T.WhereNegative(b5, zero, b5);
            b6 = T.WhereNegative(b6, zero, b6);
            b7 = T.WhereNegative(b7, zero, b7);
        }
        nint to = tile.OutputPixel;
        float* y = tile.Output;
        T.Store(y, a0);
        T.Store(y + to, a1);
        T.Store(y + 2 * to, a2);
        T.Store(y + 3 * to, a3);
        if (TColumns.Count > 4)
        {
            T.Store(y + 4 * to, a4);
            T.Store(y + 5 * to, a5);
        }
        if (TColumns.Count > 6)
        {
            T.Store(y + 6 * to, a6);
            T.Store(y + 7 * to, a7);
        }
        y = tile.Output + tile.OutputRow;
        T.Store(y, b0);
        T.Store(y + to, b1);
        T.Store(y + 2 * to, b2);
        T.Store(y + 3 * to, b3);
        if (TColumns.Count > 4)
        {
            T.Store(y + 4 * to, b4);
            T.Store(y + 5 * to, b5);
        }
        if (TColumns.Count > 6)
        {
            T.Store(y + 6 * to, b6);
            T.Store(y + 7 * to, b7);
        }
    }
}
