using Bayou.Core;

namespace Bayou.Data;

/// <summary>A data set Bayou can fetch.</summary>
public sealed record DataEntry
{
    /// <summary>What it is called on the command line.</summary>
    public required string Name { get; init; }

    /// <summary>What it is.</summary>
    public required string Description { get; init; }

    /// <summary>Its public home.</summary>
    public required string Home { get; init; }

    /// <summary>What its makers allow, to be shown before it is used.</summary>
    public required string Licence { get; init; }

    /// <summary>Paper to cite.</summary>
    public required string Citation { get; init; }

    /// <summary>Bytes to download, about.</summary>
    public required long DownloadBytes { get; init; }

    /// <summary>Pictures in the training part.</summary>
    public required int TrainCount { get; init; }

    /// <summary>Pictures in the test part.</summary>
    public required int TestCount { get; init; }

    /// <summary>Width and height in pixels.</summary>
    public required int Side { get; init; }

    /// <summary>1 (grey) or 3 (RGB).</summary>
    public required int Channels { get; init; }

    /// <summary>Class names in label order.</summary>
    public required IReadOnlyList<string> Classes { get; init; }

    /// <summary>Part of the training pictures taken for val unless told otherwise.</summary>
    public required double ValFraction { get; init; }
}

/// <summary>
/// The built-in data sets: what they are, where they lie, how to get them. Everything goes to the user's cache folder; nothing else is touched.
/// </summary>
public static class DataCatalog
{
    /// <summary>All entries.</summary>
    public static IReadOnlyList<DataEntry> Entries { get; } = [FashionMnist.Entry, Cifar10.Entry];

    /// <summary>Where downloads go: BAYOU_CACHE, else "bayou" in the system's cache folder for this user.</summary>
    public static string CacheFolder
    {
        get
        {
            if (Environment.GetEnvironmentVariable("BAYOU_CACHE") is { Length: > 0 } given) return Path.GetFullPath(given);
            if (OperatingSystem.IsWindows()) return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "bayou");
            if (Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg && Path.IsPathRooted(xdg)) return Path.Combine(xdg, "bayou");
            var home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            return home.Length > 0 ? Path.Combine(home, ".cache", "bayou") : Path.Combine(Path.GetTempPath(), "bayou-cache");
        }
    }

    /// <summary>
    /// The folder of sample data outside the repository: BAYOU_SAMPLES, else ../shared/samples seen from the current folder or from the repository this program
    /// was built in; null when there is none.
    /// </summary>
    public static string? SamplesFolder
    {
        get
        {
            if (Environment.GetEnvironmentVariable("BAYOU_SAMPLES") is { Length: > 0 } given) return Directory.Exists(given) ? Path.GetFullPath(given) : null;
            var bases = new List<string> { Directory.GetCurrentDirectory() };
            for (var up = new DirectoryInfo(AppContext.BaseDirectory); up is not null; up = up.Parent)
            {
                if (File.Exists(Path.Combine(up.FullName, "Bayou.slnx"))) bases.Add(up.FullName);
            }
            return bases.Select(b => Path.GetFullPath(Path.Combine(b, "..", "shared", "samples"))).FirstOrDefault(Directory.Exists);
        }
    }

    /// <summary>The entry of a name, whatever its case; null when there is none.</summary>
    public static DataEntry? Find(string name) => Entries.FirstOrDefault(e => e.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>Where a data set lies on this machine, without fetching it; null when it is not here.</summary>
    /// <exception cref="BayouException">Unknown name.</exception>
    public static string? Locate(string name) => Known(name).Name == FashionMnist.Entry.Name ? FashionMnist.Locate() : Cifar10.Locate();

    /// <summary>Where a data set lies, after downloading it when it is missing (an interrupted download continues).</summary>
    /// <param name="name">Name of an entry.</param>
    /// <param name="progress">Called as bytes arrive.</param>
    /// <param name="cancellation">Stops; what has arrived is kept.</param>
    /// <exception cref="BayouException">Unknown name, or it cannot be had; the message says where to put the files by hand.</exception>
    public static string Ensure(string name, Action<DownloadProgress>? progress = null, CancellationToken cancellation = default) =>
        Known(name).Name == FashionMnist.Entry.Name ? FashionMnist.Ensure(progress, cancellation) : Cifar10.Ensure(progress, cancellation);

    /// <summary>
    /// Opens a data set, downloading it when it is missing. The official test part is Test; Val is taken from the training part, class by class.
    /// </summary>
    /// <exception cref="BayouException">Unknown name, or it cannot be had.</exception>
    public static DataSplits Open(string name, SplitOptions? options = null)
    {
        options ??= new SplitOptions();
        var entry = Known(name);
        var folder = Ensure(name, options.Progress);
        var (train, test) = entry.Name == FashionMnist.Entry.Name ? FashionMnist.Open(folder) : Cifar10.Open(folder);
        return DataSplits.Build(entry.Name, train, null, test, options with { ValFraction = options.ValFraction ?? entry.ValFraction });
    }

    private static DataEntry Known(string name) =>
        Find(name) ?? throw new BayouException($"{name}: no built-in data set of that name. There are: {string.Join(", ", Entries.Select(e => e.Name))}.");
}
