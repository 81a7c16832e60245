namespace Bayou.Kernels;

/// <summary>How many threads the kernels use: all cores unless told otherwise.</summary>
public static class KernelThreads
{
    // Below this, starting a thread costs more than it saves (multiply-adds).
    private const long Alone = 200_000;

    private static int count = Environment.ProcessorCount;

    /// <summary>Number of threads, at least 1. Setting it does not touch libtorch or ONNX Runtime: the CLI sets all three from --threads.</summary>
    public static int Count
    {
        get => count;
        set => count = Math.Max(1, value);
    }

    /// <summary>
    /// Who runs units 0..n-1 on a number of threads: the thread pool, unless something better is at hand. A host whose own threads wait in a busy loop
    /// (OpenMP's) lends them here: beside them, threads of the pool would get half a core each.
    /// </summary>
    public static Action<int, int, Action<int>> Team { get; set; } = (units, threads, unit) =>
        Parallel.For(0, units, new ParallelOptions { MaxDegreeOfParallelism = threads }, unit);

    /// <summary>Runs units 0..n-1, in any order.</summary>
    /// <param name="units">How many.</param>
    /// <param name="work">Multiply-adds of all of them.</param>
    /// <param name="unit">Runs one; must not throw.</param>
    internal static void Run(int units, long work, Action<int> unit)
    {
        var threads = Math.Min(Count, units);
        if (threads == 1 || work < Alone)
        {
            for (var i = 0; i < units; i++) unit(i);
            return;
        }
        Team(units, threads, unit);
    }
}
