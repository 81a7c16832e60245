using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Core;

/// <summary>The machine and versions a run was made with: measurements mean nothing without them.</summary>
/// <param name="Cpu">Processor name as the system gives it.</param>
/// <param name="Cores">Logical processors.</param>
/// <param name="Isa">Widest vector instructions.</param>
/// <param name="Os">Operating system.</param>
/// <param name="DotNet">Runtime version.</param>
/// <param name="Bayou">Bayou's version.</param>
public sealed record Machine(string Cpu, int Cores, string Isa, string Os, string DotNet, string Bayou)
{
    /// <summary>This machine.</summary>
    public static Machine Here { get; } = new(
        CpuName(),
        Environment.ProcessorCount,
        Avx512F.IsSupported ? "AVX-512" : Avx2.IsSupported ? "AVX2" : RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "AdvSimd" : "baseline",
        RuntimeInformation.OSDescription,
        RuntimeInformation.FrameworkDescription,
        typeof(Machine).Assembly.GetName().Version?.ToString(3) ?? "");

    private static string CpuName()
    {
        const string info = "/proc/cpuinfo";
        if (!File.Exists(info)) return Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER") ?? RuntimeInformation.ProcessArchitecture.ToString();
        var line = File.ReadLines(info).FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal));
        return line is null ? RuntimeInformation.ProcessArchitecture.ToString() : line[(line.IndexOf(':') + 1)..].Trim();
    }
}
