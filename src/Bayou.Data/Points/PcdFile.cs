using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>PCD (Point Cloud Library) 0.7: ascii, binary and binary_compressed (LZF, a column after the other).</summary>
public static class PcdFile
{
    /// <summary>Reads a file held in memory.</summary>
    /// <exception cref="BayouException">It is no PCD file, or it ends early.</exception>
    public static PointCloud Read(ReadOnlySpan<byte> bytes, string where)
    {
        var scanner = new TextScanner(bytes, where);
        string[] fields = [], kinds = [];
        int[] sizes = [], counts = [];
        var (points, data) = (-1, "");
        while (data.Length == 0)
        {
            var line = scanner.Line() ?? throw new BayouException($"{where}: the PCD header has no DATA line");
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words[0].StartsWith('#')) continue;
            if (words.Length > 1000) throw new BayouException($"{where}: {words.Length} words in a header line");
            switch (words[0])
            {
                case "FIELDS" or "COLUMNS": fields = words[1..]; break;
                case "TYPE": kinds = words[1..]; break;
                case "SIZE": sizes = Ints(words); break;
                case "COUNT": counts = Ints(words); break;
                case "POINTS": points = Ints(words) is [var n] ? n : -1; break;
                case "DATA": data = words.Length > 1 ? words[1] : " "; break;
                case "VERSION" or "WIDTH" or "HEIGHT" or "VIEWPOINT": break;
                default: throw new BayouException($"{where}: the header line '{line}' is not understood");
            }
        }
        if (counts.Length == 0) counts = [.. fields.Select(_ => 1)];
        if (points < 0 || fields.Length == 0 || kinds.Length != fields.Length || sizes.Length != fields.Length || counts.Length != fields.Length
            || kinds.Any(k => k is not ("F" or "I" or "U")) || sizes.Any(s => s is not (1 or 2 or 4 or 8)) || counts.Any(c => c is < 1 or > 1000)
                || kinds.Zip(sizes).Any(t => t is ("F", < 4)))
            throw new BayouException($"{where}: the PCD header does not fit together (FIELDS, SIZE, TYPE, COUNT, POINTS)");
        var row = sizes.Zip(counts, (s, c) => (long)s * c).Sum();
        return data switch
        {
            "ascii" => Ascii(ref scanner, where, fields, counts, points),
            "binary" => Binary(scanner.Rest, where, fields, kinds, sizes, counts, points, row, byColumn: false),
            "binary_compressed" => Binary(Decompress(scanner.Rest, points * row, where), where, fields, kinds, sizes, counts, points, row, byColumn: true),
            _ => throw new BayouException($"{where}: DATA is '{data}', not ascii, binary or binary_compressed"),
        };

        int[] Ints(string[] words) =>
            [.. words[1..].Select(w => int.TryParse(w, CultureInfo.InvariantCulture, out var v) && v >= 0
            ? v : throw new BayouException($"{where}: '{w}' in the header is no count"))];
    }

    private static PointCloud Ascii(ref TextScanner scanner, string where, string[] fields, int[] counts, int points)
    {
        if ((long)points * counts.Sum() > scanner.Rest.Length)
            throw new BayouException($"{where}: {points} points do not fit the {scanner.Rest.Length} bytes of the file");
        var table = new PointTable(where, points);
        var columns = Columns(table, fields, counts);
        for (var i = 0; i < points; i++) foreach (var column in columns) column[i] = scanner.Number();
        return table.ToCloud();
    }

    private static PointCloud Binary(ReadOnlySpan<byte> bytes, string where, string[] fields, string[] kinds, int[] sizes, int[] counts, int points, long row,
        bool byColumn)
    {
        if (points * row > bytes.Length)
            throw new BayouException($"{where}: {points} points need {points * row} bytes, the file has {bytes.Length}: it is truncated");
        var table = new PointTable(where, points);
        var columns = Columns(table, fields, counts);
        long offset = 0;
        for (int f = 0, column = 0; f < fields.Length; f++)
        {
            var size = sizes[f];
            for (var c = 0; c < counts[f]; c++, column++)
            {
                var (start, step) = byColumn ? (offset + (long)c * size, (long)size * counts[f]) : (offset + (long)c * size, row);
                for (var i = 0; i < points; i++) columns[column][i] = PointTable.Number(bytes.Slice((int)(start + i * step), size), kinds[f][0]);
            }
            offset += (long)size * counts[f] * (byColumn ? points : 1);
        }
        return table.ToCloud();
    }

    private static double[][] Columns(PointTable table, string[] fields, int[] counts) =>
        [.. fields.SelectMany((name, f) => Enumerable.Range(0, counts[f]).Select(c => table.Add(counts[f] == 1 ? name : $"{name}_{c}")))];

    // LZF (Lehmann): literals of up to 32 bytes, and copies from up to 8 KB back.
    private static byte[] Decompress(ReadOnlySpan<byte> bytes, long expected, string where)
    {
        if (bytes.Length < 8) throw new BayouException($"{where}: the compressed data are missing");
        long packed = BinaryPrimitives.ReadUInt32LittleEndian(bytes), plain = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
        var source = bytes[8..];
        if (packed > source.Length)
            throw new BayouException($"{where}: {packed} compressed bytes are announced, the file has {source.Length}: it is truncated");
        // A copy of three bytes gives at most 264: what claims to expand more is not LZF.
        if (plain != expected || plain > packed * 100 + 1000)
            throw new BayouException($"{where}: {plain} bytes after decompression, the header says {expected}");
        source = source[..(int)packed];
        var output = new byte[plain];
        int from = 0, to = 0;
        while (from < source.Length)
        {
            int control = source[from++], length;
            if (control < 32)
            {
                length = control + 1;
                if (from + length > source.Length || to + length > output.Length) throw Broken();
                source.Slice(from, length).CopyTo(output.AsSpan(to));
                (from, to) = (from + length, to + length);
                continue;
            }
            length = control >> 5;
            if (length == 7) length += from < source.Length ? source[from++] : throw Broken();
            length += 2;
            if (from >= source.Length) throw Broken();
            var back = to - ((control & 31) << 8) - source[from++] - 1;
            if (back < 0 || to + length > output.Length) throw Broken();
            for (var i = 0; i < length; i++) output[to++] = output[back++];
        }
        return to == output.Length ? output : throw Broken();

        BayouException Broken() => new($"{where}: the compressed data are damaged");
    }

    /// <summary>Writes binary PCD.</summary>
    public static void Write(PointCloud cloud, Stream stream)
    {
        var columns = new List<(string Name, char Kind, Func<int, float> Value)> { ("x", 'F', i => cloud.Positions[3 * i]),
            ("y", 'F', i => cloud.Positions[3 * i + 1]), ("z", 'F', i => cloud.Positions[3 * i + 2]) };
        if (cloud.Colours is { } rgb)
            columns.Add(("rgb", 'F', i => BitConverter.UInt32BitsToSingle((uint)(rgb[3 * i] << 16 | rgb[3 * i + 1] << 8 | rgb[3 * i + 2]))));
        for (var d = 0; cloud.Normals is not null && d < 3; d++)
        {
            var axis = d;
            columns.Add(($"normal_{"xyz"[d]}", 'F', i => cloud.Normals[3 * i + axis]));
        }
        if (cloud.Intensity is { } intensity) columns.Add(("intensity", 'F', i => intensity[i]));
        if (cloud.Labels is { } labels) columns.Add(("label", 'I', i => BitConverter.Int32BitsToSingle(labels[i])));
        if (cloud.Instances is { } instances) columns.Add(("instance", 'I', i => BitConverter.Int32BitsToSingle(instances[i])));
        foreach (var (name, values) in cloud.Fields) columns.Add((name.Replace(' ', '_'), 'F', i => values[i]));
        string Words(Func<(string Name, char Kind, Func<int, float>), string> word) => string.Join(' ', columns.Select(word));
        // Only whole numbers and names are written: no culture changes them.
        stream.Write(Encoding.ASCII.GetBytes($"""
            VERSION 0.7
            FIELDS {Words(c => c.Name)}
            SIZE {Words(_ => "4")}
            TYPE {Words(c => c.Kind.ToString())}
            COUNT {Words(_ => "1")}
            WIDTH {cloud.Count}
            HEIGHT 1
            VIEWPOINT 0 0 0 1 0 0 0
            POINTS {cloud.Count}
            DATA binary

            """.ReplaceLineEndings("\n")));
        using var writer = new BinaryWriter(stream, Encoding.ASCII, leaveOpen: true);
        for (var i = 0; i < cloud.Count; i++) foreach (var (_, _, value) in columns) writer.Write(BitConverter.SingleToUInt32Bits(value(i)));
    }
}
