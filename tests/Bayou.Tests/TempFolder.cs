namespace Bayou.Tests;

/// <summary>A folder that is deleted with its content.</summary>
internal sealed class TempFolder : IDisposable
{
    internal string Root { get; } = Directory.CreateTempSubdirectory("bayou-").FullName;

    internal string this[string name] => System.IO.Path.Combine(Root, name);

    internal string Write(string name, ReadOnlySpan<byte> bytes)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(this[name])!);
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    internal string Write(string name, string text) => Write(name, System.Text.Encoding.UTF8.GetBytes(text));

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
