namespace Bayou.Kernels;

/// <summary>The inner loops: one register of channels of one picture.</summary>
public static unsafe partial class DepthwiseKernel
{
    // Floats of a packed plane. Tiles read up to eight registers past the last row; what they make of them is dropped.
    private static int PlaneLength<T>(DepthwiseShape s) where T : struct, IFloatLanes<T> => checked((s.H * (s.W + 2 * s.PadW) + 8) * T.Count);

    private static int RowLength<T>(DepthwiseShape s) where T : struct, IFloatLanes<T> => (s.W + 2 * s.PadW) * T.Count;

    // T.Count channels of a picture -> [H][pad, W, pad][lane].
    private static void Pack<T>(float* image, float* plane, DepthwiseShape s) where T : struct, IFloatLanes<T>
    {
        var zero = T.Create(0);
        for (var y = 0; y < s.H; y++)
        {
            for (var i = 0; i < s.PadW; i++, plane += T.Count) T.Store(plane, zero);
            for (var x = 0; x < s.W; x++, plane += T.Count, image += s.C) T.Store(plane, T.Load(image));
            for (var i = 0; i < s.PadW; i++, plane += T.Count) T.Store(plane, zero);
        }
    }

    private static void Convolve<T>(float* plane, float* weights, T bias, float* output, DepthwiseShape s) where T : struct, IFloatLanes<T>
    {
        var row = RowLength<T>(s);
        for (var y = 0; y < s.H; y++)
        {
            var (first, last) = (Math.Max(0, s.PadH - y), Math.Min(s.KH, s.H + s.PadH - y));
            var top = plane + (long)(y + first - s.PadH) * row;
            var taps = weights + first * s.KW * T.Count;
            for (var x = 0; x < s.W;)
            {
                var left = s.W - x;
                var target = output + ((long)y * s.W + x) * s.C;
                if (left > 4)
                {
                    Tile8(top + x * T.Count, row, taps, last - first, s.KW, bias, target, s.C, left);
                    x += 8;
                }
                else
                {
                    Tile4(top + x * T.Count, row, taps, last - first, s.KW, bias, target, s.C, left);
                    x += 4;
                }
            }
        }
    }

    // Eight neighbouring outputs, of which the first `count` are stored.
    private static void Tile8<T>(float* top, int row, float* taps, int rows, int columns, T bias, float* output, int stride, int count) where T : struct, IFloatLanes<T>
    {
        T a0 = bias, a1 = bias, a2 = bias, a3 = bias, a4 = bias, a5 = bias, a6 = bias, a7 = bias;
        for (var ky = 0; ky < rows; ky++, top += row)
        {
            var p = top;
            for (var kx = 0; kx < columns; kx++, p += T.Count, taps += T.Count)
            {
                var w = T.Load(taps);
                a0 = T.MulAdd(T.Load(p), w, a0);
                a1 = T.MulAdd(T.Load(p + T.Count), w, a1);
                a2 = T.MulAdd(T.Load(p + 2 * T.Count), w, a2);
                a3 = T.MulAdd(T.Load(p + 3 * T.Count), w, a3);
                a4 = T.MulAdd(T.Load(p + 4 * T.Count), w, a4);
                a5 = T.MulAdd(T.Load(p + 5 * T.Count), w, a5);
                a6 = T.MulAdd(T.Load(p + 6 * T.Count), w, a6);
                a7 = T.MulAdd(T.Load(p + 7 * T.Count), w, a7);
            }
        }
        T.Store(output, a0);
        T.Store(output + stride, a1);
        T.Store(output + 2 * stride, a2);
        T.Store(output + 3 * stride, a3);
        T.Store(output + 4 * stride, a4);
        if (count > 5) T.Store(output + 5 * stride, a5);
        if (count > 6) T.Store(output + 6 * stride, a6);
        if (count > 7) T.Store(output + 7 * stride, a7);
    }

    private static void Tile4<T>(float* top, int row, float* taps, int rows, int columns, T bias, float* output, int stride, int count) where T : struct, IFloatLanes<T>
    {
        T a0 = bias, a1 = bias, a2 = bias, a3 = bias;
        for (var ky = 0; ky < rows; ky++, top += row)
        {
            var p = top;
            for (var kx = 0; kx < columns; kx++, p += T.Count, taps += T.Count)
            {
                var w = T.Load(taps);
                a0 = T.MulAdd(T.Load(p), w, a0);
                a1 = T.MulAdd(T.Load(p + T.Count), w, a1);
                a2 = T.MulAdd(T.Load(p + 2 * T.Count), w, a2);
                a3 = T.MulAdd(T.Load(p + 3 * T.Count), w, a3);
            }
        }
        T.Store(output, a0);
        if (count > 1) T.Store(output + stride, a1);
        if (count > 2) T.Store(output + 2 * stride, a2);
        if (count > 3) T.Store(output + 3 * stride, a3);
    }

    // sums[ky][kx] += sum over y, x of input[y + ky - PadH][x + kx - PadW] gradient[y][x]; both planes are packed, so x + kx - PadW is column x + kx.
    private static void WeightGradient<T>(float* input, float* gradient, float* sums, DepthwiseShape s) where T : struct, IFloatLanes<T>
    {
        var row = RowLength<T>(s);
        for (var ky = 0; ky < s.KH; ky++)
        {
            var (first, last) = (Math.Max(0, s.PadH - ky), Math.Min(s.H, s.H + s.PadH - ky));
            if (first >= last) continue;
            var rows = last - first;
            var x = input + (long)(first + ky - s.PadH) * row;
            var g = gradient + (long)first * row + s.PadW * T.Count;
            for (var kx = 0; kx < s.KW;)
            {
                var left = s.KW - kx;
                var target = sums + (ky * s.KW + kx) * T.Count;
                if (left > 4)
                {
                    Taps8<T>(x + kx * T.Count, g, row, rows, s.W, target, left);
                    kx += 8;
                }
                else
                {
                    Taps4<T>(x + kx * T.Count, g, row, rows, s.W, target, left);
                    kx += 4;
                }
            }
        }
    }

    private static void Taps8<T>(float* x, float* g, int row, int rows, int columns, float* sums, int count) where T : struct, IFloatLanes<T>
    {
        T zero = T.Create(0), a0 = zero, a1 = zero, a2 = zero, a3 = zero, a4 = zero, a5 = zero, a6 = zero, a7 = zero;
        for (var y = 0; y < rows; y++, x += row, g += row)
        {
            float* p = x, q = g;
            for (var i = 0; i < columns; i++, p += T.Count, q += T.Count)
            {
                var v = T.Load(q);
                a0 = T.MulAdd(T.Load(p), v, a0);
                a1 = T.MulAdd(T.Load(p + T.Count), v, a1);
                a2 = T.MulAdd(T.Load(p + 2 * T.Count), v, a2);
                a3 = T.MulAdd(T.Load(p + 3 * T.Count), v, a3);
                a4 = T.MulAdd(T.Load(p + 4 * T.Count), v, a4);
                a5 = T.MulAdd(T.Load(p + 5 * T.Count), v, a5);
                a6 = T.MulAdd(T.Load(p + 6 * T.Count), v, a6);
                a7 = T.MulAdd(T.Load(p + 7 * T.Count), v, a7);
            }
        }
        Accumulate(sums, a0);
        Accumulate(sums + T.Count, a1);
        Accumulate(sums + 2 * T.Count, a2);
        Accumulate(sums + 3 * T.Count, a3);
        Accumulate(sums + 4 * T.Count, a4);
        if (count > 5) Accumulate(sums + 5 * T.Count, a5);
        if (count > 6) Accumulate(sums + 6 * T.Count, a6);
        if (count > 7) Accumulate(sums + 7 * T.Count, a7);
    }

    private static void Taps4<T>(float* x, float* g, int row, int rows, int columns, float* sums, int count) where T : struct, IFloatLanes<T>
    {
        T zero = T.Create(0), a0 = zero, a1 = zero, a2 = zero, a3 = zero;
        for (var y = 0; y < rows; y++, x += row, g += row)
        {
            float* p = x, q = g;
            for (var i = 0; i < columns; i++, p += T.Count, q += T.Count)
            {
                var v = T.Load(q);
                a0 = T.MulAdd(T.Load(p), v, a0);
                a1 = T.MulAdd(T.Load(p + T.Count), v, a1);
                a2 = T.MulAdd(T.Load(p + 2 * T.Count), v, a2);
                a3 = T.MulAdd(T.Load(p + 3 * T.Count), v, a3);
            }
        }
        Accumulate(sums, a0);
        if (count > 1) Accumulate(sums + T.Count, a1);
        if (count > 2) Accumulate(sums + 2 * T.Count, a2);
        if (count > 3) Accumulate(sums + 3 * T.Count, a3);
    }

    private static void Accumulate<T>(float* sums, T value) where T : struct, IFloatLanes<T> => T.Store(sums, T.Load(sums) + value);

    // Sum over all pixels: the gradient of the bias. The padding holds zeros.
    private static T Total<T>(float* plane, DepthwiseShape s) where T : struct, IFloatLanes<T>
    {
        T a = T.Create(0), b = a;
        var count = s.H * (s.W + 2 * s.PadW);
        var i = 0;
        for (; i + 2 <= count; i += 2)
        {
            a += T.Load(plane + i * T.Count);
            b += T.Load(plane + (i + 1) * T.Count);
        }
        if (i < count) a += T.Load(plane + i * T.Count);
        return a + b;
    }
}
