namespace Bayou.Kernels;

/// <summary>What a call is cut into.</summary>
internal sealed unsafe partial class DepthwiseWork
{
    /// <summary>One kernel, and which of its taps count.</summary>
    private sealed class Part(DepthwiseTaps kernel, DepthwiseShape s, int widest)
    {
        public DepthwiseTaps Kernel => kernel;

        public Reach Ky { get; } = new(s.H, s.OutH, kernel.Rows, s.StrideH, kernel.PadH);

        public Reach Kx { get; } = new(s.W, s.OutW, kernel.Columns, s.StrideW, kernel.PadW);

        /// <summary>
        /// Whether it is worked on with rows and columns exchanged: tall kernels have the better tiles, and narrow maps meet mostly padding across.
        /// </summary>
        public bool Turned { get; } = widest == 16 && IsBetterTurned(kernel, s);

        public int Taps => Ky.Count * Kx.Count;

        private static bool IsBetterTurned(DepthwiseTaps kernel, DepthwiseShape s)
        {
            // With a stride, each of the views is about this large.
            DepthwiseAxis rows = Axis(new(s.H, s.OutH, kernel.Rows, s.StrideH, kernel.PadH), s.H, s.OutH, s.StrideH),
                columns = Axis(new(s.W, s.OutW, kernel.Columns, s.StrideW, kernel.PadW), s.W, s.OutW, s.StrideW);
            return DepthwiseAxis.Cycles(columns, rows) < DepthwiseTuning.Turning * DepthwiseAxis.Cycles(rows, columns);
        }

        private static DepthwiseAxis Axis(Reach reach, int size, int outputs, int stride) =>
            new((size + stride - 1) / stride, (reach.Count + stride - 1) / stride, outputs, reach.Pad / stride);
    }

    /// <summary>The taps of one axis that can meet the picture at all: of a kernel larger than the picture only the middle.</summary>
    private readonly struct Reach(int size, int outputs, int taps, int stride, int pad)
    {
        public int First { get; } = Math.Min(taps - 1, Math.Max(0, pad - (outputs - 1) * stride));

        public int Count => Math.Max(1, Math.Min(taps, pad + size) - First);

        public int Pad => pad - First;
    }

    /// <summary>
    /// Of those, the taps First, First + stride, ... that meet rows phase, phase + stride, ...; the first of them meets row -Offset of those at output 0.
    /// </summary>
    private readonly struct Taps
    {
        public Taps(int phase, Reach reach, int stride)
        {
            var first = phase + reach.Pad;
            First = (first % stride + stride) % stride;
            Count = Math.Max(0, (reach.Count - First + stride - 1) / stride);
            Offset = (first - First) / stride;
        }

        public int First { get; }

        public int Count { get; }

        public int Offset { get; }
    }

    /// <summary>Which channels, pictures and rows a unit has.</summary>
    private readonly struct Unit
    {
        private readonly DepthwiseWork work;
        private readonly int block;

        public Unit(DepthwiseWork work, int unit)
            : this(work, unit / work.rowParts % work.groups * work.group, unit % work.rowParts, unit / work.rowParts / work.groups)
        {
        }

        private Unit(DepthwiseWork work, int block, int part, int chunk)
        {
            (this.work, this.block, Part, Chunk) = (work, block, part, chunk);
            Size = Math.Min(work.group, work.blocks - block);
            Channel = block * work.widest;
            // The last channels share a whole register with some before them, which are computed twice, to the same bits: unless sums are added up in the
            // output, where another thread might see them half done.
            if (work.phases.Length == 1 && work.parts.Length == 1) Channel = Math.Max(0, Math.Min(Channel, work.s.C - work.widest));
            Lanes = Math.Min(work.widest, work.s.C - Channel);
            // Otherwise few channels take the narrowest register that holds them.
            Width = work.widest;
            while (Width > 4 && Lanes <= Width / 2) Width /= 2;
            (FirstPicture, EndPicture) = (Chunk * work.s.N / work.Chunks, (Chunk + 1) * work.s.N / work.Chunks);
        }

        public int Part { get; }

        public int Chunk { get; }

        /// <summary>First channel; of a group's others, see <see cref="Member"/>.</summary>
        public int Channel { get; }

        public int Lanes { get; }

        public int Width { get; }

        public int FirstPicture { get; }

        public int EndPicture { get; }

        /// <summary>Registers of channels. Those of a group of several are all full.</summary>
        public int Size { get; }

        /// <summary>First channel of the last register of a group.</summary>
        public int LastChannel => Member(Size - 1).Channel;

        /// <summary>The same pictures and rows of another register of the group.</summary>
        public Unit Member(int i) => i == 0 ? this : new(work, block + i, Part, Chunk);
    }
}
