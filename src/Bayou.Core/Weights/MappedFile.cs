using System.IO.MemoryMappedFiles;

namespace Bayou.Core;

/// <summary>A file mapped read-only into memory. Every access is checked against the file's length, so a damaged file can give wrong
/// numbers or a <see cref="BayouException"/>, never a read outside the mapping.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile map;
    private readonly MemoryMappedViewAccessor view;
    private readonly byte* start;
    private bool disposed;

    internal MappedFile(string path)
    {
        Path = path;
        FileStream? stream = null;
        try
        {
            // Delete is shared so that WeightFile.Save can replace a file that is open for reading.
            stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            Length = stream.Length;
            if (Length == 0) throw Damaged("the file is empty");
            map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
            view = map.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            stream?.Dispose();
            throw new BayouException($"cannot open the weight file '{path}': {e.Message}", e);
        }
        catch (BayouException)
        {
            stream?.Dispose();
            throw;
        }
        byte* pointer = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        start = pointer + view.PointerOffset;
    }

    internal string Path { get; }

    /// <summary>Bytes in the file.</summary>
    internal long Length { get; }

    /// <summary>The bytes [offset, offset + count) of the file.</summary>
    internal ReadOnlySpan<byte> Slice(long offset, int count)
    {
        ObjectDisposedException.ThrowIf(disposed, typeof(WeightFile));
        if (offset < 0 || count < 0 || offset > Length - count)
            throw Damaged($"it ends at byte {Length}, but bytes {offset} to {offset + (Int128)count} are needed");
        return new ReadOnlySpan<byte>(start + offset, count);
    }

    /// <summary>The error for a file whose content contradicts itself.</summary>
    internal BayouException Damaged(string what, Exception? inner = null) =>
        inner is null ? new BayouException(Text(what)) : new BayouException(Text(what), inner);

    private string Text(string what) => $"the weight file '{Path}' is damaged: {what}. Copy or download it again.";

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        map.Dispose();
    }
}
