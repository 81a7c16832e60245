using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>A matrix as it lies in memory: element (i, j) at Data + i Row + j Column floats; one of both steps is 1.</summary>
/// <param name="Data">Element (0, 0).</param>
/// <param name="Row">Floats from a row to the next.</param>
/// <param name="Column">Floats from a column to the next.</param>
public readonly unsafe record struct ProductMatrix(nint Data, nint Row, nint Column)
{
    /// <summary>Rows of <paramref name="columns"/> floats without gaps.</summary>
    public static ProductMatrix Rows(float* data, int columns) => new((nint)data, columns, 1);

    /// <summary>Rows and columns exchanged.</summary>
    public ProductMatrix Transposed => new(Data, Column, Row);

    internal float* At(long row, long column) => (float*)Data + row * Row + column * Column;
}

/// <summary>
/// Matrix products y = act((a b) scale + bias) + add of float32 on machines with AVX-512: for processors whose AVX-512 libtorch's own products leave alone (Intel's library
/// takes it on Intel's processors only). Results do not depend on the number of threads.
/// <para>
/// A unit has a panel of 48 or 64 columns and some rows. The panel is packed for 512 numbers of depth at a time and stays in the second-level cache, while the
/// rows of a pass by as they lie, a number at a time.
/// </para>
/// </summary>
public static unsafe class ProductKernel
{
    private const int Lanes = PointwiseTiles.Lanes, Stretch = 512, MostRows = 384, FewestRows = 96, ShortDepth = 256, NearFloats = 1_500_000;

    // Rows of a unit come in whole tiles of either form.
    private const int RowStep = PointwiseTiles.NarrowRows * PointwiseTiles.WideRows / 2;

    /// <summary>Whether the machine and the sizes suit.</summary>
    public static bool Suits(long rows, long depth, long columns) =>
        KernelIsa.Current == KernelIsaLevel.Vector512 && rows >= PointwiseTiles.NarrowRows
        && depth >= Lanes && columns > Lanes && rows <= int.MaxValue / 2 && depth <= int.MaxValue / 2 && columns <= int.MaxValue / 2;

    /// <summary>y = act((a b) scale + bias) + add.</summary>
    /// <param name="a">[rows, depth].</param>
    /// <param name="b">[depth, columns].</param>
    /// <param name="scale">[columns] or null.</param>
    /// <param name="bias">[columns] or null.</param>
    /// <param name="add">[rows, columns] or null.</param>
    /// <param name="y">[rows, columns], written; none of the inputs.</param>
    /// <param name="activation">Activation.</param>
    /// <param name="rows">Rows, at least 8.</param>
    /// <param name="depth">Terms of a sum, at least 16.</param>
    /// <param name="columns">Columns, at least 17.</param>
    public static void Forward(
        ProductMatrix a, ProductMatrix b, float* scale, float* bias, float* add, float* y, PointwiseActivation activation, int rows, int depth, int columns)
    {
        var job = new Job(a, b, scale, bias, add, y, activation, rows, depth, columns);
        var panels = job.Panels;
        // A few units for every thread, but enough rows in each that packing is little beside them.
        var height = Math.Clamp((int)((long)rows * panels / (8 * KernelThreads.Count)), FewestRows, MostRows);
        height = (height + RowStep - 1) / RowStep * RowStep;
        var blocks = (rows + height - 1) / height;
        KernelThreads.Run(panels * blocks, (long)rows * depth * columns, unit =>
        {
            var top = unit / panels * height;
            job.Run(unit % panels, top, Math.Min(rows, top + height));
        });
    }

    /// <summary>[depth, count] -> [depth][width], zeros beyond.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Pack(float* source, nint row, nint column, int depth, int count, float* packed, int width)
    {
        if (count < width)
        {
            var whole = count / Lanes * Lanes;
            for (var k = 0; k < depth; k++)
                for (var i = whole; i < width; i += Lanes) Vector512<float>.Zero.Store(packed + k * width + i);
        }
        if (column == 1)
        {
            for (var k = 0; k < depth; k++, source += row, packed += width)
            {
                var i = 0;
                for (; i + Lanes <= count; i += Lanes) Vector512.Load(source + i).Store(packed + i);
                if (i < count) FloatParts.Load512(source + i, count - i, default).Store(packed + i);
            }
            return;
        }
        if (row == 1 && count >= Lanes && depth >= Lanes)
        {
            // Squares turned around in registers; the last of either direction overlaps the one before.
            for (var i = 0; i < count; i += Lanes)
            {
                var n = Math.Min(i, count - Lanes);
                for (var k = 0; k < depth; k += Lanes)
                {
                    var d = Math.Min(k, depth - Lanes);
                    FloatTranspose.Square16(source + n * column + d, column, packed + d * width + n, width);
                }
            }
            return;
        }
        for (var k = 0; k < depth; k++)
            for (var i = 0; i < count; i++) packed[k * width + i] = source[k * row + i * column];
    }

    /// <summary>One call.</summary>
    private readonly struct Job(
        ProductMatrix a, ProductMatrix b, float* scale, float* bias, float* add, float* y, PointwiseActivation activation, int rows, int depth, int columns)
    {
        private readonly int[] starts = Starts(columns);

        // Whether waiting for the memory that is written would be a good part of the work: short sums, and results that the caches do not hold.
        private readonly bool far = depth <= ShortDepth && (long)rows * columns > NearFloats;

        public int Panels => starts.Length - 1;

        /// <summary>A panel of columns, and rows [top, bottom).</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int panel, int top, int bottom)
        {
            int column = starts[panel], width = PointwiseTiles.Width(columns - column), count = starts[panel + 1] - column;
            var tileRows = width == PointwiseTiles.Narrow ? PointwiseTiles.NarrowRows : PointwiseTiles.WideRows;
            // Sums of all rows wait for the next stretch of depth.
            var several = depth > Stretch;
            int packedLength = Math.Min(depth, Stretch) * width, sumsLength = (several ? bottom - top + tileRows : tileRows) * width;
            var memory = ArrayPool<float>.Shared.Rent(packedLength + sumsLength + Lanes);
            fixed (float* start = memory)
            {
                float* packed = (float*)(((nint)start + 63) & ~63), sums = packed + packedLength;
                for (var from = 0; from < depth; from += Stretch)
                {
                    var terms = Math.Min(Stretch, depth - from);
                    Pack(b.At(from, column), b.Row, b.Column, terms, count, packed, width);
                    for (var row = top; row < bottom; row += tileRows)
                    {
                        // Where less than a tile is left, some rows are done again.
                        var first = Math.Min(row, rows - tileRows);
                        var tile = several ? sums + (row - top) * width : sums;
                        if (far && from + terms == depth) Ahead(row, Math.Min(row + tileRows, bottom), column, count);
                        if (width == PointwiseTiles.Narrow) PointwiseTiles.Tile3(a.At(first, from), a.Row, a.Column, packed, terms, tile, width, from > 0);
                        else PointwiseTiles.Tile4(a.At(first, from), a.Row, a.Column, packed, terms, tile, width, from > 0);
                        if (from + terms < depth) continue;
                        Finish(tile + (row - first) * width, width, row, Math.Min(row + tileRows, bottom), column, count);
                    }
                }
            }
            ArrayPool<float>.Shared.Return(memory);
        }

        // Fetches what a tile writes while it is computed.
        private void Ahead(int from, int to, int column, int count)
        {
            for (var r = from; r < to; r++)
            {
                var at = y + (long)r * columns + column;
                for (var i = 0; i < count; i += Lanes) Sse.Prefetch0(at + i);
            }
        }

        // What follows the product, for rows [from, to) of a tile at once: the exponentials of many registers overlap.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Finish(float* sums, int width, int from, int to, int column, int count)
        {
            if (scale is not null || bias is not null || activation == PointwiseActivation.Relu)
            {
                for (var i = 0; i < count; i += Lanes)
                {
                    var part = Math.Min(Lanes, count - i);
                    Vector512<float> s = scale is null ? Vector512.Create(1f) : FloatParts.Load512(scale + column + i, part, default),
                        b = bias is null ? default : FloatParts.Load512(bias + column + i, part, default);
                    var z = sums + i;
                    for (var r = from; r < to; r++, z += width)
                    {
                        var v = Avx512F.FusedMultiplyAdd(Vector512.Load(z), s, b);
                        if (activation == PointwiseActivation.Relu)
                            v = Vector512.ConditionalSelect(Vector512.LessThan(v, Vector512<float>.Zero), Vector512<float>.Zero, v);
                        v.Store(z);
                    }
                }
            }
            if (activation == PointwiseActivation.Gelu) GeluKernel.InPlace(sums, (to - from) * width);
            for (var r = from; r < to; r++, sums += width)
            {
                var at = (long)r * columns + column;
                PointwiseTiles.Store(sums, add is null ? null : add + at, y + at, count);
            }
        }

        private static int[] Starts(int columns)
        {
            var starts = new List<int> { 0 };
            for (var column = 0; column < columns; starts.Add(column)) column = Math.Min(columns, column + PointwiseTiles.Width(columns - column));
            return [.. starts];
        }
    }
}
