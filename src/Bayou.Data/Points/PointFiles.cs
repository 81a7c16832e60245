using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// Reads and writes point clouds by the extension of the file. Sizes announced by a file are checked against its length before anything is allocated.
/// </summary>
public static class PointFiles
{
    /// <summary>Extensions that are read.</summary>
    public static IReadOnlyList<string> Extensions { get; } = [".bin", ".ply", ".pcd", ".off", ".npy", ".npz", ".h5", ".hdf5", ".txt", ".xyz", ".csv"];

    /// <summary>Reads a cloud.</summary>
    /// <param name="path">
    /// .bin (KITTI x y z intensity; nuScenes *.pcd.bin with ring; six columns with colours as in ScanNet, S3DIS and SUN RGB-D; a .label file of SemanticKITTI
    /// beside it, or in ../labels,
    /// is read with it), .ply, .pcd, .off, .npy, .npz, .h5, and text with a point a line; a folder with Annotations/ is a room of S3DIS.
    /// </param>
    /// <param name="columns">Floats of a row of a .bin file; 0 decides by the values.</param>
    /// <param name="index">Which cloud of a file that holds many (.npy or .h5 with three axes).</param>
    /// <exception cref="BayouException">The file is missing, damaged, truncated or not understood; the message says where.</exception>
    public static PointCloud Read(string path, int columns = 0, int index = 0)
    {
        if (Directory.Exists(path)) return S3disRoom.Read(path);
        var name = path.ToLowerInvariant();
        if (name.EndsWith(".h5", StringComparison.Ordinal) || name.EndsWith(".hdf5", StringComparison.Ordinal)) return Hdf5Clouds.Read(path, index);
        var bytes = Load(path);
        return Path.GetExtension(name) switch
        {
            ".bin" => WithLabels(Bin(bytes, path, columns > 0 ? columns : name.EndsWith(".pcd.bin", StringComparison.Ordinal) ? 5 : 0), path),
            ".ply" => PlyFile.Read(bytes, path),
            ".pcd" => PcdFile.Read(bytes, path),
            ".off" => Off(bytes, path),
            ".npy" => Numpy(NumpyFile.Read(bytes, path), path, index),
            ".npz" => Npz(bytes, path, index),
            ".txt" or ".xyz" or ".csv" => Text(bytes, path),
            var other => throw new BayouException($"{path}: point clouds of type '{other}' are not understood; there are {string.Join(", ", Extensions)}"),
        };
    }

    /// <summary>Clouds in a file: 1, or the first axis of a .npy or .h5 file with three.</summary>
    /// <exception cref="BayouException">The file cannot be read.</exception>
    public static int Clouds(string path) => Path.GetExtension(path).ToLowerInvariant() switch
    {
        ".npy" => NumpyFile.Read(Load(path), path).Shape is [var clouds, _, _] ? clouds : 1,
        ".h5" or ".hdf5" => Hdf5Clouds.ReadAll(path).Count,
        _ => 1,
    };

    /// <summary>Writes a cloud as .ply, .pcd, .bin (x y z intensity), .npy ([n, 3] or [n, 6] with colours), .off or .xyz/.txt; whole or not at all.</summary>
    /// <exception cref="BayouException">Another extension, or the file cannot be written.</exception>
    public static void Write(PointCloud cloud, string path)
    {
        cloud.Checked(path);
        Action<Stream> write = Path.GetExtension(path).ToLowerInvariant() switch
        {
            ".ply" => s => PlyFile.Write(cloud, s),
            ".pcd" => s => PcdFile.Write(cloud, s),
            ".bin" => s => s.Write(MemoryMarshal.AsBytes(Rows(cloud, 4, (i, c) => c == 3 ? cloud.Intensity?[i] ?? 0 : cloud.Positions[3 * i + c]).AsSpan())),
            ".npy" => s => NumpyFile.Write(Rows(cloud, cloud.Colours is null ? 3 : 6,
                (i, c) => c < 3 ? cloud.Positions[3 * i + c] : cloud.Colours![3 * i + c - 3]), [cloud.Count, cloud.Colours is null ? 3 : 6], s),
            ".off" => s => s.Write(Encoding.ASCII.GetBytes(OffText(cloud))),
            ".xyz" or ".txt" => s => s.Write(Encoding.ASCII.GetBytes(XyzText(cloud))),
            var other => throw new BayouException($"{path}: point clouds are written as .ply, .pcd, .bin, .npy, .off, .xyz or .txt, not '{other}'"),
        };
        AtomicFile.Write(path, write);
    }

    /// <summary>SemanticKITTI labels: the low 16 bits of every word are the class, the high ones the instance.</summary>
    /// <param name="path">The .label file.</param>
    /// <param name="points">Points of the scan.</param>
    public static (int[] Labels, int[] Instances) SemanticKittiLabels(string path, int points)
    {
        var bytes = Load(path);
        if (bytes.Length != 4L * points) throw new BayouException($"{path}: {bytes.Length} bytes are not the labels of {points} points");
        var words = MemoryMarshal.Cast<byte, uint>(bytes).ToArray();
        return (Array.ConvertAll(words, w => (int)(w & 0xFFFF)), Array.ConvertAll(words, w => (int)(w >> 16)));
    }

    /// <summary>Writes SemanticKITTI labels.</summary>
    public static void WriteSemanticKittiLabels(string path, int[] labels, int[]? instances = null)
    {
        var words = labels.Select((l, i) => (uint)(l & 0xFFFF) | (uint)(instances?[i] ?? 0) << 16).ToArray();
        AtomicFile.Write(path, s => s.Write(MemoryMarshal.AsBytes(words.AsSpan())));
    }

    /// <summary>A mask of 64-bit labels as mmdetection3d writes them for ScanNet and S3DIS.</summary>
    public static int[] LongMask(string path, int points)
    {
        var bytes = Load(path);
        if (bytes.Length != 8L * points) throw new BayouException($"{path}: {bytes.Length} bytes are not the 64-bit labels of {points} points");
        return Array.ConvertAll(MemoryMarshal.Cast<byte, long>(bytes).ToArray(), v => (int)Math.Clamp(v, int.MinValue, int.MaxValue));
    }

    /// <summary>All bytes of a file of at most 2 GB.</summary>
    public static byte[] Load(string path)
    {
        try
        {
            var length = new FileInfo(path).Length;
            return length <= Array.MaxLength ? File.ReadAllBytes(path) : throw new BayouException($"{path}: {length} bytes are more than 2 GB: split the file");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new BayouException($"{path}: cannot be read ({e.Message})", e);
        }
    }

    private static PointCloud Bin(byte[] bytes, string where, int columns)
    {
        if (bytes.Length % 4 != 0) throw new BayouException($"{where}: {bytes.Length} bytes are no rows of float32: it is truncated or something else");
        var values = MemoryMarshal.Cast<byte, float>(bytes).ToArray();
        if (columns == 0)
            columns = Guess(values) is var guess and > 0
                ? guess : throw new BayouException($"{where}: rows of 4, 5 or 6 floats do not make sense of it: say how many columns it has (--columns)");
        if (columns < 3 || values.Length % columns != 0)
            throw new BayouException($"{where}: {values.Length} floats are no rows of {columns}: it is truncated, or has other columns");
        var n = values.Length / columns;
        float[] Column(int c) => [.. Enumerable.Range(0, n).Select(i => values[i * columns + c])];
        var positions = new float[3 * n];
        for (var i = 0; i < n; i++) Array.Copy(values, i * columns, positions, 3 * i, 3);
        if (columns == 6)
        {
            var rgb = new float[3 * n];
            for (var i = 0; i < n; i++) Array.Copy(values, i * columns + 3, rgb, 3 * i, 3);
            var scale = Array.TrueForAll(rgb, v => v <= 1) ? 255f : 1;
            return new() { Positions = positions, Colours = Array.ConvertAll(rgb, v => (byte)Math.Clamp(MathF.Round(v * scale), 0, 255)) };
        }
        return new()
        {
            Positions = positions,
            Intensity = columns > 3 ? Column(3) : null,
            Fields = Enumerable.Range(4, Math.Max(0, columns - 4)).ToDictionary(c => c == 4 ? "ring" : $"column{c}", Column),
        };
    }

    // A wrong width shifts coordinates into the other columns, whose ranges are narrow.
    private static int Guess(float[] values)
    {
        bool All(int columns, Func<ReadOnlySpan<float>, bool> row)
        {
            if (values.Length % columns != 0) return false;
            for (var i = 0; i < values.Length; i += columns) if (!row(values.AsSpan(i, columns))) return false;
            return true;
        }
        if (All(4, r => r[3] is >= 0 and <= 1)) return 4;
        if (All(6, r => r[3] is >= 0 and <= 255 && r[4] is >= 0 and <= 255 && r[5] is >= 0 and <= 255)) return 6;
        if (All(5, r => r[3] is >= 0 and <= 255 && r[4] is >= 0 and <= 255 && r[4] == MathF.Floor(r[4]))) return 5;
        return All(4, r => r[3] is >= 0 and <= 255) ? 4 : 0;
    }

    private static PointCloud WithLabels(PointCloud cloud, string path)
    {
        var stem = path[..^4];
        var beside = new[] { stem + ".label",
            Path.Combine(Path.GetDirectoryName(path) ?? "", "..", "labels", Path.GetFileName(stem) + ".label") }.FirstOrDefault(File.Exists);
        if (beside is not null)
        {
            var (labels, instances) = SemanticKittiLabels(beside, cloud.Count);
            return cloud with { Labels = labels, Instances = instances };
        }
        var (semantic, instance) =
            (Path.Combine(Path.GetDirectoryName(path) ?? "", "semantic_mask.bin"), Path.Combine(Path.GetDirectoryName(path) ?? "", "instance_mask.bin"));
        if (Path.GetFileName(path) != "points.bin" || !File.Exists(semantic)) return cloud;
        return cloud with { Labels = LongMask(semantic, cloud.Count), Instances = File.Exists(instance) ? LongMask(instance, cloud.Count) : null };
    }

    private static PointCloud Off(byte[] bytes, string where)
    {
        var scanner = new TextScanner(bytes, where);
        if (!bytes.AsSpan().StartsWith("OFF"u8)) throw new BayouException($"{where}: an OFF file starts with 'OFF'");
        scanner.Position = 3;       // some of ModelNet's files have the counts on the same line
        var vertices = scanner.Count("vertices", bytes.Length / 6);
        var faces = scanner.Count("faces", bytes.Length / 4);
        scanner.Number();
        var (positions, triangles) = (new float[3 * vertices], new List<int>());
        for (var i = 0; i < positions.Length; i++) positions[i] = (float)scanner.Number();
        for (var f = 0; f < faces; f++)
        {
            var corners = scanner.Count("corners of a face", bytes.Length);
            int first = 0, last = 0;
            for (var c = 0; c < corners; c++)
            {
                var corner = scanner.Count("is a corner", vertices - 1);
                if (c >= 2) triangles.AddRange([first, last, corner]);
                if (c == 0) first = corner;
                last = corner;
            }
            scanner.Line();         // colours of faces
        }
        return new PointCloud { Positions = positions, Triangles = triangles.Count > 0 ? [.. triangles] : null }.Checked(where);
    }

    private static PointCloud Numpy(NumpyArray array, string where, int index)
    {
        var shape = array.Shape;
        if (shape.Length is not (2 or 3) || shape[^1] < 3)
            throw new BayouException($"{where}: points [n, 3+] or clouds [m, n, 3+] are needed, not [{string.Join(", ", shape)}]");
        var (clouds, n, width) = (shape.Length == 3 ? shape[0] : 1, shape[^2], shape[^1]);
        if (index < 0 || index >= clouds) throw new BayouException($"{where}: cloud {index} of {clouds}");
        return FromRows(array.Floats().AsSpan(index * n * width, n * width), n, width);
    }

    private static PointCloud Npz(byte[] bytes, string where, int index)
    {
        var arrays = NumpyFile.ReadAll(bytes, where);
        foreach (var name in (string[])["pc", "points", "xyz", "data", "coord"])
            if (arrays.TryGetValue(name, out var array)) return Numpy(array, $"{where}({name})", index);
        var any = arrays.FirstOrDefault(a => a.Value.Shape.Length is 2 or 3 && a.Value.Shape[^1] is >= 3 and <= 16);
        return any.Value is null
            ? throw new BayouException($"{where}: none of its arrays ({string.Join(", ", arrays.Keys)}) holds points")
            : Numpy(any.Value, $"{where}({any.Key})", index);
    }

    /// <summary>Rows of x, y, z and, with six columns or more, either colours (0..1 or 0..255) or normals (unit length).</summary>
    public static PointCloud FromRows(ReadOnlySpan<float> values, int n, int width)
    {
        var (positions, rest) = (new float[3 * n], width >= 6 ? new float[3 * n] : null);
        for (var i = 0; i < n; i++)
        {
            values.Slice(i * width, 3).CopyTo(positions.AsSpan(3 * i));
            if (rest is not null) values.Slice(i * width + 3, 3).CopyTo(rest.AsSpan(3 * i));
        }
        if (rest is null) return new() { Positions = positions };
        var colours = Array.TrueForAll(rest, v => v is >= 0 and <= 255);
        var unit = Array.TrueForAll(rest, v => v <= 1);
        return new()
        {
            Positions = positions,
            Colours = colours ? Array.ConvertAll(rest, v => (byte)MathF.Round(unit ? v * 255 : v)) : null,
            Normals = colours ? null : rest,
        };
    }

    private static PointCloud Text(byte[] bytes, string where)
    {
        // The first line decides how many columns there are; '//' and '#' lines and a heading in words are left out.
        var start = 0;
        string[] first = [];
        while (start < bytes.Length)
        {
            var scanner = new TextScanner(bytes, where) { Position = start };
            var line = scanner.Line()!;
            first = line.Split([' ', '\t', ',', ';'], StringSplitOptions.RemoveEmptyEntries);
            if (first.Length >= 3 && first.All(w => double.TryParse(w, CultureInfo.InvariantCulture, out _))) break;
            start = scanner.Position;
        }
        if (start >= bytes.Length || first.Length < 3) throw new BayouException($"{where}: no line of at least three numbers");
        var values = new List<float>();
        var numbers = new TextScanner(bytes, where) { Position = start };
        while (!IsBlank(numbers.Rest)) values.Add((float)numbers.Number());
        if (values.Count % first.Length != 0)
            throw new BayouException($"{where}: {values.Count} numbers are no rows of {first.Length}: it is truncated, or its lines differ");
        return FromRows(CollectionsMarshal.AsSpan(values), values.Count / first.Length, first.Length);

        static bool IsBlank(ReadOnlySpan<byte> rest) => rest.IndexOfAnyExcept(" \t\r\n,;"u8) < 0;
    }

    private static float[] Rows(PointCloud cloud, int width, Func<int, int, float> value)
    {
        var rows = new float[cloud.Count * width];
        for (var i = 0; i < rows.Length; i++) rows[i] = value(i / width, i % width);
        return rows;
    }

    private static string OffText(PointCloud cloud)
    {
        var text = new StringBuilder("OFF\n").Append(CultureInfo.InvariantCulture, $"{cloud.Count} {(cloud.Triangles?.Length ?? 0) / 3} 0\n");
        for (var i = 0; i < cloud.Count; i++)
            text.Append(CultureInfo.InvariantCulture, $"{cloud.Positions[3 * i]:R} {cloud.Positions[3 * i + 1]:R} {cloud.Positions[3 * i + 2]:R}\n");
        for (var t = 0; t < (cloud.Triangles?.Length ?? 0); t += 3)
            text.Append(CultureInfo.InvariantCulture, $"3 {cloud.Triangles![t]} {cloud.Triangles[t + 1]} {cloud.Triangles[t + 2]}\n");
        return text.ToString();
    }

    private static string XyzText(PointCloud cloud)
    {
        var text = new StringBuilder();
        for (var i = 0; i < cloud.Count; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"{cloud.Positions[3 * i]:R} {cloud.Positions[3 * i + 1]:R} {cloud.Positions[3 * i + 2]:R}");
            if (cloud.Colours is { } c) text.Append(CultureInfo.InvariantCulture, $" {c[3 * i]} {c[3 * i + 1]} {c[3 * i + 2]}");
            text.Append('\n');
        }
        return text.ToString();
    }
}
