using System.Collections.Concurrent;
using System.IO.Compression;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>A file of a source: its path with '/' between the segments, and where the source finds it.</summary>
internal sealed record SourceFile(string Path, string[] Segments, long Length, int Position);

/// <summary>Where an <see cref="ImageFolder"/> gets its files: a folder or a zip file.</summary>
internal interface IFileSource : IDisposable
{
    IReadOnlyList<SourceFile> Files { get; }

    IReadOnlyList<string[]> Folders { get; }

    IReadOnlyList<SkippedFile> Skipped { get; }

    byte[] Read(SourceFile file);
}

/// <summary>A folder on disk. Links are followed, each real folder is visited once: a loop of links ends.</summary>
internal sealed class FolderSource : IFileSource
{
    private readonly string root;
    private readonly List<SourceFile> files = [];
    private readonly List<string[]> folders = [];
    private readonly List<SkippedFile> skipped = [];

    public FolderSource(string root)
    {
        this.root = root;
        Walk(root, [], [RealPath(root)]);
    }

    public IReadOnlyList<SourceFile> Files => files;

    public IReadOnlyList<string[]> Folders => folders;

    public IReadOnlyList<SkippedFile> Skipped => skipped;

    public byte[] Read(SourceFile file) => ImageDecoder.ReadFile(System.IO.Path.Combine(root, System.IO.Path.Combine(file.Segments)));

    public void Dispose() { }

    // `above` holds the real paths from the root down to here: a link back to one of them is the loop.
    private void Walk(string folder, string[] segments, string[] above)
    {
        var shown = string.Join('/', segments);
        FileSystemInfo[] children;
        try
        {
            children = new DirectoryInfo(folder).GetFileSystemInfos();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (segments.Length == 0) throw new BayouException($"{folder}: cannot be read ({e.Message})", e);
            skipped.Add(new SkippedFile(shown, $"folder cannot be read ({e.Message})"));
            return;
        }
        Array.Sort(children, (a, b) => string.CompareOrdinal(a.Name, b.Name));
        foreach (var child in children)
        {
            if (ImageFolder.IsLitter(child.Name)) continue;
            string[] path = [.. segments, child.Name];
            try
            {
                // A link says "directory" only once resolved on some systems.
                var target = child.LinkTarget is null ? child : child.ResolveLinkTarget(returnFinalTarget: true);
                if (target is null || !target.Exists)
                {
                    skipped.Add(new SkippedFile(string.Join('/', path), "a link to nothing"));
                }
                else if (target is DirectoryInfo || target.Attributes.HasFlag(FileAttributes.Directory))
                {
                    var real = RealPath(target.FullName);
                    if (above.Contains(real, StringComparer.Ordinal)) skipped.Add(new SkippedFile(string.Join('/', path), "a link back to a folder above it"));
                    else
                    {
                        folders.Add(path);
                        Walk(child.FullName, path, [.. above, real]);
                    }
                }
                else
                {
                    files.Add(new SourceFile(string.Join('/', path), path, ((FileInfo)target).Length, files.Count));
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                skipped.Add(new SkippedFile(string.Join('/', path), $"cannot be read ({e.Message})"));
            }
        }
    }

    /// <summary>The path with every link in it resolved, as far as that can be done.</summary>
    private static string RealPath(string path)
    {
        var real = System.IO.Path.GetPathRoot(path) ?? "";
        foreach (var segment in path[real.Length..].Split(System.IO.Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            real = System.IO.Path.Combine(real, segment);
            var target = new DirectoryInfo(real).ResolveLinkTarget(returnFinalTarget: true);
            if (target is not null) real = target.FullName;
        }
        return real;
    }
}

/// <summary>A zip file read in place. ZipArchive is not thread-safe: each reading thread borrows an archive of its own.</summary>
internal sealed class ZipSource : IFileSource
{
    private readonly string path;
    private readonly ConcurrentBag<ZipArchive> idle = [];
    private readonly List<SourceFile> files = [];
    private readonly List<string[]> folders = [];
    private readonly List<SkippedFile> skipped = [];
    private volatile bool disposed;

    public ZipSource(string path)
    {
        this.path = path;
        var archive = OpenArchive();
        idle.Add(archive);
        var seenFolders = new HashSet<string>(StringComparer.Ordinal);
        var seenFiles = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < archive.Entries.Count; i++)
        {
            var entry = archive.Entries[i];
            var name = entry.FullName.Replace('\\', '/');
            var segments = name.Split('/', StringSplitOptions.RemoveEmptyEntries);
            if (segments.Length == 0) continue;
            // Nothing is ever written to disk, so such names are harmless; they are refused because no honest tool writes them.
            if (segments.Any(s => s is ".." || s.Contains('\0')) || name.StartsWith('/'))
            {
                skipped.Add(new SkippedFile(name, "a path that leaves the archive"));
                continue;
            }
            if (segments.Any(ImageFolder.IsLitter)) continue;
            var isFolder = name.EndsWith('/');
            for (var n = 1; n <= (isFolder ? segments.Length : segments.Length - 1); n++)
            {
                if (seenFolders.Add(string.Join('/', segments.Take(n)))) folders.Add(segments[..n]);
            }
            if (isFolder) continue;
            if (!seenFiles.Add(string.Join('/', segments))) skipped.Add(new SkippedFile(name, "a second entry of the same name"));
            else if (entry.IsEncrypted) skipped.Add(new SkippedFile(name, "encrypted"));
            else files.Add(new SourceFile(string.Join('/', segments), segments, entry.Length, i));
        }
    }

    public IReadOnlyList<SourceFile> Files => files;

    public IReadOnlyList<string[]> Folders => folders;

    public IReadOnlyList<SkippedFile> Skipped => skipped;

    public byte[] Read(SourceFile file)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if (!idle.TryTake(out var archive)) archive = OpenArchive();
        try
        {
            var entry = archive.Entries[file.Position];
            if (entry.Length > ImageDecoder.MaxFileBytes)
                throw new BayouException($"{file.Path}: {entry.Length:N0} bytes unpacked are above the limit of {ImageDecoder.MaxFileBytes:N0} for one picture.");
            using var stream = entry.Open();
            // The declared length bounds the unpacking: a bomb that lies about it is cut there.
            var bytes = new byte[entry.Length];
            var read = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (read != bytes.Length || stream.ReadByte() >= 0)
                throw new BayouException($"{file.Path}: its entry in {path} does not unpack to the {entry.Length:N0} bytes it declares; the zip is damaged.");
            return bytes;
        }
        catch (Exception e) when (e is IOException or InvalidDataException or NotSupportedException or UnauthorizedAccessException)
        {
            throw new BayouException($"{file.Path}: cannot be read from {path} ({e.Message})", e);
        }
        finally
        {
            idle.Add(archive);
            if (disposed) Dispose();
        }
    }

    public void Dispose()
    {
        disposed = true;
        while (idle.TryTake(out var archive)) archive.Dispose();
    }

    private ZipArchive OpenArchive()
    {
        try
        {
            return ZipFile.OpenRead(path);
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new BayouException($"{path}: not a readable .zip file ({e.Message})", e);
        }
    }
}
