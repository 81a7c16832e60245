using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// Order of points along the Z-curve through coarse cells, for searches that only need neighbours roughly together: a fraction of the time of
/// <see cref="MortonOrder"/>.
/// </summary>
internal static unsafe class CellOrder
{
    // Three vectors hold 16 points; value i of them is of axis i mod 3.
    private const int Lanes = 16, Values = 3 * Lanes;

    // Two passes of a radix sort.
    private const int Digit = 11, Digits = 1 << Digit;

    /// <summary>Writes the indices of the points, cell after cell; in a cell they ascend.</summary>
    /// <param name="xyz">[n, 3], finite.</param>
    /// <param name="n">Points, at least 1.</param>
    /// <param name="order">[n], written.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Of(float* xyz, int n, Span<int> order)
    {
        float* low = stackalloc float[Values], scale = stackalloc float[Values];
        // 2^7 cells along the longest side: 21 bits, two passes.
        Bounds(xyz, n, low, scale, (1 << 7) - 1);
        var (first, second) = (ArrayPool<ulong>.Shared.Rent(n), ArrayPool<ulong>.Shared.Rent(n));
        Span<int> lowCount = stackalloc int[Digits], highCount = stackalloc int[Digits];
        lowCount.Clear();
        highCount.Clear();
        var codes = stackalloc int[Values];
        fixed (ulong* a = first, b = second)
        {
            for (var from = 0; from < n; from += Lanes)
            {
                var points = Math.Min(Lanes, n - from);
                Codes(xyz + 3 * (nint)from, points, low, scale, codes);
                for (var p = 0; p < points; p++)
                {
                    var code = codes[3 * p] | codes[3 * p + 1] << 1 | codes[3 * p + 2] << 2;
                    a[from + p] = (ulong)code << 32 | (uint)(from + p);
                    lowCount[code & (Digits - 1)]++;
                    highCount[code >> Digit]++;
                }
            }
            Starts(lowCount);
            Starts(highCount);
            for (var i = 0; i < n; i++) b[lowCount[(int)(a[i] >> 32) & (Digits - 1)]++] = a[i];
            for (var i = 0; i < n; i++) order[highCount[(int)(b[i] >> (32 + Digit))]++] = (int)b[i];
        }
        ArrayPool<ulong>.Shared.Return(first);
        ArrayPool<ulong>.Shared.Return(second);
    }

    private static void Starts(Span<int> count)
    {
        var sum = 0;
        for (var d = 0; d < Digits; d++) (count[d], sum) = (sum, sum + count[d]);
    }

    // Every coordinate's cell, its bits spread to every third place.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Codes(float* xyz, int points, float* low, float* scale, int* codes)
    {
        var block = stackalloc float[Values];
        if (points < Lanes)
        {
            new Span<float>(xyz, 3 * points).CopyTo(new Span<float>(block, Values));
            xyz = block;
        }
        for (var v = 0; v < Values; v += Lanes)
        {
            var cell = Vector512.ConvertToInt32((Vector512.Load(xyz + v) - Vector512.Load(low + v)) * Vector512.Load(scale + v));
            cell = (cell | cell << 8) & Vector512.Create(0x0000F00F);
            cell = (cell | cell << 4) & Vector512.Create(0x000C30C3);
            cell = (cell | cell << 2) & Vector512.Create(0x00049249);
            cell.Store(codes + v);
        }
    }

    // Lowest corner and cells a unit, repeated for 16 points; all axes have cells of one size.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Bounds(float* xyz, int n, float* low, float* scale, int cells)
    {
        var high = scale;
        for (var i = 0; i < Values; i++) low[i] = high[i] = xyz[i % 3];
        var (count, whole) = (3 * (nint)n, 3 * (nint)n / Values * Values);
        for (var v = 0; v < Values; v += Lanes)
        {
            var (a, b) = (Vector512.Load(low + v), Vector512.Load(high + v));
            for (nint i = v; i < whole; i += Values)
            {
                var values = Vector512.Load(xyz + i);
                (a, b) = (Vector512.MinNative(a, values), Vector512.MaxNative(b, values));
            }
            a.Store(low + v);
            b.Store(high + v);
        }
        for (var i = whole; i < count; i++) (low[i % 3], high[i % 3]) = (MathF.Min(low[i % 3], xyz[i]), MathF.Max(high[i % 3], xyz[i]));
        for (var i = 3; i < Values; i++) (low[i % 3], high[i % 3]) = (MathF.Min(low[i % 3], low[i]), MathF.Max(high[i % 3], high[i]));
        var side = 0.0;
        for (var axis = 0; axis < 3; axis++) side = Math.Max(side, (double)high[axis] - low[axis]);
        // Rounding must not lead beyond the last cell.
        var factor = side > 0 ? (float)(cells * 0.9999 / side) : 0;
        for (var i = 0; i < Values; i++) (low[i], scale[i]) = (low[i % 3], factor);
    }
}
