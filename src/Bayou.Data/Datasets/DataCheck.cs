using System.Security.Cryptography;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>Settings of a data check.</summary>
public sealed record DataCheckOptions
{
    /// <summary>Decode every picture (finds truncated files); otherwise only its header is read.</summary>
    public bool Decode { get; init; } = true;

    /// <summary>Look for equal pictures, by SHA-256 of the file.</summary>
    public bool FindDuplicates { get; init; } = true;

    /// <summary>Threads; 0 means all cores.</summary>
    public int Threads { get; init; }

    /// <summary>Called now and then with (checked, total), from any thread, one call at a time.</summary>
    public Action<int, int>? Progress { get; init; }

    /// <summary>Ends the check with <see cref="OperationCanceledException"/>.</summary>
    public CancellationToken Cancellation { get; init; }
}

/// <summary>Reads every picture of a data set once and reports what a person should know before training. A bad picture is listed, never an error.</summary>
public static class DataCheck
{
    /// <summary>Checks the three parts of a split data set.</summary>
    public static DataReport Run(DataSplits splits, DataCheckOptions? options = null) =>
        Run(splits.Name, splits.Origin, splits.Parts, splits.Skipped, splits.Warnings, options ?? new DataCheckOptions());

    /// <summary>Checks a folder or .zip as it lies there, without splitting it; one class only is a warning here, not an error.</summary>
    public static DataReport Run(ImageFolder folder, DataCheckOptions? options = null) =>
        Run(
            folder.Name, "as it lies there", folder.Parts.Select(p => (p.ToString().ToLowerInvariant(), (IImageDataset)folder.Part(p))),
            folder.Skipped, folder.Warnings, options ?? new DataCheckOptions());

    private readonly record struct Finding(int Width, int Height, int Channels, string? Hash, string? Error);

    private static DataReport Run(
        string name, string origin, IEnumerable<(string Part, IImageDataset Data)> parts,
        IReadOnlyList<SkippedFile> skipped, IReadOnlyList<string> known, DataCheckOptions options)
    {
        var all = parts.Where(p => p.Data.Count > 0).ToArray();
        var total = all.Sum(p => p.Data.Count);
        var classes = all.Length > 0 ? all[0].Data.Classes.ToArray() : [];
        var done = 0;
        var gate = new Lock();
        var parallel = new ParallelOptions
        {
            MaxDegreeOfParallelism = options.Threads > 0 ? options.Threads : Environment.ProcessorCount,
            CancellationToken = options.Cancellation,
        };
        var findings = new Finding[all.Length][];
        for (var p = 0; p < all.Length; p++)
        {
            var data = all[p].Data;
            var found = findings[p] = new Finding[data.Count];
            Parallel.For(0, data.Count, parallel, i =>
            {
                found[i] = Look(data, i, options);
                var now = Interlocked.Increment(ref done);
                if (options.Progress is not { } progress || (now % 256 != 0 && now != total)) return;
                lock (gate) progress(now, total);
            });
        }

        var counts = new PartReport[all.Length];
        var unreadable = new List<UnreadablePicture>();
        List<int> widths = [], heights = [];
        int grey = 0, colour = 0;
        var groups = new Dictionary<string, List<PictureRef>>(StringComparer.Ordinal);
        for (var p = 0; p < all.Length; p++)
        {
            var (part, data) = all[p];
            var perClass = new int[classes.Length];
            for (var i = 0; i < data.Count; i++)
            {
                var finding = findings[p][i];
                if (finding.Error is not null)
                {
                    unreadable.Add(new UnreadablePicture(part, data.Id(i), finding.Error));
                    continue;
                }
                perClass[data.Label(i)]++;
                widths.Add(finding.Width);
                heights.Add(finding.Height);
                if (finding.Channels == 1) grey++;
                else colour++;
                if (finding.Hash is null) continue;
                if (!groups.TryGetValue(finding.Hash, out var group)) groups[finding.Hash] = group = [];
                group.Add(new PictureRef(part, data.Id(i), classes[data.Label(i)]));
            }
            counts[p] = new PartReport(part, perClass.Sum(), perClass);
        }
        var duplicates = groups.Values.Where(g => g.Count > 1).Select(g => g.ToArray()).OrderBy(g => g[0].Id, StringComparer.Ordinal).ToArray();
        var leaked = duplicates.Where(g => g.Any(r => r.Part == "train")).Sum(g => g.Count(r => r.Part is "val" or "test"));
        var contradicting = duplicates.Count(g => g.Select(r => r.Class).Distinct().Count() > 1);
        var first = counts.Length > 0 ? counts[0].ClassCounts : [];
        double? imbalance = first.Length > 0 && first.Min() > 0 ? (double)first.Max() / first.Min() : null;

        var warnings = new List<string>(known);
        if (unreadable.Count > 0) warnings.Add($"{unreadable.Count} of {total} pictures cannot be read and are left out");
        if (skipped.Count > 0) warnings.Add($"{skipped.Count} files are not used (no pictures, empty, or outside a class folder)");
        for (var c = 0; c < classes.Length; c++)
        {
            if (first[c] == 0 && !known.Any(w => w.Contains($"'{classes[c]}'", StringComparison.Ordinal)))
                warnings.Add($"class '{classes[c]}' has no readable picture to train on");
        }
        if (imbalance >= 10)
        {
            int most = Array.IndexOf(first, first.Max()), least = Array.IndexOf(first, first.Min());
            warnings.Add($"classes are unbalanced: '{classes[most]}' has {first[most]} pictures, '{classes[least]}' {first[least]}");
        }
        else if (first.Length > 0 && first.Max() > 0 && first.Where(n => n > 0).Min() < 10) warnings.Add("a class has fewer than 10 training pictures");
        if (leaked > 0) warnings.Add($"{leaked} pictures of val or test are exactly equal to training pictures: results will look better than they are");
        if (contradicting > 0) warnings.Add($"{contradicting} groups of exactly equal pictures carry different labels");
        return new DataReport
        {
            Name = name,
            Origin = origin,
            Classes = classes,
            Parts = counts,
            Width = Range(widths),
            Height = Range(heights),
            Grey = grey,
            Colour = colour,
            Unreadable = [.. unreadable],
            Skipped = [.. skipped],
            Duplicates = duplicates,
            LeakedPictures = leaked,
            ContradictingLabels = contradicting,
            Imbalance = imbalance,
            Warnings = [.. warnings],
        };
    }

    private static Finding Look(IImageDataset data, int index, DataCheckOptions options)
    {
        try
        {
            string? hash = null;
            if (options.FindDuplicates) hash = Convert.ToHexString(SHA256.HashData(data.ReadBytes(index)));
            if (!options.Decode && !data.InMemory)
            {
                var header = ImageDecoder.ReadHeader(data.ReadBytes(index), data.Id(index));
                return new Finding(header.Width, header.Height, header.Channels, hash, null);
            }
            var image = data.Read(index);
            return new Finding(image.Width, image.Height, image.Channels, hash, null);
        }
        catch (BayouException e)
        {
            return new Finding(0, 0, 0, null, e.Message);
        }
    }

    private static SizeRange? Range(List<int> values)
    {
        if (values.Count == 0) return null;
        values.Sort();
        return new SizeRange(values[0], values[values.Count / 2], values[^1]);
    }
}
