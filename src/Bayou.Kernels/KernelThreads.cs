namespace Bayou.Kernels;

/// <summary>How many threads the kernels use: all cores unless told otherwise.</summary>
public static class KernelThreads
{
    private static int count = Environment.ProcessorCount;

    /// <summary>Number of threads, at least 1. Setting it does not touch libtorch or ONNX Runtime: the CLI sets all three from --threads.</summary>
    public static int Count
    {
        get => count;
        set => count = Math.Max(1, value);
    }
}
