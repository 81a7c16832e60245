using System.Runtime.InteropServices;

namespace Bayou.Train;

/// <summary>
/// glibc returns large freed blocks to the system at once, and the next step or prediction pays for them again in page faults. With a higher trim and mmap
/// threshold the process keeps them. Only Linux with glibc has the function; elsewhere nothing happens.
/// </summary>
public static partial class GlibcAllocator
{
    private const int TrimThreshold = -1, MmapThreshold = -3;
    private static int tuned;

    /// <summary>Raises both thresholds for the rest of the process, once.</summary>
    public static void KeepFreedMemory()
    {
        if (!OperatingSystem.IsLinux() || Interlocked.Exchange(ref tuned, 1) == 1) return;
        try
        {
            // The largest values glibc takes as they are: 32 MB for mmap, 2 GB - 1 for trimming.
            _ = mallopt(MmapThreshold, 32 << 20);
            _ = mallopt(TrimThreshold, int.MaxValue);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            // musl and others: their own policy stays.
        }
    }

    [LibraryImport("libc.so.6")]
    private static partial int mallopt(int parameter, int value);
}
