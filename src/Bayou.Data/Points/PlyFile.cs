using System.Globalization;
using System.Text;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>PLY (Stanford): ascii, binary little- and big-endian; vertices with any scalar properties, faces as triangle fans.</summary>
public static class PlyFile
{
    private sealed record Property(string Name, char Kind, int Size, char ListKind, int ListSize)
    {
        public bool IsList => ListSize > 0;
    }

    private sealed record Element(string Name, int Count, List<Property> Properties);

    /// <summary>Reads a file held in memory.</summary>
    /// <exception cref="BayouException">It is no PLY file, or it ends early.</exception>
    public static PointCloud Read(ReadOnlySpan<byte> bytes, string where)
    {
        var scanner = new TextScanner(bytes, where);
        if (scanner.Line() != "ply") throw new BayouException($"{where}: a PLY file starts with 'ply'");
        var (format, elements) = Header(ref scanner, bytes.Length, where);
        PointTable? table = null;
        var triangles = new List<int>();
        foreach (var element in elements)
        {
            if (element.Name == "vertex" && element.Properties.Exists(p => p.IsList))
                throw new BayouException($"{where}: vertices with list properties are not understood");
            if (element.Name == "vertex") table = new PointTable(where, element.Count);
            var columns = element.Name == "vertex" ? element.Properties.Select(p => table!.Add(p.Name)).ToArray() : null;
            for (var row = 0; row < element.Count; row++)
            {
                for (var p = 0; p < element.Properties.Count; p++)
                {
                    var property = element.Properties[p];
                    if (!property.IsList)
                    {
                        var value = Value(ref scanner, format, property.Kind, property.Size, where);
                        if (columns is not null) columns[p][row] = value;
                        continue;
                    }
                    var count = Value(ref scanner, format, property.ListKind, property.ListSize, where);
                    if (!(count >= 0 && count <= scanner.Rest.Length))
                        throw new BayouException($"{where}: a list of {count} values in element '{element.Name}' {row}, beyond the end of the file");
                    var corners = element.Name == "face" && property.Name is "vertex_indices" or "vertex_index";
                    int first = -1, last = -1;
                    for (var i = 0; i < (int)count; i++)
                    {
                        var corner = (int)Math.Clamp(Value(ref scanner, format, property.Kind, property.Size, where), -1, int.MaxValue);
                        if (corners && i >= 2) triangles.AddRange([first, last, corner]);
                        if (i == 0) first = corner;
                        last = corner;
                    }
                }
            }
        }
        return (table ?? throw new BayouException($"{where}: it has no element 'vertex'")).ToCloud(triangles.Count > 0 ? [.. triangles] : null);
    }

    private static (string Format, List<Element>) Header(ref TextScanner scanner, int length, string where)
    {
        var (format, elements) = ("", new List<Element>());
        while (true)
        {
            var line = scanner.Line() ?? throw new BayouException($"{where}: the header has no end_header");
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            switch (words)
            {
                case ["end_header"]:
                    if (format.Length == 0) throw new BayouException($"{where}: the header names no format");
                    // Every row needs at least a byte of the file.
                    foreach (var e in elements.Where(e => (long)e.Count * Math.Max(1, e.Properties.Count) > length))
                        throw new BayouException($"{where}: {e.Count} rows of element '{e.Name}' do not fit a file of {length} bytes");
                    return (format, elements);
                case ["format", "ascii" or "binary_little_endian" or "binary_big_endian", ..]:
                    format = words[1];
                    break;
                case ["element", var name, var text] when int.TryParse(text, CultureInfo.InvariantCulture, out var count) && count >= 0 && elements.Count < 100:
                    elements.Add(new(name, count, []));
                    break;
                case ["property", "list", var sizeType, var type, var name] when elements.Count > 0 && elements[^1].Properties.Count < 1000:
                    var ((listKind, listSize), (kind, size)) = (Type(sizeType, where), Type(type, where));
                    elements[^1].Properties.Add(new(name, kind, size, listKind, listSize));
                    break;
                case ["property", var type, var name] when elements.Count > 0 && elements[^1].Properties.Count < 1000:
                    var (scalar, bytes) = Type(type, where);
                    elements[^1].Properties.Add(new(name, scalar, bytes, ' ', 0));
                    break;
                case ["comment" or "obj_info", ..] or []:
                    break;
                default:
                    throw new BayouException($"{where}: the header line '{line}' is not understood");
            }
        }
    }

    private static (char Kind, int Size) Type(string name, string where) => name switch
    {
        "char" or "int8" => ('I', 1),
        "uchar" or "uint8" => ('U', 1),
        "short" or "int16" => ('I', 2),
        "ushort" or "uint16" => ('U', 2),
        "int" or "int32" => ('I', 4),
        "uint" or "uint32" => ('U', 4),
        "float" or "float32" => ('F', 4),
        "double" or "float64" => ('F', 8),
        _ => throw new BayouException($"{where}: no PLY type is named '{name}'"),
    };

    private static double Value(ref TextScanner scanner, string format, char kind, int size, string where)
    {
        if (format == "ascii") return scanner.Number();
        if (scanner.Rest.Length < size) throw new BayouException($"{where}: the file ends in the middle of its data");
        var value = PointTable.Number(scanner.Rest[..size], kind, bigEndian: format == "binary_big_endian");
        scanner.Position += size;
        return value;
    }

    /// <summary>Writes binary little-endian PLY.</summary>
    public static void Write(PointCloud cloud, Stream stream)
    {
        var header = new StringBuilder("ply\nformat binary_little_endian 1.0\n")
            .Append(CultureInfo.InvariantCulture, $"element vertex {cloud.Count}\nproperty float x\nproperty float y\nproperty float z\n");
        if (cloud.Normals is not null) header.Append("property float nx\nproperty float ny\nproperty float nz\n");
        if (cloud.Colours is not null) header.Append("property uchar red\nproperty uchar green\nproperty uchar blue\n");
        if (cloud.Intensity is not null) header.Append("property float intensity\n");
        if (cloud.Labels is not null) header.Append("property int label\n");
        if (cloud.Instances is not null) header.Append("property int instance\n");
        foreach (var name in cloud.Fields.Keys) header.Append(CultureInfo.InvariantCulture, $"property float {name.Replace(' ', '_')}\n");
        if (cloud.Triangles is not null)
            header.Append(CultureInfo.InvariantCulture, $"element face {cloud.Triangles.Length / 3}\nproperty list uchar int vertex_indices\n");
        stream.Write(Encoding.ASCII.GetBytes(header.Append("end_header\n").ToString()));
        using var writer = new BinaryWriter(stream, Encoding.ASCII, leaveOpen: true);
        for (var i = 0; i < cloud.Count; i++)
        {
            for (var d = 0; d < 3; d++) writer.Write(cloud.Positions[3 * i + d]);
            for (var d = 0; cloud.Normals is not null && d < 3; d++) writer.Write(cloud.Normals[3 * i + d]);
            if (cloud.Colours is not null) writer.Write(cloud.Colours, 3 * i, 3);
            if (cloud.Intensity is not null) writer.Write(cloud.Intensity[i]);
            if (cloud.Labels is not null) writer.Write(cloud.Labels[i]);
            if (cloud.Instances is not null) writer.Write(cloud.Instances[i]);
            foreach (var field in cloud.Fields.Values) writer.Write(field[i]);
        }
        for (var t = 0; t < (cloud.Triangles?.Length ?? 0); t++)
        {
            if (t % 3 == 0) writer.Write((byte)3);
            writer.Write(cloud.Triangles![t]);
        }
    }
}
