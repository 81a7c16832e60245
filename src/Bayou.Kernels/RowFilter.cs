using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// Weighted sums of shifted stretches of doubles: the inner loop of every linear filter, whatever its shape, once the picture carries its border. Products and
/// sums are rounded one after the other in the order given (no fused multiply-add), so that the result is that of the plain loop on every instruction set.
/// </summary>
public static unsafe class RowFilter
{
    /// <summary>destination[i] = sum over k of weights[k] * source[offsets[k] + i].</summary>
    /// <param name="source">Values; must reach as far as the offsets say.</param>
    /// <param name="offsets">Where each tap's stretch begins.</param>
    /// <param name="weights">One weight per tap.</param>
    /// <param name="destination">The sums; must not overlap the source.</param>
    /// <exception cref="ArgumentException">As many offsets as weights are needed, all inside the source.</exception>
    public static void Sum(ReadOnlySpan<double> source, ReadOnlySpan<int> offsets, ReadOnlySpan<double> weights, Span<double> destination)
    {
        if (offsets.Length != weights.Length) throw new ArgumentException($"{offsets.Length} offsets and {weights.Length} weights.", nameof(weights));
        foreach (var offset in offsets)
        {
            if (offset < 0 || offset > source.Length - destination.Length)
                throw new ArgumentException($"A tap of {destination.Length} values at {offset} leaves the {source.Length} values.", nameof(offsets));
        }
        var isa = KernelIsa.Current;
        fixed (double* from = source, w = weights, to = destination)
        fixed (int* at = offsets)
        {
            int i = 0, count = destination.Length, taps = offsets.Length;
            if (isa >= KernelIsaLevel.Vector512)
            {
                for (; i <= count - 32; i += 32)
                {
                    Vector512<double> a = default, b = default, c = default, d = default;
                    for (var k = 0; k < taps; k++)
                    {
                        var p = from + at[k] + i;
                        var weight = Vector512.Create(w[k]);
                        a += weight * Vector512.Load(p);
                        b += weight * Vector512.Load(p + 8);
                        c += weight * Vector512.Load(p + 16);
                        d += weight * Vector512.Load(p + 24);
                    }
                    a.Store(to + i);
                    b.Store(to + i + 8);
                    c.Store(to + i + 16);
                    d.Store(to + i + 24);
                }
            }
            if (isa >= KernelIsaLevel.Vector256)
            {
                for (; i <= count - 8; i += 8)
                {
                    Vector256<double> a = default, b = default;
                    for (var k = 0; k < taps; k++)
                    {
                        var p = from + at[k] + i;
                        var weight = Vector256.Create(w[k]);
                        a += weight * Vector256.Load(p);
                        b += weight * Vector256.Load(p + 4);
                    }
                    a.Store(to + i);
                    b.Store(to + i + 4);
                }
            }
            for (; i < count; i++)
            {
                var sum = 0.0;
                for (var k = 0; k < taps; k++) sum += w[k] * from[at[k] + i];
                to[i] = sum;
            }
        }
    }

    /// <summary>
    /// A symmetric filter: destination[i] = weights[0] s[centre + i] + sum over k = r..1 of weights[k] (s[centre + i - k step] + s[centre + i + k step]), the
    /// farthest pair first.
    /// </summary>
    /// <param name="source">Values s; must reach r steps to both sides.</param>
    /// <param name="centre">Where the middle tap begins.</param>
    /// <param name="step">Distance of neighbouring taps: the channels along a row, a row's length down a column.</param>
    /// <param name="weights">The middle weight, then those of growing distance; r + 1 in all.</param>
    /// <param name="destination">The sums; must not overlap the source.</param>
    /// <exception cref="ArgumentException">A tap leaves the source.</exception>
    public static void Symmetric(ReadOnlySpan<double> source, int centre, int step, ReadOnlySpan<double> weights, Span<double> destination)
    {
        var radius = weights.Length - 1;
        if (radius < 0 || step < 1 || centre - (long)radius * step < 0 || centre + (long)radius * step + destination.Length > source.Length)
            throw new ArgumentException($"{weights.Length} weights around {centre} leave the {source.Length} values.", nameof(weights));
        var isa = KernelIsa.Current;
        fixed (double* first = source, w = weights, to = destination)
        {
            var from = first + centre;
            int i = 0, count = destination.Length;
            if (isa >= KernelIsaLevel.Vector512)
            {
                for (; i <= count - 32; i += 32) Symmetric512(from + i, step, w, radius, to + i);
            }
            if (isa >= KernelIsaLevel.Vector256)
            {
                for (; i <= count - 8; i += 8)
                {
                    var p = from + i;
                    var weight = Vector256.Create(w[0]);
                    Vector256<double> a = weight * Vector256.Load(p), b = weight * Vector256.Load(p + 4);
                    for (var k = radius; k > 0; k--)
                    {
                        double* left = p - (long)k * step, right = p + (long)k * step;
                        weight = Vector256.Create(w[k]);
                        a += (Vector256.Load(left) + Vector256.Load(right)) * weight;
                        b += (Vector256.Load(left + 4) + Vector256.Load(right + 4)) * weight;
                    }
                    a.Store(to + i);
                    b.Store(to + i + 4);
                }
            }
            for (; i < count; i++)
            {
                var sum = w[0] * from[i];
                for (var k = radius; k > 0; k--) sum += (from[i - (long)k * step] + from[i + (long)k * step]) * w[k];
                to[i] = sum;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Symmetric512(double* p, int step, double* w, int radius, double* to)
    {
        var weight = Vector512.Create(w[0]);
        Vector512<double> a = weight * Vector512.Load(p), b = weight * Vector512.Load(p + 8), c = weight * Vector512.Load(p + 16),
            d = weight * Vector512.Load(p + 24);
        for (var k = radius; k > 0; k--)
        {
            double* left = p - (long)k * step, right = p + (long)k * step;
            weight = Vector512.Create(w[k]);
            a += (Vector512.Load(left) + Vector512.Load(right)) * weight;
            b += (Vector512.Load(left + 8) + Vector512.Load(right + 8)) * weight;
            c += (Vector512.Load(left + 16) + Vector512.Load(right + 16)) * weight;
            d += (Vector512.Load(left + 24) + Vector512.Load(right + 24)) * weight;
        }
        a.Store(to);
        b.Store(to + 8);
        c.Store(to + 16);
        d.Store(to + 24);
    }
}
