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

    // Columns of a unit where there are many, outputs of one where there are few, channels at a time: what a unit reads again stays in the second-level cache.
    private const int UnitColumns = 4 * Narrow, UnitRows = 96, BlockRows = NarrowRows * WideRows / 2, Stretch = 512;

    private const int ManyUnits = 16, PackChannels = 32;

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
        var columnParts = Math.Max(1, pixels / UnitColumns);
        if (columnParts * pictures >= ManyUnits)
        {
            // Each unit has some columns and all outputs, and packs its columns itself.
            KernelThreads.Run(columnParts * pictures, work, unit =>
            {
                var (part, n) = (unit % columnParts, unit / columnParts);
                int left = part * UnitColumns, right = part + 1 == columnParts ? pixels : left + UnitColumns;
                var memory = ArrayPool<float>.Shared.Rent(checked(channels * Stride(right - left) + Lanes));
                fixed (float* start = memory)
                {
                    var packed = (float*)(((nint)start + 63) & ~63);
                    job.Pack(n, 0, channels, left, right, packed);
                    job.Outputs(n, left, right, 0, outputs, packed);
                }
                ArrayPool<float>.Shared.Return(memory);
            });
            return;
        }
        // Few columns: they are packed once, then each unit has all of them and some outputs.
        var stride = Stride(pixels);
        var shared = ArrayPool<float>.Shared.Rent(checked(pictures * channels * stride + Lanes));
        fixed (float* start = shared)
        {
            var all = (float*)(((nint)start + 63) & ~63);
            var packs = (channels + PackChannels - 1) / PackChannels;
            KernelThreads.Run(pictures * packs, (long)pictures * channels * pixels, unit =>
            {
                var (channel, n) = (unit % packs * PackChannels, unit / packs);
                job.Pack(n, channel, Math.Min(channels, channel + PackChannels), 0, pixels, all + (long)n * channels * stride);
            });
            // As many units as suit the threads, so that they end together.
            var rounds = Math.Max(1, (int)Math.Round((double)pictures * outputs / (KernelThreads.Count * UnitRows)));
            var rowParts = Math.Max(1, (KernelThreads.Count * rounds + pictures - 1) / pictures);
            var height = ((outputs + rowParts - 1) / rowParts + NarrowRows - 1) / NarrowRows * NarrowRows;
            rowParts = (outputs + height - 1) / height;
            KernelThreads.Run(pictures * rowParts, work, unit =>
            {
                var (top, n) = (unit % rowParts * height, unit / rowParts);
                job.Outputs(n, 0, pixels, top, Math.Min(outputs, top + height), all + (long)n * channels * stride);
            });
        }
        ArrayPool<float>.Shared.Return(shared);
    }

    // Floats of packed columns; the last panel is as wide as any.
    private static int Stride(int columns) => (columns + Wide) / Lanes * Lanes + Lanes;

    /// <summary>One call.</summary>
    private readonly struct Job(
        float* x, float* before, float* w, float* scale, float* shift, float* add, float* y, PointwiseActivation activation, int channels, int outputs,
        int pixels)
    {
        /// <summary>Packs some columns and channels of a picture, panel by panel: panels begin where the columns before them end, times the channels.</summary>
        public void Pack(int n, int from, int to, int left, int right, float* packed)
        {
            for (var column = left; column < right;)
            {
                var width = PointwiseTiles.Width(right - column);
                var count = Math.Min(width, right - column);
                PackColumns(Pixels(n, from, column), pixels, to - from, count, packed + (long)(column - left) * channels + from * width, width,
                    before is null ? null : before + from, channels);
                column += count;
            }
        }

        /// <summary>Outputs [top, bottom) of the packed columns [left, right).</summary>
        public void Outputs(int n, int left, int right, int top, int bottom, float* packed)
        {
            var several = channels > Stretch;
            var memory = ArrayPool<float>.Shared.Rent((several ? (UnitRows + NarrowRows) * Stride(right - left) : NarrowRows * Wide) + Lanes);
            fixed (float* start = memory)
            {
                var sums = (float*)(((nint)start + 63) & ~63);
                for (; top < bottom; top += UnitRows)
                    for (var channel = 0; channel < channels; channel += Stretch)
                        Part(n, left, right, top, Math.Min(bottom, top + UnitRows), channel, packed, sums, several);
            }
            ArrayPool<float>.Shared.Return(memory);
        }

        // A stretch of channels: its packed columns stay in the second-level cache while the weights pass by, a block of rows at a time for all columns.
        private void Part(int n, int left, int right, int top, int bottom, int channel, float* packed, float* sums, bool several)
        {
            var depth = Math.Min(Stretch, channels - channel);
            for (var block = top; block < bottom; block += BlockRows)
            {
                var end = Math.Min(bottom, block + BlockRows);
                int panels = (right - left + Wide - 1) / Wide, share = (NarrowRows + panels - 1) / panels, near = 0;
                for (var column = left; column < right;)
                {
                    var width = PointwiseTiles.Width(right - column);
                    var (count, rows) = (Math.Min(width, right - column), width == Narrow ? NarrowRows : WideRows);
                    var panel = packed + (long)(column - left) * channels + (long)channel * width;
                    for (var row = block; row < end; row += rows)
                    {
                        // Where less than a tile is left, some rows are done again.
                        var first = Math.Min(row, outputs - rows);
                        var tile = several ? sums + (long)(column - left) * (UnitRows + NarrowRows) + (row - top) * width : sums;
                        var weights = w + (long)first * channels + channel;
                        var (ahead, aheadRows) = (row + BlockRows + near, Math.Clamp(rows - near, 0, share));
                        if (ahead + aheadRows > outputs) aheadRows = 0;
                        var next = w + (long)ahead * channels + channel;
                        if (width == Narrow) PointwiseTiles.Tile3(weights, channels, 1, panel, depth, tile, width, channel > 0, next, aheadRows);
                        else PointwiseTiles.Tile4(weights, channels, 1, panel, depth, tile, width, channel > 0, next, aheadRows);
                        if (channel + depth < channels) continue;
                        Finish(tile + (row - first) * width, width, row, Math.Min(row + rows, end), (long)n * outputs * pixels + column, count);
                    }
                    near += share;
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
}
