using System.Buffers.Text;
using System.Text;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>Lines and numbers of a file held in memory. Every read is bounded by the file; what is not there is an error that says where.</summary>
internal ref struct TextScanner(ReadOnlySpan<byte> bytes, string where)
{
    private readonly ReadOnlySpan<byte> bytes = bytes;
    private readonly string where = where;

    /// <summary>Bytes read so far.</summary>
    public int Position { get; set; }

    /// <summary>What is left.</summary>
    public readonly ReadOnlySpan<byte> Rest => bytes[Position..];

    /// <summary>The next line without its end, at most 10,000 characters; null at the end of the file.</summary>
    public string? Line()
    {
        if (Position >= bytes.Length) return null;
        var rest = bytes[Position..];
        var end = rest.IndexOf((byte)'\n');
        var line = end < 0 ? rest : rest[..end];
        if (line.Length > 10_000) throw new BayouException($"{where}: a header line of {line.Length} bytes at byte {Position}: this is no such file");
        Position += end < 0 ? rest.Length : end + 1;
        return Encoding.Latin1.GetString(line).TrimEnd('\r');
    }

    /// <summary>The next number, after spaces, commas and line ends; nan and inf are understood.</summary>
    public double Number()
    {
        while (Position < bytes.Length && bytes[Position] is (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\r' or (byte)',' or (byte)';') Position++;
        var rest = bytes[Position..];
        if (Utf8Parser.TryParse(rest, out double value, out var used) && used > 0)
        {
            Position += used;
            return value;
        }
        if (rest.StartsWith("nan"u8) || rest.StartsWith("-nan"u8))
        {
            Position += rest[0] == (byte)'-' ? 4 : 3;
            return double.NaN;
        }
        if (rest.StartsWith("inf"u8) || rest.StartsWith("-inf"u8))
        {
            Position += rest[0] == (byte)'-' ? 4 : 3;
            return rest[0] == (byte)'-' ? double.NegativeInfinity : double.PositiveInfinity;
        }
        throw new BayouException(rest.IsEmpty ? $"{where}: the file ends where a number should be" : $"{where}: byte {Position} should start a number");
    }

    /// <summary>A number that counts something, up to <paramref name="most"/>.</summary>
    public int Count(string what, long most)
    {
        var value = Number();
        return value >= 0 && value <= most && value == Math.Floor(value) && value <= int.MaxValue
            ? (int)value : throw new BayouException($"{where}: {value} {what}, and the file has room for {most} at most");
    }
}
