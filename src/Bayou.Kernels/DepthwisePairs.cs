using System.Runtime.CompilerServices;

namespace Bayou.Kernels;

/// <summary>What a tile of one or two rows reads and writes.</summary>
internal unsafe struct PairWork<T> where T : struct, IFloatLanes<T>
{
    /// <summary>Where sums begin unless <see cref="Continue"/> is given.</summary>
    public T Start { get; set; }

    /// <summary>Whether the sums at <see cref="To"/> are continued.</summary>
    public bool Continue { get; set; }

    /// <summary>Where the sums go.</summary>
    public float* To { get; set; }

    public nint ToRow { get; set; }

    public nint ToPixel { get; set; }

    public nint InputRow { get; set; }

    public nint KernelRow { get; set; }

    public nint KernelPixel { get; set; }

    /// <summary>Whether there is a lower row.</summary>
    public bool IsPair { get; set; }

    /// <summary>Tiles side by side.</summary>
    public int Tiles { get; set; }

    /// <summary>What will be packed next, or nothing.</summary>
    public DepthwiseAhead Ahead { get; set; }
}

/// <summary>Tiles of one or two rows.</summary>
internal static unsafe partial class DepthwiseTiles
{
    /// <summary>Two rows of 8 sums: `uppers` input rows that only the upper row meets, then `boths`, then `lowers`; some such tiles side by side.</summary>
    [MethodImpl(Hot)]
    public static void Pair8<T>(in PairWork<T> work, float* inputs, float* kernels, int columns, int uppers, int boths, int lowers)
        where T : struct, IFloatLanes<T>
    {
        nint inputRow = work.InputRow, kernelRow = work.KernelRow, kernelPixel = work.KernelPixel, above = -kernelRow, step = work.ToPixel, row = work.ToRow;
        float* t = work.To;
        var ahead = work.Ahead;
        for (var tile = work.Tiles; tile > 0; tile--, inputs += 8 * T.Count, t += 8 * step)
        {
            ahead = ahead.Fetch(16);
            T a0 = work.Start, a1 = work.Start, a2 = work.Start, a3 = work.Start, a4 = work.Start, a5 = work.Start, a6 = work.Start, a7 = work.Start;
            T b0 = a0, b1 = a1, b2 = a2, b3 = a3, b4 = a4, b5 = a5, b6 = a6, b7 = a7;
            if (work.Continue)
            {
                a0 = T.Load(t);
                a1 = T.Load(t + step);
                a2 = T.Load(t + 2 * step);
                a3 = T.Load(t + 3 * step);
                a4 = T.Load(t + 4 * step);
                a5 = T.Load(t + 5 * step);
                a6 = T.Load(t + 6 * step);
                a7 = T.Load(t + 7 * step);
                if (work.IsPair)
                {
                    b0 = T.Load(t + row);
                    b1 = T.Load(t + row + step);
                    b2 = T.Load(t + row + 2 * step);
                    b3 = T.Load(t + row + 3 * step);
                    b4 = T.Load(t + row + 4 * step);
                    b5 = T.Load(t + row + 5 * step);
                    b6 = T.Load(t + row + 6 * step);
                    b7 = T.Load(t + row + 7 * step);
                }
            }
            float* input = inputs, kernel = kernels;
            for (var upper = uppers; upper > 0; upper--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k);
                    T.AddProduct(ref a0, x, v);
                    T.AddProduct(ref a1, x + T.Count, v);
                    T.AddProduct(ref a2, x + 2 * T.Count, v);
                    T.AddProduct(ref a3, x + 3 * T.Count, v);
                    T.AddProduct(ref a4, x + 4 * T.Count, v);
                    T.AddProduct(ref a5, x + 5 * T.Count, v);
                    T.AddProduct(ref a6, x + 6 * T.Count, v);
                    T.AddProduct(ref a7, x + 7 * T.Count, v);
                }
            }
            for (var both = boths; both > 0; both--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k), w = T.Load(k + above);
                    var s = T.Load(x);
                    T.AddProduct(ref a0, s, v);
                    T.AddProduct(ref b0, w, s);
                    s = T.Load(x + T.Count);
                    T.AddProduct(ref a1, s, v);
                    T.AddProduct(ref b1, w, s);
                    s = T.Load(x + 2 * T.Count);
                    T.AddProduct(ref a2, s, v);
                    T.AddProduct(ref b2, w, s);
                    s = T.Load(x + 3 * T.Count);
                    T.AddProduct(ref a3, s, v);
                    T.AddProduct(ref b3, w, s);
                    s = T.Load(x + 4 * T.Count);
                    T.AddProduct(ref a4, s, v);
                    T.AddProduct(ref b4, w, s);
                    s = T.Load(x + 5 * T.Count);
                    T.AddProduct(ref a5, s, v);
                    T.AddProduct(ref b5, w, s);
                    s = T.Load(x + 6 * T.Count);
                    T.AddProduct(ref a6, s, v);
                    T.AddProduct(ref b6, w, s);
                    s = T.Load(x + 7 * T.Count);
                    T.AddProduct(ref a7, s, v);
                    T.AddProduct(ref b7, w, s);
                }
            }
            for (var lower = lowers; lower > 0; lower--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel + above;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k);
                    T.AddProduct(ref b0, x, v);
                    T.AddProduct(ref b1, x + T.Count, v);
                    T.AddProduct(ref b2, x + 2 * T.Count, v);
                    T.AddProduct(ref b3, x + 3 * T.Count, v);
                    T.AddProduct(ref b4, x + 4 * T.Count, v);
                    T.AddProduct(ref b5, x + 5 * T.Count, v);
                    T.AddProduct(ref b6, x + 6 * T.Count, v);
                    T.AddProduct(ref b7, x + 7 * T.Count, v);
                }
            }
            if (work.IsPair)
            {
                var u = t + row;
                T.Store(u, b0);
                T.Store(u + step, b1);
                T.Store(u + 2 * step, b2);
                T.Store(u + 3 * step, b3);
                T.Store(u + 4 * step, b4);
                T.Store(u + 5 * step, b5);
                T.Store(u + 6 * step, b6);
                T.Store(u + 7 * step, b7);
            }
            T.Store(t, a0);
            T.Store(t + step, a1);
            T.Store(t + 2 * step, a2);
            T.Store(t + 3 * step, a3);
            T.Store(t + 4 * step, a4);
            T.Store(t + 5 * step, a5);
            T.Store(t + 6 * step, a6);
            T.Store(t + 7 * step, a7);
        }
    }

    /// <summary>Two rows of 6 sums: `uppers` input rows that only the upper row meets, then `boths`, then `lowers`; some such tiles side by side.</summary>
    [MethodImpl(Hot)]
    public static void Pair6<T>(in PairWork<T> work, float* inputs, float* kernels, int columns, int uppers, int boths, int lowers)
        where T : struct, IFloatLanes<T>
    {
        nint inputRow = work.InputRow, kernelRow = work.KernelRow, kernelPixel = work.KernelPixel, above = -kernelRow, step = work.ToPixel, row = work.ToRow;
        float* t = work.To;
        var ahead = work.Ahead;
        for (var tile = work.Tiles; tile > 0; tile--, inputs += 6 * T.Count, t += 6 * step)
        {
            ahead = ahead.Fetch(12);
            T a0 = work.Start, a1 = work.Start, a2 = work.Start, a3 = work.Start, a4 = work.Start, a5 = work.Start;
            T b0 = a0, b1 = a1, b2 = a2, b3 = a3, b4 = a4, b5 = a5;
            if (work.Continue)
            {
                a0 = T.Load(t);
                a1 = T.Load(t + step);
                a2 = T.Load(t + 2 * step);
                a3 = T.Load(t + 3 * step);
                a4 = T.Load(t + 4 * step);
                a5 = T.Load(t + 5 * step);
                if (work.IsPair)
                {
                    b0 = T.Load(t + row);
                    b1 = T.Load(t + row + step);
                    b2 = T.Load(t + row + 2 * step);
                    b3 = T.Load(t + row + 3 * step);
                    b4 = T.Load(t + row + 4 * step);
                    b5 = T.Load(t + row + 5 * step);
                }
            }
            float* input = inputs, kernel = kernels;
            for (var upper = uppers; upper > 0; upper--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k);
                    T.AddProduct(ref a0, x, v);
                    T.AddProduct(ref a1, x + T.Count, v);
                    T.AddProduct(ref a2, x + 2 * T.Count, v);
                    T.AddProduct(ref a3, x + 3 * T.Count, v);
                    T.AddProduct(ref a4, x + 4 * T.Count, v);
                    T.AddProduct(ref a5, x + 5 * T.Count, v);
                }
            }
            for (var both = boths; both > 0; both--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k), w = T.Load(k + above);
                    var s = T.Load(x);
                    T.AddProduct(ref a0, s, v);
                    T.AddProduct(ref b0, w, s);
                    s = T.Load(x + T.Count);
                    T.AddProduct(ref a1, s, v);
                    T.AddProduct(ref b1, w, s);
                    s = T.Load(x + 2 * T.Count);
                    T.AddProduct(ref a2, s, v);
                    T.AddProduct(ref b2, w, s);
                    s = T.Load(x + 3 * T.Count);
                    T.AddProduct(ref a3, s, v);
                    T.AddProduct(ref b3, w, s);
                    s = T.Load(x + 4 * T.Count);
                    T.AddProduct(ref a4, s, v);
                    T.AddProduct(ref b4, w, s);
                    s = T.Load(x + 5 * T.Count);
                    T.AddProduct(ref a5, s, v);
                    T.AddProduct(ref b5, w, s);
                }
            }
            for (var lower = lowers; lower > 0; lower--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel + above;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k);
                    T.AddProduct(ref b0, x, v);
                    T.AddProduct(ref b1, x + T.Count, v);
                    T.AddProduct(ref b2, x + 2 * T.Count, v);
                    T.AddProduct(ref b3, x + 3 * T.Count, v);
                    T.AddProduct(ref b4, x + 4 * T.Count, v);
                    T.AddProduct(ref b5, x + 5 * T.Count, v);
                }
            }
            if (work.IsPair)
            {
                var u = t + row;
                T.Store(u, b0);
                T.Store(u + step, b1);
                T.Store(u + 2 * step, b2);
                T.Store(u + 3 * step, b3);
                T.Store(u + 4 * step, b4);
                T.Store(u + 5 * step, b5);
            }
            T.Store(t, a0);
            T.Store(t + step, a1);
            T.Store(t + 2 * step, a2);
            T.Store(t + 3 * step, a3);
            T.Store(t + 4 * step, a4);
            T.Store(t + 5 * step, a5);
        }
    }

    /// <summary>Two rows of 4 sums: `uppers` input rows that only the upper row meets, then `boths`, then `lowers`; some such tiles side by side.</summary>
    [MethodImpl(Hot)]
    public static void Pair4<T>(in PairWork<T> work, float* inputs, float* kernels, int columns, int uppers, int boths, int lowers)
        where T : struct, IFloatLanes<T>
    {
        nint inputRow = work.InputRow, kernelRow = work.KernelRow, kernelPixel = work.KernelPixel, above = -kernelRow, step = work.ToPixel, row = work.ToRow;
        float* t = work.To;
        var ahead = work.Ahead;
        for (var tile = work.Tiles; tile > 0; tile--, inputs += 4 * T.Count, t += 4 * step)
        {
            ahead = ahead.Fetch(8);
            T a0 = work.Start, a1 = work.Start, a2 = work.Start, a3 = work.Start;
            T b0 = a0, b1 = a1, b2 = a2, b3 = a3;
            if (work.Continue)
            {
                a0 = T.Load(t);
                a1 = T.Load(t + step);
                a2 = T.Load(t + 2 * step);
                a3 = T.Load(t + 3 * step);
                if (work.IsPair)
                {
                    b0 = T.Load(t + row);
                    b1 = T.Load(t + row + step);
                    b2 = T.Load(t + row + 2 * step);
                    b3 = T.Load(t + row + 3 * step);
                }
            }
            float* input = inputs, kernel = kernels;
            for (var upper = uppers; upper > 0; upper--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k);
                    T.AddProduct(ref a0, x, v);
                    T.AddProduct(ref a1, x + T.Count, v);
                    T.AddProduct(ref a2, x + 2 * T.Count, v);
                    T.AddProduct(ref a3, x + 3 * T.Count, v);
                }
            }
            for (var both = boths; both > 0; both--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k), w = T.Load(k + above);
                    var s = T.Load(x);
                    T.AddProduct(ref a0, s, v);
                    T.AddProduct(ref b0, w, s);
                    s = T.Load(x + T.Count);
                    T.AddProduct(ref a1, s, v);
                    T.AddProduct(ref b1, w, s);
                    s = T.Load(x + 2 * T.Count);
                    T.AddProduct(ref a2, s, v);
                    T.AddProduct(ref b2, w, s);
                    s = T.Load(x + 3 * T.Count);
                    T.AddProduct(ref a3, s, v);
                    T.AddProduct(ref b3, w, s);
                }
            }
            for (var lower = lowers; lower > 0; lower--, input += inputRow, kernel += kernelRow)
            {
                float* x = input, k = kernel + above;
                for (var i = columns; i > 0; i--, x += T.Count, k += kernelPixel)
                {
                    T v = T.Load(k);
                    T.AddProduct(ref b0, x, v);
                    T.AddProduct(ref b1, x + T.Count, v);
                    T.AddProduct(ref b2, x + 2 * T.Count, v);
                    T.AddProduct(ref b3, x + 3 * T.Count, v);
                }
            }
            if (work.IsPair)
            {
                var u = t + row;
                T.Store(u, b0);
                T.Store(u + step, b1);
                T.Store(u + 2 * step, b2);
                T.Store(u + 3 * step, b3);
            }
            T.Store(t, a0);
            T.Store(t + step, a1);
            T.Store(t + 2 * step, a2);
            T.Store(t + 3 * step, a3);
        }
    }
}
