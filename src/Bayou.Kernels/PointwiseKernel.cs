using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>What follows a product of <see cref="PointwiseKernel"/>.</summary>
public enum PointwiseActivation
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>max(x, 0).</summary>
    Relu,

    /// <summary>x Phi(x).</summary>
    Gelu,
}

/// <summary>
/// 1x1 convolution of planar pictures, y = act((W x) scale + shift) + add and the like, for inference on machines with AVX-512. Weights are read as they lie, a
/// number at a time for three or four registers of pixels:
/// a general product packs them first, which takes it long when there are few pixels. What follows the product is done while its result is in the first-level
/// cache.
/// </summary>
public static unsafe class PointwiseKernel
{
    private const int Lanes = PointwiseTiles.Lanes, Narrow = PointwiseTiles.Narrow, Wide = PointwiseTiles.Wide;

    private const int NarrowRows = PointwiseTiles.NarrowRows, WideRows = PointwiseTiles.WideRows;

    // Columns of a part, and rows of weights that are used for all of them before the next come.
    private const int PartColumns = 4 * Narrow, BlockRows = NarrowRows * WideRows / 2;

    // Numbers of packed columns that stay in the second-level cache beside weights and sums: 512 channels of a part.
    private const int Near = 512 * PartColumns;

    // Outputs of a unit, and rows of the sums that wait for the next stretch of channels: the last tile may reach beyond.
    private const int UnitRows = 4 * BlockRows, SumRows = UnitRows + NarrowRows;

    private const int ManyUnits = 16, PackChannels = 16, MostDots = 8;

    /// <summary>Whether the machine and the sizes suit.</summary>
    public static bool Suits(int outputs, int pixels) =>
        KernelIsa.Current == KernelIsaLevel.Vector512 && outputs >= NarrowRows && pixels >= 2 * Lanes;

    /// <summary>y = act((W (x before + offset)) scale + shift) + add.</summary>
    /// <param name="x">[N, C, P].</param>
    /// <param name="before">[2, C]: scale and offset of the input's channels (a normalisation in front), or null.</param>
    /// <param name="w">[O, C].</param>
    /// <param name="scale">[O] or null.</param>
    /// <param name="shift">[O] or null.</param>
    /// <param name="add">[N, O, P] or null.</param>
    /// <param name="y">[N, O, P], written; none of the inputs.</param>
    /// <param name="activation">Activation.</param>
    /// <param name="pictures">N.</param>
    /// <param name="channels">C.</param>
    /// <param name="outputs">O.</param>
    /// <param name="pixels">P.</param>
    public static void Forward(
        float* x, float* before, float* w, float* scale, float* shift, float* add, float* y,
        PointwiseActivation activation, int pictures, int channels, int outputs, int pixels)
    {
        var job = new Job(x, before, w, scale, shift, add, y, activation, channels, outputs, pixels);
        var work = (long)pictures * channels * outputs * pixels;
        var columnParts = Math.Max(1, (pixels + PartColumns / 2) / PartColumns);
        if (columnParts * pictures >= ManyUnits)
        {
            // Each unit has some columns and all outputs, and packs its columns itself.
            KernelThreads.Run(columnParts * pictures, work, unit =>
            {
                var ((left, right), n) = (Columns(unit % columnParts), unit / columnParts);
                var memory = ArrayPool<float>.Shared.Rent(checked((int)job.Length(right - left) + Lanes));
                fixed (float* start = memory)
                {
                    var packed = (float*)(((nint)start + 63) & ~63);
                    for (var channel = 0; channel < channels; channel += PackChannels) job.Pack(n, channel, left, right, packed);
                    job.Outputs(n, left, right, 0, outputs, packed);
                }
                ArrayPool<float>.Shared.Return(memory);
            });
            return;
        }
        // Few columns: they are packed once, then each unit has a part of them and some outputs.
        var whole = (columnParts - 1) * PartColumns;
        var length = (long)whole * channels + job.Length(pixels - whole);
        var shared = ArrayPool<float>.Shared.Rent(checked((int)(pictures * length) + Lanes));
        fixed (float* start = shared)
        {
            var all = (float*)(((nint)start + 63) & ~63);
            var packs = (channels + PackChannels - 1) / PackChannels;
            KernelThreads.Run(pictures * packs, (long)pictures * channels * pixels, unit =>
            {
                var (pack, n) = (unit % packs, unit / packs);
                for (var part = 0; part < columnParts; part++)
                {
                    var (left, right) = Columns(part);
                    job.Pack(n, pack * PackChannels, left, right, all + n * length + (long)left * channels);
                }
            });
            // As many units as suit the threads, so that they end together.
            var parts = pictures * columnParts;
            var rounds = Math.Max(1, (int)Math.Round((double)parts * outputs / (KernelThreads.Count * UnitRows)));
            var rowParts = (KernelThreads.Count * rounds + parts - 1) / parts;
            var height = ((outputs + rowParts - 1) / rowParts + NarrowRows - 1) / NarrowRows * NarrowRows;
            rowParts = (outputs + height - 1) / height;
            KernelThreads.Run(parts * rowParts, work, unit =>
            {
                var (top, part, n) = (unit % rowParts * height, unit / rowParts % columnParts, unit / rowParts / columnParts);
                var (left, right) = Columns(part);
                job.Outputs(n, left, right, top, Math.Min(outputs, top + height), all + n * length + (long)left * channels);
            });
        }
        ArrayPool<float>.Shared.Return(shared);

        (int Left, int Right) Columns(int part) => (part * PartColumns, part + 1 == columnParts ? pixels : (part + 1) * PartColumns);
    }

    /// <summary>One call.</summary>
    private readonly struct Job(
        float* x, float* before, float* w, float* scale, float* shift, float* add, float* y, PointwiseActivation activation, int channels, int outputs,
        int pixels)
    {
        /// <summary>Floats of packed columns.</summary>
        public long Length(int columns) => (long)channels * Padded(columns) + MostDots * TurnedLength;

        // Floats of a column that is turned around.
        private long TurnedLength => (channels + Lanes - 1) / Lanes * Lanes;

        // Columns of all panels together.
        private static int Padded(int columns)
        {
            var (end, at) = (columns - DotColumns(columns), 0);
            while (at < end) at += PointwiseTiles.Width(end - at);
            return at;
        }

        // Columns behind the last full register that are better done one by one than as a register.
        private static int DotColumns(int columns) => columns % Lanes <= MostDots ? columns % Lanes : 0;

        /// <summary>
        /// Packs some columns of a few channels of a picture, panel by panel: panels begin where the columns before them end, times the channels. Single columns
        /// lie behind the panels, turned around.
        /// </summary>
        public void Pack(int n, int from, int left, int right, float* packed)
        {
            var (to, end) = (Math.Min(channels, from + PackChannels), right - DotColumns(right - left));
            var offsets = before is null ? null : before + from;
            for (var column = left; column < end;)
            {
                var width = PointwiseTiles.Width(end - column);
                var count = Math.Min(width, end - column);
                PackColumns(
                    Pixels(n, from, column), pixels, to - from, count, packed + (long)(column - left) * channels + from * width, width, offsets, channels);
                column += count;
            }
            if (end == right) return;
            TurnColumns(
                Pixels(n, from, end), pixels, from, to, channels, right - end, packed + (long)channels * Padded(right - left), (nint)TurnedLength, offsets);
        }

        /// <summary>Outputs [top, bottom) of the packed columns [left, right).</summary>
        public void Outputs(int n, int left, int right, int top, int bottom, float* packed)
        {
            var padded = Padded(right - left);
            var stretch = Near / Math.Min(PartColumns, padded) / Lanes * Lanes;
            var several = channels > stretch;
            var memory = ArrayPool<float>.Shared.Rent((several ? SumRows * (padded + Lanes) : NarrowRows * Wide) + Lanes);
            fixed (float* start = memory)
            {
                var sums = (float*)(((nint)start + 63) & ~63);
                for (; top < bottom; top += UnitRows)
                {
                    var end = Math.Min(bottom, top + UnitRows);
                    for (var channel = 0; channel < channels; channel += stretch)
                        Part(n, left, right, top, end, channel, Math.Min(stretch, channels - channel), packed, sums, several);
                }
            }
            ArrayPool<float>.Shared.Return(memory);
        }

        // A stretch of channels: its packed columns stay in the second-level cache while the weights pass by, a block of rows at a time for all columns.
        private void Part(int n, int left, int right, int top, int bottom, int channel, int depth, float* packed, float* sums, bool several)
        {
            var (last, panelsEnd) = (channel + depth == channels, right - DotColumns(right - left));
            var place = (long)n * outputs * pixels;
            var turned = packed + (long)channels * Padded(right - left) + channel;
            for (var block = top; block < bottom; block += BlockRows)
            {
                var end = Math.Min(bottom, block + BlockRows);
                for (var column = left; column < right;)
                {
                    var dots = column >= panelsEnd;
                    var width = dots ? Lanes : PointwiseTiles.Width(panelsEnd - column);
                    var (count, rows) = (Math.Min(width, (dots ? right : panelsEnd) - column), width == Narrow ? NarrowRows : WideRows);
                    var panel = packed + (long)(column - left) * channels + (long)channel * width;
                    for (var row = block; row < end; row += rows)
                    {
                        // Where less than a tile is left, some rows are done again.
                        var first = Math.Min(row, outputs - rows);
                        var tile = several ? sums + (long)(column - left) * SumRows + (row - top) * width : sums;
                        var weights = w + (long)first * channels + channel;
                        if (dots)
                        {
                            for (var i = 0; i < count; i += 4)
                                PointwiseTiles.Dots(weights, channels, turned + i * TurnedLength, (nint)TurnedLength, depth, tile + i, width, channel > 0);
                        }
                        else if (width == Narrow) PointwiseTiles.Tile3(weights, channels, 1, panel, depth, tile, width, channel > 0);
                        else PointwiseTiles.Tile4(weights, channels, 1, panel, depth, tile, width, channel > 0);
                        if (last) Finish(tile + (row - first) * width, width, row, Math.Min(row + rows, end), place + column, count);
                    }
                    column += count;
                }
            }
        }

        // What follows the product, for rows [top, bottom) of a tile at once: the exponentials of many registers overlap.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Finish(float* sums, int width, int top, int bottom, long place, int count)
        {
            if (scale is not null || shift is not null || activation == PointwiseActivation.Relu)
            {
                var z = sums;
                for (var r = top; r < bottom; r++, z += width)
                {
                    Vector512<float> a = Vector512.Create(scale is null ? 1 : scale[r]), b = Vector512.Create(shift is null ? 0 : shift[r]);
                    for (var i = 0; i < count; i += Lanes)
                    {
                        var v = Avx512F.FusedMultiplyAdd(Vector512.Load(z + i), a, b);
                        if (activation == PointwiseActivation.Relu)
                            v = Vector512.ConditionalSelect(Vector512.LessThan(v, Vector512<float>.Zero), Vector512<float>.Zero, v);
                        v.Store(z + i);
                    }
                }
            }
            if (activation == PointwiseActivation.Gelu) GeluKernel.InPlace(sums, (bottom - top) * width);
            for (var r = top; r < bottom; r++, sums += width)
            {
                var at = place + (long)r * pixels;
                PointwiseTiles.Store(sums, add is null ? null : add + at, y + at, count);
            }
        }

        private float* Pixels(int n, int channel, int column) => x + ((long)n * channels + channel) * pixels + column;
    }

    // Columns of some channels side by side; zeros where the picture ends.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackColumns(float* x, nint step, int channels, int count, float* packed, int width, float* before, int offsets)
    {
        for (var k = 0; k < channels; k++, x += step, packed += width)
        {
            var i = 0;
            if (before is null)
            {
                for (; i + Lanes <= count; i += Lanes) Vector512.Load(x + i).Store(packed + i);
                for (; i < count; i++) packed[i] = x[i];
            }
            else
            {
                var (a, b) = (before[k], before[offsets + k]);
                Vector512<float> scale = Vector512.Create(a), offset = Vector512.Create(b);
                for (; i + Lanes <= count; i += Lanes) Avx512F.FusedMultiplyAdd(Vector512.Load(x + i), scale, offset).Store(packed + i);
                for (; i < count; i++) packed[i] = float.FusedMultiplyAdd(x[i], a, b);
            }
            for (; i < width; i++) packed[i] = 0;
        }
    }

    // Single columns, turned around: each becomes a row of channels; zeros up to the next multiple of the register, and in columns up to the next four.
    private static void TurnColumns(float* x, nint step, int from, int to, int channels, int count, float* turned, nint row, float* before)
    {
        for (var i = 0; i < (count + 3) / 4 * 4; i++)
        {
            var target = turned + i * row;
            for (var k = from; k < to; k++)
            {
                var v = i < count ? x[(k - from) * step + i] : 0;
                target[k] = before is null || i >= count ? v : float.FusedMultiplyAdd(v, before[k - from], before[channels + k - from]);
            }
            if (to == channels) for (var k = to; k < row; k++) target[k] = 0;
        }
    }
}
