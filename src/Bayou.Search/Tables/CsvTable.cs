using System.Globalization;
using Bayou.Core;

namespace Bayou.Search;

/// <summary>Comma-separated values without quotes.</summary>
internal static class CsvTable
{
    public static (string[] Header, IReadOnlyList<string[]> Rows) Parse(string text, string path)
    {
        var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        if (lines.Length < 2) throw new BayouException($"'{path}' has no rows");
        var header = lines[0].Split(',');
        var rows = lines.Skip(1).Select(l => l.Split(',')).ToArray();
        if (Array.FindIndex(rows, r => r.Length != header.Length) is var bad and >= 0)
            throw new BayouException($"'{path}': line {bad + 2} has {rows[bad].Length} values, the header {header.Length}");
        return (header, rows);
    }

    public static double Number(string text, string path) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value)
        ? value : text.Length == 0 ? double.NaN : throw new BayouException($"'{path}': '{text}' is no number");
}
