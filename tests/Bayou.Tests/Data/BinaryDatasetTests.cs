using System.Formats.Tar;
using System.IO.Compression;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

public sealed class BinaryDatasetTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("bayou-binary-").FullName;

    public void Dispose() => Directory.Delete(root, recursive: true);

    private string Put(string name, byte[] bytes, bool gzip = false)
    {
        var path = Path.Combine(root, name);
        using Stream file = File.Create(path);
        using var stream = gzip ? new GZipStream(file, CompressionLevel.Fastest) : file;
        stream.Write(bytes);
        return path;
    }

    private static byte[] Images(int count, int height, int width) =>
        [0, 0, 8, 3, 0, 0, 0, (byte)count, 0, 0, 0, (byte)height, 0, 0, 0, (byte)width,
            .. Enumerable.Range(0, count * height * width).Select(i => (byte)(i * 3))];

    private static byte[] Labels(params byte[] labels) => [0, 0, 8, 1, 0, 0, 0, (byte)labels.Length, .. labels];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Idx_files_are_read_raw_and_packed(bool gzip)
    {
        var end = gzip ? ".gz" : "";
        var data = IdxDataset.Open(Put("train-images" + end, Images(3, 2, 4), gzip), Put("train-labels" + end, Labels(0, 2, 1), gzip));
        Assert.Equal((3, 3), (data.Count, data.Classes.Count));
        Assert.Equal([0, 2, 1], Enumerable.Range(0, 3).Select(data.Label));
        var image = data.Read(2);
        Assert.Equal((4, 2, 1), (image.Width, image.Height, image.Channels));
        Assert.Equal(Enumerable.Range(16, 8).Select(i => (byte)(i * 3)), image.Pixels);
        Assert.Equal("train/00002", data.Id(2));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.Read(3));
    }

    [Fact]
    public void Damaged_idx_files_are_errors()
    {
        var images = Put("i", Images(3, 2, 4));
        var labels = Put("l", Labels(0, 2, 1));
        void Bad(string a, string b, string part) => Assert.Contains(part, Assert.Throws<BayouException>(() => IdxDataset.Open(a, b)).Message);
        Bad(Put("short", Images(3, 2, 4)[..20]), labels, "truncated");
        Bad(Put("header", [0, 0, 8]), labels, "cannot be read");
        Bad(labels, labels, "not an idx file");
        Bad(images, Put("two", Labels(0, 1)), "do not belong together");
        Bad(Path.Combine(root, "none"), labels, "none");
        Bad(Put("x.gz", Images(3, 2, 4)), labels, "x.gz");
        // A header that declares far more than the file has must not take the memory.
        Bad(Put("liar", [0, 0, 8, 3, 0x7F, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 5, 5]), labels, "liar");
        Assert.Contains("label 2", Assert.Throws<BayouException>(() => IdxDataset.Open(images, labels, ["a", "b"])).Message);
    }

    [Fact]
    public void Cifar_batches_are_read_from_a_folder_and_from_the_archive()
    {
        static byte[] Batch(int seed) =>
            [.. Enumerable.Range(0, 4)
            .SelectMany(r => (byte[])[(byte)((seed + r) % 10), .. Enumerable.Range(0, 3072).Select(i => (byte)(i / 1024 * 50 + i % 7 + r + seed))])];
        var archive = Path.Combine(root, "cifar-10-binary.tar.gz");
        using (var tar = new TarWriter(new GZipStream(File.Create(archive), CompressionLevel.Fastest)))
        {
            for (var b = 1; b <= 6; b++)
            {
                var name = b == 6 ? "test_batch.bin" : $"data_batch_{b}.bin";
                Put(name, Batch(b));
                tar.WriteEntry(Path.Combine(root, name), "cifar-10-batches-bin/" + name);
            }
        }
        foreach (var path in new[] { root, archive })
        {
            var train = CifarDataset.Open(path, train: true);
            Assert.Equal(20, train.Count);
            Assert.Equal((2 + 3, "data_batch_2/00003"), (train.Label(7), train.Id(7)));
            var image = train.Read(7);
            for (var i = 0; i < 1024; i++)
            {
                for (var c = 0; c < 3; c++) Assert.Equal((byte)(c * 50 + (c * 1024 + i) % 7 + 3 + 2), image.Pixels[3 * i + c]);
            }
            Assert.Equal(4, CifarDataset.Open(path, train: false).Count);
        }
        Put("data_batch_3.bin", Batch(3)[..5000]);
        Assert.Contains("data_batch_3", Assert.Throws<BayouException>(() => CifarDataset.Open(root, true)).Message);
        File.Delete(Path.Combine(root, "data_batch_4.bin"));
        Assert.Throws<BayouException>(() => CifarDataset.Open(root, true));
    }

    [Fact]
    public void Metrics_count_top1_top5_and_confusion()
    {
        var metrics = new ClassificationMetrics(6);
        // Rows: right; second best; sixth best; a tie (the lower class wins); NaN for the label.
        float[] scores =
        [
            9, 1, 2, 3, 4, 5,
            9, 8, 2, 3, 4, 5,
            9, 8, 7, 6, 5, 1,
            3, 3, 0, 0, 0, 0,
            float.NaN, 1, 0, 0, 0, 0,
        ];
        metrics.Add(scores, [0, 1, 5, 1, 0]);
        Assert.Equal(5, metrics.Count);
        Assert.Equal(1 / 5.0, metrics.Top1);
        Assert.Equal(3 / 5.0, metrics.Top5);
        var confusion = metrics.Confusion;
        Assert.Equal((1, 1, 2, 1), (confusion[0, 0], confusion[0, 1], confusion[1, 0], confusion[5, 0]));
        Assert.Equal((0.5, 0.0, 0.25), (metrics.Recall(0), metrics.Recall(1), metrics.Precision(0)));
        Assert.Equal(0.5 / 3, metrics.MeanRecall, 12);
        Assert.True(double.IsNaN(metrics.Recall(3)));
        Assert.Throws<BayouException>(() => metrics.Add([1, 2, 3, 4, 5, 6], [6]));
        Assert.Throws<BayouException>(() => metrics.Add([1, 2, 3], [0]));
        Assert.Equal(5, metrics.Count);
        using var logits = TorchSharp.torch.tensor(scores).reshape(5, 6);
        using var labels = TorchSharp.torch.tensor(new long[] { 0, 1, 5, 1, 0 });
        var again = new ClassificationMetrics(6);
        again.Add(logits, labels);
        Assert.Equal(confusion, again.Confusion);
    }
}
