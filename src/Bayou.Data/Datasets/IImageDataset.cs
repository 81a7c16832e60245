namespace Bayou.Data;

/// <summary>A labelled set of pictures. Every member is thread-safe.</summary>
public interface IImageDataset
{
    /// <summary>How reports call it.</summary>
    string Name { get; }

    /// <summary>Class names; a label is an index into them.</summary>
    IReadOnlyList<string> Classes { get; }

    /// <summary>Number of pictures.</summary>
    int Count { get; }

    /// <summary>Label of picture <paramref name="index"/>.</summary>
    int Label(int index);

    /// <summary>A name that stays the same when other pictures come or go: the path inside the folder, or the number inside the file.</summary>
    string Id(int index);

    /// <summary>Decodes picture <paramref name="index"/>; the caller may change the pixels.</summary>
    /// <exception cref="Core.BayouException">The picture cannot be read; the message names it and says why.</exception>
    ImageBuffer Read(int index);

    /// <summary>The bytes that make two pictures "exactly the same": the file's, or the pixels of a set without files.</summary>
    byte[] ReadBytes(int index) => Read(index).Pixels;

    /// <summary>True when the pixels lie decoded in memory, so that caching them again would only cost.</summary>
    bool InMemory => false;
}

/// <summary>Some pictures of another data set, in a given order, with the same classes.</summary>
public sealed class Subset : IImageDataset
{
    private readonly IImageDataset source;
    private readonly int[] indices;

    /// <summary>Creates the subset.</summary>
    /// <param name="source">The whole set.</param>
    /// <param name="indices">Indices into it; repeats are allowed.</param>
    /// <param name="name">A name of its own; otherwise the source's.</param>
    public Subset(IImageDataset source, IEnumerable<int> indices, string? name = null)
    {
        (this.source, this.indices, Name) = (source, indices.ToArray(), name ?? source.Name);
        foreach (var index in this.indices) ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)source.Count, nameof(indices));
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Classes => source.Classes;

    /// <inheritdoc/>
    public int Count => indices.Length;

    /// <summary>The whole set.</summary>
    public IImageDataset Source => source;

    /// <summary>Index in <see cref="Source"/> of each picture.</summary>
    public IReadOnlyList<int> Indices => indices;

    /// <inheritdoc/>
    public int Label(int index) => source.Label(indices[index]);

    /// <inheritdoc/>
    public string Id(int index) => source.Id(indices[index]);

    /// <inheritdoc/>
    public ImageBuffer Read(int index) => source.Read(indices[index]);

    /// <inheritdoc/>
    public byte[] ReadBytes(int index) => source.ReadBytes(indices[index]);

    /// <inheritdoc/>
    public bool InMemory => source.InMemory;
}
