using Bayou.Core;

namespace Bayou.Data;

/// <summary>A room of S3DIS as it is published: Annotations/CLASS_NUMBER.txt, a point (x y z r g b) a line, a file an object.</summary>
public static class S3disRoom
{
    /// <summary>The 13 classes in label order.</summary>
    public static IReadOnlyList<string> Classes { get; } =
        ["ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board", "clutter"];

    /// <summary>Reads a room; what is none of the 13 classes ("stairs") counts as clutter, as the official preparation has it.</summary>
    /// <exception cref="BayouException">The folder holds no annotations, or one is damaged.</exception>
    public static PointCloud Read(string folder)
    {
        var annotations = Path.Combine(folder, "Annotations");
        var files = Directory.Exists(annotations) ? Directory.GetFiles(annotations, "*.txt").Order(StringComparer.Ordinal).ToArray() : [];
        if (files.Length == 0) throw new BayouException($"{folder}: a room of S3DIS has a folder Annotations with .txt files");
        var (positions, colours, labels, instances) = (new List<float>(), new List<byte>(), new List<int>(), new List<int>());
        for (var f = 0; f < files.Length; f++)
        {
            var part = PointFiles.Read(files[f]);
            var name = Path.GetFileNameWithoutExtension(files[f]).Split('_')[0];
            var label = Classes.Contains(name) ? Enumerable.Range(0, Classes.Count).First(c => Classes[c] == name) : Classes.Count - 1;
            positions.AddRange(part.Positions);
            colours.AddRange(part.Colours ?? new byte[3 * part.Count]);
            labels.AddRange(Enumerable.Repeat(label, part.Count));
            instances.AddRange(Enumerable.Repeat(f + 1, part.Count));
        }
        return new() { Positions = [.. positions], Colours = [.. colours], Labels = [.. labels], Instances = [.. instances] };
    }
}
