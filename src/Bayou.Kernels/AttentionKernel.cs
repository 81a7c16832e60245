using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>Rows of a batch of heads as they lie in memory: the numbers of a row side by side, a step for everything else.</summary>
/// <param name="Data">First number.</param>
/// <param name="Batch">Floats from a batch to the next.</param>
/// <param name="Head">Floats from a head to the next.</param>
/// <param name="Row">Floats from a row to the next.</param>
public readonly unsafe record struct AttentionRows(nint Data, long Batch, long Head, long Row)
{
    internal float* At(int batch, int head) => (float*)Data + batch * Batch + head * Head;
}

/// <summary>Sizes of an attention.</summary>
/// <param name="Batches">Batches.</param>
/// <param name="Heads">Heads.</param>
/// <param name="Queries">Rows of q, at least 8.</param>
/// <param name="Keys">Rows of k and v.</param>
/// <param name="Width">Numbers in a row of q and k.</param>
/// <param name="ValueWidth">Numbers in a row of v.</param>
public readonly record struct AttentionShape(int Batches, int Heads, int Queries, int Keys, int Width, int ValueWidth);

/// <summary>
/// Attention forward, softmax(scale q k' + bias) v, on machines with AVX-512: for a few rows of q at a time the weights of all keys are computed, made
/// probabilities and multiplied with v while the cache holds them, by the tiles of <see cref="ProductKernel"/>. Keys and values of a head are packed once for
/// each unit. Results do not depend on the number of threads.
/// </summary>
public static unsafe class AttentionKernel
{
    private const int Lanes = PointwiseTiles.Lanes, Block = PointwiseTiles.NarrowRows * PointwiseTiles.WideRows / 2;

    private const float Log2E = 1.44269504f, Ln2High = 0.693145752f, Ln2Low = 1.42860677e-6f, Smallest = -87;

    // e^f over [-ln 2 / 2, ln 2 / 2]: Taylor's series, which is exact to a rounding there.
    private const float C2 = 1 / 2f, C3 = 1 / 6f, C4 = 1 / 24f, C5 = 1 / 120f, C6 = 1 / 720f, C7 = 1 / 5040f;

    /// <summary>Whether the machine and the sizes suit: tiles that are mostly full.</summary>
    public static bool Suits(AttentionShape s) =>
        ProductKernel.Suits(s.Queries, Math.Max(Lanes, s.Width), s.Keys) && s.Width >= 8 && s.ValueWidth >= 8 && s.Keys >= Lanes
        && (long)s.Keys * (s.Width + s.ValueWidth) < int.MaxValue / 8;

    /// <summary>The attention.</summary>
    /// <param name="q">[batches, heads, queries, width].</param>
    /// <param name="k">[batches, heads, keys, width].</param>
    /// <param name="v">[batches, heads, keys, value width].</param>
    /// <param name="bias">[batches, heads, queries, keys] with steps that may be zero, or null.</param>
    /// <param name="scale">Factor on q k'.</param>
    /// <param name="y">[batches, heads, queries, value width], written.</param>
    /// <param name="s">Sizes.</param>
    public static void Forward(AttentionRows q, AttentionRows k, AttentionRows v, AttentionRows? bias, float scale, AttentionRows y, AttentionShape s)
    {
        var heads = s.Batches * s.Heads;
        var blocks = (s.Queries + Block - 1) / Block;
        var parts = Math.Clamp((4 * KernelThreads.Count + heads - 1) / heads, 1, blocks);
        KernelThreads.Run(heads * parts, (long)heads * s.Queries * s.Keys * (s.Width + s.ValueWidth), unit =>
        {
            var (head, part) = (unit / parts, unit % parts);
            Rows(q, k, v, bias, scale, y, s, head / s.Heads, head % s.Heads, blocks * part / parts, blocks * (part + 1) / parts);
        });
    }

    // Blocks [from, to) of the rows of one head.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows(AttentionRows q, AttentionRows k, AttentionRows v, AttentionRows? bias, float scale, AttentionRows y, AttentionShape s, int batch,
        int head, int from, int to)
    {
        int keys = Padded(s.Keys), values = Padded(s.ValueWidth), height = Math.Min(Block, s.Queries);
        int keysLength = keys * s.Width, valuesLength = values * s.Keys, weightsLength = height * keys;
        var memory = ArrayPool<float>.Shared.Rent(keysLength + valuesLength + weightsLength + PointwiseTiles.NarrowRows * PointwiseTiles.Wide + Lanes);
        var sums = stackalloc float[Block];
        fixed (float* start = memory)
        {
            float* packedKeys = (float*)(((nint)start + 63) & ~63), packedValues = packedKeys + keysLength, weights = packedValues + valuesLength,
                tile = weights + weightsLength;
            for (int i = 0, width; i < s.Keys; i += width)
            {
                width = PointwiseTiles.Width(s.Keys - i);
                ProductKernel.Pack(k.At(batch, head) + i * k.Row, 1, (nint)k.Row, s.Width, Math.Min(width, s.Keys - i), packedKeys + i * s.Width, width);
            }
            for (int i = 0, width; i < s.ValueWidth; i += width)
            {
                width = PointwiseTiles.Width(s.ValueWidth - i);
                ProductKernel.Pack(v.At(batch, head) + i, (nint)v.Row, 1, s.Keys, Math.Min(width, s.ValueWidth - i), packedValues + i * s.Keys, width);
            }
            for (var block = from; block < to; block++)
            {
                // The last block overlaps the one before it.
                var row = Math.Min(block * Block, s.Queries - height);
                var queries = q.At(batch, head) + row * q.Row;
                for (int i = 0, width; i < s.Keys; i += width)
                {
                    width = PointwiseTiles.Width(s.Keys - i);
                    Product(queries, (nint)q.Row, packedKeys + i * s.Width, width, s.Width, height, weights + i, keys);
                }
                for (var r = 0; r < height; r++)
                {
                    var b = bias is { } rows ? rows.At(batch, head) + (row + r) * rows.Row : null;
                    sums[r] = Softmax(weights + r * keys, s.Keys, scale, b);
                }
                for (int i = 0, width; i < s.ValueWidth; i += width)
                {
                    width = PointwiseTiles.Width(s.ValueWidth - i);
                    var count = Math.Min(width, s.ValueWidth - i);
                    var rows = TileRows(width);
                    for (var r = 0; r < height; r += rows)
                    {
                        var first = Math.Min(r, height - rows);
                        Tile(weights + first * keys, keys, packedValues + i * s.Keys, width, s.Keys, tile, width);
                        for (var t = 0; t < rows; t++)
                            Scale(tile + t * width, 1 / sums[first + t], count, y.At(batch, head) + (row + first + t) * y.Row + i);
                    }
                }
            }
        }
        ArrayPool<float>.Shared.Return(memory);
    }

    private static int Padded(int columns)
    {
        var at = 0;
        while (at < columns) at += PointwiseTiles.Width(columns - at);
        return at;
    }

    private static int TileRows(int width) => width == PointwiseTiles.Narrow ? PointwiseTiles.NarrowRows : PointwiseTiles.WideRows;

    // Rows of a panel, written where they belong.
    private static void Product(float* a, nint row, float* panel, int width, int depth, int height, float* y, nint step)
    {
        var rows = TileRows(width);
        for (var r = 0; r < height; r += rows)
        {
            var first = Math.Min(r, height - rows);
            Tile(a + first * row, row, panel, width, depth, y + first * step, step);
        }
    }

    private static void Tile(float* a, nint row, float* panel, int width, int depth, float* y, nint step)
    {
        if (width == PointwiseTiles.Narrow) PointwiseTiles.Tile3(a, row, 1, panel, depth, y, step, false);
        else PointwiseTiles.Tile4(a, row, 1, panel, depth, y, step, false);
    }

    // exp(scale w + bias - the largest of them), and the sum; beyond the last key zeros.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Softmax(float* w, int count, float scale, float* bias)
    {
        Vector512<float> factor = Vector512.Create(scale), none = Vector512.Create(float.NegativeInfinity), largest = none;
        var i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            var x = Vector512.Load(w + i) * factor;
            if (bias is not null) x += Vector512.Load(bias + i);
            x.Store(w + i);
            largest = Avx512F.Max(largest, x);
        }
        if (i < count)
        {
            var x = FloatParts.Load512(w + i, count - i, default) * factor;
            if (bias is not null) x += FloatParts.Load512(bias + i, count - i, default);
            x = Vector512.ConditionalSelect(FloatParts.First(count - i), x, none);
            x.Store(w + i);
            largest = Avx512F.Max(largest, x);
        }
        Vector512<float> top = Vector512.Create(Largest(largest)), sum = default;
        for (i = 0; i < count; i += Lanes)
        {
            var e = Exp(Vector512.Load(w + i) - top);
            e.Store(w + i);
            sum += e;
        }
        return Vector512.Sum(sum);
    }

    private static float Largest(Vector512<float> v)
    {
        var a = Vector256.Max(v.GetLower(), v.GetUpper());
        var b = Vector128.Max(a.GetLower(), a.GetUpper());
        b = Vector128.Max(b, Vector128.Shuffle(b, Vector128.Create(2, 3, 0, 1)));
        return Vector128.Max(b, Vector128.Shuffle(b, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    // For x <= 0; below e^-87 it is zero. NaN stays: of two operands of which one is NaN, Max takes the second.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Exp(Vector512<float> x)
    {
        var smallest = Vector512.Create(Smallest);
        var c = Avx512F.Max(smallest, x);
        var n = Avx512F.RoundScale(c * Vector512.Create(Log2E), 0);
        var f = Avx512F.FusedMultiplyAdd(n, Vector512.Create(-Ln2High), c);
        f = Avx512F.FusedMultiplyAdd(n, Vector512.Create(-Ln2Low), f);
        // Two short chains instead of a long one.
        Vector512<float> g = f * f, one = Vector512.Create(1f);
        var low = Avx512F.FusedMultiplyAdd(Avx512F.FusedMultiplyAdd(Vector512.Create(C3), f, Vector512.Create(C2)), g, f + one);
        var high = Avx512F.FusedMultiplyAdd(Avx512F.FusedMultiplyAdd(Vector512.Create(C7), f, Vector512.Create(C6)), g,
            Avx512F.FusedMultiplyAdd(Vector512.Create(C5), f, Vector512.Create(C4)));
        var p = Avx512F.Scale(Avx512F.FusedMultiplyAdd(high, g * g, low), n);
        return Vector512.ConditionalSelect(Vector512.LessThan(x, smallest), Vector512<float>.Zero, p);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scale(float* x, float factor, int count, float* y)
    {
        var f = Vector512.Create(factor);
        var i = 0;
        for (; i + Lanes <= count; i += Lanes) (Vector512.Load(x + i) * f).Store(y + i);
        if (i < count) FloatParts.Store512(y + i, Vector512.Load(x + i) * f, count - i);
    }
}
