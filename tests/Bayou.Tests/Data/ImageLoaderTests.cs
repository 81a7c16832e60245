using System.Diagnostics;
using Bayou.Core;
using Bayou.Data;
using TorchSharp;

namespace Bayou.Tests;

public class ImageLoaderTests
{
    private static readonly Preprocessing small = Preprocessing.For(12);

    private static LoaderOptions Options(int workers = 2) => new()
    {
        Preprocessing = small,
        Augmentation = Augmentation.ImageNet with { Erasing = 0.5 },
        Shuffle = true,
        Seed = 11,
        Workers = workers,
    };

    private static List<(float[] Images, long[] Labels, int[] Indices)> Read(ImageLoader loader, int epoch, int skip = 0)
    {
        var result = new List<(float[], long[], int[])>();
        foreach (var batch in loader.Epoch(epoch, skip, TestContext.Current.CancellationToken))
        {
            using (batch) result.Add((batch.Images.data<float>().ToArray(), batch.Labels.data<long>().ToArray(), batch.Indices));
        }
        return result;
    }

    [Fact]
    public void Batches_are_bit_identical_for_any_number_of_workers_and_after_a_resume()
    {
        var data = new MemoryDataset(53, 20, 16, 3);
        var one = Read(new ImageLoader(data, 8, Options(1)), 3);
        Assert.Equal(7, one.Count);
        Assert.Equal(Enumerable.Range(0, 53), one.SelectMany(b => b.Indices).Order());
        foreach (var workers in new[] { 2, 5 })
        {
            var many = Read(new ImageLoader(data, 8, Options(workers)), 3);
            for (var b = 0; b < one.Count; b++)
            {
                Assert.Equal(one[b].Indices, many[b].Indices);
                Assert.Equal(one[b].Images, many[b].Images);
            }
        }
        var resumed = Read(new ImageLoader(data, 8, Options(3)), 3, skip: 4);
        Assert.Equal(3, resumed.Count);
        for (var b = 0; b < 3; b++) Assert.Equal(one[b + 4].Images, resumed[b].Images);
        // Another epoch: another order, another augmentation.
        Assert.NotEqual(one[0].Indices, Read(new ImageLoader(data, 8, Options(1)), 4)[0].Indices);
        Assert.Empty(Read(new ImageLoader(data, 8, Options(1)), 3, skip: 9));
    }

    [Fact]
    public void Without_augmentation_a_batch_is_the_eval_transform_with_labels()
    {
        var data = new MemoryDataset(10, 20, 16, 1);
        var loader = new ImageLoader(data, 4, new LoaderOptions { Preprocessing = small });
        var number = 0;
        foreach (var batch in loader.Epoch(0, cancellation: TestContext.Current.CancellationToken))
        {
            using (batch)
            {
                Assert.Equal(number, batch.Number);
                Assert.Equal([batch.Indices.Length, 3, 12, 12], batch.Images.shape);
                Assert.Equal(torch.ScalarType.Int64, batch.Labels.dtype);
                for (var i = 0; i < batch.Indices.Length; i++)
                {
                    Assert.Equal(number * 4 + i, batch.Indices[i]);
                    Assert.Equal(data.Label(batch.Indices[i]), batch.Labels[i].item<long>());
                    Assert.Equal(small.Apply(data.Read(batch.Indices[i])), batch.Images[i].contiguous().data<float>().ToArray());
                }
            }
            number++;
        }
        Assert.Equal(3, number);
        Assert.Equal(2, new ImageLoader(data, 4, new LoaderOptions { Preprocessing = small, DropLast = true }).BatchCount);
        Assert.Equal(1, new ImageLoader(data, 40, new LoaderOptions { Preprocessing = small, DropLast = true }).BatchCount);
    }

    [Fact]
    public void Unreadable_pictures_are_left_out_and_reported_once()
    {
        var data = new MemoryDataset(20, 20, 16, 3, broken: [3, 4, 5, 17]);
        var reported = new List<string>();
        var loader = new ImageLoader(data, 3,
            new LoaderOptions { Preprocessing = small, OnUnreadable = (id, reason) => reported.Add($"{id}|{reason}"), Workers = 2 });
        for (var epoch = 0; epoch < 2; epoch++)
        {
            var batches = Read(loader, epoch);
            Assert.Equal(Enumerable.Range(0, 20).Except([3, 4, 5, 17]), batches.SelectMany(b => b.Indices));
            Assert.Equal(6, batches.Count);         // the second of seven had nothing left
            Assert.All(batches, b => Assert.Equal(b.Indices.Length * small.Length, b.Images.Length));
        }
        Assert.Equal(4, reported.Count);
        Assert.Contains("p4|p4: the file is truncated.", reported);
        Assert.Equal(4, loader.UnreadableCount);
        var hopeless = new ImageLoader(new MemoryDataset(2, 4, 4, 3, broken: [0, 1]), 2, new LoaderOptions { Preprocessing = small });
        Assert.Contains("none of the pictures", Assert.Throws<BayouException>(() => Read(hopeless, 0)).Message);
    }

    [Fact]
    public void The_cache_decodes_once_within_its_bound_and_changes_nothing()
    {
        var data = new MemoryDataset(12, 20, 16, 3);
        var cached = new ImageLoader(data, 5, Options(2));
        var first = Read(cached, 0);
        Read(cached, 1);
        Assert.Equal(12, data.Reads);
        var again = Read(cached, 0);
        for (var b = 0; b < first.Count; b++) Assert.Equal(first[b].Images, again[b].Images);
        // Room for five pictures: the other seven are decoded every time.
        data.Reads = 0;
        var bounded = new ImageLoader(data, 5, Options(1) with { CacheBytes = 5 * 20 * 16 * 3 });
        Read(bounded, 0);
        Read(bounded, 1);
        Assert.Equal(12 + 7, data.Reads);
        data.Reads = 0;
        var none = new ImageLoader(data, 5, Options(1) with { CacheBytes = 0 });
        Read(none, 0);
        Read(none, 1);
        Assert.Equal(24, data.Reads);
    }

    [Fact]
    public void Prefetch_is_bounded()
    {
        var data = new MemoryDataset(1000, 4, 4, 3);
        var loader = new ImageLoader(data, 10, new LoaderOptions { Preprocessing = small, Workers = 2, Prefetch = 3, CacheBytes = 0 });
        var taken = 0;
        foreach (var batch in loader.Epoch(0, cancellation: TestContext.Current.CancellationToken))
        {
            batch.Dispose();
            if (++taken == 5) break;
            Thread.Sleep(20);
            Assert.True(data.Reads <= (taken + 3) * 10, $"{data.Reads} pictures were read when {taken} batches were taken");
        }
    }

    [Fact]
    public void Early_break_cancellation_and_failures_end_every_thread()
    {
        static int Threads() => Process.GetCurrentProcess().Threads.Count;
        var data = new MemoryDataset(500, 8, 8, 3);
        var loader = new ImageLoader(data, 4, Options(4));
        foreach (var batch in loader.Epoch(0, cancellation: TestContext.Current.CancellationToken))
        {
            batch.Dispose();
            break;
        }
        var before = Threads();
        for (var i = 0; i < 30; i++)
        {
            foreach (var batch in loader.Epoch(i, cancellation: TestContext.Current.CancellationToken))
            {
                batch.Dispose();
                break;
            }
            using var source = new CancellationTokenSource();
            Assert.Throws<OperationCanceledException>(() =>
            {
                foreach (var batch in loader.Epoch(i, cancellation: source.Token))
                {
                    batch.Dispose();
                    source.Cancel();
                }
            });
            Assert.Throws<InvalidOperationException>(() =>
            {
                foreach (var batch in loader.Epoch(i, cancellation: TestContext.Current.CancellationToken))
                {
                    batch.Dispose();
                    throw new InvalidOperationException("the consumer failed");
                }
            });
        }
        Assert.True(Threads() <= before + 6, $"{before} threads before, {Threads()} after 90 epochs of four workers");
        // A fault that is no unreadable picture reaches the consumer, with its own type.
        var faulty = new MemoryDataset(50, 8, 8, 3) { OnRead = () => throw new DivideByZeroException() };
        Assert.Throws<DivideByZeroException>(() => Read(new ImageLoader(faulty, 4, Options(3)), 0));
    }

    [Fact]
    public void Batches_outlive_dispose_scopes_and_leave_nothing_behind()
    {
        var loader = new ImageLoader(new MemoryDataset(40, 8, 8, 3), 4, Options(2));
        var kept = new List<Batch>();
        using (var scope = torch.NewDisposeScope())
        {
            foreach (var batch in loader.Epoch(1, cancellation: TestContext.Current.CancellationToken)) kept.Add(batch);
            Assert.Equal(0, scope.DisposablesCount);        // nothing that only the scope would release
        }
        Assert.Equal(10, kept.Count);
        foreach (var batch in kept)
        {
            Assert.Equal([4, 3, 12, 12], batch.Images.shape);
            batch.Dispose();
            Assert.True(batch.Images.IsInvalid && batch.Labels.IsInvalid);
        }
    }

    [Fact]
    public void Small_grey_pictures_come_fast_enough()
    {
        // 60,000 pictures of 28x28 an epoch: the loader must not be what training waits for. Generous, for a busy machine.
        var pixels = new ImageBuffer(28, 28, 1);
        var data = new FixedDataset(pixels, 20_000);
        var loader = new ImageLoader(data, 128,
            new LoaderOptions { Preprocessing = Preprocessing.For(28, 1), Augmentation = Augmentation.SmallPictures, Shuffle = true, Workers = 1 });
        Read(loader, 0);
        var watch = Stopwatch.StartNew();
        foreach (var batch in loader.Epoch(1, cancellation: TestContext.Current.CancellationToken)) batch.Dispose();
        Assert.True(watch.Elapsed.TotalSeconds < 2, $"{20_000 / watch.Elapsed.TotalSeconds:N0} pictures a second");
    }

    [Fact]
    public void Senseless_settings_are_refused()
    {
        var data = new MemoryDataset(4, 4, 4, 3);
        Assert.Throws<BayouException>(() => new ImageLoader(data, 0, Options()));
        Assert.Throws<BayouException>(() => new ImageLoader(data, 1, Options() with { Prefetch = 0 }));
        Assert.Throws<BayouException>(() => new ImageLoader(new MemoryDataset(0, 4, 4, 3), 1, Options()));
        Assert.Throws<BayouException>(() => new ImageLoader(data, 1, Options() with { Preprocessing = small with { Channels = 1 } }));
        Assert.Throws<BayouException>(() => new ImageLoader(data, 1 << 20, Options() with { Preprocessing = Preprocessing.For(512) }));
    }

    private sealed class FixedDataset(ImageBuffer image, int count) : IImageDataset
    {
        public string Name => "fixed";

        public IReadOnlyList<string> Classes { get; } = ["a"];

        public int Count => count;

        public bool InMemory => true;

        public int Label(int index) => 0;

        public string Id(int index) => $"{index}";

        public ImageBuffer Read(int index) => image;
    }
}
