using System.Buffers;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>
/// Sparse convolution over a <see cref="KernelMap"/>: y[out] += x[in] W[k] for all pairs of all offsets k, and its gradients. Rows are read where they lie
/// and added where they belong
/// ("fetch on demand": no gather buffer, no scatter pass); a block of neighbouring output rows stays in the cache while all offsets pass over it. Sums do not
/// depend on the number of threads.
/// </summary>
public static unsafe partial class SparseGemm
{
    // Partial sums of the weight gradient: fixed, because each adds up on its own.
    private const int Parts = 8;

    /// <summary>y[out] = bias + sum over k and pairs of x[in] W[k].</summary>
    /// <param name="map">The pairs.</param>
    /// <param name="x">[map.InCount, cin].</param>
    /// <param name="w">[map.Volume, cin, cout].</param>
    /// <param name="bias">[cout] or null.</param>
    /// <param name="y">[map.OutCount, cout], written.</param>
    /// <param name="cin">Input channels.</param>
    /// <param name="cout">Output channels.</param>
    public static void Forward(KernelMap map, float* x, float* w, float* bias, float* y, int cin, int cout)
    {
        var (isa, volume) = (KernelIsa.Current, map.Volume);
        var width = PanelWidth(cout, isa);
        var packed = ArrayPool<float>.Shared.Rent(checked((int)Math.Min(int.MaxValue, (long)volume * cin * width + 16)));
        fixed (float* first = packed)
        {
            var panels = Align(first);
            For(volume, k => Pack(w + (long)k * cin * cout, panels + (long)k * cin * width, cin, cout, isa));
            Apply(map, x, panels, bias, y, cin, cout, width, isa);
        }
        ArrayPool<float>.Shared.Return(packed);
    }

    /// <summary>dx[in] = sum over k and pairs of dy[out] W[k]'.</summary>
    /// <param name="map">The pairs of the forward pass.</param>
    /// <param name="dy">[map.OutCount, cout].</param>
    /// <param name="w">[map.Volume, cin, cout].</param>
    /// <param name="dx">[map.InCount, cin], written.</param>
    /// <param name="cin">Input channels.</param>
    /// <param name="cout">Output channels.</param>
    public static void BackwardInput(KernelMap map, float* dy, float* w, float* dx, int cin, int cout)
    {
        var count = map.Volume * cin * cout;
        var transposed = ArrayPool<float>.Shared.Rent(count);
        fixed (float* t = transposed)
        {
            var target = t;
            For(map.Volume, k =>
            {
                float* from = w + (long)k * cin * cout, to = target + (long)k * cin * cout;
                for (var i = 0; i < cin; i++) for (var o = 0; o < cout; o++) to[o * cin + i] = from[i * cout + o];
            });
            Forward(map.Transposed(), dy, t, null, dx, cout, cin);
        }
        ArrayPool<float>.Shared.Return(transposed);
    }

    /// <summary>dw[k] = sum over pairs of x[in]' dy[out].</summary>
    /// <param name="map">The pairs of the forward pass.</param>
    /// <param name="x">[map.InCount, cin].</param>
    /// <param name="dy">[map.OutCount, cout].</param>
    /// <param name="dw">[map.Volume, cin, cout], written.</param>
    /// <param name="cin">Input channels.</param>
    /// <param name="cout">Output channels.</param>
    public static void BackwardWeight(KernelMap map, float* x, float* dy, float* dw, int cin, int cout)
    {
        var (isa, size, volume) = (KernelIsa.Current, cin * cout, map.Volume);
        var width = PanelWidth(cout, isa);
        // Blocks of neighbouring outputs, all offsets over each: rows are read from the cache. Where an offset has few pairs in a block, some blocks go
        // together.
        var blocks = map.OutBlocks;
        var joined = (int)Math.Clamp(Chunk * (long)blocks * volume / Math.Max(1, map.Pairs), 1, 8);
        var parts = Math.Clamp((blocks + joined - 1) / joined, 1, Parts);
        var beside = ArrayPool<float>.Shared.Rent(checked((parts - 1) * volume * size));
        fixed (float* extra = beside)
        {
            // The first part adds up in place, the others beside it.
            var sums = extra - (nint)volume * size;
            For(parts, part =>
            {
                var target = part == 0 ? dw : sums + (nint)part * volume * size;
                new Span<float>(target, volume * size).Clear();
                int start = (int)((long)part * blocks / parts), end = (int)((part + 1L) * blocks / parts);
                for (var block = start; block < end; block += joined)
                {
                    for (var k = 0; k < volume; k++)
                    {
                        var starts = map.OutStarts(k);
                        int from = starts[block], to = starts[Math.Min(block + joined, end)];
                        if (from == to) continue;
                        fixed (int* inRows = map.In(k), outRows = map.Out(k))
                            WeightSegment(x, dy, inRows + from, outRows + from, to - from, target + (nint)k * size, cin, cout, width, isa);
                    }
                }
            });
            if (parts > 1)
            {
                For(volume, k =>
                {
                    for (var part = 1; part < parts; part++) AddRow<Lanes512>(sums + ((nint)part * volume + k) * size, dw + (nint)k * size, size);
                });
            }
        }
        ArrayPool<float>.Shared.Return(beside);
    }

    private static void Apply(KernelMap map, float* x, float* panels, float* bias, float* y, int cin, int cout, int width, KernelIsaLevel isa)
    {
        For(map.OutBlocks, block =>
        {
            // Rows that no other block touches; they stay in the cache while all offsets pass over them.
            var count = map.OutBlock(block, out var first, out var rows);
            for (var i = 0; i < count; i++)
            {
                var row = new Span<float>(y + (long)(rows.IsEmpty ? first + i : rows[i]) * cout, cout);
                if (bias is null) row.Clear();
                else new ReadOnlySpan<float>(bias, cout).CopyTo(row);
            }
            for (var k = 0; k < map.Volume; k++)
            {
                var starts = map.OutStarts(k);
                int from = starts[block], pairs = starts[block + 1] - from;
                if (pairs == 0) continue;
                fixed (int* inRows = map.In(k), outRows = map.Out(k))
                    Pairs(x, inRows + from, y, outRows + from, pairs, panels + (long)k * cin * width, cin, cout, isa);
            }
        });
    }

    private static void Pairs(float* x, int* inRows, float* y, int* outRows, int count, float* panels, int cin, int cout, KernelIsaLevel isa)
    {
        switch (isa)
        {
            case KernelIsaLevel.Vector512: Pairs<Lanes512>(x, inRows, y, outRows, count, panels, cin, cout); break;
            case KernelIsaLevel.Vector256: Pairs<Lanes256>(x, inRows, y, outRows, count, panels, cin, cout); break;
            case KernelIsaLevel.Vector128: Pairs<Lanes128>(x, inRows, y, outRows, count, panels, cin, cout); break;
            default: Pairs<Lane>(x, inRows, y, outRows, count, panels, cin, cout); break;
        }
    }

    private static void WeightSegment(float* x, float* dy, int* inRows, int* outRows, int count, float* dw, int cin, int cout, int width, KernelIsaLevel isa)
    {
        switch (isa)
        {
            case KernelIsaLevel.Vector512: WeightSegment<Lanes512>(x, dy, inRows, outRows, count, dw, cin, cout, width); break;
            case KernelIsaLevel.Vector256: WeightSegment<Lanes256>(x, dy, inRows, outRows, count, dw, cin, cout, width); break;
            case KernelIsaLevel.Vector128: WeightSegment<Lanes128>(x, dy, inRows, outRows, count, dw, cin, cout, width); break;
            default: WeightSegment<Lane>(x, dy, inRows, outRows, count, dw, cin, cout, width); break;
        }
    }

    /// <summary>Runs independent units on the threads of <see cref="KernelThreads"/>. They must not throw.</summary>
    internal static void For(int units, Action<int> unit) => KernelThreads.Run(units, long.MaxValue, unit);

    /// <summary>Asks for values that will be read soon.</summary>
    private static void Prefetch(float* values, int count)
    {
        if (!Sse.IsSupported) return;
        for (var i = 0; i < count; i += 16) Sse.Prefetch0(values + i);
    }

    // --- panels: columns of W in groups of one, two or (with 512-bit registers) four registers, zero-padded

    private static int LanesOf(KernelIsaLevel isa) =>
        isa switch { KernelIsaLevel.Vector512 => 16, KernelIsaLevel.Vector256 => 8, KernelIsaLevel.Vector128 => 4, _ => 1 };

    /// <summary>Registers of the panel that starts where <paramref name="left"/> columns are left.</summary>
    private static int PanelRegisters(int left, int lanes) => lanes == 16 && left > 2 * lanes ? 4 : left > lanes ? 2 : 1;

    /// <summary>Columns of all panels together, padding included.</summary>
    private static int PanelWidth(int cout, KernelIsaLevel isa)
    {
        var (lanes, width) = (LanesOf(isa), 0);
        for (var column = 0; column < cout;)
        {
            var step = PanelRegisters(cout - column, lanes) * lanes;
            (column, width) = (column + step, width + step);
        }
        return width;
    }

    // [cin, cout] -> panel after panel, each [cin, its columns].
    private static void Pack(float* w, float* packed, int cin, int cout, KernelIsaLevel isa)
    {
        var lanes = LanesOf(isa);
        for (var column = 0; column < cout;)
        {
            var step = PanelRegisters(cout - column, lanes) * lanes;
            var filled = Math.Min(step, cout - column);
            for (var i = 0; i < cin; i++, packed += step)
            {
                new ReadOnlySpan<float>(w + (long)i * cout + column, filled).CopyTo(new Span<float>(packed, filled));
                new Span<float>(packed + filled, step - filled).Clear();
            }
            column += step;
        }
    }

    // 64-byte alignment: a 512-bit load across two cache lines costs twice.
    private static float* Align(float* p) => (float*)(((nint)p + 63) & ~63);
}
