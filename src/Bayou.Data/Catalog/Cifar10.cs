using Bayou.Core;

namespace Bayou.Data;

/// <summary>CIFAR-10: from its public home, or as pictures from the folder of samples where that is.</summary>
internal static class Cifar10
{
    private const string File1 = "cifar-10-binary.tar.gz", Address = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        Md5 = "c32a1d4ab5d03f1284b67883e8d87530";

    public static DataEntry Entry { get; } = new()
    {
        Name = "cifar10",
        Description = "60,000 colour pictures (32x32) in ten classes.",
        Home = "https://www.cs.toronto.edu/~kriz/cifar.html",
        Licence = "No explicit licence; published for research. Please cite the report.",
        Citation = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
        DownloadBytes = 170_052_171,
        TrainCount = 50_000,
        TestCount = 10_000,
        Side = 32,
        Channels = 3,
        Classes = CifarDataset.ClassNames,
        ValFraction = 0.1,
    };

    private static string CacheFolder => Path.Combine(DataCatalog.CacheFolder, Entry.Name);

    public static string? Locate()
    {
        if (DataCatalog.SamplesFolder is { } samples)
        {
            var folder = Path.Combine(samples, Entry.Name);
            if (File.Exists(Path.Combine(folder, "train.zip")) && File.Exists(Path.Combine(folder, "test.zip"))) return folder;
        }
        return File.Exists(Path.Combine(CacheFolder, File1)) || File.Exists(Path.Combine(CacheFolder, "test_batch.bin")) ? CacheFolder : null;
    }

    public static string Ensure(Action<DownloadProgress>? progress, CancellationToken cancellation)
    {
        if (Locate() is { } found) return found;
        try
        {
            Downloader.Fetch(new Uri(Address), Path.Combine(CacheFolder, File1), Md5, progress, cancellation);
            return CacheFolder;
        }
        catch (BayouException e)
        {
            throw new BayouException(
                $"cifar10 cannot be fetched: {e.Message}. Without a network, put {File1} (from {Entry.Home}) into {CacheFolder}, "
                + "or set BAYOU_SAMPLES to a folder with cifar10/train.zip and cifar10/test.zip.", e);
        }
    }

    public static (IImageDataset Train, IImageDataset Test) Open(string folder)
    {
        var train = Path.Combine(folder, "train.zip");
        if (File.Exists(train)) return (ImageFolder.Open(train), ImageFolder.Open(Path.Combine(folder, "test.zip")));
        var archive = Path.Combine(folder, File1);
        var source = File.Exists(archive) ? archive : folder;
        return (CifarDataset.Open(source, train: true), CifarDataset.Open(source, train: false));
    }
}
