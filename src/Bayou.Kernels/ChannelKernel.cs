using System.Runtime.CompilerServices;

namespace Bayou.Kernels;

/// <summary>
/// What stands between two products of an inference network, in one pass over memory: y = max(x scale + shift, 0) + add, channel by channel of channels-last
/// pixels.
/// </summary>
public static unsafe class ChannelKernel
{
    private const int Cost = 3;

    /// <summary>y = act(x scale + shift) + add.</summary>
    /// <param name="x">[rows, channels].</param>
    /// <param name="scale">[channels] or null.</param>
    /// <param name="shift">[channels] or null.</param>
    /// <param name="add">[rows, channels] or null.</param>
    /// <param name="y">[rows, channels], written; may be x or add.</param>
    /// <param name="relu">Whether negative values become zero before <paramref name="add"/> is added.</param>
    /// <param name="rows">Pixels.</param>
    /// <param name="channels">Channels.</param>
    public static void Forward(float* x, float* scale, float* shift, float* add, float* y, bool relu, int rows, int channels)
    {
        var isa = KernelIsa.Current;
        new RowBlocks(rows, channels).Run(Cost, (from, to) =>
        {
            for (var row = from; row < to; row++)
            {
                var o = (long)row * channels;
                var a = add is null ? null : add + o;
                var done = isa switch
                {
                    KernelIsaLevel.Vector512 => Run<Lanes512>(x + o, scale, shift, a, y + o, relu, 0, channels),
                    KernelIsaLevel.Vector256 => Run<Lanes256>(x + o, scale, shift, a, y + o, relu, 0, channels),
                    KernelIsaLevel.Vector128 => Run<Lanes128>(x + o, scale, shift, a, y + o, relu, 0, channels),
                    _ => 0,
                };
                if (done < channels) Run<Lane>(x + o, scale, shift, a, y + o, relu, done, channels);
            }
        });
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int Run<T>(float* x, float* scale, float* shift, float* add, float* y, bool relu, int i, int n) where T : struct, IFloatLanes<T>
    {
        for (; i + T.Count <= n; i += T.Count)
        {
            var v = T.Load(x + i);
            var b = shift is null ? T.Create(0) : T.Load(shift + i);
            v = scale is null ? v + b : T.MulAdd(v, T.Load(scale + i), b);
            // A value that is no number stays one.
            if (relu) v = T.WhereNegative(v, T.Create(0), v);
            if (add is not null) v += T.Load(add + i);
            T.Store(y + i, v);
        }
        return i;
    }
}
