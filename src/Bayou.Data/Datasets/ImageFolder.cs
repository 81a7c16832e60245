using Bayou.Core;

namespace Bayou.Data;

/// <summary>The parts a data set may come in.</summary>
public enum SplitPart
{
    /// <summary>Not split.</summary>
    Whole,

    /// <summary>Folder train or training.</summary>
    Train,

    /// <summary>Folder val, valid or validation.</summary>
    Val,

    /// <summary>Folder test or testing.</summary>
    Test,
}

/// <summary>A file that was listed but is not used.</summary>
/// <param name="Path">Path inside the data set.</param>
/// <param name="Reason">Why it is not used.</param>
public sealed record SkippedFile(string Path, string Reason);

/// <summary>
/// A folder with one sub-folder per class, or a .zip of one read in place; optionally split into train, val (valid, validation) and test folders that hold the
/// class folders. Class folders may have sub-folders. Classes and pictures are sorted ordinally, as torchvision's ImageFolder does. Hidden files, macOS and
/// Windows litter are ignored; what is no picture is listed in <see cref="Skipped"/>; a class folder without pictures is dropped with a warning.
/// </summary>
public sealed class ImageFolder : IImageDataset, IDisposable
{
    /// <summary>File name endings taken for pictures, whatever their case.</summary>
    public static IReadOnlyList<string> Extensions { get; } = [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp"];

    private static readonly HashSet<string> extensions = new(Extensions, StringComparer.OrdinalIgnoreCase);
    private readonly IFileSource source;
    private readonly Entry[] entries;
    private readonly SplitPart[] parts;

    private ImageFolder(string name, IFileSource source, Entry[] entries, string[] classes, SkippedFile[] skipped, string[] warnings)
    {
        (Name, this.source, this.entries, Classes, Skipped, Warnings) = (name, source, entries, classes, skipped, warnings);
        parts = entries.Select(e => e.Part).Distinct().Order().ToArray();
    }

    /// <summary>Opens a folder or a .zip file. No picture is decoded yet: <see cref="DataCheck"/> does that.</summary>
    /// <exception cref="BayouException">The path does not exist, cannot be read, or holds no class folder with pictures.</exception>
    public static ImageFolder Open(string path)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        IFileSource source;
        if (Directory.Exists(full)) source = new FolderSource(full);
        else if (File.Exists(full)) source = new ZipSource(full);
        else throw new BayouException($"{path}: no such folder or .zip file. Give a folder with one sub-folder of pictures per class.");
        try
        {
            return Open(source, path, Path.GetFileNameWithoutExtension(full));
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    private static ImageFolder Open(IFileSource source, string path, string name)
    {
        var files = new List<SourceFile>();
        var skipped = new List<SkippedFile>(source.Skipped);
        foreach (var file in source.Files)
        {
            if (file.Segments.Any(IsLitter)) continue;
            if (!extensions.Contains(Path.GetExtension(file.Path))) skipped.Add(new SkippedFile(file.Path, "not a picture (by its extension)"));
            else if (file.Length == 0) skipped.Add(new SkippedFile(file.Path, "the file is empty"));
            else files.Add(file);
        }
        if (files.Count == 0)
            throw new BayouException($"{path}: no pictures found ({skipped.Count} other files). Give a folder with one sub-folder of pictures per class.");

        // A zip often wraps everything in one folder: descend while there is a single folder, and most pictures lie in folders inside it.
        var depth = 0;
        while (files.All(f => f.Segments.Length >= depth + 2 && f.Segments[depth] == files[0].Segments[depth])
            && files.Count(f => f.Segments.Length >= depth + 3) * 2 > files.Count && PartOf(files[0].Segments[depth]) is SplitPart.Whole)
        {
            depth++;
        }

        var warnings = new List<string>();
        var tops = files.Where(f => f.Segments.Length > depth + 1).Select(f => f.Segments[depth]).Distinct(StringComparer.Ordinal).ToArray();
        var split = tops.Length > 0 && tops.All(t => PartOf(t) is not SplitPart.Whole) && tops.Any(t => PartOf(t) is SplitPart.Train)
            && files.Any(f => f.Segments.Length > depth + 2);
        var classDepth = split ? depth + 1 : depth;
        var entries = new List<Entry>();
        foreach (var file in files)
        {
            if (file.Segments.Length < classDepth + 2)
            {
                skipped.Add(new SkippedFile(file.Path, "outside any class folder"));
                continue;
            }
            entries.Add(new Entry(file, file.Segments[classDepth], split ? PartOf(file.Segments[depth]) : SplitPart.Whole));
        }
        if (entries.Count == 0)
            throw new BayouException($"{path}: {files.Count} pictures, but none in a class folder. Put the pictures of each class in a sub-folder named after it.");
        var classes = entries.Select(e => e.ClassName).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        var known = classes.ToHashSet(StringComparer.Ordinal);
        var empty = source.Folders
            .Where(f => f.Length == classDepth + 1 && !f.Any(IsLitter) && files[0].Segments.Take(depth).SequenceEqual(f.Take(depth)))
            .Where(f => (!split || PartOf(f[depth]) is not SplitPart.Whole) && !known.Contains(f[classDepth]))
            .Select(f => f[classDepth]).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);
        foreach (var className in empty) warnings.Add($"class folder '{className}' has no pictures and is left out");
        var sorted = entries.OrderBy(e => e.Part).ThenBy(e => e.ClassName, StringComparer.Ordinal).ThenBy(e => e.File.Path, StringComparer.Ordinal).ToArray();
        var labels = classes.Select((c, i) => (c, i)).ToDictionary(p => p.c, p => p.i, StringComparer.Ordinal);
        foreach (var entry in sorted) entry.Label = labels[entry.ClassName];
        if (classes.Length == 1) warnings.Add($"only one class ('{classes[0]}'): nothing to tell apart");
        return new ImageFolder(name, source, sorted, classes, [.. skipped.OrderBy(s => s.Path, StringComparer.Ordinal)], [.. warnings]);
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Classes { get; }

    /// <inheritdoc/>
    public int Count => entries.Length;

    /// <summary>Files that are not used, with the reason: no picture, empty, outside any class folder, unreadable folder.</summary>
    public IReadOnlyList<SkippedFile> Skipped { get; }

    /// <summary>Whatever else a person should know: empty class folders, a single class.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>The parts found: Whole alone, or some of Train, Val, Test.</summary>
    public IReadOnlyList<SplitPart> Parts => parts;

    /// <inheritdoc/>
    public int Label(int index) => entries[index].Label;

    /// <inheritdoc/>
    public string Id(int index) => entries[index].File.Path;

    /// <summary>The pictures of one part; empty when there are none.</summary>
    public Subset Part(SplitPart part) =>
        new(this, Enumerable.Range(0, Count).Where(i => entries[i].Part == part),
            part is SplitPart.Whole ? Name : $"{Name} {part.ToString().ToLowerInvariant()}");

    /// <inheritdoc/>
    public ImageBuffer Read(int index) => ImageDecoder.Decode(ReadBytes(index), entries[index].File.Path);

    /// <summary>The bytes of the file of picture <paramref name="index"/>.</summary>
    public byte[] ReadBytes(int index) => source.Read(entries[index].File);

    /// <summary>Closes the .zip file, if it is one.</summary>
    public void Dispose() => source.Dispose();

    internal static bool IsLitter(string segment) =>
        segment.StartsWith('.') || segment is "__MACOSX" || segment.Equals("Thumbs.db", StringComparison.OrdinalIgnoreCase)
        || segment.Equals("desktop.ini", StringComparison.OrdinalIgnoreCase);

    private static SplitPart PartOf(string folder) => folder.ToLowerInvariant() switch
    {
        "train" or "training" => SplitPart.Train,
        "val" or "valid" or "validation" => SplitPart.Val,
        "test" or "testing" => SplitPart.Test,
        _ => SplitPart.Whole,
    };

    private sealed class Entry(SourceFile file, string className, SplitPart part)
    {
        public SourceFile File { get; } = file;

        public string ClassName { get; } = className;

        public SplitPart Part { get; } = part;

        public int Label { get; set; }
    }
}
