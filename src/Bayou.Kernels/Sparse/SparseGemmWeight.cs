namespace Bayou.Kernels;

/// <summary>
/// The weight gradient of one segment of pairs: tiles of six input channels against one panel of output channels, summed over the pairs in registers.
/// </summary>
public static unsafe partial class SparseGemm
{
    // Pairs whose gradients are packed side by side: with the inputs they meet they fit the first-level cache.
    private const int Chunk = 128;

    private static void WeightSegment<T>(float* x, float* dy, int* inRows, int* outRows, int count, float* dw, int cin, int cout, int width)
        where T : struct, IFloatLanes<T>
    {
        var buffer = System.Buffers.ArrayPool<float>.Shared.Rent(Chunk * width + 16);
        var tile = stackalloc float[TileLength + 16];
        var sums = Align(tile);
        fixed (float* first = buffer)
        {
            var packed = Align(first);
            for (var from = 0; from < count; from += Chunk)
            {
                var pairs = Math.Min(Chunk, count - from);
                PackRows<T>(dy, outRows + from, pairs, cout, packed);
                var panel = packed;
                for (var column = 0; column < cout;)
                {
                    var registers = PanelRegisters(cout - column, T.Count);
                    var filled = Math.Min(registers * T.Count, cout - column);
                    for (var channel = 0; channel < cin; channel += Rows)
                    {
                        var rows = Math.Min(Rows, cin - channel);
                        var target = dw + (long)channel * cout + column;
                        if (registers == 4) Weight4<T>(x + channel, inRows + from, panel, pairs, rows, cin, sums);
                        else if (registers == 2) Weight2<T>(x + channel, inRows + from, panel, pairs, rows, cin, sums);
                        else Weight1<T>(x + channel, inRows + from, panel, pairs, rows, cin, sums);
                        for (var r = 0; r < rows; r++) AddRow<T>(sums + r * registers * T.Count, target + (long)r * cout, filled);
                    }
                    panel += Chunk * registers * T.Count;
                    column += registers * T.Count;
                }
            }
        }
        System.Buffers.ArrayPool<float>.Shared.Return(buffer);
    }

    // Rows of dy -> panel after panel, each [pairs, its columns], zero-padded.
    private static void PackRows<T>(float* dy, int* outRows, int pairs, int cout, float* packed) where T : struct, IFloatLanes<T>
    {
        for (var column = 0; column < cout;)
        {
            var step = PanelRegisters(cout - column, T.Count) * T.Count;
            var filled = Math.Min(step, cout - column);
            for (var p = 0; p < pairs; p++)
            {
                new ReadOnlySpan<float>(dy + (long)outRows[p] * cout + column, filled).CopyTo(new Span<float>(packed + p * step, filled));
                new Span<float>(packed + p * step + filled, step - filled).Clear();
            }
            packed += Chunk * step;
            column += step;
        }
    }


    private static void Weight4<T>(float* x, int* inRows, float* panel, int pairs, int rows, int cin, float* sums) where T : struct, IFloatLanes<T>
    {
        // Channels beyond the last read the first one again and are not added.
        int c1 = rows > 1 ? 1 : 0, c2 = rows > 2 ? 2 : 0, c3 = rows > 3 ? 3 : 0, c4 = rows > 4 ? 4 : 0, c5 = rows > 5 ? 5 : 0;
        var zero = T.Create(0);
        T s00 = zero, s01 = zero, s02 = zero, s03 = zero;
        T s10 = zero, s11 = zero, s12 = zero, s13 = zero;
        T s20 = zero, s21 = zero, s22 = zero, s23 = zero;
        T s30 = zero, s31 = zero, s32 = zero, s33 = zero;
        T s40 = zero, s41 = zero, s42 = zero, s43 = zero;
        T s50 = zero, s51 = zero, s52 = zero, s53 = zero;
        for (var p = 0; p < pairs; p++, panel += 4 * T.Count)
        {
            var row = x + (long)inRows[p] * cin;
            T g0 = T.Load(panel), g1 = T.Load(panel + T.Count), g2 = T.Load(panel + 2 * T.Count), g3 = T.Load(panel + 3 * T.Count);
            var x0 = T.Create(row[0]);
            T.AddProduct(ref s00, x0, g0);
            T.AddProduct(ref s01, x0, g1);
            T.AddProduct(ref s02, x0, g2);
            T.AddProduct(ref s03, x0, g3);
            var x1 = T.Create(row[c1]);
            T.AddProduct(ref s10, x1, g0);
            T.AddProduct(ref s11, x1, g1);
            T.AddProduct(ref s12, x1, g2);
            T.AddProduct(ref s13, x1, g3);
            var x2 = T.Create(row[c2]);
            T.AddProduct(ref s20, x2, g0);
            T.AddProduct(ref s21, x2, g1);
            T.AddProduct(ref s22, x2, g2);
            T.AddProduct(ref s23, x2, g3);
            var x3 = T.Create(row[c3]);
            T.AddProduct(ref s30, x3, g0);
            T.AddProduct(ref s31, x3, g1);
            T.AddProduct(ref s32, x3, g2);
            T.AddProduct(ref s33, x3, g3);
            var x4 = T.Create(row[c4]);
            T.AddProduct(ref s40, x4, g0);
            T.AddProduct(ref s41, x4, g1);
            T.AddProduct(ref s42, x4, g2);
            T.AddProduct(ref s43, x4, g3);
            var x5 = T.Create(row[c5]);
            T.AddProduct(ref s50, x5, g0);
            T.AddProduct(ref s51, x5, g1);
            T.AddProduct(ref s52, x5, g2);
            T.AddProduct(ref s53, x5, g3);
        }
        T.Store(sums, s00);
        T.Store(sums + T.Count, s01);
        T.Store(sums + 2 * T.Count, s02);
        T.Store(sums + 3 * T.Count, s03);
        T.Store(sums + 4 * T.Count, s10);
        T.Store(sums + 5 * T.Count, s11);
        T.Store(sums + 6 * T.Count, s12);
        T.Store(sums + 7 * T.Count, s13);
        T.Store(sums + 8 * T.Count, s20);
        T.Store(sums + 9 * T.Count, s21);
        T.Store(sums + 10 * T.Count, s22);
        T.Store(sums + 11 * T.Count, s23);
        T.Store(sums + 12 * T.Count, s30);
        T.Store(sums + 13 * T.Count, s31);
        T.Store(sums + 14 * T.Count, s32);
        T.Store(sums + 15 * T.Count, s33);
        T.Store(sums + 16 * T.Count, s40);
        T.Store(sums + 17 * T.Count, s41);
        T.Store(sums + 18 * T.Count, s42);
        T.Store(sums + 19 * T.Count, s43);
        T.Store(sums + 20 * T.Count, s50);
        T.Store(sums + 21 * T.Count, s51);
        T.Store(sums + 22 * T.Count, s52);
        T.Store(sums + 23 * T.Count, s53);
    }

    private static void Weight2<T>(float* x, int* inRows, float* panel, int pairs, int rows, int cin, float* sums) where T : struct, IFloatLanes<T>
    {
        // Channels beyond the last read the first one again and are not added.
        int c1 = rows > 1 ? 1 : 0, c2 = rows > 2 ? 2 : 0, c3 = rows > 3 ? 3 : 0, c4 = rows > 4 ? 4 : 0, c5 = rows > 5 ? 5 : 0;
        var zero = T.Create(0);
        T s00 = zero, s01 = zero;
        T s10 = zero, s11 = zero;
        T s20 = zero, s21 = zero;
        T s30 = zero, s31 = zero;
        T s40 = zero, s41 = zero;
        T s50 = zero, s51 = zero;
        for (var p = 0; p < pairs; p++, panel += 2 * T.Count)
        {
            var row = x + (long)inRows[p] * cin;
            T g0 = T.Load(panel), g1 = T.Load(panel + T.Count);
            var x0 = T.Create(row[0]);
            T.AddProduct(ref s00, x0, g0);
            T.AddProduct(ref s01, x0, g1);
            var x1 = T.Create(row[c1]);
            T.AddProduct(ref s10, x1, g0);
            T.AddProduct(ref s11, x1, g1);
            var x2 = T.Create(row[c2]);
            T.AddProduct(ref s20, x2, g0);
            T.AddProduct(ref s21, x2, g1);
            var x3 = T.Create(row[c3]);
            T.AddProduct(ref s30, x3, g0);
            T.AddProduct(ref s31, x3, g1);
            var x4 = T.Create(row[c4]);
            T.AddProduct(ref s40, x4, g0);
            T.AddProduct(ref s41, x4, g1);
            var x5 = T.Create(row[c5]);
            T.AddProduct(ref s50, x5, g0);
            T.AddProduct(ref s51, x5, g1);
        }
        T.Store(sums, s00);
        T.Store(sums + T.Count, s01);
        T.Store(sums + 2 * T.Count, s10);
        T.Store(sums + 3 * T.Count, s11);
        T.Store(sums + 4 * T.Count, s20);
        T.Store(sums + 5 * T.Count, s21);
        T.Store(sums + 6 * T.Count, s30);
        T.Store(sums + 7 * T.Count, s31);
        T.Store(sums + 8 * T.Count, s40);
        T.Store(sums + 9 * T.Count, s41);
        T.Store(sums + 10 * T.Count, s50);
        T.Store(sums + 11 * T.Count, s51);
    }

    private static void Weight1<T>(float* x, int* inRows, float* panel, int pairs, int rows, int cin, float* sums) where T : struct, IFloatLanes<T>
    {
        // Channels beyond the last read the first one again and are not added.
        int c1 = rows > 1 ? 1 : 0, c2 = rows > 2 ? 2 : 0, c3 = rows > 3 ? 3 : 0, c4 = rows > 4 ? 4 : 0, c5 = rows > 5 ? 5 : 0;
        var zero = T.Create(0);
        T s00 = zero;
        T s10 = zero;
        T s20 = zero;
        T s30 = zero;
        T s40 = zero;
        T s50 = zero;
        for (var p = 0; p < pairs; p++, panel += 1 * T.Count)
        {
            var row = x + (long)inRows[p] * cin;
            T g0 = T.Load(panel);
            var x0 = T.Create(row[0]);
            T.AddProduct(ref s00, x0, g0);
            var x1 = T.Create(row[c1]);
            T.AddProduct(ref s10, x1, g0);
            var x2 = T.Create(row[c2]);
            T.AddProduct(ref s20, x2, g0);
            var x3 = T.Create(row[c3]);
            T.AddProduct(ref s30, x3, g0);
            var x4 = T.Create(row[c4]);
            T.AddProduct(ref s40, x4, g0);
            var x5 = T.Create(row[c5]);
            T.AddProduct(ref s50, x5, g0);
        }
        T.Store(sums, s00);
        T.Store(sums + T.Count, s10);
        T.Store(sums + 2 * T.Count, s20);
        T.Store(sums + 3 * T.Count, s30);
        T.Store(sums + 4 * T.Count, s40);
        T.Store(sums + 5 * T.Count, s50);
    }
}
