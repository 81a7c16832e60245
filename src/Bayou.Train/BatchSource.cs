using Bayou.Data;

namespace Bayou.Train;

/// <summary>Where a training gets its batches: the same (epoch, number) always gives the same batch, which is what makes a resumed run bit-identical.</summary>
public interface IBatchSource
{
    /// <summary>Pictures in an epoch.</summary>
    int Samples { get; }

    /// <summary>Pictures in a full batch.</summary>
    int BatchSize { get; }

    /// <summary>Batches in an epoch; fewer may come when pictures turn out unreadable.</summary>
    int BatchCount { get; }

    /// <summary>Classes the labels count.</summary>
    int Classes { get; }

    /// <summary>The batches of an epoch in order, without the first <paramref name="skipBatches"/>.</summary>
    IEnumerable<Batch> Epoch(int epoch, int skipBatches = 0, CancellationToken cancellation = default);
}

/// <summary>An <see cref="ImageLoader"/> as a source of batches.</summary>
public sealed class LoaderSource(ImageLoader loader) : IBatchSource
{
    /// <inheritdoc/>
    public int Samples => loader.Dataset.Count;

    /// <inheritdoc/>
    public int BatchSize => loader.BatchSize;

    /// <inheritdoc/>
    public int BatchCount => loader.BatchCount;

    /// <inheritdoc/>
    public int Classes => loader.Dataset.Classes.Count;

    /// <inheritdoc/>
    public IEnumerable<Batch> Epoch(int epoch, int skipBatches = 0, CancellationToken cancellation = default) => loader.Epoch(epoch, skipBatches, cancellation);
}
