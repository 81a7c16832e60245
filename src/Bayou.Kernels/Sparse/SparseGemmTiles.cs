namespace Bayou.Kernels;

/// <summary>The inner loops: six pairs at a time against one panel of columns, sums in registers.</summary>
public static unsafe partial class SparseGemm
{
    private const int Rows = 6;

    private static void Pairs<T>(float* x, int* inRows, float* y, int* outRows, int count, float* panels, int cin, int cout) where T : struct, IFloatLanes<T>
    {
        for (var column = 0; column < cout;)
        {
            var registers = PanelRegisters(cout - column, T.Count);
            var filled = Math.Min(registers * T.Count, cout - column);
            for (var p = 0; p < count; p += Rows)
            {
                var rows = Math.Min(Rows, count - p);
                if (registers == 4) Tile4<T>(x, inRows + p, y + column, outRows + p, rows, panels, cin, cout, filled);
                else if (registers == 2) Tile2<T>(x, inRows + p, y + column, outRows + p, rows, panels, cin, cout, filled);
                else Tile1<T>(x, inRows + p, y + column, outRows + p, rows, panels, cin, cout, filled);
            }
            panels += (long)cin * registers * T.Count;
            column += registers * T.Count;
        }
    }

    // Adds a register tile's row to memory; the last panel may be wider than the columns that exist.
    private static void Add<T>(float* y, int filled, int at, T sum) where T : struct, IFloatLanes<T>
    {
        if (at + T.Count <= filled)
        {
            T.Store(y + at, T.Load(y + at) + sum);
            return;
        }
        var lanes = stackalloc float[T.Count];
        T.Store(lanes, sum);
        for (var l = 0; at + l < filled; l++) y[at + l] += lanes[l];
    }


    private static void Tile4<T>(float* x, int* inRows, float* y, int* outRows, int rows, float* panel, int cin, int cout, int filled) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again and are not stored.
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
        Store(y + (long)outRows[0] * cout, filled, s00, s01, s02, s03);
        if (rows > 1) Store(y + (long)outRows[1] * cout, filled, s10, s11, s12, s13);
        if (rows > 2) Store(y + (long)outRows[2] * cout, filled, s20, s21, s22, s23);
        if (rows > 3) Store(y + (long)outRows[3] * cout, filled, s30, s31, s32, s33);
        if (rows > 4) Store(y + (long)outRows[4] * cout, filled, s40, s41, s42, s43);
        if (rows > 5) Store(y + (long)outRows[5] * cout, filled, s50, s51, s52, s53);
    }

    private static void Tile2<T>(float* x, int* inRows, float* y, int* outRows, int rows, float* panel, int cin, int cout, int filled) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again and are not stored.
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
        Store(y + (long)outRows[0] * cout, filled, s00, s01);
        if (rows > 1) Store(y + (long)outRows[1] * cout, filled, s10, s11);
        if (rows > 2) Store(y + (long)outRows[2] * cout, filled, s20, s21);
        if (rows > 3) Store(y + (long)outRows[3] * cout, filled, s30, s31);
        if (rows > 4) Store(y + (long)outRows[4] * cout, filled, s40, s41);
        if (rows > 5) Store(y + (long)outRows[5] * cout, filled, s50, s51);
    }

    private static void Tile1<T>(float* x, int* inRows, float* y, int* outRows, int rows, float* panel, int cin, int cout, int filled) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again and are not stored.
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
        Store(y + (long)outRows[0] * cout, filled, s00);
        if (rows > 1) Store(y + (long)outRows[1] * cout, filled, s10);
        if (rows > 2) Store(y + (long)outRows[2] * cout, filled, s20);
        if (rows > 3) Store(y + (long)outRows[3] * cout, filled, s30);
        if (rows > 4) Store(y + (long)outRows[4] * cout, filled, s40);
        if (rows > 5) Store(y + (long)outRows[5] * cout, filled, s50);
    }

    private static void Store<T>(float* y, int filled, T s0, T s1, T s2, T s3) where T : struct, IFloatLanes<T>
    {
        Add(y, filled, 0, s0);
        Add(y, filled, T.Count, s1);
        Add(y, filled, 2 * T.Count, s2);
        Add(y, filled, 3 * T.Count, s3);
    }

    private static void Store<T>(float* y, int filled, T s0, T s1) where T : struct, IFloatLanes<T>
    {
        Add(y, filled, 0, s0);
        Add(y, filled, T.Count, s1);
    }

    private static void Store<T>(float* y, int filled, T s0) where T : struct, IFloatLanes<T>
    {
        Add(y, filled, 0, s0);
    }
}
