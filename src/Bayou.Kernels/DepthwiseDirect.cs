using System.Runtime.CompilerServices;

namespace Bayou.Kernels;

/// <summary>
/// Depthwise convolution of channels-last pictures, stride 1, straight from memory to memory: without copying pixels into planes of their own first, as
/// <see cref="DepthwiseWork"/> does. That copy is a good part of the work of a small kernel, and where a side of the kernel is so short that its weights stay in
/// registers, the planes gain nothing. Only weights are packed.
/// </summary>
internal sealed unsafe class DepthwiseDirect
{
    // Kernels that do not fit the tiles of one row: taps up to which this is the faster way where registers are whole cache lines, measured.
    private const int MostTaps = 49;

    // Units of a thread, and rows of a unit where rows are dealt out.
    private const int UnitsPerThread = 4, FewestRows = 8;

    // Floats of input and output up to which they are near enough without being fetched.
    private const int NearFloats = 1_500_000;

    // Floats of the rows of input and output that stay in the second-level cache.
    private const int StripFloats = 120_000;

    private readonly DepthwiseShape s;
    private readonly bool mirrored, far;
    private readonly int lanes, blocks, group, groups, chunks, rowParts;
    private readonly Pass[] passes;

    private DepthwiseDirect(DepthwiseShape s, Pass[] passes, bool mirrored, int lanes)
    {
        (this.s, this.passes, this.mirrored, this.lanes) = (s, passes, mirrored, lanes);
        blocks = (s.C + lanes - 1) / lanes;
        far = (long)s.N * s.C * (s.H * s.W + s.OutH * s.OutW) > NearFloats;
        var wanted = UnitsPerThread * KernelThreads.Count;
        group = Math.Min(blocks, MostRegisters(s, passes));
        // Rows are rows to one pass only; the sums of several would meet half done.
        var most = passes.Length > 1 ? 1 : Math.Max(1, passes[0].OutH / FewestRows);
        groups = (blocks + group - 1) / group;
        if (s.N * most * groups < wanted) groups = Math.Min(blocks, (wanted + s.N * most - 1) / (s.N * most));
        group = (blocks + groups - 1) / groups;
        groups = (blocks + group - 1) / group;
        chunks = Math.Clamp((wanted + groups - 1) / groups, 1, s.N);
        rowParts = Math.Clamp((wanted + groups * chunks - 1) / (groups * chunks), 1, most);
    }

    private DepthwisePlanes X { get; init; }

    private float* Bias { get; init; }

    private DepthwisePlanes Y { get; init; }

    private bool Relu { get; init; }

    /// <summary>Does the convolution, if it can be done in this way and should be.</summary>
    /// <param name="x">Input.</param>
    /// <param name="y">Output.</param>
    /// <param name="s">Sizes of both; kernels and padding are the kernels' own.</param>
    /// <param name="kernels">Kernels whose outputs are added.</param>
    /// <param name="mirrored">Whether the weights are read backwards.</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="relu">Whether negative outputs become zero.</param>
    /// <returns>Whether it is done.</returns>
    public static bool TryRun(
        DepthwisePlanes x, DepthwisePlanes y, DepthwiseShape s, DepthwiseTaps[] kernels, bool mirrored = false, float* bias = null, bool relu = false)
    {
        if (x.Channel != 1 || y.Channel != 1 || s is not { StrideH: 1, StrideW: 1 }) return false;
        var lanes = KernelIsa.Lanes;
        // Channels that share a register with some before them are computed twice: not where sums are continued in memory.
        if (s.C < lanes || (kernels.Length > 1 && s.C % lanes != 0)) return false;
        var passes = new Pass[kernels.Length];
        for (var i = 0; i < passes.Length; i++)
        {
            passes[i] = new(s, kernels[i], lanes);
            if (passes[i].IsWindow) continue;
            if (kernels.Length > 1 || s.C % lanes != 0 || passes[i].Taps > MostTaps || s.OutH < 2 || s.OutW < 4) return false;
        }
        if (MostRegisters(s, passes) == 0) return false;
        var work = new DepthwiseDirect(s, passes, mirrored, lanes) { X = x, Y = y, Bias = bias, Relu = relu };
        KernelThreads.Run(work.groups * work.chunks * work.rowParts, s.UsefulMacs, work.Run);
        return true;
    }

    private void Run(int unit)
    {
        switch (lanes)
        {
            case 16: Run<Lanes512>(unit); break;
            case 8: Run<Lanes256>(unit); break;
            case 4: Run<Lanes128>(unit); break;
            default: Run<Lane>(unit); break;
        }
    }

    // Registers whose weights need no more room than two padded planes of a register.
    private static int MostRegisters(DepthwiseShape s, Pass[] passes) => 2 * s.H * (s.W + 2 * DepthwiseTuning.Margin) / passes.Sum(p => p.Taps);

    private void Run<T>(int unit) where T : struct, IFloatLanes<T>
    {
        var (part, first, chunk) = (unit % rowParts, unit / rowParts % groups * group, unit / rowParts / groups);
        int size = Math.Min(group, blocks - first), length = passes.Sum(p => p.Taps) * T.Count;
        // Weights are packed in whole squares.
        using var scratch = new DepthwiseScratch(size * length + T.Count * T.Count);
        var weights = scratch[0];
        foreach (var pass in passes)
        {
            float* source = (float*)pass.Kernel.Weights, end = source + (long)s.C * pass.Taps;
            for (var g = 0; g < size; g++, weights += pass.Taps * T.Count)
                DepthwisePacking.ToLanes<T>(source + (long)Channel(first + g, T.Count) * pass.Taps, pass.Taps, pass.Taps, T.Count, weights, end);
        }
        for (var n = chunk * s.N / chunks; n < (chunk + 1) * s.N / chunks; n++)
        {
            weights = scratch[0];
            foreach (var pass in passes)
            {
                int shares = (pass.OutH + pass.TileRows - 1) / pass.TileRows, from = shares * part / rowParts * pass.TileRows,
                    to = Math.Min(pass.OutH, shares * (part + 1) / rowParts * pass.TileRows);
                // Registers go over some rows one by one, or, if they share cache lines and what they meet is near, side by side: each line is then read and
                // written once.
                var (strip, together) = s.C % T.Count != 0 && pass.IsFlat
                    ? (Math.Max(1, to - from), size) : (Math.Max(2, (StripFloats / (pass.W * size * T.Count) - pass.Rows) / 4 * 2), 1);
                for (var top = from; top < to; top += strip)
                {
                    for (var g = 0; g < size; g += together)
                    {
                        // An odd last row is done together with the one before, once more.
                        for (var y = top; y < Math.Min(to, top + strip); y += pass.TileRows)
                            Row<T>(pass, n, Math.Min(y, pass.OutH - pass.TileRows), first + g, together, weights + g * pass.Taps * T.Count);
                    }
                }
                weights += size * pass.Taps * T.Count;
            }
        }
    }

    // The last register begins where its last channel is the picture's: some channels are computed twice, to the same bits.
    private int Channel(int block, int registerLanes) => Math.Min(block * registerLanes, s.C - registerLanes);

    // A row of tiles, some registers of channels.
    private void Row<T>(Pass p, int n, int y, int block, int size, float* weights) where T : struct, IFloatLanes<T>
    {
        int top = y - p.PadH, first = Math.Max(0, top), end = Math.Max(first, Math.Min(p.H, top + p.Rows + p.TileRows - 1));
        int uppers = first == top && first < end ? 1 : 0, lowers = end == top + p.Rows + 1 && first + uppers < end ? 1 : 0;
        var (inputRow, inputPixel) = p.Along((nint)X.Row, (nint)X.Pixel);
        var (outputRow, outputPixel) = p.Along((nint)Y.Row, (nint)Y.Pixel);
        var (kernelRow, kernelPixel) = p.Along((nint)p.Kernel.Columns * T.Count, (nint)T.Count);
        if (mirrored)
        {
            weights += (p.Taps - 1) * T.Count;
            (kernelRow, kernelPixel) = (-kernelRow, -kernelPixel);
        }
        weights += (first - top) * kernelRow;
        bool isFirst = p == passes[0], isLast = p == passes[^1];
        var tile = new DirectTile<T>
        {
            Continue = !isFirst,
            Relu = Relu && isLast,
            InputRow = inputRow,
            InputPixel = inputPixel,
            Rows = end - first,
            Uppers = uppers,
            Boths = end - first - uppers - lowers,
            Lowers = lowers,
            KernelRow = kernelRow,
            KernelPixel = kernelPixel,
            Taps = p.Columns,
            OutputRow = outputRow,
            OutputPixel = outputPixel,
            IsFar = far,
            Next = Math.Clamp(p.H - end, 0, p.TileRows),
            NextRow = (end - first) * inputRow + p.PadW * inputPixel,
        };
        var across = new DepthwiseAxis(p.W, p.Columns, p.OutW, p.PadW);
        for (int x = 0, step; x < p.OutW; x += step)
        {
            int columns;
            if (p.IsWindow) (step, columns) = (p.TileColumns, (p.TileColumns + 1) / 2 * 2);
            else
            {
                step = columns = across.Columns<T>(p.OutW - x, false) is var fit && fit > p.OutW ? 4 : fit;
                // The last tile overlaps the one before it.
                x = Math.Min(x, p.OutW - columns);
            }
            tile.Outputs = Math.Min(step, p.OutW - x);
            tile.Place(x - p.PadW, columns, p.W);
            for (var g = 0; g < size; g++)
            {
                var channel = Channel(block + g, T.Count);
                tile.Start = Bias is null || !isFirst ? T.Create(0) : T.LoadPart(Bias + channel, T.Count);
                tile.Input = X.At(n, channel) + first * inputRow;
                tile.Kernel = weights + g * p.Taps * T.Count;
                tile.Output = Y.At(n, channel) + y * outputRow + x * outputPixel;
                if (p.IsWindow) Window(Unsafe.As<DirectTile<T>, DirectTile<Lanes512>>(ref tile), columns);
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
            case 7: Window<Seven>(tile, columns); break;
            case 9: Window<Nine>(tile, columns); break;
            case 11: Window<Eleven>(tile, columns); break;
            default: Window<Thirteen>(tile, columns); break;
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

    /// <summary>One kernel, and whether rows and columns (of pictures and kernel) are exchanged for it: memory allows either.</summary>
    private sealed class Pass
    {
        private const int Narrowest = 8, Widest = 16;

        private readonly bool turned;

        public Pass(DepthwiseShape s, DepthwiseTaps kernel, int lanes)
        {
            Kernel = kernel;
            var (outH, outW) = (s.H + 2 * kernel.PadH - kernel.Rows + 1, s.W + 2 * kernel.PadW - kernel.Columns + 1);
            bool columns = lanes == 16 && Fits(kernel.Columns, outW), rows = lanes == 16 && Fits(kernel.Rows, outH);
            // Loads across two cache lines from far away are too slow for three taps each.
            IsWindow = (columns || rows) && (s.C % lanes == 0 || (columns ? kernel.Columns : kernel.Rows) > 3 || (columns && kernel.Rows < DepthwiseTuning.TallKernel));
            turned = IsWindow && !columns;
            (H, W) = Along(s.H, s.W);
            (OutH, OutW) = Along(outH, outW);
            (Rows, Columns) = Along(kernel.Rows, kernel.Columns);
            (PadH, PadW) = Along(kernel.PadH, kernel.PadW);
            TileRows = IsWindow ? 1 : 2;
            var tiles = (OutW + Widest - 1) / Widest;
            TileColumns = (OutW + tiles - 1) / tiles;
        }

        public DepthwiseTaps Kernel { get; }

        public int Taps => Kernel.Rows * Kernel.Columns;

        /// <summary>Whether tiles are <see cref="DepthwiseTiles.Window"/>.</summary>
        public bool IsWindow { get; }

        /// <summary>Whether a row of outputs meets few rows of memory.</summary>
        public bool IsFlat => !turned && Rows < DepthwiseTuning.TallKernel;

        /// <summary>Columns of a window, so that all have about as many.</summary>
        public int TileColumns { get; }

        public int TileRows { get; }

        public int H { get; }

        public int W { get; }

        public int OutH { get; }

        public int OutW { get; }

        public int Rows { get; }

        public int Columns { get; }

        public int PadH { get; }

        public int PadW { get; }

        /// <summary>What belongs to rows and to columns, as this pass sees it.</summary>
        public (TValue, TValue) Along<TValue>(TValue rows, TValue columns) => turned ? (columns, rows) : (rows, columns);

        private static bool Fits(int taps, int outputs) => taps is 3 or 5 or 7 or 9 or 11 or 13 && outputs >= Narrowest;
    }
}
