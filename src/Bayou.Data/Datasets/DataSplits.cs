using Bayou.Core;

namespace Bayou.Data;

/// <summary>How a data set that comes unsplit is split.</summary>
public sealed record SplitOptions
{
    /// <summary>
    /// Part of the pictures used to choose between models, 0..1, where the data bring none; null: 0.1, or what is usual for a built-in data set.
    /// </summary>
    public double? ValFraction { get; init; }

    /// <summary>Part of the pictures kept for the single measurement at the end, 0..1, where the data bring none; null: 0.1.</summary>
    public double? TestFraction { get; init; }

    /// <summary>Another seed gives another split.</summary>
    public int Seed { get; init; }

    /// <summary>Progress of a download, if one is needed.</summary>
    public Action<DownloadProgress>? Progress { get; init; }
}

/// <summary>
/// A data set in three parts. A split that the data bring is kept; what is missing is taken from the training part, class by class, by the rank of a hash of
/// (seed, picture id): the same every time, and a file added or removed moves at most a picture per class and boundary.
/// </summary>
/// <param name="Name">How reports call it.</param>
/// <param name="Train">To train on.</param>
/// <param name="Val">To choose between models.</param>
/// <param name="Test">To be measured once, at the end.</param>
/// <param name="Origin">Where each part comes from, in words.</param>
/// <param name="Skipped">Files that were found and are not used.</param>
/// <param name="Warnings">Whatever else a person should know.</param>
public sealed record DataSplits(
    string Name, IImageDataset Train, IImageDataset Val, IImageDataset Test, string Origin, IReadOnlyList<SkippedFile> Skipped, IReadOnlyList<string> Warnings)
{
    /// <summary>Class names of all three parts.</summary>
    public IReadOnlyList<string> Classes => Train.Classes;

    /// <summary>The three parts with their names.</summary>
    public IEnumerable<(string Part, IImageDataset Data)> Parts => [("train", Train), ("val", Val), ("test", Test)];

    /// <summary>Opens a folder, a .zip file, or a built-in name of <see cref="DataCatalog"/> (downloaded when missing).</summary>
    /// <exception cref="BayouException">Nothing of that name; fewer than two classes; too few pictures to split.</exception>
    public static DataSplits Open(string nameOrPath, SplitOptions? options = null)
    {
        options ??= new SplitOptions();
        if (DataCatalog.Find(nameOrPath) is { } entry && !Directory.Exists(nameOrPath) && !File.Exists(nameOrPath))
            return DataCatalog.Open(entry.Name, options);
        if (!Directory.Exists(nameOrPath) && !File.Exists(nameOrPath))
            throw new BayouException($"{nameOrPath}: no such folder, .zip file or built-in data set ({string.Join(", ", DataCatalog.Entries.Select(e => e.Name))}).");
        var folder = ImageFolder.Open(nameOrPath);
        try
        {
            return FromFolder(folder, options);
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Splits an opened folder.</summary>
    /// <exception cref="BayouException">Fewer than two classes, or too few pictures to split.</exception>
    public static DataSplits FromFolder(ImageFolder folder, SplitOptions options)
    {
        if (folder.Classes.Count < 2)
            throw new BayouException($"{folder.Name}: only one class ('{folder.Classes[0]}'). A classifier needs at least two class folders.");
        if (!folder.Parts.Contains(SplitPart.Train))
            return Build(folder.Name, folder.Part(SplitPart.Whole), null, null, options, folder.Skipped, folder.Warnings);
        var val = folder.Part(SplitPart.Val);
        var test = folder.Part(SplitPart.Test);
        return Build(folder.Name, folder.Part(SplitPart.Train), val.Count > 0 ? val : null, test.Count > 0 ? test : null, options, folder.Skipped,
            folder.Warnings);
    }

    /// <summary>Completes what is given: a missing val or test part is taken from the training part.</summary>
    /// <param name="name">How reports call it.</param>
    /// <param name="train">Training part, or everything.</param>
    /// <param name="val">Val part, if the data bring one.</param>
    /// <param name="test">Test part, if the data bring one.</param>
    /// <param name="options">Fractions and seed.</param>
    /// <param name="skipped">Files not used, passed on.</param>
    /// <param name="warnings">Warnings, passed on.</param>
    /// <exception cref="BayouException">Too few pictures to split.</exception>
    public static DataSplits Build(
        string name, IImageDataset train, IImageDataset? val, IImageDataset? test, SplitOptions options,
        IReadOnlyList<SkippedFile>? skipped = null, IReadOnlyList<string>? warnings = null)
    {
        double valFraction = options.ValFraction ?? 0.1, testFraction = options.TestFraction ?? 0.1;
        if (!(valFraction is >= 0 and < 1 && testFraction is >= 0 and < 1 && valFraction + testFraction < 1))
            throw new BayouException($"Split: {valFraction} for val and {testFraction} for test; fractions from 0, with a sum below 1, are possible.");
        var notes = new List<string>(warnings ?? []);
        var (trainIndices, valIndices, testIndices) = Split(train, val is null ? valFraction : 0, test is null ? testFraction : 0, options.Seed);
        var all = train;
        if (val is null) val = new Subset(all, valIndices, $"{name} val");
        if (test is null) test = new Subset(all, testIndices, $"{name} test");
        if (trainIndices.Length != all.Count) train = new Subset(all, trainIndices, $"{name} train");
        if (train.Count == 0 || (val.Count == 0 && valFraction > 0) || (test.Count == 0 && testFraction > 0))
            throw new BayouException(
                $"{name}: {all.Count} pictures are too few to split ({train.Count} train, {val.Count} val, {test.Count} test). "
                + "Add pictures, or train, val and test folders.");
        var origin = (valIndices.Length > 0, testIndices.Length > 0) switch
        {
            (true, true) => $"split by hash, seed {options.Seed}",
            (true, false) => $"test as given; val taken from train by hash, seed {options.Seed}",
            (false, true) => $"val as given; test taken from train by hash, seed {options.Seed}",
            _ => "as given",
        };
        var trained = Enumerable.Range(0, train.Count).Select(train.Label).ToHashSet();
        for (var label = 0; label < train.Classes.Count; label++)
        {
            if (!trained.Contains(label)) notes.Add($"class '{train.Classes[label]}' has no training picture");
        }
        return new DataSplits(name, train, val, test, origin, skipped ?? [], notes);
    }

    /// <summary>The same parts without the pictures a check found unreadable.</summary>
    /// <param name="report">A report of <see cref="DataCheck.Run(DataSplits, DataCheckOptions?)"/> on these very parts.</param>
    /// <exception cref="BayouException">A part has no readable picture left.</exception>
    public DataSplits Without(DataReport report)
    {
        var bad = report.Unreadable.Select(u => (u.Part, u.Id)).ToHashSet();
        if (bad.Count == 0) return this;
        IImageDataset Clean(string part, IImageDataset data)
        {
            if (!report.Unreadable.Any(u => u.Part == part)) return data;
            var clean = new Subset(data, Enumerable.Range(0, data.Count).Where(i => !bad.Contains((part, data.Id(i)))));
            return clean.Count > 0 ? clean : throw new BayouException($"{Name}: none of the {data.Count} pictures of the {part} part can be read.");
        }
        return this with { Train = Clean("train", Train), Val = Clean("val", Val), Test = Clean("test", Test) };
    }

    /// <summary>Which pictures go where: per class the pictures are ordered by hash; the first go to test, the next to val.</summary>
    internal static (int[] Train, int[] Val, int[] Test) Split(IImageDataset data, double valFraction, double testFraction, int seed)
    {
        List<int> train = [], val = [], test = [];
        var byClass = Enumerable.Range(0, data.Count).GroupBy(data.Label).OrderBy(g => g.Key);
        foreach (var group in byClass)
        {
            var ranked = group.Select(i => (Index: i, Hash: StableHash.Of((ulong)(long)seed, data.Id(i))))
                .OrderBy(p => p.Hash).ThenBy(p => p.Index).Select(p => p.Index).ToArray();
            var tests = Share(ranked.Length, testFraction);
            var vals = Share(ranked.Length, valFraction);
            // A small class keeps a picture to train on before it gives any away, to val before to test.
            tests = Math.Max(0, Math.Min(tests, ranked.Length - 1 - vals));
            vals = Math.Max(0, Math.Min(vals, ranked.Length - 1 - tests));
            test.AddRange(ranked[..tests]);
            val.AddRange(ranked[tests..(tests + vals)]);
            train.AddRange(ranked[(tests + vals)..]);
        }
        train.Sort();
        val.Sort();
        test.Sort();
        return ([.. train], [.. val], [.. test]);
    }

    private static int Share(int count, double fraction) => fraction <= 0 ? 0 : Math.Max(1, (int)Math.Round(count * fraction, MidpointRounding.AwayFromZero));
}
