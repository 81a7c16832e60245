namespace Bayou.Kernels;

/// <summary>One call of <see cref="DepthwiseKernel"/>, cut into units that can run in any order.</summary>
internal sealed unsafe partial class DepthwiseWork
{
    private readonly DepthwiseShape s;
    private readonly int widest, blocks, group, groups, rowParts;              // registers of channels, and how many a unit has
    private readonly int tallest, above, below;                                 // kernel rows; rows of input an output needs above and below its own
    private readonly Part[] parts;
    private readonly bool[] orientations;       // of the planes: as they lie (false), turned (true), or both, in this order
    private readonly (int Y, int X)[] phases;
    private readonly bool strips, mirrored;

    /// <param name="s">Sizes of input and output; kernel and padding are the kernels' own.</param>
    /// <param name="kernels">Kernels whose outputs are added.</param>
    /// <param name="rows">Rows that can be dealt out.</param>
    /// <param name="mirrored">Whether the forward reads the weights backwards (stride 1).</param>
    /// <param name="channelsLast">Whether it is a forward from channels-last to channels-last memory.</param>
    public DepthwiseWork(DepthwiseShape s, DepthwiseTaps[] kernels, int rows, bool mirrored = false, bool channelsLast = false)
    {
        (this.s, this.mirrored) = (s, mirrored);
        phases = AllPhases(s);
        widest = KernelIsa.Lanes;
        parts = [.. kernels.Select(k => new Part(k, s, widest))];
        orientations = [.. parts.Select(p => p.Turned).Distinct().Order()];
        (tallest, above, below) = (parts.Max(p => p.Ky.Count), parts.Max(p => p.Ky.Pad), parts.Max(p => p.Ky.Count - p.Ky.Pad));
        // Few kernel rows: rows are packed shortly before they are read, and the first-level cache still holds them.
        strips = phases.Length == 1 && parts.Length == 1 && tallest < DepthwiseTuning.TallKernel && !orientations[0];
        blocks = (s.C + widest - 1) / widest;
        // Rows are dealt out only where they are rows to the tiles, and a view of every s-th row cannot get in the way.
        var mostParts = orientations.Contains(true) || s.StrideH > 1 ? 1 : Math.Max(1, rows / 8);
        // In channels-last memory neighbouring channels lie side by side: a unit has as many registers of them as stay in the second-level cache.
        group = Math.Min(blocks, channelsLast && strips ? DepthwiseTuning.Group(s, tallest, widest) : 1);
        if (group > 1)
        {
            var wanted = 4 * KernelThreads.Count;
            groups = Math.Max((blocks + group - 1) / group, Math.Min(blocks, (wanted + s.N * mostParts - 1) / (s.N * mostParts)));
            group = (blocks + groups - 1) / groups;
            groups = (blocks + group - 1) / group;
            Chunks = Math.Clamp((wanted + groups - 1) / groups, 1, s.N);
            rowParts = Math.Clamp((wanted + groups * Chunks - 1) / (groups * Chunks), 1, mostParts);
            return;
        }
        groups = blocks;
        // Enough units for every core to have a few; pictures are cut by the sizes alone, because that decides in which order weight gradients are summed.
        Chunks = Math.Clamp((16 + blocks - 1) / blocks, 1, s.N);
        rowParts = Math.Clamp((2 * KernelThreads.Count + blocks * Chunks - 1) / (blocks * Chunks), 1, mostParts);
    }

    /// <summary>Groups of pictures.</summary>
    public int Chunks { get; }

    public int Units => groups * Chunks * rowParts;

    public DepthwisePlanes X { get; init; }

    public float* Bias { get; init; }

    public DepthwisePlanes Y { get; init; }

    public bool Relu { get; init; }

    public DepthwisePlanes? Dx { get; init; }

    public float* Dw { get; init; }

    public float* Db { get; init; }

    /// <summary>[chunk][weight gradient, bias gradient] when there are several chunks.</summary>
    public float* Parts { get; set; }

    public void Forward(int unit)
    {
        var u = new Unit(this, unit);
        switch (u.Width)
        {
            case 16: Forward<Lanes512>(u); break;
            case 8: Forward<Lanes256>(u); break;
            case 4: Forward<Lanes128>(u); break;
            default: Forward<Lane>(u); break;
        }
    }

    public void Backward(int unit)
    {
        var u = new Unit(this, unit);
        switch (u.Width)
        {
            case 16: Backward<Lanes512>(u); break;
            case 8: Backward<Lanes256>(u); break;
            case 4: Backward<Lanes128>(u); break;
            default: Backward<Lane>(u); break;
        }
    }

    private void Forward<T>(Unit u) where T : struct, IFloatLanes<T>
    {
        if (u.Size > 1)
        {
            ForwardGroup<T>(u);
            return;
        }
        // Rows of the output at a time, and rows of the input the plane then holds.
        var (strip, held) = strips && s.OutH > DepthwiseTuning.Strip
            ? (DepthwiseTuning.Strip, Math.Min(s.H, DepthwiseTuning.StripsHeld * DepthwiseTuning.Strip + tallest - 1)) : (s.OutH, s.H);
        using var scratch = new DepthwiseScratch(Weights<T>(), Length<T>(false, held, s.W, s.StrideH, s.StrideW), Y.Channel == 1 ? 0 : s.OutH * s.OutW * T.Count,
            Length<T>(true, s.H, s.W, s.StrideH, s.StrideW));
        PackWeights<T>(u, scratch[0]);
        foreach (var turned in orientations)
            DepthwisePacking.ClearMargins<T>(scratch.Plane(turned), Layout<T>(turned, turned ? s.H : held, s.W, s.StrideH, s.StrideW));
        var direct = Y.Channel == 1;
        var start = Bias is null ? T.Create(0) : T.LoadPart(Bias + u.Channel, u.Lanes);
        var (from, to) = Share<T>(s.OutH, tallest, u.Part);
        if (from == to) return;
        for (var n = u.FirstPicture; n < u.EndPicture; n++)
        {
            var output = direct
                ? new LaneGrid(Y.At(n, u.Channel), (nint)Y.Row, (nint)Y.Pixel, s.OutH, s.OutW)
                : new LaneGrid(scratch[2], s.OutW * T.Count, T.Count, s.OutH, s.OutW);
            if (orientations[^1]) PackInput<T>(n, u, true, 0, s.H, scratch, scratch.Plane(true));
            var window = new RowWindow(scratch.Plane(false), Layout<T>(false, held, s.W, s.StrideH, s.StrideW).Row, held,
                Math.Clamp(from * s.StrideH - above, 0, s.H));
            for (var top = from; top < to; top += strip)
            {
                var bottom = Math.Min(to, top + strip);
                if (!orientations[0])
                {
                    var (first, last) = window.Slide(Math.Max(0, top * s.StrideH - above), Math.Clamp((bottom - 1) * s.StrideH + below, 0, s.H));
                    PackInput<T>(n, u, false, first, last, scratch, window.Data);
                }
                Sum<T>(scratch, scratch[0], window.Data, output, start, u.Lanes, top, bottom, strips ? Ahead(X, s.W, n, u, window.End) : default);
            }
            if (Relu) Rectify<T>(output, from, to, u.Lanes);
            if (!direct) Unpack<T>(scratch, Y, n, u, s.OutW, from, to);
        }
    }

    // Several registers of channels-last pixels: packed and written in the order of memory, a few rows at a time.
    private void ForwardGroup<T>(Unit u) where T : struct, IFloatLanes<T>
    {
        const int strip = DepthwiseTuning.GroupStrip;
        var held = Math.Min(s.H, DepthwiseTuning.GroupHeld(tallest));
        var layout = Layout<T>(false, held, s.W, 1, 1);
        int weightsLength = Weights<T>(), outputRow = s.OutW * T.Count, outputLength = strip * outputRow;
        using var scratch = new DepthwiseScratch(u.Size * weightsLength, u.Size * layout.Length, u.Size * outputLength);
        // Margins after the weights: those are packed in whole squares, whose last may reach into the first plane.
        for (var g = 0; g < u.Size; g++) PackWeights<T>(u.Member(g), scratch[0] + g * weightsLength);
        for (var g = 0; g < u.Size; g++) DepthwisePacking.ClearMargins<T>(scratch.Plane(false) + g * layout.Length, layout);
        var (from, to) = Share<T>(s.OutH, tallest, u.Part);
        for (var n = u.FirstPicture; n < u.EndPicture && from < to; n++)
        {
            var window = new RowWindow(scratch.Plane(false), layout.Row, held, Math.Clamp(from - above, 0, s.H), u.Size, layout.Length);
            for (var top = from; top < to; top += strip)
            {
                var bottom = Math.Min(to, top + strip);
                var (first, last) = window.Slide(Math.Max(0, top - above), Math.Clamp(bottom - 1 + below, 0, s.H));
                DepthwisePacking.PackGroup<T>(X, n, u.Channel, u.LastChannel, first, last, s.W, u.Size, window.Data, layout);
                for (var g = 0; g < u.Size; g++)
                {
                    var output = new LaneGrid(scratch[2] + g * outputLength - top * outputRow, outputRow, T.Count, s.OutH, s.OutW);
                    var start = Bias is null ? T.Create(0) : T.LoadPart(Bias + u.Member(g).Channel, T.Count);
                    Sum<T>(scratch, scratch[0] + g * weightsLength, window.Data + g * layout.Length, output, start, T.Count, top, bottom, default);
                    if (Relu) Rectify<T>(output, top, bottom, T.Count);
                }
                DepthwisePacking.UnpackGroup<T>(scratch[2], outputLength, Y, n, u.Channel, u.LastChannel, top, bottom, s.OutW, u.Size);
            }
        }
    }

    // Rows [from, to) of the input.
    private void PackInput<T>(int n, Unit u, bool turned, int from, int to, DepthwiseScratch scratch, float* plane) where T : struct, IFloatLanes<T> =>
        DepthwisePacking.Pack<T>(X.At(n, u.Channel), X, from, to, s.W, u.Lanes, plane, Layout<T>(turned, s.H, s.W, s.StrideH, s.StrideW), turned, scratch.Block);

    private static void Rectify<T>(LaneGrid output, int from, int to, int lanes) where T : struct, IFloatLanes<T>
    {
        var zero = T.Create(0);
        for (var y = from; y < to; y++)
        {
            var p = output.Data + y * output.Row;
            for (var x = output.Width; x > 0; x--, p += output.Pixel)
            {
                var v = lanes == T.Count ? T.Load(p) : T.LoadPart(p, lanes);
                v = T.WhereNegative(v, zero, v);
                if (lanes == T.Count) T.Store(p, v);
                else T.StorePart(p, v, lanes);
            }
        }
    }

    // Rows [from, to) of the output, from the plane, the turned plane and the weights.
    private void Sum<T>(DepthwiseScratch scratch, float* weights, float* plane, LaneGrid output, T start, int lanes, int from, int to, DepthwiseAhead ahead)
        where T : struct, IFloatLanes<T>
    {
        var more = false;
        foreach (var part in parts)
        {
            var layout = Layout<T>(part.Turned, s.H, s.W, s.StrideH, s.StrideW);
            foreach (var (y, x) in phases)
            {
                Taps ty = new(y, part.Ky, s.StrideH), tx = new(x, part.Kx, s.StrideW);
                if (ty.Count == 0 || tx.Count == 0) continue;
                var input = part.Turned ? layout.View(scratch.Plane(true), x, y) : layout.View(plane, y, x);
                var kernel = KernelView<T>(weights, part, ty, tx);
                Correlate(part.Turned, input, mirrored ? kernel.Backwards : kernel, output, ty.Offset, tx.Offset, start, more, lanes, scratch.Sums, from, to,
                    ahead);
                more = true;
            }
            weights += Squares<T>(part.Taps);
        }
    }

    // The gradient of the weights is that of the only kernel; the input's is the sum over all.
    private void Backward<T>(Unit u) where T : struct, IFloatLanes<T>
    {
        var part = parts[0];
        var inputLayout = Layout<T>(part.Turned, s.H, s.W, s.StrideH, s.StrideW);
        var direct = Dx is not { } d || d.Channel == 1;
        // The second plane holds the input gradient on its way to planar memory, then the input.
        var second = Math.Max(Dw is null ? 0 : inputLayout.Length, direct ? 0 : s.H * s.W * T.Count);
        using var scratch = new DepthwiseScratch(Weights<T>() + (Dw is null ? 0 : Squares<T>(part.Taps)), Length<T>(false, s.OutH, s.OutW, 1, 1), second,
            Length<T>(true, s.OutH, s.OutW, 1, 1));
        float* plane = scratch[2], taps = scratch[0] + Weights<T>();
        if (Dx is not null) PackWeights<T>(u, scratch[0]);
        foreach (var turned in orientations) DepthwisePacking.ClearMargins<T>(scratch.Plane(turned), Layout<T>(turned, s.OutH, s.OutW, 1, 1));
        var sum = T.Create(0);
        var layout = Layout<T>(part.Turned, s.OutH, s.OutW, 1, 1);
        var gradient = scratch.Plane(part.Turned);
        var (from, to) = Share<T>(part.Ky.Count, s.OutH, u.Part);
        for (var n = u.FirstPicture; n < u.EndPicture; n++)
        {
            foreach (var turned in orientations)
                DepthwisePacking.Pack<T>(Y.At(n, u.Channel), Y, 0, s.OutH, s.OutW, u.Lanes, scratch.Plane(turned), Layout<T>(turned, s.OutH, s.OutW, 1, 1),
                    turned, scratch.Block);
            if (Dx is { } dx) InputGradient<T>(scratch, dx, n, u, direct);
            if (Db is not null && u.Part == 0) sum += Total<T>(gradient, layout.Length);
            if (Dw is null) continue;
            if (n == u.FirstPicture || !direct) DepthwisePacking.ClearMargins<T>(plane, inputLayout);
            DepthwisePacking.Pack<T>(X.At(n, u.Channel), X, 0, s.H, s.W, u.Lanes, plane, inputLayout, part.Turned, scratch.Block);
            foreach (var (y, x) in phases)
            {
                Taps ty = new(y, part.Ky, s.StrideH), tx = new(x, part.Kx, s.StrideW);
                if (ty.Count == 0 || tx.Count == 0) continue;
                LaneGrid input = part.Turned ? inputLayout.View(plane, x, y) : inputLayout.View(plane, y, x), kernel = layout.View(gradient, 0, 0);
                var output = KernelView<T>(taps, part, ty, tx);
                if (part.Turned) kernel = kernel.Turned;     // it was packed turned; as a kernel it is turned once more
                Correlate(part.Turned, input, kernel, output, ty.Offset, tx.Offset, T.Create(0), n > u.FirstPicture, T.Count, scratch.Sums, from,
                    Math.Min(to, ty.Count));
            }
        }
        var target = Parts is null ? null : Parts + (long)u.Chunk * s.C * (s.Taps + 1);
        if (Dw is not null) WriteTaps<T>(taps, (target is null ? Dw : target) + (long)u.Channel * s.Taps, part, u, from, to);
        if (Db is not null && u.Part == 0) T.StorePart((target is null ? Db : target + (long)s.C * s.Taps) + u.Channel, sum, u.Lanes);
    }

    // The input gradient: the output's gradient correlated with the reversed kernel; with a stride, each residue of rows and columns sees every s-th tap.
    private void InputGradient<T>(DepthwiseScratch scratch, DepthwisePlanes dx, int n, Unit u, bool direct) where T : struct, IFloatLanes<T>
    {
        var (from, to) = Share<T>(s.H, tallest, u.Part);
        var target = direct
            ? new LaneGrid(dx.At(n, u.Channel), (nint)dx.Row, (nint)dx.Pixel, s.H, s.W)
            : new LaneGrid(scratch[2], s.W * T.Count, T.Count, s.H, s.W);
        var weights = scratch[0];
        foreach (var part in parts)
        {
            var gradient = Layout<T>(part.Turned, s.OutH, s.OutW, 1, 1).View(scratch.Plane(part.Turned), 0, 0);
            foreach (var (y, x) in phases)
            {
                if (y >= s.H || x >= s.W) continue;
                Taps ty = new(y, part.Ky, s.StrideH), tx = new(x, part.Kx, s.StrideW);
                var output = new LaneGrid(
                    target.Data + y * target.Row + x * target.Pixel, s.StrideH * target.Row, s.StrideW * target.Pixel,
                    (s.H - y + s.StrideH - 1) / s.StrideH, (s.W - x + s.StrideW - 1) / s.StrideW);
                var (offsetY, offsetX) = (ty.Count - 1 - ty.Offset, tx.Count - 1 - tx.Offset);
                Correlate(part.Turned, gradient, KernelView<T>(weights, part, ty, tx).Backwards, output, offsetY, offsetX, T.Create(0), part != parts[0],
                    u.Lanes, scratch.Sums, from, Math.Min(to, output.Height));
            }
            weights += Squares<T>(part.Taps);
        }
        if (!direct) Unpack<T>(scratch, dx, n, u, s.W, from, to);
    }

    // From a row of a channel block on; beyond the last row, the next picture.
    private DepthwiseAhead Ahead(DepthwisePlanes memory, int width, int n, Unit u, int row)
    {
        var data = memory.At(n, u.Channel) + row * memory.Row;
        if (memory.Channel == 1) return new(data, (nint)memory.Pixel, (nint)memory.Pixel);
        return memory.IsPlanar(width) ? new(data, 1, (nint)memory.Channel) : default;
    }

    private static void Unpack<T>(DepthwiseScratch scratch, DepthwisePlanes memory, int n, Unit u, int width, int from, int to) where T : struct, IFloatLanes<T>
    {
        float* source = scratch[2] + from * width * T.Count, target = memory.At(n, u.Channel) + from * memory.Row;
        if (memory.IsPlanar(width))
        {
            DepthwisePacking.FromLanes<T>(source, target, memory.Channel, (to - from) * width, u.Lanes);
            return;
        }
        for (var y = from; y < to; y++, target += memory.Row)
        {
            for (var x = 0; x < width; x++, source += T.Count)
            {
                for (var l = 0; l < u.Lanes; l++) target[x * memory.Pixel + l * memory.Channel] = source[l];
            }
        }
    }

    private int Weights<T>() where T : struct, IFloatLanes<T>
    {
        var length = 0;
        foreach (var part in parts) length += Squares<T>(part.Taps);
        return length;
    }

    private int Length<T>(bool turned, int height, int width, int strideH, int strideW) where T : struct, IFloatLanes<T> =>
        (turned ? orientations[^1] : !orientations[0]) ? Layout<T>(turned, height, width, strideH, strideW).Length : 0;

    private static DepthwisePacking.Plane Layout<T>(bool turned, int height, int width, int strideH, int strideW) where T : struct, IFloatLanes<T> =>
        turned ? new(width, height, strideW, strideH, T.Count) : new(height, width, strideH, strideW, T.Count);

    // The input comes as it was packed; kernel and output are turned here where it was.
    private static void Correlate<T>(
        bool turned, LaneGrid input, LaneGrid kernel, LaneGrid output, int offsetY, int offsetX, T start, bool accumulate, int lanes, float* sums, int from,
        int to, DepthwiseAhead ahead = default) where T : struct, IFloatLanes<T>
    {
        if (turned) new DepthwiseCorrelation<T>(input, kernel.Turned, output.Turned, offsetX, offsetY, start, accumulate, lanes, sums).Run(0, output.Width);
        else new DepthwiseCorrelation<T>(input, kernel, output, offsetY, offsetX, start, accumulate, lanes, sums, ahead).Run(from, to);
    }

    // The taps that can meet the picture, kernel after kernel, [tap][lane].
    private void PackWeights<T>(Unit u, float* weights) where T : struct, IFloatLanes<T>
    {
        foreach (var part in parts)
        {
            var (rows, columns) = (part.Kernel.Rows, part.Kernel.Columns);
            var (firstRow, firstColumn) = mirrored
                ? (rows - part.Ky.First - part.Ky.Count, columns - part.Kx.First - part.Kx.Count) : (part.Ky.First, part.Kx.First);
            float* source = (float*)part.Kernel.Weights + (long)u.Channel * rows * columns, end = (float*)part.Kernel.Weights + (long)s.C * rows * columns;
            if (part.Kx.Count == columns)
            {
                DepthwisePacking.ToLanes<T>(source + firstRow * columns, rows * columns, part.Taps, u.Lanes, weights, end);
            }
            else
            {
                var row = weights;
                for (var y = 0; y < part.Ky.Count; y++, row += part.Kx.Count * T.Count)
                    DepthwisePacking.ToLanes<T>(source + (firstRow + y) * columns + firstColumn, rows * columns, part.Kx.Count, u.Lanes, row, end);
            }
            weights += Squares<T>(part.Taps);
        }
    }

    // The registers of taps summed over pictures -> rows [from, to) of [C, KH, KW]; taps that never meet the picture have gradient zero.
    private void WriteTaps<T>(float* taps, float* target, Part part, Unit u, int from, int to) where T : struct, IFloatLanes<T>
    {
        var (ky, kx) = (part.Ky, part.Kx);
        if (ky.Count == s.KH && kx.Count == s.KW)
        {
            DepthwisePacking.FromLanes<T>(taps + from * s.KW * T.Count, target + from * s.KW, s.Taps, (to - from) * s.KW, u.Lanes);
            return;
        }
        if (u.Part == 0)
        {
            for (var l = 0; l < u.Lanes; l++)
            {
                var plane = new Span<float>(target + (long)l * s.Taps, s.Taps);
                plane[..(ky.First * s.KW)].Clear();
                plane[((ky.First + ky.Count) * s.KW)..].Clear();
            }
        }
        for (var y = from; y < to; y++)
        {
            var row = target + (ky.First + y) * s.KW;
            for (var l = 0; l < u.Lanes; l++) new Span<float>(row + (long)l * s.Taps, s.KW).Clear();
            DepthwisePacking.FromLanes<T>(taps + y * kx.Count * T.Count, row + kx.First, s.Taps, kx.Count, u.Lanes);
        }
    }

    private static T Total<T>(float* plane, int length) where T : struct, IFloatLanes<T>
    {
        var sum = T.Create(0);
        for (var i = 0; i < length; i += T.Count) sum += T.Load(plane + i);
        return sum;
    }

    // Rows of one share of `rows`, cut where tiles begin.
    private (int From, int To) Share<T>(int rows, int kernelRows, int share) where T : struct, IFloatLanes<T>
    {
        var step = DepthwiseCorrelation<T>.TileRows(kernelRows);
        var tiles = (rows + step - 1) / step;
        return (Math.Min(rows, tiles * share / rowParts * step), Math.Min(rows, tiles * (share + 1) / rowParts * step));
    }

    // The taps (y, x) that meet one residue of rows and columns, as a kernel of their own.
    private LaneGrid KernelView<T>(float* weights, Part part, Taps y, Taps x) where T : struct, IFloatLanes<T> =>
        new(weights + (y.First * part.Kx.Count + x.First) * T.Count, (nint)s.StrideH * part.Kx.Count * T.Count, s.StrideW * T.Count, y.Count, x.Count);

    // Room for a number of registers, in whole squares.
    private static int Squares<T>(int registers) where T : struct, IFloatLanes<T> => checked((registers + T.Count - 1) / T.Count * T.Count * T.Count);

    private static (int Y, int X)[] AllPhases(DepthwiseShape s)
    {
        var phases = new (int, int)[s.StrideH * s.StrideW];
        for (var i = 0; i < phases.Length; i++) phases[i] = (i / s.StrideW, i % s.StrideW);
        return phases;
    }
}
