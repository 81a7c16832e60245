using System.Runtime.InteropServices;
using Bayou.Kernels;

namespace Bayou.Core;

/// <summary>
/// Lends libtorch's OpenMP threads to the kernels. After each of its operations libtorch's threads wait in a busy loop for the next; a kernel on other threads
/// would share the cores with them and run up to twice as long. Instead the kernel becomes an OpenMP region of its own and runs on the very threads that wait.
/// Where libtorch came without GNU OpenMP (Windows, macOS) the kernels stay on the thread pool.
/// </summary>
internal static unsafe class OpenMpTeam
{
    private static delegate* unmanaged<delegate* unmanaged<void*, void>, void*, uint, uint, void> parallel;

    /// <summary>Makes <see cref="KernelThreads"/> use libtorch's threads; libtorch must be loaded.</summary>
    public static void Lend()
    {
        if (!OperatingSystem.IsLinux() || Find() is not { } path) return;
        // The library is in the process already: this only gives its handle.
        if (!NativeLibrary.TryLoad(path, out var library) || !NativeLibrary.TryGetExport(library, "GOMP_parallel", out var function)) return;
        parallel = (delegate* unmanaged<delegate* unmanaged<void*, void>, void*, uint, uint, void>)function;
        KernelThreads.Team = Run;
    }

    // The libgomp beside libtorch, among the files mapped into this process.
    private static string? Find()
    {
        try
        {
            var files = File.ReadLines("/proc/self/maps").Select(line => line.IndexOf('/') is var at and >= 0 ? line[at..] : "").Distinct().ToList();
            var folder = Path.GetDirectoryName(files.FirstOrDefault(f => Path.GetFileName(f).StartsWith("libtorch_cpu", StringComparison.Ordinal)));
            return folder is null
                ? null : files.FirstOrDefault(f => Path.GetDirectoryName(f) == folder && Path.GetFileName(f).StartsWith("libgomp", StringComparison.Ordinal));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static void Run(int units, int threads, Action<int> unit)
    {
        var handle = GCHandle.Alloc(new Job(units, unit));
        parallel(&Work, (void*)GCHandle.ToIntPtr(handle), (uint)threads, 0);
        handle.Free();
    }

    // What each thread of the team does: takes units until none is left.
    [UnmanagedCallersOnly]
    private static void Work(void* data)
    {
        var job = (Job)GCHandle.FromIntPtr((nint)data).Target!;
        while (job.Next() is var i && i < job.Units) job.Unit(i);
    }

    private sealed class Job(int units, Action<int> unit)
    {
        private int taken = -1;

        public int Units => units;

        public Action<int> Unit => unit;

        public int Next() => Interlocked.Increment(ref taken);
    }
}
