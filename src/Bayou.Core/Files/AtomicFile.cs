namespace Bayou.Core;

/// <summary>Files that appear whole or not at all: written beside the target, flushed to the disk, then renamed over it.</summary>
public static class AtomicFile
{
    /// <summary>Writes text as UTF-8.</summary>
    public static void WriteAllText(string path, string text) => Write(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)));

    /// <summary>Copies a file.</summary>
    public static void Copy(string source, string path)
    {
        using var input = File.OpenRead(source);
        Write(path, input.CopyTo);
    }

    /// <summary>Writes through a stream.</summary>
    /// <exception cref="BayouException">The file cannot be written; what was there before is untouched.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BayouException($"cannot write '{path}': {e.Message.TrimEnd('.')}. What was there before is unchanged.", e);
        }
        finally
        {
            // A missing folder would make the deletion the error to report.
            if (File.Exists(temporary)) File.Delete(temporary);
        }
    }
}
