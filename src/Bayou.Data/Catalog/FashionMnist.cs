using System.IO.Compression;
using System.Security.Cryptography;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// Fashion-MNIST: from Debian's package dataset-fashion-mnist where apt can fetch it (unpacked into the cache, not installed), else from its public home.
/// </summary>
internal static class FashionMnist
{
    private const string Package = "dataset-fashion-mnist", Home = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/";
    private const string SystemFolder = "/usr/share/datasets/fashion-mnist";       // where the package lies when somebody has installed it

    // MD5 of the .gz files as published in the data set's README; SHA-256 of what is in them (the Debian package compresses the same bytes anew).
    private static readonly (string File, string Md5, string Sha256)[] Files =
    [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ];

    public static DataEntry Entry { get; } = new()
    {
        Name = "fashion-mnist",
        Description = "70,000 grey pictures (28x28) of Zalando's articles in ten classes; a drop-in replacement for MNIST that is not trivial.",
        Home = "https://github.com/zalandoresearch/fashion-mnist",
        Licence = "MIT licence. Copyright 2017 Zalando SE, https://tech.zalando.com",
        Citation = "Xiao, Rasul, Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, arXiv 1708.07747",
        DownloadBytes = 30_878_645,
        TrainCount = 60_000,
        TestCount = 10_000,
        Side = 28,
        Channels = 1,
        Classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
        ValFraction = 5_000.0 / 60_000,
    };

    private static string CacheFolder => Path.Combine(DataCatalog.CacheFolder, Entry.Name);

    public static string? Locate() => new[] { CacheFolder, SystemFolder }.FirstOrDefault(folder => Files.All(f => Find(folder, f.File) is not null));

    public static string Ensure(Action<DownloadProgress>? progress, CancellationToken cancellation)
    {
        if (Locate() is { } found) return found;
        var reasons = new List<string>();
        if (FromDebian(reasons, progress, cancellation)) return CacheFolder;
        try
        {
            foreach (var (file, md5, _) in Files) Downloader.Fetch(new Uri(Home + file), Path.Combine(CacheFolder, file), md5, progress, cancellation);
            return CacheFolder;
        }
        catch (BayouException e)
        {
            reasons.Add(e.Message);
            throw new BayouException(
                $"fashion-mnist cannot be fetched: {string.Join("; ", reasons)}. Without a network, put {string.Join(", ", Files.Select(f => f.File))} into {CacheFolder} "
                + $"(they are at {Entry.Home}), or set BAYOU_CACHE to the folder above one that has them.", e);
        }
    }

    public static (IImageDataset Train, IImageDataset Test) Open(string folder)
    {
        IdxDataset Part(string part, string name) =>
            IdxDataset.Open(Find(folder, $"{part}-images-idx3-ubyte.gz")!, Find(folder, $"{part}-labels-idx1-ubyte.gz")!, Entry.Classes,
                $"fashion-mnist {name}");
        return (Part("train", "train"), Part("t10k", "test"));
    }

    // Unpacked files of the same name are welcome too: people put them there by hand.
    private static string? Find(string folder, string file) =>
        new[] { Path.Combine(folder, file), Path.Combine(folder, Path.GetFileNameWithoutExtension(file)) }.FirstOrDefault(File.Exists);

    private static bool FromDebian(List<string> reasons, Action<DownloadProgress>? progress, CancellationToken cancellation)
    {
        if (!DebianPackage.Possible) return false;
        var work = Path.Combine(DataCatalog.CacheFolder, $".{Package}-{Environment.ProcessId}");
        try
        {
            progress?.Invoke(new DownloadProgress($"{Package}.deb", 0, Entry.DownloadBytes));
            DebianPackage.Unpack(Package, work, cancellation);
            var unpacked = work + "/unpacked" + SystemFolder;
            foreach (var (file, _, sha256) in Files)
            {
                var path = Path.Combine(unpacked, file);
                if (!File.Exists(path)) throw new BayouException($"Debian's package {Package} has no {file}");
                using var stream = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
                if (!Convert.ToHexString(SHA256.HashData(stream)).Equals(sha256, StringComparison.OrdinalIgnoreCase))
                    throw new BayouException($"{file} of Debian's package {Package} is not the published data (its SHA-256 differs)");
            }
            Directory.CreateDirectory(CacheFolder);
            foreach (var (file, _, _) in Files) File.Move(Path.Combine(unpacked, file), Path.Combine(CacheFolder, file), overwrite: true);
            progress?.Invoke(new DownloadProgress($"{Package}.deb", Entry.DownloadBytes, Entry.DownloadBytes));
            return true;
        }
        catch (Exception e) when (e is BayouException or IOException or UnauthorizedAccessException or InvalidDataException)
        {
            reasons.Add(e.Message);
            return false;
        }
        finally
        {
            try
            {
                if (Directory.Exists(work)) Directory.Delete(work, recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                reasons.Add($"{work} cannot be deleted ({e.Message})");
            }
        }
    }
}
