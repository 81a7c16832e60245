using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

public sealed class DownloaderTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("bayou-download-").FullName;
    private readonly byte[] content = Enumerable.Range(0, 300_000).Select(i => (byte)(i * 31 >> 3)).ToArray();

    public void Dispose() => Directory.Delete(root, recursive: true);

    private string Md5 => Convert.ToHexString(MD5.HashData(content)).ToLowerInvariant();

    /// <summary>A file server on this machine that can drop the connection after some bytes, and refuse ranges.</summary>
    private sealed class Server : IDisposable
    {
        private readonly TcpListener listener = new(IPAddress.Loopback, 0);
        private readonly Thread thread;

        public List<string> Ranges { get; } = [];

        public Server(byte[] content, int dropAfter = int.MaxValue, bool ranges = true, int status = 200)
        {
            listener.Start();
            thread = new Thread(() =>
            {
                while (true)
                {
                    try
                    {
                        using var client = listener.AcceptTcpClient();
                        using var stream = client.GetStream();
                        var request = new StreamReader(stream, Encoding.ASCII);
                        string? line, range = null;
                        while (!string.IsNullOrEmpty(line = request.ReadLine()))
                        {
                            if (line.StartsWith("Range:", StringComparison.OrdinalIgnoreCase)) range = line[6..].Trim();
                        }
                        lock (Ranges) Ranges.Add(range ?? "");
                        var from = ranges && range is not null ? int.Parse(range["bytes=".Length..^1]) : 0;
                        var head = status != 200 ? $"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n"
                            : from >= content.Length && from > 0 ? $"HTTP/1.1 416 Range\r\nContent-Range: bytes */{content.Length}\r\nContent-Length: 0\r\n"
                            : from > 0 ? $"HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{content.Length - 1}/{content.Length}\r\nContent-Length: {content.Length - from}\r\n"
                            : $"HTTP/1.1 200 OK\r\nContent-Length: {content.Length}\r\n";
                        stream.Write(Encoding.ASCII.GetBytes(head + "Connection: close\r\n\r\n"));
                        if (status == 200 && from < content.Length) stream.Write(content, from, Math.Min(dropAfter, content.Length - from));
                    }
                    catch (IOException) { }
                    catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
                    {
                        return;         // the listener was stopped
                    }
                }
            })
            { IsBackground = true };
            thread.Start();
        }

        public Uri Address => new($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/file.bin");

        public void Dispose()
        {
            listener.Stop();
            // A connection that never comes must not hold the tests: the thread is a background one.
            thread.Join(TimeSpan.FromSeconds(5));
        }
    }

    [Fact]
    public void A_file_arrives_whole_with_progress_and_once()
    {
        using var server = new Server(content);
        var path = Path.Combine(root, "a", "file.bin");
        var last = default(DownloadProgress);
        Downloader.Fetch(server.Address, path, Md5, p => last = p, TestContext.Current.CancellationToken);
        Assert.Equal(content, File.ReadAllBytes(path));
        Assert.Equal(new DownloadProgress("file.bin", content.Length, content.Length), last);
        Downloader.Fetch(server.Address, path, Md5, cancellation: TestContext.Current.CancellationToken);
        Assert.Single(server.Ranges);
        Assert.False(File.Exists(path + ".part"));
    }

    [Fact]
    public void A_dropped_connection_is_continued_where_it_ended()
    {
        using var server = new Server(content, dropAfter: 120_000);
        var path = Path.Combine(root, "file.bin");
        Downloader.Fetch(server.Address, path, Md5, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(content, File.ReadAllBytes(path));
        Assert.Equal(["", "bytes=120000-", "bytes=240000-"], server.Ranges);
    }

    [Fact]
    public void An_earlier_part_is_continued_or_begun_again()
    {
        var path = Path.Combine(root, "file.bin");
        using (var server = new Server(content))
        {
            File.WriteAllBytes(path + ".part", content[..1000]);
            Downloader.Fetch(server.Address, path, Md5, cancellation: TestContext.Current.CancellationToken);
            Assert.Equal(["bytes=1000-"], server.Ranges);
            Assert.Equal(content, File.ReadAllBytes(path));
            File.Delete(path);
            File.WriteAllBytes(path + ".part", content);        // whole already, only not renamed
            Downloader.Fetch(server.Address, path, Md5, cancellation: TestContext.Current.CancellationToken);
            Assert.Equal(content, File.ReadAllBytes(path));
            File.Delete(path);
            File.WriteAllBytes(path + ".part", new byte[400_000]);      // longer than the file: somebody else's
            Downloader.Fetch(server.Address, path, Md5, cancellation: TestContext.Current.CancellationToken);
            Assert.Equal(content, File.ReadAllBytes(path));
            File.Delete(path);
        }
        using (var server = new Server(content, ranges: false))
        {
            File.WriteAllBytes(path + ".part", content[..1000]);
            Downloader.Fetch(server.Address, path, Md5, cancellation: TestContext.Current.CancellationToken);
            Assert.Equal(content, File.ReadAllBytes(path));
        }
    }

    [Fact]
    public void A_wrong_file_is_deleted_and_refusals_are_not_retried()
    {
        var path = Path.Combine(root, "file.bin");
        using (var server = new Server(content))
        {
            var error = Assert.Throws<BayouException>(() =>
                Downloader.Fetch(server.Address, path, new string('0', 32), cancellation: TestContext.Current.CancellationToken));
            Assert.Contains("not the published one", error.Message);
            Assert.Empty(Directory.GetFiles(root));
        }
        using (var server = new Server(content, status: 404))
        {
            Assert.Contains("404",
                Assert.Throws<BayouException>(() => Downloader.Fetch(server.Address, path, null, cancellation: TestContext.Current.CancellationToken)).Message);
            Assert.Single(server.Ranges);
        }
    }

    [Fact]
    public void Cancelling_keeps_what_arrived()
    {
        using var server = new Server(content, dropAfter: 50_000);
        var path = Path.Combine(root, "file.bin");
        using var source = new CancellationTokenSource();
        Assert.ThrowsAny<OperationCanceledException>(() => Downloader.Fetch(server.Address, path, Md5, p =>
        {
            if (p.Received >= 50_000) source.Cancel();
        }, source.Token));
        Assert.False(File.Exists(path));
        Assert.InRange(new FileInfo(path + ".part").Length, 50_000, 300_000);
    }

    [Fact]
    public void The_catalog_knows_its_names_and_says_what_there_is()
    {
        Assert.Equal("fashion-mnist", DataCatalog.Find("Fashion-MNIST")!.Name);
        Assert.Null(DataCatalog.Find("imagenet"));
        Assert.Contains("fashion-mnist",
            Assert.Throws<BayouException>(() => DataCatalog.Ensure("imagenet", cancellation: TestContext.Current.CancellationToken)).Message);
        Assert.All(DataCatalog.Entries, e => Assert.True(e.Licence.Length > 0 && e.Classes.Count == 10));
    }

    [Fact]
    public void Fashion_mnist_splits_are_the_official_ones()
    {
        if (DataCatalog.Locate("fashion-mnist") is null) Assert.Skip("fashion-mnist is not in the cache (bayou data get fashion-mnist)");
        var splits = DataSplits.Open("fashion-mnist");
        Assert.Equal((55_000, 5_000, 10_000), (splits.Train.Count, splits.Val.Count, splits.Test.Count));
        var perClass = Enumerable.Range(0, 5_000).GroupBy(splits.Val.Label).Select(g => g.Count());
        Assert.All(perClass, n => Assert.Equal(500, n));
        Assert.Equal("Ankle boot", splits.Classes[splits.Test.Label(0)]);
    }

    [Fact]
    public void Cifar10_samples_are_read_in_place()
    {
        if (DataCatalog.SamplesFolder is not { } samples || !File.Exists(Path.Combine(samples, "cifar10", "train.zip")))
            Assert.Skip("no cifar10 samples (BAYOU_SAMPLES)");
        var splits = DataSplits.Open("cifar10");
        Assert.Equal((45_000, 5_000, 10_000), (splits.Train.Count, splits.Val.Count, splits.Test.Count));
        Assert.Equal(CifarDataset.ClassNames, splits.Classes);
        var image = splits.Test.Read(1234);
        Assert.Equal((32, 32, 3), (image.Width, image.Height, image.Channels));
    }
}
