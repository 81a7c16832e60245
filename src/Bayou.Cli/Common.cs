using System.CommandLine;
using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Kernels;
using TorchSharp;

namespace Bayou.Cli;

/// <summary>Options that every command has, made anew for each command where they carry a value of it.</summary>
internal static class Common
{
    public static readonly Option<bool> Verbose = new("--verbose") { Description = "show where an error came from", Recursive = true };

    public static Option<bool> Json() => new("--json") { Description = "print one JSON object on standard output; everything else goes to standard error" };

    public static Option<int> Seed() => new("--seed") { Description = "makes the run repeatable", DefaultValueFactory = _ => 0 };

    public static Option<int> Threads() => new("--threads") { Description = "threads to use; 0: all cores", DefaultValueFactory = _ => 0 };

    /// <summary>Sets libtorch's and the kernels' threads.</summary>
    public static int UseThreads(int threads)
    {
        if (threads < 0) throw new BayouException($"--threads {threads}: a number from 0 (all cores) up is needed");
        var count = threads > 0 ? threads : Environment.ProcessorCount;
        torch.set_num_threads(count);
        KernelThreads.Count = count;
        return count;
    }

    /// <summary>Prints an object as the command's JSON.</summary>
    public static void PrintJson(object value) => Console.Out.WriteLine(JsonSerializer.Serialize(value, FitResult.Json));

    /// <summary>A picture file itself, or all pictures below a folder in the order of their paths.</summary>
    public static IEnumerable<string> Pictures(string path)
    {
        if (!Directory.Exists(path)) return [path];
        return Directory.EnumerateFiles(path, "*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true })
            .Where(IsPicture).Order(StringComparer.Ordinal);
    }

    /// <summary>A new folder below runs/ for a command's output.</summary>
    public static string NewRunFolder(string verb, string what)
    {
        var name = new string(Path.GetFileName(what.TrimEnd('/', '\\')).Select(c => char.IsLetterOrDigit(c) || c is '-' or '_' ? c : '-').ToArray());
        return Path.Combine("runs", $"{verb}-{name}-{DateTime.Now:yyyyMMdd-HHmmss}");
    }

    /// <summary>Whether a file's name ends as a picture's.</summary>
    public static bool IsPicture(string path) => ImageFolder.Extensions.Contains(Path.GetExtension(path), StringComparer.OrdinalIgnoreCase);
}
