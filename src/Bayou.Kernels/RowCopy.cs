namespace Bayou.Kernels;

/// <summary>Rows that lie anywhere in memory, copied side by side by all threads.</summary>
public static unsafe class RowCopy
{
    /// <summary>to[i] = the row at from[i].</summary>
    /// <param name="from">Addresses of the rows.</param>
    /// <param name="length">Floats of a row.</param>
    /// <param name="to">[rows, length], written; overlaps none of them.</param>
    public static void Gather(nint[] from, long length, float* to)
    {
        var target = (nint)to;
        var bytes = checked(length * sizeof(float));
        KernelThreads.Run(from.Length, from.Length * length, i => Buffer.MemoryCopy((void*)from[i], (byte*)target + i * bytes, bytes, bytes));
    }
}
