using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Bench;

/// <summary>The machine's measured limits, in giga multiply-adds a second: best of several tries, because interruptions only ever slow a loop down.</summary>
public static class MachinePeak
{
    private const int Steps = 4_000_000;

    /// <summary>Independent fused multiply-adds in registers, on every thread at once.</summary>
    public static double FmaGiga(int threads)
    {
        var best = 0.0;
        for (var attempt = 0; attempt < 7; attempt++)
        {
            var start = Stopwatch.GetTimestamp();
            var workers = Enumerable.Range(0, threads).Select(_ => new Thread(() => Sink = Loop(Steps))).ToArray();
            foreach (var worker in workers) worker.Start();
            foreach (var worker in workers) worker.Join();
            best = Math.Max(best, threads * Steps * LoopMacs / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9);
        }
        return best;
    }

    /// <summary>Multiply-adds of one step of the loop.</summary>
    public static double LoopMacs => 12 * (KernelIsa.HasVector512 ? 16.0 : 8.0);

    /// <summary>
    /// The loop on the kernels' own threads, for rows that measure the limit beside their competitors: cores are not equally fast from one moment to the next.
    /// </summary>
    public static void TeamLoop(int threads, int steps) => KernelThreads.Team(threads, threads, _ => Sink = Loop(steps));

    /// <summary>libtorch's matrix product of 1024 x 1024 x 1024.</summary>
    public static double GemmGiga()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        const int n = 1024;
        var (a, b) = (randn(n, n), randn(n, n));
        var best = 0.0;
        for (var attempt = 0; attempt < 15; attempt++)
        {
            var start = Stopwatch.GetTimestamp();
            using var c = matmul(a, b);
            best = Math.Max(best, (double)n * n * n / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9);
        }
        return best;
    }

    /// <summary>Keeps the loops' results alive.</summary>
    public static float Sink { get; set; }

    private static float Loop(int steps) => KernelIsa.HasVector512 ? Loop512(steps) : Loop256(steps);

    // Twelve chains: latency 4, two a cycle, and some to spare.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Loop512(int steps)
    {
        Vector512<float> m = Vector512.Create(0.999f), c = Vector512.Create(1e-3f);
        Vector512<float> a0 = c, a1 = c, a2 = c, a3 = c, a4 = c, a5 = c, a6 = c, a7 = c, a8 = c, a9 = c, a10 = c, a11 = c;
        for (var i = 0; i < steps; i++)
        {
            a0 = Vector512.FusedMultiplyAdd(a0, m, c);
            a1 = Vector512.FusedMultiplyAdd(a1, m, c);
            a2 = Vector512.FusedMultiplyAdd(a2, m, c);
            a3 = Vector512.FusedMultiplyAdd(a3, m, c);
            a4 = Vector512.FusedMultiplyAdd(a4, m, c);
            a5 = Vector512.FusedMultiplyAdd(a5, m, c);
            a6 = Vector512.FusedMultiplyAdd(a6, m, c);
            a7 = Vector512.FusedMultiplyAdd(a7, m, c);
            a8 = Vector512.FusedMultiplyAdd(a8, m, c);
            a9 = Vector512.FusedMultiplyAdd(a9, m, c);
            a10 = Vector512.FusedMultiplyAdd(a10, m, c);
            a11 = Vector512.FusedMultiplyAdd(a11, m, c);
        }
        return Vector512.Sum(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Loop256(int steps)
    {
        Vector256<float> m = Vector256.Create(0.999f), c = Vector256.Create(1e-3f);
        Vector256<float> a0 = c, a1 = c, a2 = c, a3 = c, a4 = c, a5 = c, a6 = c, a7 = c, a8 = c, a9 = c, a10 = c, a11 = c;
        for (var i = 0; i < steps; i++)
        {
            a0 = Vector256.FusedMultiplyAdd(a0, m, c);
            a1 = Vector256.FusedMultiplyAdd(a1, m, c);
            a2 = Vector256.FusedMultiplyAdd(a2, m, c);
            a3 = Vector256.FusedMultiplyAdd(a3, m, c);
            a4 = Vector256.FusedMultiplyAdd(a4, m, c);
            a5 = Vector256.FusedMultiplyAdd(a5, m, c);
            a6 = Vector256.FusedMultiplyAdd(a6, m, c);
            a7 = Vector256.FusedMultiplyAdd(a7, m, c);
            a8 = Vector256.FusedMultiplyAdd(a8, m, c);
            a9 = Vector256.FusedMultiplyAdd(a9, m, c);
            a10 = Vector256.FusedMultiplyAdd(a10, m, c);
            a11 = Vector256.FusedMultiplyAdd(a11, m, c);
        }
        return Vector256.Sum(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11);
    }
}
