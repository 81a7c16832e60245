using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>
/// Discrete Fourier transforms of one length, X[k] = sum x[n] exp(-2 pi i n k / N), of eight signals at once in double precision: every element is a register
/// of real parts
/// followed by one of imaginary parts, a lane a signal. Self-sorting (Stockham), radices 9, 8, 5, 4, 3 and 2. The inverse, without the factor 1 / N, is the
/// same with the parts
/// exchanged. For machines with AVX-512.
/// </summary>
internal sealed unsafe class Fourier
{
    /// <summary>Signals.</summary>
    public const int Lanes = 8;

    /// <summary>Doubles of an element.</summary>
    public const int Element = 2 * Lanes;

    private static readonly ConcurrentDictionary<int, Fourier> Plans = new();
    private static readonly int[] AllRadices = [9, 8, 5, 4, 3, 2];

    private readonly int[] radices;
    private readonly double[] twiddles;     // stage by stage, p by p: exp(-2 pi i p k / n), k = 1 .. radix - 1

    private Fourier(int length)
    {
        Length = length;
        // The longest last: the last stage has no twiddles, and they have most of them.
        var order = new List<int>();
        var rest = length;
        foreach (var r in AllRadices)
            for (; rest % r == 0; rest /= r) order.Insert(0, r);
        radices = [.. order];
        var list = new List<double>();
        var n = length;
        foreach (var r in radices)
        {
            for (var p = 0; p < n / r; p++)
                for (var k = 1; k < r; k++)
                {
                    var (sin, cos) = Math.SinCos(2 * Math.PI * p * k / n);
                    list.Add(cos);
                    list.Add(-sin);
                }
            n /= r;
        }
        // Read by address: it must not move.
        twiddles = GC.AllocateUninitializedArray<double>(list.Count, pinned: true);
        list.CopyTo(twiddles);
    }

    /// <summary>Whether this machine can.</summary>
    public static bool IsSupported => KernelIsa.HasVector512;

    /// <summary>N.</summary>
    public int Length { get; }

    /// <summary>The transform of a length that <see cref="Cost"/> knows.</summary>
    public static Fourier Of(int length) => Plans.GetOrAdd(length, n => new(n));

    /// <summary>
    /// About the instructions of one transform, a pass over memory counted as four an element; 0 for a length with other prime factors than 2, 3, 5.
    /// </summary>
    public static int Cost(int length)
    {
        var (cost, rest) = (0, length);
        foreach (var r in AllRadices)
            for (; rest % r == 0; rest /= r) cost += 4 + r switch { 9 => 15, 8 => 11, 5 => 10, 4 => 7, 3 => 7, _ => 4 };
        return rest > 1 ? 0 : length * cost;
    }

    /// <summary>Transforms a; the result is in the buffer that is returned, a or b, the other one holds anything.</summary>
    /// <param name="a">Input, <see cref="Length"/> elements.</param>
    /// <param name="b">Room for as many.</param>
    /// <param name="inverse">Exchange real and imaginary parts.</param>
    public double* Run(double* a, double* b, bool inverse)
    {
        nint imaginary = inverse ? -Lanes : Lanes;
        if (inverse)
        {
            a += Lanes;
            b += Lanes;
        }
        var w = (double*)Unsafe.AsPointer(ref twiddles[0]);
        int n = Length, s = 1;
        foreach (var r in radices)
        {
            var m = n / r;
            switch (r)
            {
                case 9: FourierStages.Nine(a, b, w, m, s, imaginary); break;
                case 8: FourierStages.Eight(a, b, w, m, s, imaginary); break;
                case 5: FourierStages.Five(a, b, w, m, s, imaginary); break;
                case 4: FourierStages.Four(a, b, w, m, s, imaginary); break;
                case 3: FourierStages.Three(a, b, w, m, s, imaginary); break;
                default: FourierStages.Two(a, b, w, m, s, imaginary); break;
            }
            w += 2 * m * (r - 1);
            (n, s) = (m, s * r);
            var result = b;
            b = a;
            a = result;
        }
        return inverse ? a - Lanes : a;
    }
}
