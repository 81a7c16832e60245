using System.Buffers;

namespace Bayou.Kernels;

/// <summary>
/// Sparse convolution over a <see cref="KernelMap"/>: y[out] += x[in] W[k] for all pairs of all offsets k, and its gradients. Rows are read where they lie
/// and added where they belong
/// ("fetch on demand": no gather buffer, no scatter pass); a block of neighbouring output rows stays in the cache while all offsets pass over it. Sums do not
/// depend on the number of threads.
/// </summary>
public static unsafe partial class SparseGemm
{
    // Pairs of one partial sum of the weight gradient: fixed, because each adds up on its own.
    private const int Segment = 8192;

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
        var isa = KernelIsa.Current;
        var (size, width) = (cin * cout, PanelWidth(cout, isa));
        var units = new List<(int Offset, int From, int Count, int Part)>();
        var parts = 0;
        for (var k = 0; k < map.Volume; k++)
        {
            // The first segment of an offset adds up in place, the others beside it.
            for (var from = 0; from == 0 || from < map.In(k).Length; from += Segment) units.Add((k, from, Math.Min(Segment, map.In(k).Length - from), from == 0 ? -1 : parts++));
        }
        var beside = parts == 0 ? [] : ArrayPool<float>.Shared.Rent(checked(parts * size));
        fixed (float* extra = beside)
        {
            var sums = extra;
            For(units.Count, u =>
            {
                var (k, from, count, part) = units[u];
                var target = part < 0 ? dw + (long)k * size : sums + (long)part * size;
                new Span<float>(target, size).Clear();
                fixed (int* inRows = map.In(k), outRows = map.Out(k)) WeightSegment(x, dy, inRows + from, outRows + from, count, target, cin, cout, width, isa);
            });
            foreach (var (k, _, _, part) in units)
            {
                if (part < 0) continue;
                float* target = dw + (long)k * size, source = extra + (long)part * size;
                for (var i = 0; i < size; i++) target[i] += source[i];
            }
        }
        if (parts > 0) ArrayPool<float>.Shared.Return(beside);
    }

    private static void Apply(KernelMap map, float* x, float* panels, float* bias, float* y, int cin, int cout, int width, KernelIsaLevel isa)
    {
        var blocks = Math.Max(1, (map.OutCount + KernelMap.Block - 1) / KernelMap.Block);
        For(blocks, block =>
        {
            // Rows that no thread else touches: the block's share of all rows, whatever their order.
            var (start, end) = ((long)block * map.OutCount / blocks, (block + 1L) * map.OutCount / blocks);
            if (bias is null) new Span<float>(y + start * cout, (int)((end - start) * cout)).Clear();
            else for (var row = start; row < end; row++) new ReadOnlySpan<float>(bias, cout).CopyTo(new Span<float>(y + row * cout, cout));
        });
        For(blocks, block =>
        {
            for (var k = 0; k < map.Volume; k++)
            {
                var starts = map.OutStarts(k);
                if (block + 1 >= starts.Length) continue;
                int from = starts[block], count = starts[block + 1] - from;
                if (count == 0) continue;
                fixed (int* inRows = map.In(k), outRows = map.Out(k))
                    Pairs(x, inRows + from, y, outRows + from, count, panels + (long)k * cin * width, cin, cout, isa);
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

    /// <summary>Runs independent units on the threads of <see cref="KernelThreads"/>, under the caller's instruction set.</summary>
    internal static void For(int units, Action<int> unit)
    {
        if (units <= 1 || KernelThreads.Count == 1)
        {
            for (var i = 0; i < units; i++) unit(i);
            return;
        }
        Parallel.For(0, units, new ParallelOptions { MaxDegreeOfParallelism = KernelThreads.Count }, unit);
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
