using System.Runtime.CompilerServices;

namespace Bayou.Kernels;

/// <summary>Layer normalisation over the channels of every pixel of planar pictures: a register holds pixels, so nothing is turned around.</summary>
public static unsafe class PlanarNormKernel
{
    // Pixels of a unit: its channels stay in the second-level cache.
    private const int Pixels = 64, Cost = 6;

    /// <summary>y = (x - mean) / sqrt(variance + eps) weight + bias, mean and biased variance over the channels.</summary>
    /// <param name="x">[N, C, P].</param>
    /// <param name="weight">[C].</param>
    /// <param name="bias">[C].</param>
    /// <param name="y">[N, C, P], written; may be x.</param>
    /// <param name="pictures">N.</param>
    /// <param name="channels">C.</param>
    /// <param name="pixels">P.</param>
    /// <param name="eps">Added to the variance.</param>
    public static void Forward(float* x, float* weight, float* bias, float* y, int pictures, int channels, int pixels, double eps)
    {
        var isa = KernelIsa.Current;
        var parts = (pixels + Pixels - 1) / Pixels;
        KernelThreads.Run(pictures * parts, (long)pictures * channels * pixels * Cost, unit =>
        {
            var picture = (long)(unit / parts) * channels * pixels;
            int from = unit % parts * Pixels, to = Math.Min(pixels, from + Pixels);
            float* source = x + picture, target = y + picture;
            from = isa switch
            {
                KernelIsaLevel.Vector512 => Run<Lanes512>(source, weight, bias, target, channels, pixels, from, to, (float)eps),
                KernelIsaLevel.Vector256 => Run<Lanes256>(source, weight, bias, target, channels, pixels, from, to, (float)eps),
                KernelIsaLevel.Vector128 => Run<Lanes128>(source, weight, bias, target, channels, pixels, from, to, (float)eps),
                _ => from,
            };
            Run<Lane>(source, weight, bias, target, channels, pixels, from, to, (float)eps);
        });
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int Run<T>(float* x, float* weight, float* bias, float* y, int channels, int pixels, int i, int end, float eps)
        where T : struct, IFloatLanes<T>
    {
        T share = T.Create(1f / channels), e = T.Create(eps);
        for (; i + T.Count <= end; i += T.Count)
        {
            // Four sums: additions need not wait for each other.
            T a = T.Create(0), b = a, c = a, d = a;
            var p = x + i;
            var left = channels;
            for (; left >= 4; left -= 4, p += 4L * pixels)
            {
                a += T.Load(p);
                b += T.Load(p + pixels);
                c += T.Load(p + 2L * pixels);
                d += T.Load(p + 3L * pixels);
            }
            for (; left > 0; left--, p += pixels) a += T.Load(p);
            var mean = (a + b + (c + d)) * share;
            (a, b) = (T.Create(0), T.Create(0));
            p = x + i;
            for (left = channels; left >= 2; left -= 2, p += 2L * pixels)
            {
                T u = T.Load(p) - mean, v = T.Load(p + pixels) - mean;
                a = T.MulAdd(u, u, a);
                b = T.MulAdd(v, v, b);
            }
            if (left > 0)
            {
                var u = T.Load(p) - mean;
                a = T.MulAdd(u, u, a);
            }
            var scale = T.Create(1) / T.Sqrt(T.MulAdd(a + b, share, e));
            p = x + i;
            var q = y + i;
            for (var k = 0; k < channels; k++, p += pixels, q += pixels)
                T.Store(q, T.MulAdd((T.Load(p) - mean) * scale, T.Create(weight[k]), T.Create(bias[k])));
        }
        return i;
    }
}
