namespace Bayou.Tests;

/// <summary>The golden weight files in tests/parity/weight-file.</summary>
internal static class WeightCases
{
    internal static string Folder { get; } = Find();

    internal static string Checkpoint(string name) => Directory.GetFiles(Path.Combine(Folder, name), "checkpoint.*").Single();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "Bayou.slnx"))) return Path.Combine(folder.FullName, "tests", "parity", "weight-file");
        throw new InvalidOperationException("the tests do not run below the repository");
    }
}
