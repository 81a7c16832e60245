using System.Buffers.Binary;
using System.IO.Compression;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>The idx format of MNIST and Fashion-MNIST: one file of pictures [N, H, W], one of labels [N], each raw or .gz. All in memory.</summary>
public sealed class IdxDataset : IImageDataset
{
    private readonly byte[] images, labels;
    private readonly int width, height;
    private readonly string idPrefix;

    private IdxDataset(string name, IReadOnlyList<string> classes, byte[] images, byte[] labels, int height, int width, string idPrefix)
    {
        (Name, Classes, this.images, this.labels, this.height, this.width, this.idPrefix) = (name, classes, images, labels, height, width, idPrefix);
    }

    /// <summary>Opens a pair of files.</summary>
    /// <param name="imagesPath">idx3-ubyte file of pictures; .gz is unpacked in memory.</param>
    /// <param name="labelsPath">idx1-ubyte file of labels.</param>
    /// <param name="classes">Class names, or null for "0", "1", ... up to the largest label.</param>
    /// <param name="name">How reports call it.</param>
    /// <exception cref="BayouException">A file is missing, damaged, or the two do not belong together.</exception>
    public static IdxDataset Open(string imagesPath, string labelsPath, IReadOnlyList<string>? classes = null, string? name = null)
    {
        var (images, imageDims) = ReadIdx(imagesPath, 3);
        var (labels, labelDims) = ReadIdx(labelsPath, 1);
        if (imageDims[0] != labelDims[0])
            throw new BayouException($"{imagesPath} has {imageDims[0]} pictures but {labelsPath} {labelDims[0]} labels: they do not belong together.");
        if (imageDims[0] == 0 || imageDims[1] == 0 || imageDims[2] == 0) throw new BayouException($"{imagesPath}: no pictures in it.");
        var top = labels.Max();
        classes ??= Enumerable.Range(0, top + 1).Select(i => i.ToString()).ToArray();
        if (top >= classes.Count) throw new BayouException($"{labelsPath}: label {top} is outside the {classes.Count} classes.");
        var part = Path.GetFileName(imagesPath).Split('-', '.')[0];
        return new IdxDataset(name ?? part, classes, images, labels, imageDims[1], imageDims[2], part);
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Classes { get; }

    /// <inheritdoc/>
    public int Count => labels.Length;

    /// <inheritdoc/>
    public int Label(int index) => labels[index];

    /// <inheritdoc/>
    public string Id(int index) => $"{idPrefix}/{index:D5}";

    /// <inheritdoc/>
    public ImageBuffer Read(int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count, nameof(index));
        return new ImageBuffer(width, height, 1, images.AsSpan(index * width * height, width * height).ToArray());
    }

    /// <inheritdoc/>
    public bool InMemory => true;

    private static (byte[] Data, int[] Dims) ReadIdx(string path, int rank)
    {
        try
        {
            using Stream file = File.OpenRead(path);
            using var stream = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(file, CompressionMode.Decompress) : file;
            // Magic: two zero bytes, the type (8: unsigned byte), the number of dimensions. Then the dimensions.
            var magic = new byte[4];
            stream.ReadExactly(magic);
            if (!magic.AsSpan().SequenceEqual((ReadOnlySpan<byte>)[0, 0, 8, (byte)rank]))
                throw new BayouException($"{path}: not an idx file of bytes with {rank} dimensions.");
            var header = new byte[4 * rank];
            stream.ReadExactly(header);
            var dims = new int[rank];
            long size = 1;
            for (var i = 0; i < rank; i++)
            {
                dims[i] = BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(4 * i));
                if (dims[i] < 0 || (size *= dims[i]) > Array.MaxLength) throw new BayouException($"{path}: its header declares more than 2 GB.");
            }
            // Grown while reading: a damaged header must not take memory that the file cannot fill.
            var data = ImageDecoder.ReadBounded(stream, size, path);
            if (data.Length != size) throw new BayouException($"{path}: truncated, {size:N0} bytes are declared and {data.Length:N0} are there.");
            return (data, dims);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new BayouException($"{path}: cannot be read ({e.Message})", e);
        }
    }
}
