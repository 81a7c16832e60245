namespace Bayou.Data;

/// <summary>A data set seen through a corruption: same classes, labels and ids, other pixels.</summary>
public sealed class CorruptedDataset : IImageDataset
{
    private readonly IImageDataset source;
    private readonly Func<int, ImageBuffer> read;

    /// <summary>Creates the view; nothing is read yet.</summary>
    /// <param name="source">The clean pictures.</param>
    /// <param name="read">Picture of an index, corrupted; called by several threads at once.</param>
    public CorruptedDataset(IImageDataset source, Func<int, ImageBuffer> read) => (this.source, this.read) = (source, read);

    /// <summary>
    /// Every picture at its own size, with the constants that fit it (<see cref="Corruptor.SetFor"/>), drawn by seed and index: the same pixels every time.
    /// </summary>
    /// <param name="source">The clean pictures.</param>
    /// <param name="corruption">Which corruption.</param>
    /// <param name="severity">1 to 5.</param>
    /// <param name="seed">Another seed gives other noise.</param>
    public static CorruptedDataset Of(IImageDataset source, Corruption corruption, int severity, int seed) => new(source, index =>
    {
        var picture = source.Read(index);
        var corruptor = new Corruptor(Corruptor.SetFor(picture.Width, picture.Height));
        return corruptor.Apply(picture, corruption, severity, SeededDraws.For(seed, index, corruption, severity));
    });

    /// <inheritdoc/>
    public string Name => source.Name;

    /// <inheritdoc/>
    public IReadOnlyList<string> Classes => source.Classes;

    /// <inheritdoc/>
    public int Count => source.Count;

    /// <inheritdoc/>
    public int Label(int index) => source.Label(index);

    /// <inheritdoc/>
    public string Id(int index) => source.Id(index);

    /// <inheritdoc/>
    public ImageBuffer Read(int index) => read(index);
}
