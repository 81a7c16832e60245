using System.Runtime.InteropServices;

namespace Bayou.Search;

/// <summary>
/// Hardware counters of the calling thread through Linux's perf_event_open, user space only (specs/maple.md, section 1.4). Counts are scaled where the
/// processor had to share its counters.
/// </summary>
public sealed partial class PerfCounters : IDisposable
{
    private const int SyscallX64 = 298, SyscallArm64 = 241;
    private const ulong EnableRequest = 0x2400, DisableRequest = 0x2401, ResetRequest = 0x2403;
    private const int AttributeSize = 112;

    // Type 0: generic hardware events. Type 3: cache | operation << 8 | result << 16.
    private static readonly (string Name, uint Type, ulong Config)[] Events =
    [
        ("cycles", 0, 0), ("instructions", 0, 1), ("cache references", 0, 2), ("cache misses", 0, 3), ("L1d loads", 3, 0), ("L1d load misses", 3, 1 << 16),
    ];

    private readonly List<(string Name, int File)> open = [];

    private PerfCounters() { }

    /// <summary>The events that this machine counts.</summary>
    public IReadOnlyList<string> Names => [.. open.Select(e => e.Name)];

    /// <summary>Opens the six events of MAPLE-Edge. Null where the kernel does not allow it, with the reason.</summary>
    public static PerfCounters? TryOpen(out string reason)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture is not (Architecture.X64 or Architecture.Arm64))
        {
            reason = "hardware counters are read on Linux x64 and arm64 only";
            return null;
        }
        var counters = new PerfCounters();
        reason = "";
        foreach (var (name, type, config) in Events)
        {
            var file = Open(type, config, out var error);
            if (file >= 0) counters.open.Add((name, file));
            else reason = error;
        }
        if (counters.open.Count == Events.Length) return counters;
        reason = $"perf_event_open: {reason} ({counters.open.Count} of {Events.Length} events; where it is forbidden, /proc/sys/kernel/perf_event_paranoid says so)";
        counters.Dispose();
        return null;
    }

    /// <summary>Counts while work runs on this thread.</summary>
    public double[] Count(Action work)
    {
        foreach (var (_, file) in open) Ioctl(file, ResetRequest);
        foreach (var (_, file) in open) Ioctl(file, EnableRequest);
        work();
        foreach (var (_, file) in open) Ioctl(file, DisableRequest);
        return [.. open.Select(e => Read(e.File))];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (_, file) in open) Close(file);
        open.Clear();
    }

    private static unsafe int Open(uint type, ulong config, out string error)
    {
        var attribute = stackalloc byte[AttributeSize];
        new Span<byte>(attribute, AttributeSize).Clear();
        *(uint*)attribute = type;
        *(uint*)(attribute + 4) = AttributeSize;
        *(ulong*)(attribute + 8) = config;
        *(ulong*)(attribute + 32) = 1 | 2;                          // read_format: time enabled, time running
        *(ulong*)(attribute + 40) = 1 | (1 << 5) | (1 << 6);        // disabled, exclude_kernel, exclude_hv
        var number = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? SyscallX64 : SyscallArm64;
        var file = (int)Syscall(number, (nint)attribute, 0, -1, -1, 0);
        const int noSuchEntry = 2;
        error = file >= 0 ? "" : Marshal.GetLastPInvokeError() is var code && code == noSuchEntry
            ? "the processor shows no such event, as in most virtual machines" : Marshal.GetPInvokeErrorMessage(code);
        return file;
    }

    private static unsafe double Read(int file)
    {
        var values = stackalloc ulong[3];
        if (ReadFile(file, (nint)values, 24) != 24 || values[2] == 0) return 0;
        return values[0] * ((double)values[1] / values[2]);
    }

    private static void Ioctl(int file, ulong request) => Control(file, request, 0);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint Syscall(nint number, nint attribute, nint pid, nint cpu, nint group, nint flags);

    [LibraryImport("libc", EntryPoint = "ioctl")]
    private static partial int Control(int file, ulong request, nint argument);

    [LibraryImport("libc", EntryPoint = "read")]
    private static partial nint ReadFile(int file, nint buffer, nint count);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int file);
}
