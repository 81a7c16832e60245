namespace Bayou.Kernels;

/// <summary>
/// The inner loops: six pairs at a time against one panel of columns. The sums stay in registers until the loop is over; then they are stored at once, because a call while they are alive
/// would make the compiler keep them in memory throughout.
/// </summary>
public static unsafe partial class SparseGemm
{
    private const int Rows = 6;

    // Floats of the sums of a tile: six rows of four of the widest registers.
    private const int TileLength = Rows * 4 * 16;

    private static void Pairs<T>(float* x, int* inRows, float* y, int* outRows, int count, float* panels, int cin, int cout) where T : struct, IFloatLanes<T>
    {
        var buffer = stackalloc float[TileLength + 16];
        var sums = Align(buffer);
        for (var column = 0; column < cout;)
        {
            var registers = PanelRegisters(cout - column, T.Count);
            var filled = Math.Min(registers * T.Count, cout - column);
            for (var p = 0; p < count; p += Rows)
            {
                var rows = Math.Min(Rows, count - p);
                if (registers == 4) Tile4<T>(x, inRows + p, rows, panels, cin, sums);
                else if (registers == 2) Tile2<T>(x, inRows + p, rows, panels, cin, sums);
                else Tile1<T>(x, inRows + p, rows, panels, cin, sums);
                for (var r = 0; r < rows; r++) AddRow<T>(sums + r * registers * T.Count, y + (long)outRows[p + r] * cout + column, filled);
            }
            panels += (long)cin * registers * T.Count;
            column += registers * T.Count;
        }
    }

    // The last panel may be wider than the columns that exist.
    private static void AddRow<T>(float* sums, float* y, int filled) where T : struct, IFloatLanes<T>
    {
        var i = 0;
        for (; i + T.Count <= filled; i += T.Count) T.Store(y + i, T.Load(y + i) + T.Load(sums + i));
        for (; i < filled; i++) y[i] += sums[i];
    }


    private static void Tile4<T>(float* x, int* inRows, int rows, float* panel, int cin, float* sums) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again and are not added.
        float* r0 = x + (long)inRows[0] * cin, r1 = rows > 1 ? x + (long)inRows[1] * cin : r0, r2 = rows > 2 ? x + (long)inRows[2] * cin : r0;
        float* r3 = rows > 3 ? x + (long)inRows[3] * cin : r0, r4 = rows > 4 ? x + (long)inRows[4] * cin : r0, r5 = rows > 5 ? x + (long)inRows[5] * cin : r0;
        var zero = T.Create(0);
        T s00 = zero, s01 = zero, s02 = zero, s03 = zero;
        T s10 = zero, s11 = zero, s12 = zero, s13 = zero;
        T s20 = zero, s21 = zero, s22 = zero, s23 = zero;
        T s30 = zero, s31 = zero, s32 = zero, s33 = zero;
        T s40 = zero, s41 = zero, s42 = zero, s43 = zero;
        T s50 = zero, s51 = zero, s52 = zero, s53 = zero;
        for (var i = 0; i < cin; i++, panel += 4 * T.Count)
        {
            T w0 = T.Load(panel), w1 = T.Load(panel + T.Count), w2 = T.Load(panel + 2 * T.Count), w3 = T.Load(panel + 3 * T.Count);
            var x0 = T.Create(r0[i]);
            s00 = T.MulAdd(x0, w0, s00);
            s01 = T.MulAdd(x0, w1, s01);
            s02 = T.MulAdd(x0, w2, s02);
            s03 = T.MulAdd(x0, w3, s03);
            var x1 = T.Create(r1[i]);
            s10 = T.MulAdd(x1, w0, s10);
            s11 = T.MulAdd(x1, w1, s11);
            s12 = T.MulAdd(x1, w2, s12);
            s13 = T.MulAdd(x1, w3, s13);
            var x2 = T.Create(r2[i]);
            s20 = T.MulAdd(x2, w0, s20);
            s21 = T.MulAdd(x2, w1, s21);
            s22 = T.MulAdd(x2, w2, s22);
            s23 = T.MulAdd(x2, w3, s23);
            var x3 = T.Create(r3[i]);
            s30 = T.MulAdd(x3, w0, s30);
            s31 = T.MulAdd(x3, w1, s31);
            s32 = T.MulAdd(x3, w2, s32);
            s33 = T.MulAdd(x3, w3, s33);
            var x4 = T.Create(r4[i]);
            s40 = T.MulAdd(x4, w0, s40);
            s41 = T.MulAdd(x4, w1, s41);
            s42 = T.MulAdd(x4, w2, s42);
            s43 = T.MulAdd(x4, w3, s43);
            var x5 = T.Create(r5[i]);
            s50 = T.MulAdd(x5, w0, s50);
            s51 = T.MulAdd(x5, w1, s51);
            s52 = T.MulAdd(x5, w2, s52);
            s53 = T.MulAdd(x5, w3, s53);
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

    private static void Tile2<T>(float* x, int* inRows, int rows, float* panel, int cin, float* sums) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again and are not added.
        float* r0 = x + (long)inRows[0] * cin, r1 = rows > 1 ? x + (long)inRows[1] * cin : r0, r2 = rows > 2 ? x + (long)inRows[2] * cin : r0;
        float* r3 = rows > 3 ? x + (long)inRows[3] * cin : r0, r4 = rows > 4 ? x + (long)inRows[4] * cin : r0, r5 = rows > 5 ? x + (long)inRows[5] * cin : r0;
        var zero = T.Create(0);
        T s00 = zero, s01 = zero;
        T s10 = zero, s11 = zero;
        T s20 = zero, s21 = zero;
        T s30 = zero, s31 = zero;
        T s40 = zero, s41 = zero;
        T s50 = zero, s51 = zero;
        for (var i = 0; i < cin; i++, panel += 2 * T.Count)
        {
            T w0 = T.Load(panel), w1 = T.Load(panel + T.Count);
            var x0 = T.Create(r0[i]);
            s00 = T.MulAdd(x0, w0, s00);
            s01 = T.MulAdd(x0, w1, s01);
            var x1 = T.Create(r1[i]);
            s10 = T.MulAdd(x1, w0, s10);
            s11 = T.MulAdd(x1, w1, s11);
            var x2 = T.Create(r2[i]);
            s20 = T.MulAdd(x2, w0, s20);
            s21 = T.MulAdd(x2, w1, s21);
            var x3 = T.Create(r3[i]);
            s30 = T.MulAdd(x3, w0, s30);
            s31 = T.MulAdd(x3, w1, s31);
            var x4 = T.Create(r4[i]);
            s40 = T.MulAdd(x4, w0, s40);
            s41 = T.MulAdd(x4, w1, s41);
            var x5 = T.Create(r5[i]);
            s50 = T.MulAdd(x5, w0, s50);
            s51 = T.MulAdd(x5, w1, s51);
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

    private static void Tile1<T>(float* x, int* inRows, int rows, float* panel, int cin, float* sums) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again and are not added.
        float* r0 = x + (long)inRows[0] * cin, r1 = rows > 1 ? x + (long)inRows[1] * cin : r0, r2 = rows > 2 ? x + (long)inRows[2] * cin : r0;
        float* r3 = rows > 3 ? x + (long)inRows[3] * cin : r0, r4 = rows > 4 ? x + (long)inRows[4] * cin : r0, r5 = rows > 5 ? x + (long)inRows[5] * cin : r0;
        var zero = T.Create(0);
        T s00 = zero;
        T s10 = zero;
        T s20 = zero;
        T s30 = zero;
        T s40 = zero;
        T s50 = zero;
        for (var i = 0; i < cin; i++, panel += 1 * T.Count)
        {
            T w0 = T.Load(panel);
            var x0 = T.Create(r0[i]);
            s00 = T.MulAdd(x0, w0, s00);
            var x1 = T.Create(r1[i]);
            s10 = T.MulAdd(x1, w0, s10);
            var x2 = T.Create(r2[i]);
            s20 = T.MulAdd(x2, w0, s20);
            var x3 = T.Create(r3[i]);
            s30 = T.MulAdd(x3, w0, s30);
            var x4 = T.Create(r4[i]);
            s40 = T.MulAdd(x4, w0, s40);
            var x5 = T.Create(r5[i]);
            s50 = T.MulAdd(x5, w0, s50);
        }
        T.Store(sums, s00);
        T.Store(sums + T.Count, s10);
        T.Store(sums + 2 * T.Count, s20);
        T.Store(sums + 3 * T.Count, s30);
        T.Store(sums + 4 * T.Count, s40);
        T.Store(sums + 5 * T.Count, s50);
    }
}
