namespace Bayou.Kernels;

/// <summary>
/// The inner loops: six pairs at a time against one panel of columns. The sums start from the rows they belong to and stay in registers until the loop is over;
/// a call while they are alive would make the compiler keep them in memory throughout.
/// </summary>
public static unsafe partial class SparseGemm
{
    private const int Rows = 6;

    // Floats of the sums of a tile: six rows of four of the widest registers.
    private const int TileLength = Rows * 4 * 16;

    private static void Pairs<T>(float* x, int* inRows, float* y, int* outRows, int count, float* panels, int cin, int cout) where T : struct, IFloatLanes<T>
    {
        var buffer = stackalloc float[TileLength + 16];
        var beside = Align(buffer);
        var targets = stackalloc float*[Rows];
        for (var column = 0; column < cout;)
        {
            var registers = PanelRegisters(cout - column, T.Count);
            var width = registers * T.Count;
            var filled = Math.Min(width, cout - column);
            // A panel wider than the columns that are left adds up beside them.
            var whole = filled == width;
            for (var p = 0; p < count; p += Rows)
            {
                var rows = Math.Min(Rows, count - p);
                for (var r = 0; r < Rows; r++)
                {
                    targets[r] = whole && r < rows ? y + (long)outRows[p + r] * cout + column : beside + r * width;
                }
                if (!whole) new Span<float>(beside, Rows * width).Clear();
                // The rows the next tile meets: they lie anywhere, so the machine cannot foresee them.
                for (var r = p + Rows; r < Math.Min(p + 2 * Rows, count); r++)
                {
                    Prefetch(y + (long)outRows[r] * cout + column, filled);
                    if (column == 0) Prefetch(x + (long)inRows[r] * cin, cin);
                }
                if (registers == 4) Tile4<T>(x, inRows + p, rows, panels, cin, targets);
                else if (registers == 2) Tile2<T>(x, inRows + p, rows, panels, cin, targets);
                else Tile1<T>(x, inRows + p, rows, panels, cin, targets);
                for (var r = 0; !whole && r < rows; r++) AddRow<T>(beside + r * width, y + (long)outRows[p + r] * cout + column, filled);
            }
            panels += (long)cin * width;
            column += width;
        }
    }

    // The last panel may be wider than the columns that exist.
    private static void AddRow<T>(float* sums, float* y, int filled) where T : struct, IFloatLanes<T>
    {
        var i = 0;
        for (; i + T.Count <= filled; i += T.Count) T.Store(y + i, T.Load(y + i) + T.Load(sums + i));
        for (; i < filled; i++) y[i] += sums[i];
    }


    private static void Tile4<T>(float* x, int* inRows, int rows, float* panel, int cin, float** targets) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again.
        float* r0 = x + (long)inRows[0] * cin, r1 = rows > 1 ? x + (long)inRows[1] * cin : r0, r2 = rows > 2 ? x + (long)inRows[2] * cin : r0;
        float* r3 = rows > 3 ? x + (long)inRows[3] * cin : r0, r4 = rows > 4 ? x + (long)inRows[4] * cin : r0, r5 = rows > 5 ? x + (long)inRows[5] * cin : r0;
        var t0 = targets[0];
        T s00 = T.Load(t0), s01 = T.Load(t0 + T.Count), s02 = T.Load(t0 + 2 * T.Count), s03 = T.Load(t0 + 3 * T.Count);
        var t1 = targets[1];
        T s10 = T.Load(t1), s11 = T.Load(t1 + T.Count), s12 = T.Load(t1 + 2 * T.Count), s13 = T.Load(t1 + 3 * T.Count);
        var t2 = targets[2];
        T s20 = T.Load(t2), s21 = T.Load(t2 + T.Count), s22 = T.Load(t2 + 2 * T.Count), s23 = T.Load(t2 + 3 * T.Count);
        var t3 = targets[3];
        T s30 = T.Load(t3), s31 = T.Load(t3 + T.Count), s32 = T.Load(t3 + 2 * T.Count), s33 = T.Load(t3 + 3 * T.Count);
        var t4 = targets[4];
        T s40 = T.Load(t4), s41 = T.Load(t4 + T.Count), s42 = T.Load(t4 + 2 * T.Count), s43 = T.Load(t4 + 3 * T.Count);
        var t5 = targets[5];
        T s50 = T.Load(t5), s51 = T.Load(t5 + T.Count), s52 = T.Load(t5 + 2 * T.Count), s53 = T.Load(t5 + 3 * T.Count);
        for (var i = 0; i < cin; i++, panel += 4 * T.Count)
        {
            T w0 = T.Load(panel), w1 = T.Load(panel + T.Count), w2 = T.Load(panel + 2 * T.Count), w3 = T.Load(panel + 3 * T.Count);
            var x0 = T.Create(r0[i]);
            T.AddProduct(ref s00, x0, w0);
            T.AddProduct(ref s01, x0, w1);
            T.AddProduct(ref s02, x0, w2);
            T.AddProduct(ref s03, x0, w3);
            var x1 = T.Create(r1[i]);
            T.AddProduct(ref s10, x1, w0);
            T.AddProduct(ref s11, x1, w1);
            T.AddProduct(ref s12, x1, w2);
            T.AddProduct(ref s13, x1, w3);
            var x2 = T.Create(r2[i]);
            T.AddProduct(ref s20, x2, w0);
            T.AddProduct(ref s21, x2, w1);
            T.AddProduct(ref s22, x2, w2);
            T.AddProduct(ref s23, x2, w3);
            var x3 = T.Create(r3[i]);
            T.AddProduct(ref s30, x3, w0);
            T.AddProduct(ref s31, x3, w1);
            T.AddProduct(ref s32, x3, w2);
            T.AddProduct(ref s33, x3, w3);
            var x4 = T.Create(r4[i]);
            T.AddProduct(ref s40, x4, w0);
            T.AddProduct(ref s41, x4, w1);
            T.AddProduct(ref s42, x4, w2);
            T.AddProduct(ref s43, x4, w3);
            var x5 = T.Create(r5[i]);
            T.AddProduct(ref s50, x5, w0);
            T.AddProduct(ref s51, x5, w1);
            T.AddProduct(ref s52, x5, w2);
            T.AddProduct(ref s53, x5, w3);
        }
        T.Store(t0, s00);
        T.Store(t0 + T.Count, s01);
        T.Store(t0 + 2 * T.Count, s02);
        T.Store(t0 + 3 * T.Count, s03);
        T.Store(t1, s10);
        T.Store(t1 + T.Count, s11);
        T.Store(t1 + 2 * T.Count, s12);
        T.Store(t1 + 3 * T.Count, s13);
        T.Store(t2, s20);
        T.Store(t2 + T.Count, s21);
        T.Store(t2 + 2 * T.Count, s22);
        T.Store(t2 + 3 * T.Count, s23);
        T.Store(t3, s30);
        T.Store(t3 + T.Count, s31);
        T.Store(t3 + 2 * T.Count, s32);
        T.Store(t3 + 3 * T.Count, s33);
        T.Store(t4, s40);
        T.Store(t4 + T.Count, s41);
        T.Store(t4 + 2 * T.Count, s42);
        T.Store(t4 + 3 * T.Count, s43);
        T.Store(t5, s50);
        T.Store(t5 + T.Count, s51);
        T.Store(t5 + 2 * T.Count, s52);
        T.Store(t5 + 3 * T.Count, s53);
    }

    private static void Tile2<T>(float* x, int* inRows, int rows, float* panel, int cin, float** targets) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again.
        float* r0 = x + (long)inRows[0] * cin, r1 = rows > 1 ? x + (long)inRows[1] * cin : r0, r2 = rows > 2 ? x + (long)inRows[2] * cin : r0;
        float* r3 = rows > 3 ? x + (long)inRows[3] * cin : r0, r4 = rows > 4 ? x + (long)inRows[4] * cin : r0, r5 = rows > 5 ? x + (long)inRows[5] * cin : r0;
        var t0 = targets[0];
        T s00 = T.Load(t0), s01 = T.Load(t0 + T.Count);
        var t1 = targets[1];
        T s10 = T.Load(t1), s11 = T.Load(t1 + T.Count);
        var t2 = targets[2];
        T s20 = T.Load(t2), s21 = T.Load(t2 + T.Count);
        var t3 = targets[3];
        T s30 = T.Load(t3), s31 = T.Load(t3 + T.Count);
        var t4 = targets[4];
        T s40 = T.Load(t4), s41 = T.Load(t4 + T.Count);
        var t5 = targets[5];
        T s50 = T.Load(t5), s51 = T.Load(t5 + T.Count);
        for (var i = 0; i < cin; i++, panel += 2 * T.Count)
        {
            T w0 = T.Load(panel), w1 = T.Load(panel + T.Count);
            var x0 = T.Create(r0[i]);
            T.AddProduct(ref s00, x0, w0);
            T.AddProduct(ref s01, x0, w1);
            var x1 = T.Create(r1[i]);
            T.AddProduct(ref s10, x1, w0);
            T.AddProduct(ref s11, x1, w1);
            var x2 = T.Create(r2[i]);
            T.AddProduct(ref s20, x2, w0);
            T.AddProduct(ref s21, x2, w1);
            var x3 = T.Create(r3[i]);
            T.AddProduct(ref s30, x3, w0);
            T.AddProduct(ref s31, x3, w1);
            var x4 = T.Create(r4[i]);
            T.AddProduct(ref s40, x4, w0);
            T.AddProduct(ref s41, x4, w1);
            var x5 = T.Create(r5[i]);
            T.AddProduct(ref s50, x5, w0);
            T.AddProduct(ref s51, x5, w1);
        }
        T.Store(t0, s00);
        T.Store(t0 + T.Count, s01);
        T.Store(t1, s10);
        T.Store(t1 + T.Count, s11);
        T.Store(t2, s20);
        T.Store(t2 + T.Count, s21);
        T.Store(t3, s30);
        T.Store(t3 + T.Count, s31);
        T.Store(t4, s40);
        T.Store(t4 + T.Count, s41);
        T.Store(t5, s50);
        T.Store(t5 + T.Count, s51);
    }

    private static void Tile1<T>(float* x, int* inRows, int rows, float* panel, int cin, float** targets) where T : struct, IFloatLanes<T>
    {
        // Rows beyond the last read the first one again.
        float* r0 = x + (long)inRows[0] * cin, r1 = rows > 1 ? x + (long)inRows[1] * cin : r0, r2 = rows > 2 ? x + (long)inRows[2] * cin : r0;
        float* r3 = rows > 3 ? x + (long)inRows[3] * cin : r0, r4 = rows > 4 ? x + (long)inRows[4] * cin : r0, r5 = rows > 5 ? x + (long)inRows[5] * cin : r0;
        var t0 = targets[0];
        T s00 = T.Load(t0);
        var t1 = targets[1];
        T s10 = T.Load(t1);
        var t2 = targets[2];
        T s20 = T.Load(t2);
        var t3 = targets[3];
        T s30 = T.Load(t3);
        var t4 = targets[4];
        T s40 = T.Load(t4);
        var t5 = targets[5];
        T s50 = T.Load(t5);
        for (var i = 0; i < cin; i++, panel += 1 * T.Count)
        {
            T w0 = T.Load(panel);
            var x0 = T.Create(r0[i]);
            T.AddProduct(ref s00, x0, w0);
            var x1 = T.Create(r1[i]);
            T.AddProduct(ref s10, x1, w0);
            var x2 = T.Create(r2[i]);
            T.AddProduct(ref s20, x2, w0);
            var x3 = T.Create(r3[i]);
            T.AddProduct(ref s30, x3, w0);
            var x4 = T.Create(r4[i]);
            T.AddProduct(ref s40, x4, w0);
            var x5 = T.Create(r5[i]);
            T.AddProduct(ref s50, x5, w0);
        }
        T.Store(t0, s00);
        T.Store(t1, s10);
        T.Store(t2, s20);
        T.Store(t3, s30);
        T.Store(t4, s40);
        T.Store(t5, s50);
    }
}
