using System.Runtime.CompilerServices;

namespace Bayou.Kernels;

/// <summary>
/// GELU (Hendrycks and Gimpel 2016), exact: z Phi(z) with Phi the normal distribution function, and its derivative Phi(z) + z phi(z), both from one
/// exponential. Relative error of Phi below 1e-5 also far to the left, where z Phi(z) is tiny; beyond -9, where it is below 1e-18, its size is no longer
/// followed.
/// </summary>
public static unsafe class GeluKernel
{
    private const int ForwardCost = 24, BackwardCost = 3;

    // Phi(-a) = exp(-a^2 / 2) t (P0 + P1 t + ... + P7 t^7), t = 1 / (1 + 0.3 a): minimax in relative error (9.7e-8) over a in [0, 12.5].
    private const float Slope = 0.3f;
    private const float P0 = 0.11961989867742384f, P1 = 0.12089567416940492f, P2 = 0.09904149601071202f, P3 = 0.13140549262891438f;
    private const float P4 = -0.059007175929160015f, P5 = 0.21209144600977364f, P6 = -0.1605113092980439f, P7 = 0.03646442920208474f;

    // 2^f over [-1/2, 1/2]: minimax, 1.9e-9.
    private const float E0 = 1.0000000005541556f, E1 = 0.6931472057373326f, E2 = 0.24022646890650204f, E3 = 0.055503287768115674f;
    private const float E4 = 0.009618488955695592f, E5 = 0.0013399931274238922f, E6 = 0.00015345812408562064f;

    private const float HalfLog2E = 0.72134752044448170f, InverseRootTwoPi = 0.39894228040143268f;

    /// <summary>h = gelu(z + bias), slope = gelu'(z + bias), row by row.</summary>
    /// <param name="z">[rows, columns].</param>
    /// <param name="bias">[columns] or null.</param>
    /// <param name="h">[rows, columns], written; may be z itself.</param>
    /// <param name="slope">[rows, columns], written, or null; may be z itself when h is not.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public static void Forward(float* z, float* bias, float* h, float* slope, int rows, int columns)
    {
        var isa = KernelIsa.Current;
        new RowBlocks(rows, columns).Run(ForwardCost, (from, to) =>
        {
            for (var row = from; row < to; row++)
            {
                var o = (long)row * columns;
                Row(isa, z + o, bias, h + o, slope is null ? null : slope + o, columns);
            }
        });
    }

    /// <summary>dz = dh slope, and the sums of its columns: the gradient of the bias.</summary>
    /// <param name="dh">Gradient of h, [rows, columns].</param>
    /// <param name="slope">From <see cref="Forward"/>.</param>
    /// <param name="dz">[rows, columns], written; may be dh or slope itself.</param>
    /// <param name="dbias">[columns], written.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public static void Backward(float* dh, float* slope, float* dz, float* dbias, int rows, int columns)
    {
        var isa = KernelIsa.Current;
        new RowBlocks(rows, columns).Sum(BackwardCost, dbias, columns, (from, to, sums) =>
        {
            for (var row = from; row < to; row++)
            {
                var o = (long)row * columns;
                Product(isa, dh + o, slope + o, dz + o, sums, columns);
            }
        });
    }

    /// <summary>y = gelu(y), whole registers of the widest kind.</summary>
    internal static void InPlace(float* y, int count) => Run<Lanes512>(y, null, y, null, 0, count);

    private static void Row(KernelIsaLevel isa, float* z, float* bias, float* h, float* slope, int n)
    {
        var done = isa switch
        {
            KernelIsaLevel.Vector512 => Run<Lanes512>(z, bias, h, slope, 0, n),
            KernelIsaLevel.Vector256 => Run<Lanes256>(z, bias, h, slope, 0, n),
            KernelIsaLevel.Vector128 => Run<Lanes128>(z, bias, h, slope, 0, n),
            _ => 0,
        };
        if (done < n) Run<Lane>(z, bias, h, slope, done, n);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int Run<T>(float* z, float* bias, float* h, float* slope, int i, int n) where T : struct, IFloatLanes<T>
    {
        for (; i + T.Count <= n; i += T.Count)
        {
            var x = T.Load(z + i);
            if (bias is not null) x += T.Load(bias + i);
            var a = T.Abs(x);
            var t = T.Create(1) / T.MulAdd(a, T.Create(Slope), T.Create(1));
            var p = T.MulAdd(T.Create(P7), t, T.Create(P6));
            p = T.MulAdd(p, t, T.Create(P5));
            p = T.MulAdd(p, t, T.Create(P4));
            p = T.MulAdd(p, t, T.Create(P3));
            p = T.MulAdd(p, t, T.Create(P2));
            p = T.MulAdd(p, t, T.Create(P1));
            p = T.MulAdd(p, t, T.Create(P0));
            // exp(-x^2 / 2) = 2^e; below 2^-60 (|x| > 9.1) it counts as that: products of smaller numbers end in subnormal ones, which cost a hundred cycles
            // each.
            var e = T.Max(T.Create(-HalfLog2E) * x * x, T.Create(-60));
            var whole = T.Round(e);
            var f = e - whole;
            var q = T.MulAdd(T.Create(E6), f, T.Create(E5));
            q = T.MulAdd(q, f, T.Create(E4));
            q = T.MulAdd(q, f, T.Create(E3));
            q = T.MulAdd(q, f, T.Create(E2));
            q = T.MulAdd(q, f, T.Create(E1));
            q = T.MulAdd(q, f, T.Create(E0)) * T.PowerOfTwo(whole);
            var left = p * t * q;
            var phi = T.WhereNegative(x, left, T.Create(1) - left);
            if (slope is not null) T.Store(slope + i, T.MulAdd(x * T.Create(InverseRootTwoPi), q, phi));
            T.Store(h + i, x * phi);
        }
        return i;
    }

    private static void Product(KernelIsaLevel isa, float* dh, float* slope, float* dz, float* sums, int n)
    {
        var done = isa switch
        {
            KernelIsaLevel.Vector512 => Run<Lanes512>(dh, slope, dz, sums, 0, n),
            KernelIsaLevel.Vector256 => Run<Lanes256>(dh, slope, dz, sums, 0, n),
            KernelIsaLevel.Vector128 => Run<Lanes128>(dh, slope, dz, sums, 0, n),
            _ => 0,
        };
        if (done < n) Run<Lane>(dh, slope, dz, sums, done, n);

        static int Run<T>(float* dh, float* slope, float* dz, float* sums, int i, int n) where T : struct, IFloatLanes<T>
        {
            for (; i + T.Count <= n; i += T.Count)
            {
                var d = T.Load(dh + i) * T.Load(slope + i);
                T.Store(dz + i, d);
                T.Store(sums + i, T.Load(sums + i) + d);
            }
            return i;
        }
    }
}
