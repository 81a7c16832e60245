using System.Runtime.CompilerServices;

namespace Bayou.Kernels;

/// <summary>
/// Depthwise convolution of channels-last pictures with a small kernel, stride 1, straight from memory to memory: where there are few multiply-adds a pixel,
/// copying pixels into planes of their own first, as <see cref="DepthwiseWork"/> does, is a good part of the work. Only weights are packed.
/// </summary>
internal sealed unsafe class DepthwiseDirect
{
    // Taps up to which it is the faster way, measured; and rows, because tiles of four rows of the other way read less.
    private const int MostTaps = 121, MostRows = DepthwiseTuning.TallKernel - 1;

    // Units of a thread, and rows of a unit where rows are dealt out.
    private const int UnitsPerThread = 4, FewestRows = 8;

    // Floats of input and output up to which they are near enough without being fetched.
    private const int NearFloats = 1_500_000;

    // Floats of the rows of input and output that stay in the second-level cache.
    private const int StripFloats = 120_000;

    private readonly DepthwiseShape s;
    private readonly DepthwiseTaps kernel;
    private readonly bool mirrored, far, window;      // window: tiles of one row, at most 16 columns wide
    private readonly int rows, wide;                    // of a tile
    private readonly int lanes, blocks, group, groups, chunks, rowParts;

    private DepthwiseDirect(DepthwiseShape s, DepthwiseTaps kernel, bool mirrored, int lanes)
    {
        (this.s, this.kernel, this.mirrored, this.lanes) = (s, kernel, mirrored, lanes);
        blocks = (s.C + lanes - 1) / lanes;
        window = lanes == 16 && kernel.Columns is 3 or 5 or 7 && s.OutW >= 8;
        wide = Evenly(s.OutW, 16);
        rows = window ? 1 : 2;
        far = (long)s.N * s.C * (s.H * s.W + s.OutH * s.OutW) > NearFloats;
        var wanted = UnitsPerThread * KernelThreads.Count;
        group = Math.Min(blocks, MostRegisters(s, kernel));
        var most = Math.Max(1, s.OutH / FewestRows);
        groups = (blocks + group - 1) / group;
        if (s.N * most * groups < wanted) groups = Math.Min(blocks, (wanted + s.N * most - 1) / (s.N * most));
        group = (blocks + groups - 1) / groups;
        groups = (blocks + group - 1) / group;
        chunks = Math.Clamp((wanted + groups - 1) / groups, 1, s.N);
        rowParts = Math.Clamp((wanted + groups * chunks - 1) / (groups * chunks), 1, most);
    }

    public int Units => groups * chunks * rowParts;

    private DepthwisePlanes X { get; init; }

    private float* Bias { get; init; }

    private DepthwisePlanes Y { get; init; }

    private bool Relu { get; init; }

    /// <summary>The convolution, if it can be done in this way and should be.</summary>
    /// <param name="x">Input.</param>
    /// <param name="y">Output.</param>
    /// <param name="s">Sizes of both; kernel and padding are the kernel's own.</param>
    /// <param name="kernels">Weights.</param>
    /// <param name="mirrored">Whether they are read backwards.</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="relu">Whether negative outputs become zero.</param>
    public static DepthwiseDirect? For(
        DepthwisePlanes x, DepthwisePlanes y, DepthwiseShape s, DepthwiseTaps[] kernels, bool mirrored = false, float* bias = null, bool relu = false)
    {
        if (kernels.Length > 1 || x.Channel != 1 || y.Channel != 1 || s is not { StrideH: 1, StrideW: 1, OutH: >= 2, OutW: >= 4 }) return null;
        var lanes = KernelIsa.Current switch { KernelIsaLevel.Vector512 => 16, KernelIsaLevel.Vector256 => 8, KernelIsaLevel.Vector128 => 4, _ => 1 };
        var k = kernels[0];
        if (s.C < lanes || k.Rows > MostRows || k.Rows * k.Columns > MostTaps || MostRegisters(s, k) == 0) return null;
        return new(s, k, mirrored, lanes) { X = x, Y = y, Bias = bias, Relu = relu };
    }

    public void Run(int unit)
    {
        switch (lanes)
        {
            case 16: Run<Lanes512>(unit); break;
            case 8: Run<Lanes256>(unit); break;
            case 4: Run<Lanes128>(unit); break;
            default: Run<Lane>(unit); break;
        }
    }

    // The largest of as few equal parts as can be, none above `most`.
    private static int Evenly(int count, int most)
    {
        var parts = (count + most - 1) / most;
        return (count + parts - 1) / parts;
    }

    // Registers whose weights need no more room than two padded planes of a register.
    private static int MostRegisters(DepthwiseShape s, DepthwiseTaps kernel) => 2 * s.H * (s.W + 2 * DepthwiseTuning.Margin) / (kernel.Rows * kernel.Columns);

    private void Run<T>(int unit) where T : struct, IFloatLanes<T>
    {
        var (part, first, chunk) = (unit % rowParts, unit / rowParts % groups * group, unit / rowParts / groups);
        var size = Math.Min(group, blocks - first);
        int taps = kernel.Rows * kernel.Columns, length = taps * T.Count;
        // Weights are packed in whole squares.
        using var scratch = new DepthwiseScratch(size * length + T.Count * T.Count);
        var weights = scratch[0];
        float* source = (float*)kernel.Weights, end = source + (long)s.C * taps;
        for (var g = 0; g < size; g++)
            DepthwisePacking.ToLanes<T>(source + (long)Channel(first + g, T.Count) * taps, taps, taps, T.Count, weights + g * length, end);
        int shares = (s.OutH + rows - 1) / rows, from = shares * part / rowParts * rows, to = Math.Min(s.OutH, shares * (part + 1) / rowParts * rows);
        // Registers that are whole cache lines go over some rows one by one; others share lines, which should be read and written once.
        var (strip, together) = s.C % T.Count == 0 ? (Math.Max(2, (StripFloats / (s.W * size * T.Count) - kernel.Rows) / 4 * 2), 1) : (to, size);
        for (var n = chunk * s.N / chunks; n < (chunk + 1) * s.N / chunks; n++)
        {
            for (var top = from; top < to; top += strip)
            {
                for (var g = 0; g < size; g += together)
                {
                    // An odd last row is done together with the one before, once more.
                    for (var y = top; y < Math.Min(to, top + strip); y += rows) Rows<T>(n, Math.Min(y, s.OutH - rows), first + g, together, weights + g * length);
                }
            }
        }
    }

    // The last register begins where its last channel is the picture's: some channels are computed twice, to the same bits.
    private int Channel(int block, int lanes) => Math.Min(block * lanes, s.C - lanes);

    // One or two rows of the output, some registers of channels.
    private void Rows<T>(int n, int y, int block, int size, float* weights) where T : struct, IFloatLanes<T>
    {
        int top = y - kernel.PadH, first = Math.Max(0, top), end = Math.Max(first, Math.Min(s.H, top + kernel.Rows + rows - 1));
        int uppers = first == top && first < end ? 1 : 0, lowers = end == top + kernel.Rows + 1 && first + uppers < end ? 1 : 0;
        nint tap = mirrored ? -T.Count : T.Count, row = tap * kernel.Columns;
        var tile = new DirectTile<T>
        {
            Relu = Relu,
            InputRow = (nint)X.Row,
            InputPixel = (nint)X.Pixel,
            Rows = end - first,
            Uppers = uppers,
            Boths = end - first - uppers - lowers,
            Lowers = lowers,
            KernelRow = row,
            KernelPixel = tap,
            Taps = kernel.Columns,
            OutputRow = (nint)Y.Row,
            OutputPixel = (nint)Y.Pixel,
            IsFar = far,
            Next = Math.Clamp(s.H - end, 0, rows),
            NextRow = (end - first) * (nint)X.Row + kernel.PadW * (nint)X.Pixel,
        };
        var taps = kernel.Rows * kernel.Columns * T.Count;
        var origin = (mirrored ? weights + taps - T.Count : weights) + (first - top) * row;
        var across = new DepthwiseAxis(s.W, kernel.Columns, s.OutW, kernel.PadW);
        for (int x = 0, step; x < s.OutW; x += step)
        {
            int columns;
            if (window) (step, columns) = (wide, (wide + 1) / 2 * 2);
            else
            {
                step = columns = across.Columns<T>(s.OutW - x, false) is var fit && fit > s.OutW ? 4 : fit;
                // The last tile overlaps the one before it.
                x = Math.Min(x, s.OutW - columns);
            }
            tile.Outputs = Math.Min(step, s.OutW - x);
            tile.Place(x - kernel.PadW, columns, s.W);
            for (var g = 0; g < size; g++)
            {
                var channel = Channel(block + g, T.Count);
                tile.Start = Bias is null ? T.Create(0) : T.LoadPart(Bias + channel, T.Count);
                tile.Input = X.At(n, channel) + first * X.Row;
                tile.Kernel = origin + g * taps;
                tile.Output = Y.At(n, channel) + y * Y.Row + x * Y.Pixel;
                if (window) Window(Unsafe.As<DirectTile<T>, DirectTile<Lanes512>>(ref tile), columns);
                else if (columns == 8) DepthwiseTiles.Direct<T, Eight>(tile);
                else if (columns == 6) DepthwiseTiles.Direct<T, Six>(tile);
                else DepthwiseTiles.Direct<T, Four>(tile);
            }
        }
    }

    private static void Window(in DirectTile<Lanes512> tile, int columns)
    {
        switch (tile.Taps)
        {
            case 3: Window<Three>(tile, columns); break;
            case 5: Window<Five>(tile, columns); break;
            default: Window<Seven>(tile, columns); break;
        }
    }

    private static void Window<TTaps>(in DirectTile<Lanes512> tile, int columns) where TTaps : struct, ITileSize
    {
        switch (columns)
        {
            case 8: DepthwiseTiles.Window<TTaps, Eight>(tile); break;
            case 10: DepthwiseTiles.Window<TTaps, Ten>(tile); break;
            case 12: DepthwiseTiles.Window<TTaps, Twelve>(tile); break;
            case 14: DepthwiseTiles.Window<TTaps, Fourteen>(tile); break;
            default: DepthwiseTiles.Window<TTaps, Sixteen>(tile); break;
        }
    }
}
