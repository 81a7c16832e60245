using System.Globalization;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Points;

/// <summary>Labelled clouds for training and test, as the commands name them.</summary>
/// <param name="Name">For people; "synthetic" where the clouds are generated.</param>
/// <param name="Classes">Names in label order.</param>
/// <param name="Train">Training part.</param>
/// <param name="Test">Test part.</param>
/// <param name="Segmented">Whether every point has a label.</param>
public sealed record PointData(string Name, IReadOnlyList<string> Classes, IReadOnlyList<ShapeSample> Train, IReadOnlyList<ShapeSample> Test, bool Segmented)
{
    /// <summary>What <see cref="Open"/> understands.</summary>
    public const string Forms =
        "a folder with train_points.npy, train_labels.npy, test_points.npy, test_labels.npy; a folder with a sub-folder of clouds a class (ModelNet: CLASS/train, CLASS/test); "
        + "a scan or a folder of scans with SemanticKITTI labels (one scan is cut into sectors); synthetic-rooms or synthetic-streets, with :target for the shifted domain";

    private const int Sectors = 16;

    /// <summary>Opens a data set.</summary>
    /// <param name="data">See <see cref="Forms"/>.</param>
    /// <param name="seed">Of splits and generated scenes.</param>
    /// <exception cref="BayouException">It is not there, or none of these forms.</exception>
    public static PointData Open(string data, int seed = 0)
    {
        if (data.StartsWith("synthetic-", StringComparison.Ordinal)) return Synthetic(data, seed);
        if (File.Exists(Path.Combine(data, "train_points.npy"))) return Numpy(data);
        if (data.EndsWith(".bin", StringComparison.OrdinalIgnoreCase)) return Scans([data]);
        if (!Directory.Exists(data)) throw new BayouException($"'{data}' is not there; clouds come as {Forms}");
        var scans = Directory.GetFiles(data, "*.label").Select(l => Path.ChangeExtension(l, ".bin")).Where(File.Exists).Order(StringComparer.Ordinal).ToArray();
        return scans.Length > 0 ? Scans(scans) : Folders(data, seed);
    }

    private static PointData Numpy(string folder)
    {
        ShapeSample[] Part(string part)
        {
            string points = Path.Combine(folder, $"{part}_points.npy"), labels = Path.Combine(folder, $"{part}_labels.npy");
            var (array, classes) = (NumpyFile.Read(PointFiles.Load(points), points), NumpyFile.Read(PointFiles.Load(labels), labels).Ints());
            if (array.Shape.Length != 3 || array.Shape[0] != classes.Length)
                throw new BayouException($"{points}: clouds [{classes.Length}, n, 3] are needed, not [{string.Join(", ", array.Shape)}]");
            var (values, n, width) = (array.Floats(), array.Shape[1], array.Shape[2]);
            return [.. classes.Select((c, i) => new ShapeSample(PointFiles.FromRows(values.AsSpan(i * n * width, n * width), n, width), c))];
        }
        var (train, test) = (Part("train"), Part("test"));
        var count = train.Concat(test).Max(s => s.Label) + 1;
        // Names of shapes such as bathtub_0001, in the order of the labels.
        var names = Path.Combine(folder, "train_names.txt");
        var classes = new string[count];
        for (var c = 0; c < count; c++) classes[c] = c.ToString(CultureInfo.InvariantCulture);
        var lines = File.Exists(names) ? File.ReadAllLines(names) : [];
        for (var i = 0; i < Math.Min(lines.Length, train.Length); i++)
            if (lines[i].LastIndexOf('_') is > 0 and var cut) classes[train[i].Label] = lines[i][..cut].Split('/')[^1];
        return new(Path.GetFileName(folder.TrimEnd('/')), classes, train, test, false);
    }

    private static PointData Folders(string folder, int seed)
    {
        var classes = Directory.GetDirectories(folder).Select(d => Path.GetFileName(d)!).Where(d => !d.StartsWith('.')).Order(StringComparer.Ordinal).ToArray();
        if (classes.Length < 2) throw new BayouException($"'{folder}' has {classes.Length} sub-folders; clouds come as {Forms}");
        var (train, test) = (new List<ShapeSample>(), new List<ShapeSample>());
        for (var c = 0; c < classes.Length; c++)
        {
            var root = Path.Combine(folder, classes[c]);
            if (Directory.Exists(Path.Combine(root, "train")))
            {
                train.AddRange(Files(Path.Combine(root, "train")).Select(f => new ShapeSample(Surface(f, seed), c)));
                test.AddRange(Files(Path.Combine(root, "test")).Select(f => new ShapeSample(Surface(f, seed), c)));
                continue;
            }
            // A fifth of every class, chosen by name, is the test part.
            foreach (var file in Files(root)) (StableHash.Of((ulong)seed, Path.GetFileName(file)) % 5 == 0 ? test : train).Add(new(Surface(file, seed), c));
        }
        if (train.Count == 0 || test.Count == 0)
            throw new BayouException($"'{folder}': {train.Count} clouds to train on and {test.Count} to test: some of each are needed");
        return new(Path.GetFileName(folder.TrimEnd('/')), classes, train, test, false);
    }

    private static IEnumerable<string> Files(string folder) => Directory.Exists(folder)
        ? Directory.GetFiles(folder).Where(f => PointFiles.Extensions.Contains(Path.GetExtension(f).ToLowerInvariant())).Order(StringComparer.Ordinal) : [];

    // A mesh is sampled: its corners alone say little of a large flat face.
    private static PointCloud Surface(string file, int seed)
    {
        var cloud = PointFiles.Read(file).Finite();
        return cloud.Triangles is null ? cloud : MeshSampling.Sample(cloud, 4096, new SampleRandom(StableHash.Of((ulong)seed, Path.GetFileName(file))));
    }

    private static PointData Scans(IReadOnlyList<string> files)
    {
        var scenes = files.Select(f => PointFiles.Read(f)).ToArray();
        for (var i = 0; i < scenes.Length; i++)
        {
            if (scenes[i].Labels is null) throw new BayouException($"{files[i]}: no labels (a .label file) beside it");
            scenes[i] = (scenes[i] with { Labels = Array.ConvertAll(scenes[i].Labels!, SemanticKitti.TrainingClass) }).Finite();
        }
        var parts = scenes.Length > 1 ? scenes : Cut(scenes[0]);
        // Of a single scan every fourth sector, of several every fifth scan, is the test part.
        var step = scenes.Length > 1 ? 5 : 4;
        var (train, test) = (parts.Where((_, i) => i % step != step - 1).ToArray(), parts.Where((_, i) => i % step == step - 1).ToArray());
        return new(scenes.Length > 1 ? "SemanticKITTI" : "SemanticKITTI, one scan cut into sectors", SemanticKitti.Classes,
            [.. train.Select(s => new ShapeSample(s))], [.. test.Select(s => new ShapeSample(s))], true);
    }

    /// <summary>A scan's sectors around the sensor, without those that are all but empty.</summary>
    public static PointCloud[] Cut(PointCloud scan)
    {
        var rows = Enumerable.Range(0, scan.Count)
            .ToLookup(i => Math.Min(Sectors - 1, (int)((Math.Atan2(scan.Positions[3 * i + 1], scan.Positions[3 * i]) + Math.PI) / (2 * Math.PI) * Sectors)));
        return [.. Enumerable.Range(0, Sectors).Select(s => rows[s].ToArray()).Where(r => r.Length >= 500).Select(r => scan.Select(r))];
    }

    private static PointData Synthetic(string data, int seed)
    {
        var (kind, target) = (data.Split(':')[0], data.EndsWith(":target", StringComparison.Ordinal));
        if (kind is not ("synthetic-rooms" or "synthetic-streets") || (data.Contains(':') && !target))
            throw new BayouException($"'{data}': there are synthetic-rooms and synthetic-streets, each also with :target");
        PointCloud Make(int number, SceneDomain? domain) =>
            kind == "synthetic-rooms" ? SyntheticRooms.Make(number, domain).Cloud : SyntheticStreets.Make(number, domain).Cloud;
        var shift = target ? SceneDomain.Target : null;
        var train = Enumerable.Range(0, 16).Select(i => new ShapeSample(Make(1000 * seed + i, shift))).ToArray();
        var test = Enumerable.Range(0, 6).Select(i => new ShapeSample(Make(1000 * seed + 500 + i, shift))).ToArray();
        return new(data + " (synthetic)", kind == "synthetic-rooms" ? SyntheticRooms.Classes : SyntheticStreets.Classes, train, test, true);
    }
}
