using System.Diagnostics;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// Files of a Debian package without installing it: apt-get download and dpkg -x into a folder of ours. No root, and nothing else on the system changes.
/// </summary>
internal static class DebianPackage
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>True where apt-get and dpkg are.</summary>
    public static bool Possible => OperatingSystem.IsLinux() && File.Exists("/usr/bin/apt-get") && File.Exists("/usr/bin/dpkg");

    /// <summary>Fetches and unpacks.</summary>
    /// <param name="package">Name of the package.</param>
    /// <param name="folder">Working folder; the files end up in its sub-folder "unpacked".</param>
    /// <param name="cancellation">Ends the programs.</param>
    /// <exception cref="BayouException">apt does not know the package or cannot fetch it.</exception>
    public static void Unpack(string package, string folder, CancellationToken cancellation)
    {
        Directory.CreateDirectory(folder);
        // With the system's own package lists, or, where they are missing or old, with lists fetched into our folder.
        var (code, error) = Run("/usr/bin/apt-get", ["-q", "download", package], folder, cancellation);
        if (code != 0)
        {
            var lists = Directory.CreateDirectory(Path.Combine(folder, "lists")).FullName;
            var cache = Directory.CreateDirectory(Path.Combine(folder, "cache")).FullName;
            string[] ours = ["-q", "-o", $"Dir::State::Lists={lists}", "-o", $"Dir::Cache={cache}", "-o", "Debug::NoLocking=true"];
            if (Run("/usr/bin/apt-get", [.. ours, "update"], folder, cancellation).Code == 0)
                (code, error) = Run("/usr/bin/apt-get", [.. ours, "download", package], folder, cancellation);
        }
        var file = Directory.GetFiles(folder, $"{package}_*.deb").FirstOrDefault();
        if (code != 0 || file is null) throw new BayouException($"apt cannot fetch {package} ({LastLine(error)})");
        (code, error) = Run("/usr/bin/dpkg", ["-x", file, Path.Combine(folder, "unpacked")], folder, cancellation);
        if (code != 0) throw new BayouException($"{package} cannot be unpacked ({LastLine(error)})");
    }

    private static string LastLine(string text) =>
        text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault(l => l.StartsWith('E')) ?? "no message";

    private static (int Code, string Error) Run(string program, string[] arguments, string folder, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        start.Environment["LC_ALL"] = "C";
        start.Environment["DEBIAN_FRONTEND"] = "noninteractive";
        using var process = Process.Start(start) ?? throw new BayouException($"{program} cannot be started");
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var error = process.StandardError.ReadToEndAsync(CancellationToken.None);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(Patience);
        try
        {
            process.WaitForExitAsync(limit.Token).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            cancellation.ThrowIfCancellationRequested();
            throw new BayouException($"{program} did not end within {Patience.TotalMinutes:0} minutes");
        }
        Task.WaitAll(output, error);
        return (process.ExitCode, error.Result);
    }
}
