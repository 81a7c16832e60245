using System.Buffers;

namespace Bayou.Kernels;

/// <summary>Sizes of a depthwise convolution, stride 1, odd kernel, "same" zero padding.</summary>
/// <param name="N">Pictures.</param>
/// <param name="H">Rows.</param>
/// <param name="W">Columns.</param>
/// <param name="C">Channels.</param>
/// <param name="KH">Kernel rows, odd.</param>
/// <param name="KW">Kernel columns, odd.</param>
public readonly record struct DepthwiseShape(int N, int H, int W, int C, int KH, int KW)
{
    internal int PadH => KH / 2;

    internal int PadW => KW / 2;

    internal int Taps => KH * KW;

    internal long ImageLength => (long)H * W * C;
}

/// <summary>
/// Depthwise convolution of channels-last pictures [N, H, W, C] with weights [C, KH, KW], and its gradients.
/// <para>
/// Work is cut into (a few pictures, one register of channels). Of each picture those channels are packed into a plane [H, W + padding, lanes], zero at the
/// left and right; then every multiply-add is one register of channels times one of weights, with eight outputs (or eight taps of the weight
/// gradient) held in registers. Rows outside the picture are left out. Results do not depend on the number of threads.
/// </para>
/// </summary>
public static unsafe partial class DepthwiseKernel
{
    /// <summary>Pictures in one unit of work: fixed, because each unit sums its own part of the weight gradient.</summary>
    private const int Chunk = 8;

    /// <summary>y = x * w + bias.</summary>
    /// <param name="x">[N, H, W, C].</param>
    /// <param name="w">[C, KH, KW].</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="y">[N, H, W, C], written.</param>
    /// <param name="s">Sizes.</param>
    public static void Forward(float* x, float* w, float* bias, float* y, DepthwiseShape s)
    {
        var packed = ArrayPool<float>.Shared.Rent(s.C * s.Taps + 16);
        fixed (float* first = packed)
        {
            var weights = Align(first);
            var plan = new ChannelPlan(s.C, KernelIsa.Current);
            PackWeights(w, weights, s, plan, flip: false);
            var work = new ForwardWork(x, weights, bias, y, s, plan);
            Run(work.Units, work.Unit);
        }
        ArrayPool<float>.Shared.Return(packed);
    }

    /// <summary>Gradients of the input, the weights and the bias; each may be null.</summary>
    /// <param name="x">[N, H, W, C]; read only for the weight gradient.</param>
    /// <param name="w">[C, KH, KW]; read only for the input gradient.</param>
    /// <param name="dy">Gradient of the output, [N, H, W, C].</param>
    /// <param name="dx">[N, H, W, C], written, or null.</param>
    /// <param name="dw">[C, KH, KW], written, or null.</param>
    /// <param name="db">[C], written, or null.</param>
    /// <param name="s">Sizes.</param>
    public static void Backward(float* x, float* w, float* dy, float* dx, float* dw, float* db, DepthwiseShape s)
    {
        var chunks = (s.N + Chunk - 1) / Chunk;
        // For each chunk of pictures its own sums, added in order at the end: taps, then the bias.
        var partLength = (s.Taps + 1) * s.C;
        var packed = ArrayPool<float>.Shared.Rent(s.C * s.Taps + 16);
        var parts = ArrayPool<float>.Shared.Rent(checked(chunks * partLength + 16));
        fixed (float* firstWeight = packed, firstPart = parts)
        {
            float* weights = Align(firstWeight), sums = Align(firstPart);
            var plan = new ChannelPlan(s.C, KernelIsa.Current);
            if (dx is not null) PackWeights(w, weights, s, plan, flip: true);
            var work = new BackwardWork(x, weights, dy, dx, dw is null ? null : sums, db is null ? null : sums + (long)s.Taps * s.C, partLength, s, plan);
            Run(work.Units, work.Unit);
            if (dw is not null || db is not null) Gather(sums, chunks, partLength, dw, db, s, plan);
        }
        ArrayPool<float>.Shared.Return(parts);
        ArrayPool<float>.Shared.Return(packed);
    }

    private static void Run(int units, Action<int> unit)
    {
        if (units == 1 || KernelThreads.Count == 1)
        {
            for (var i = 0; i < units; i++) unit(i);
            return;
        }
        Parallel.For(0, units, new ParallelOptions { MaxDegreeOfParallelism = KernelThreads.Count }, unit);
    }

    // Sums the parts chunk by chunk and turns [block][tap][lane] back into [C, KH, KW].
    private static void Gather(float* sums, int chunks, int partLength, float* dw, float* db, DepthwiseShape s, ChannelPlan plan)
    {
        for (var i = 1; i < chunks; i++)
        {
            var part = sums + (long)i * partLength;
            for (var j = 0; j < partLength; j++) sums[j] += part[j];
        }
        if (db is not null) new ReadOnlySpan<float>(sums + (long)s.Taps * s.C, s.C).CopyTo(new Span<float>(db, s.C));
        if (dw is null) return;
        for (var b = 0; b < plan.Count; b++)
        {
            var (start, lanes) = plan[b];
            var block = sums + (long)start * s.Taps;
            for (var t = 0; t < s.Taps; t++)
            {
                for (var l = 0; l < lanes; l++) dw[(long)(start + l) * s.Taps + t] = block[t * lanes + l];
            }
        }
    }

    // [C, KH, KW] -> for each block of channels [tap][lane]; flipped for the input gradient, which is the convolution with the reversed kernel.
    private static void PackWeights(float* w, float* packed, DepthwiseShape s, ChannelPlan plan, bool flip)
    {
        for (var b = 0; b < plan.Count; b++)
        {
            var (start, lanes) = plan[b];
            var block = packed + (long)start * s.Taps;
            for (var t = 0; t < s.Taps; t++)
            {
                var source = flip ? s.Taps - 1 - t : t;
                for (var l = 0; l < lanes; l++) block[t * lanes + l] = w[(long)(start + l) * s.Taps + source];
            }
        }
    }

    // 64-byte alignment: a 512-bit load across two cache lines costs twice.
    private static float* Align(float* p) => (float*)(((nint)p + 63) & ~63);

    /// <summary>How the channels are cut into registers: as many of the widest as fit, then narrower ones, then single channels.</summary>
    private readonly struct ChannelPlan(int channels, KernelIsaLevel isa)
    {
        private readonly int widest = isa switch { KernelIsaLevel.Vector512 => 16, KernelIsaLevel.Vector256 => 8, KernelIsaLevel.Vector128 => 4, _ => 1 };

        public int Count => Blocks(out _, -1);

        /// <summary>First channel and width of a block.</summary>
        public (int Start, int Lanes) this[int block]
        {
            get
            {
                Blocks(out var found, block);
                return found;
            }
        }

        private int Blocks(out (int, int) found, int wanted)
        {
            found = default;
            int start = 0, count = 0;
            for (var lanes = widest; ; lanes = lanes == 4 ? 1 : lanes / 2)
            {
                var fit = (channels - start) / lanes;
                if (wanted >= count && wanted < count + fit) found = (start + (wanted - count) * lanes, lanes);
                count += fit;
                start += fit * lanes;
                if (start == channels) return count;
            }
        }
    }

    private sealed class ForwardWork(float* x, float* weights, float* bias, float* y, DepthwiseShape s, ChannelPlan plan)
    {
        private readonly int blocks = plan.Count;

        public int Units => blocks * ((s.N + Chunk - 1) / Chunk);

        public void Unit(int unit)
        {
            var (start, lanes) = plan[unit % blocks];
            var (from, to) = (unit / blocks * Chunk, Math.Min(s.N, unit / blocks * Chunk + Chunk));
            switch (lanes)
            {
                case 16: Images<Lanes512>(start, from, to); break;
                case 8: Images<Lanes256>(start, from, to); break;
                case 4: Images<Lanes128>(start, from, to); break;
                default: Images<Lane>(start, from, to); break;
            }
        }

        private void Images<T>(int start, int from, int to) where T : struct, IFloatLanes<T>
        {
            var scratch = ArrayPool<float>.Shared.Rent(PlaneLength<T>(s) + 16);
            fixed (float* first = scratch)
            {
                var plane = Align(first);
                for (var n = from; n < to; n++)
                {
                    Pack<T>(x + n * s.ImageLength + start, plane, s);
                    Convolve(plane, weights + (long)start * s.Taps, bias is null ? T.Create(0) : T.Load(bias + start), y + n * s.ImageLength + start, s);
                }
            }
            ArrayPool<float>.Shared.Return(scratch);
        }
    }

    private sealed class BackwardWork(float* x, float* weights, float* dy, float* dx, float* dw, float* db, int partLength, DepthwiseShape s, ChannelPlan plan)
    {
        private readonly int blocks = plan.Count;

        public int Units => blocks * ((s.N + Chunk - 1) / Chunk);

        public void Unit(int unit)
        {
            var (start, lanes) = plan[unit % blocks];
            switch (lanes)
            {
                case 16: Images<Lanes512>(start, unit / blocks); break;
                case 8: Images<Lanes256>(start, unit / blocks); break;
                case 4: Images<Lanes128>(start, unit / blocks); break;
                default: Images<Lane>(start, unit / blocks); break;
            }
        }

        private void Images<T>(int start, int chunk) where T : struct, IFloatLanes<T>
        {
            var (from, to) = (chunk * Chunk, Math.Min(s.N, chunk * Chunk + Chunk));
            var length = (PlaneLength<T>(s) + 15) & ~15;
            var scratch = ArrayPool<float>.Shared.Rent(2 * length + 16);
            float* taps = dw is null ? null : dw + (long)chunk * partLength + (long)start * s.Taps, sum = db is null ? null : db + (long)chunk * partLength + start;
            if (taps is not null) new Span<float>(taps, s.Taps * T.Count).Clear();
            if (sum is not null) new Span<float>(sum, T.Count).Clear();
            fixed (float* first = scratch)
            {
                float* gradient = Align(first), input = gradient + length;
                for (var n = from; n < to; n++)
                {
                    var image = n * s.ImageLength + start;
                    Pack<T>(dy + image, gradient, s);
                    if (dx is not null) Convolve(gradient, weights + (long)start * s.Taps, T.Create(0), dx + image, s);
                    if (taps is not null)
                    {
                        Pack<T>(x + image, input, s);
                        WeightGradient<T>(input, gradient, taps, s);
                    }
                    if (sum is not null) T.Store(sum, T.Load(sum) + Total<T>(gradient, s));
                }
            }
            ArrayPool<float>.Shared.Return(scratch);
        }
    }
}
