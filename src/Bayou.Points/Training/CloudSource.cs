using Bayou.Core;
using Bayou.Data;
using Bayou.Train;

namespace Bayou.Points;

/// <summary>Clouds in batches: their order, the same for the same seed and epoch. What a batch holds is the derived source's.</summary>
/// <param name="what">What the samples are, for messages: "clouds".</param>
/// <param name="samples">Number of samples.</param>
/// <param name="classes">Classes the labels count.</param>
/// <param name="batchSize">Samples in a full batch.</param>
/// <param name="shuffle">Another order every epoch.</param>
/// <param name="dropLast">Leaves out an incomplete last batch.</param>
/// <param name="seed">Of the order.</param>
/// <exception cref="BayouException">No samples, or batches of none.</exception>
public abstract class CloudSource(string what, int samples, int classes, int batchSize, bool shuffle, bool dropLast, int seed) : IBatchSource
{
    /// <inheritdoc/>
    public int Samples { get; } = samples > 0 && batchSize > 0
        ? samples : throw new BayouException($"{samples} {what} in batches of {batchSize}: at least one of each is needed");

    /// <inheritdoc/>
    public int BatchSize => batchSize;

    /// <inheritdoc/>
    public int BatchCount => dropLast ? Samples / batchSize : (Samples + batchSize - 1) / batchSize;

    /// <inheritdoc/>
    public int Classes => classes;

    /// <inheritdoc/>
    public IEnumerable<Batch> Epoch(int epoch, int skipBatches = 0, CancellationToken cancellation = default)
    {
        var order = Enumerable.Range(0, Samples).ToArray();
        if (shuffle) SampleRandom.For(seed, epoch, -1).Shuffle(order.AsSpan());
        for (var number = skipBatches; number < BatchCount; number++)
        {
            cancellation.ThrowIfCancellationRequested();
            yield return Make(order.Skip(number * batchSize).Take(batchSize).ToArray(), epoch, number);
        }
    }

    /// <summary>One batch.</summary>
    /// <param name="rows">Indices of its samples.</param>
    /// <param name="epoch">From 0.</param>
    /// <param name="number">Of the batch in its epoch, from 0.</param>
    protected abstract Batch Make(int[] rows, int epoch, int number);
}
