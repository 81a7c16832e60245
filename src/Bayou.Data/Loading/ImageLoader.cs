using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Data;

/// <summary>Settings of an <see cref="ImageLoader"/>.</summary>
public sealed record LoaderOptions
{
    /// <summary>A new order every epoch, from the seed.</summary>
    public bool Shuffle { get; init; }

    /// <summary>Seed of order and augmentation.</summary>
    public int Seed { get; init; }

    /// <summary>Leave out a last batch that is not full (unless it is the only one).</summary>
    public bool DropLast { get; init; }

    /// <summary>Training transforms, or null for the evaluation transform.</summary>
    public Augmentation? Augmentation { get; init; }

    /// <summary>Size, channels and normalisation of the model's input.</summary>
    public required Preprocessing Preprocessing { get; init; }

    /// <summary>Background threads; 0 means half the cores, at least one: training itself uses all cores and the loader only has to stay ahead of it.</summary>
    public int Workers { get; init; }

    /// <summary>Batches prepared ahead at most, at least 1.</summary>
    public int Prefetch { get; init; } = 4;

    /// <summary>Keep decoded pictures in memory up to this many bytes in all; 0 keeps none. Sets that are in memory anyway are never cached.</summary>
    public long CacheBytes { get; init; } = 512L << 20;

    /// <summary>Called once for each picture that cannot be read, with its id and the reason; from a background thread, one call at a time.</summary>
    public Action<string, string>? OnUnreadable { get; init; }
}

/// <summary>A batch: owned tensors, which <see cref="Dispose"/> releases; they belong to no dispose scope.</summary>
public sealed class Batch(Tensor images, Tensor labels, int[] indices, int number) : IDisposable
{
    /// <summary>Normalised pictures, float32 [N, C, H, W].</summary>
    public Tensor Images { get; } = images;

    /// <summary>Labels, int64 [N].</summary>
    public Tensor Labels { get; } = labels;

    /// <summary>Index of each picture in the data set.</summary>
    public int[] Indices { get; } = indices;

    /// <summary>Number of the batch in its epoch, from 0: resume with skipBatches = Number + 1.</summary>
    public int Number { get; } = number;

    /// <summary>Releases both tensors.</summary>
    public void Dispose()
    {
        Images.Dispose();
        Labels.Dispose();
    }
}

/// <summary>
/// Batches prepared ahead by background threads. Order and augmentation depend on (seed, epoch, picture) only: any number of workers, and a resumed epoch, give
/// bit-identical batches. A picture that cannot be read is left out of its batch (which is then smaller) and reported once.
/// </summary>
public sealed class ImageLoader
{
    private readonly IImageDataset dataset;
    private readonly LoaderOptions options;
    private readonly ImageBuffer?[]? cache;
    private readonly ConcurrentDictionary<int, bool> unreadable = new();
    private readonly Lock reporting = new();
    private long cachedBytes;

    /// <summary>Creates a loader; nothing is read yet.</summary>
    /// <param name="dataset">The pictures.</param>
    /// <param name="batchSize">Pictures per batch, at least 1.</param>
    /// <param name="options">Settings.</param>
    /// <exception cref="BayouException">An empty data set, or a setting out of range.</exception>
    public ImageLoader(IImageDataset dataset, int batchSize, LoaderOptions options)
    {
        if (dataset.Count == 0) throw new BayouException($"{dataset.Name}: no pictures to load.");
        if (batchSize < 1) throw new BayouException($"A batch of {batchSize} pictures cannot be; at least 1.");
        if (options.Workers < 0 || options.Prefetch < 1)
            throw new BayouException($"Loader: {options.Workers} workers, {options.Prefetch} batches ahead are out of range.");
        options.Preprocessing.Checked();
        if ((long)batchSize * options.Preprocessing.Length > Array.MaxLength)
            throw new BayouException($"A batch of {batchSize} pictures of {options.Preprocessing.Size} pixels is above 2 G values; take fewer.");
        options.Augmentation?.Checked();
        (this.dataset, BatchSize, this.options) = (dataset, batchSize, options);
        if (options.CacheBytes > 0 && !dataset.InMemory) cache = new ImageBuffer?[dataset.Count];
        var full = dataset.Count / batchSize;
        BatchCount = options.DropLast && full > 0 ? full : (dataset.Count + batchSize - 1) / batchSize;
    }

    /// <summary>Pictures per batch.</summary>
    public int BatchSize { get; }

    /// <summary>Batches per epoch.</summary>
    public int BatchCount { get; }

    /// <summary>The pictures.</summary>
    public IImageDataset Dataset => dataset;

    /// <summary>Pictures found unreadable so far.</summary>
    public int UnreadableCount => unreadable.Count;

    /// <summary>The order of the pictures in an epoch.</summary>
    public int[] Order(int epoch)
    {
        var order = Enumerable.Range(0, dataset.Count).ToArray();
        if (options.Shuffle) SampleRandom.For(options.Seed, epoch, -1).Shuffle<int>(order);
        return order;
    }

    /// <summary>The batches of an epoch, in order. Stopping early, an exception and cancellation all end the background threads before this returns.</summary>
    /// <param name="epoch">Number of the epoch; it seeds order and augmentation.</param>
    /// <param name="skipBatches">Batches to leave out at the beginning: those a resumed training has already seen.</param>
    /// <param name="cancellation">Ends the enumeration with <see cref="OperationCanceledException"/>.</param>
    /// <exception cref="BayouException">No picture of the epoch can be read.</exception>
    public IEnumerable<Batch> Epoch(int epoch, int skipBatches = 0, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(skipBatches);
        var run = new Run(this, epoch, skipBatches, cancellation);
        try
        {
            var any = false;
            for (var number = skipBatches; number < BatchCount; number++)
            {
                var filled = run.Take(number);
                if (filled.Indices.Length > 0)
                {
                    any = true;
                    yield return ToTensors(filled, number);
                }
                else
                {
                    filled.Release();
                }
            }
            if (!any && skipBatches < BatchCount) throw new BayouException($"{dataset.Name}: none of the pictures could be read.");
        }
        finally
        {
            run.Stop();
        }
    }

    // On the consumer's thread: dispose scopes and libtorch's thread-local state belong to it.
    private Batch ToTensors(Filled filled, int number)
    {
        var size = options.Preprocessing.Size;
        var count = filled.Indices.Length;
        var images = empty([count, options.Preprocessing.Channels, size, size], ScalarType.Float32).DetachFromDisposeScope();
        filled.Pixels.AsSpan(0, count * options.Preprocessing.Length).CopyTo(MemoryMarshal.Cast<byte, float>(images.bytes));
        filled.Release();
        var labels = tensor(Array.ConvertAll(filled.Indices, i => (long)dataset.Label(i)), ScalarType.Int64).DetachFromDisposeScope();
        return new Batch(images, labels, filled.Indices, number);
    }

    private Filled Fill(int[] order, int epoch, int number, CancellationToken stop)
    {
        var first = number * BatchSize;
        var count = Math.Min(BatchSize, order.Length - first);
        var length = options.Preprocessing.Length;
        var pixels = ArrayPool<float>.Shared.Rent(count * length);
        try
        {
            var indices = new List<int>(count);
            for (var i = 0; i < count && !stop.IsCancellationRequested; i++)
            {
                var index = order[first + i];
                if (Read(index) is not { } image) continue;
                var chw = pixels.AsSpan(indices.Count * length, length);
                if (options.Augmentation is { } augmentation)
                    augmentation.Apply(image, options.Preprocessing, SampleRandom.For(options.Seed, epoch, index), chw);
                else options.Preprocessing.Apply(image, chw);
                indices.Add(index);
            }
            return new Filled(pixels, [.. indices]);
        }
        catch
        {
            ArrayPool<float>.Shared.Return(pixels);
            throw;
        }
    }

    // The picture with the model's channels, from the cache or decoded; null when it cannot be read. Transforms never write into it.
    private ImageBuffer? Read(int index)
    {
        if (cache is not null && Volatile.Read(ref cache[index]) is { } kept) return kept;
        if (unreadable.ContainsKey(index)) return null;
        ImageBuffer image;
        try
        {
            image = dataset.Read(index).WithChannels(options.Preprocessing.Channels);
        }
        catch (BayouException e)
        {
            if (unreadable.TryAdd(index, true) && options.OnUnreadable is { } report)
            {
                lock (reporting) report(dataset.Id(index), e.Message);
            }
            return null;
        }
        if (cache is not null && Interlocked.Read(ref cachedBytes) + image.Pixels.Length <= options.CacheBytes
            && Interlocked.CompareExchange(ref cache[index], image, null) is null)
        {
            Interlocked.Add(ref cachedBytes, image.Pixels.Length);
        }
        return image;
    }

    private readonly record struct Filled(float[] Pixels, int[] Indices)
    {
        public void Release() => ArrayPool<float>.Shared.Return(Pixels);
    }

    /// <summary>The threads of one epoch. Workers claim batch numbers in order, at most Prefetch ahead of what was taken.</summary>
    private sealed class Run
    {
        private readonly ImageLoader loader;
        private readonly int[] order;
        private readonly int epoch, end;
        private readonly object gate = new();
        private readonly Dictionary<int, Filled> ready = [];
        private readonly CancellationTokenSource stop;
        private readonly CancellationToken cancellation;
        private readonly CancellationTokenRegistration wake;
        private readonly Thread[] threads;
        private ExceptionDispatchInfo? failure;
        private int next, taken;

        public Run(ImageLoader loader, int epoch, int first, CancellationToken cancellation)
        {
            (this.loader, this.epoch, this.cancellation) = (loader, epoch, cancellation);
            order = loader.Order(epoch);
            end = loader.BatchCount;
            next = taken = first;
            stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            wake = stop.Token.Register(() =>
            {
                lock (gate) Monitor.PulseAll(gate);
            });
            var workers = loader.options.Workers > 0 ? loader.options.Workers : Math.Max(1, Environment.ProcessorCount / 2);
            threads = new Thread[Math.Clamp(Math.Min(workers, end - first), 0, loader.options.Prefetch)];
            for (var i = 0; i < threads.Length; i++)
            {
                threads[i] = new Thread(Work) { IsBackground = true, Name = $"Bayou loader {i}" };
                threads[i].Start();
            }
        }

        public Filled Take(int number)
        {
            lock (gate)
            {
                while (true)
                {
                    cancellation.ThrowIfCancellationRequested();
                    failure?.Throw();
                    if (ready.Remove(number, out var filled))
                    {
                        taken = number + 1;
                        Monitor.PulseAll(gate);
                        return filled;
                    }
                    Monitor.Wait(gate);
                }
            }
        }

        public void Stop()
        {
            stop.Cancel();
            foreach (var thread in threads) thread.Join();
            wake.Dispose();
            stop.Dispose();
            foreach (var filled in ready.Values) filled.Release();
            ready.Clear();
        }

        private void Work()
        {
            while (true)
            {
                int number;
                lock (gate)
                {
                    while (!stop.IsCancellationRequested && next < end && next >= taken + loader.options.Prefetch) Monitor.Wait(gate);
                    if (stop.IsCancellationRequested || next >= end || failure is not null) return;
                    number = next++;
                }
                try
                {
                    var filled = loader.Fill(order, epoch, number, stop.Token);
                    lock (gate)
                    {
                        ready.Add(number, filled);
                        Monitor.PulseAll(gate);
                    }
                }
                catch (Exception e)
                {
                    lock (gate)
                    {
                        failure ??= ExceptionDispatchInfo.Capture(e);
                        Monitor.PulseAll(gate);
                    }
                    return;
                }
            }
        }
    }
}
