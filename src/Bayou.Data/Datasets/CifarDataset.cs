using System.Formats.Tar;
using System.IO.Compression;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>CIFAR-10 in its binary form: batches of records of one label byte and 3072 bytes [3, 32, 32]. All in memory.</summary>
public sealed class CifarDataset : IImageDataset
{
    private const int Side = 32, Plane = Side * Side, Record = 1 + 3 * Plane;
    private static readonly string[] TrainFiles = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
    private static readonly string[] TestFiles = ["test_batch.bin"];
    private readonly byte[][] batches;
    private readonly string[] names;
    private readonly int[] starts;

    private CifarDataset(string name, byte[][] batches, string[] names)
    {
        (Name, this.batches, this.names) = (name, batches, names);
        starts = new int[batches.Length + 1];
        for (var i = 0; i < batches.Length; i++) starts[i + 1] = starts[i] + batches[i].Length / Record;
    }

    /// <summary>The ten class names in label order.</summary>
    public static IReadOnlyList<string> ClassNames { get; } = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

    /// <summary>Opens one part.</summary>
    /// <param name="path">The folder with the .bin files, or cifar-10-binary.tar.gz, which is read without unpacking it to disk.</param>
    /// <param name="train">The 50,000 training pictures, or the 10,000 of the test part.</param>
    /// <exception cref="BayouException">A batch is missing or damaged.</exception>
    public static CifarDataset Open(string path, bool train)
    {
        var wanted = train ? TrainFiles : TestFiles;
        var found = new Dictionary<string, byte[]>();
        try
        {
            if (Directory.Exists(path))
            {
                foreach (var file in wanted)
                {
                    var full = Path.Combine(path, file);
                    if (File.Exists(full)) found[file] = File.ReadAllBytes(full);
                }
            }
            else
            {
                using var stream = File.OpenRead(path);
                using Stream plain = path.EndsWith("gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(stream, CompressionMode.Decompress) : stream;
                using var tar = new TarReader(plain);
                while (tar.GetNextEntry() is { } entry)
                {
                    var file = Path.GetFileName(entry.Name);
                    if (entry.DataStream is not null && wanted.Contains(file)) found[file] = ImageDecoder.ReadBounded(entry.DataStream, 1 << 30, path);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new BayouException($"{path}: cannot be read ({e.Message})", e);
        }
        var batches = new byte[wanted.Length][];
        for (var i = 0; i < wanted.Length; i++)
        {
            if (!found.TryGetValue(wanted[i], out batches[i]!)) throw new BayouException($"{path}: {wanted[i]} is missing; CIFAR-10's binary version has it.");
            if (batches[i].Length == 0 || batches[i].Length % Record != 0)
                throw new BayouException($"{path}: {wanted[i]} has {batches[i].Length:N0} bytes, not a multiple of {Record}: truncated?");
            for (var at = 0; at < batches[i].Length; at += Record)
            {
                if (batches[i][at] >= ClassNames.Count)
                    throw new BayouException($"{path}: {wanted[i]} has label {batches[i][at]} in record {at / Record}: damaged.");
            }
        }
        return new CifarDataset(train ? "cifar10 train" : "cifar10 test", batches, wanted.Select(w => Path.GetFileNameWithoutExtension(w)).ToArray());
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Classes => ClassNames;

    /// <inheritdoc/>
    public int Count => starts[^1];

    /// <inheritdoc/>
    public bool InMemory => true;

    /// <inheritdoc/>
    public int Label(int index) => Find(index, out _)[0];

    /// <inheritdoc/>
    public string Id(int index)
    {
        Find(index, out var batch);
        return $"{names[batch]}/{index - starts[batch]:D5}";
    }

    /// <inheritdoc/>
    public ImageBuffer Read(int index)
    {
        var planes = Find(index, out _)[1..];
        var image = new ImageBuffer(Side, Side, 3);
        for (var i = 0; i < Plane; i++)
        {
            image.Pixels[3 * i] = planes[i];
            image.Pixels[3 * i + 1] = planes[Plane + i];
            image.Pixels[3 * i + 2] = planes[2 * Plane + i];
        }
        return image;
    }

    private ReadOnlySpan<byte> Find(int index, out int batch)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count, nameof(index));
        batch = 0;
        while (index >= starts[batch + 1]) batch++;
        return batches[batch].AsSpan((index - starts[batch]) * Record, Record);
    }
}
