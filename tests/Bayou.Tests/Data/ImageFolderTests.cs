using System.IO.Compression;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

public sealed class ImageFolderTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("bayou-folder-").FullName;

    public void Dispose() => Directory.Delete(root, recursive: true);

    private void Put(string path, int seed = 0, int width = 6, int height = 5) => PutBytes(path, Picture(seed, width, height));

    private static byte[] Picture(int seed, int width = 6, int height = 5)
    {
        var image = Pictures.Formula(width, height, 3);
        for (var i = 0; i < image.Pixels.Length; i++) image.Pixels[i] += (byte)(seed * 13 + (seed >> 4));
        image.Pixels[0] = (byte)seed;
        return ImageEncoder.Png(image);
    }

    private void PutBytes(string path, byte[] bytes)
    {
        var full = Path.Combine(root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllBytes(full, bytes);
    }

    private string Zip(string name, params (string Path, byte[] Bytes)[] files)
    {
        var path = Path.Combine(root, name);
        using var zip = ZipFile.Open(path, ZipArchiveMode.Create);
        foreach (var (entry, bytes) in files)
        {
            using var stream = zip.CreateEntry(entry).Open();
            stream.Write(bytes);
        }
        return path;
    }

    [Fact]
    public void Classes_and_pictures_are_sorted_ordinally_and_found_below_class_folders()
    {
        Put("dog/b.png", 1);
        Put("dog/a.PNG", 2);
        Put("Zebra/x.png", 3);
        Put("cat/sub/deeper/1.png", 4);
        using var folder = ImageFolder.Open(root);
        Assert.Equal(["Zebra", "cat", "dog"], folder.Classes);
        Assert.Equal(["Zebra/x.png", "cat/sub/deeper/1.png", "dog/a.PNG", "dog/b.png"], Enumerable.Range(0, folder.Count).Select(folder.Id));
        Assert.Equal([0, 1, 2, 2], Enumerable.Range(0, folder.Count).Select(folder.Label));
        Assert.Equal(4, folder.Read(1).Pixels[0]);
        Assert.Equal([SplitPart.Whole], folder.Parts);
    }

    [Fact]
    public void Litter_is_ignored_and_the_rest_is_listed()
    {
        Put("a/1.png");
        Put("b/1.png");
        Put("stray.png");
        PutBytes("a/notes.txt", [1]);
        PutBytes("a/empty.jpg", []);
        PutBytes("a/.DS_Store", [1]);
        PutBytes("a/._1.png", [1]);
        PutBytes("__MACOSX/a/1.png", [1]);
        PutBytes("a/Thumbs.db", [1]);
        Directory.CreateDirectory(Path.Combine(root, "nothing"));
        using var folder = ImageFolder.Open(root);
        Assert.Equal(["a", "b"], folder.Classes);
        Assert.Equal(2, folder.Count);
        Assert.Equal(["a/empty.jpg", "a/notes.txt", "stray.png"], folder.Skipped.Select(s => s.Path));
        Assert.Contains(folder.Warnings, w => w.Contains("'nothing'"));
    }

    [Fact]
    public void Link_loops_end_and_dead_links_are_listed()
    {
        if (OperatingSystem.IsWindows()) Assert.Skip("links need rights there");
        Put("a/1.png", 1);
        Put("b/1.png", 2);
        Directory.CreateSymbolicLink(Path.Combine(root, "a", "loop"), root);
        Directory.CreateSymbolicLink(Path.Combine(root, "b", "self"), Path.Combine(root, "b"));
        File.CreateSymbolicLink(Path.Combine(root, "b", "dead.png"), Path.Combine(root, "nowhere.png"));
        File.CreateSymbolicLink(Path.Combine(root, "b", "linked.png"), Path.Combine(root, "a", "1.png"));
        using var folder = ImageFolder.Open(root);
        Assert.Equal(["a/1.png", "b/1.png", "b/linked.png"], Enumerable.Range(0, folder.Count).Select(folder.Id));
        Assert.Equal(["a/loop", "b/dead.png", "b/self"], folder.Skipped.Select(s => s.Path));
        Assert.Equal(1, folder.Read(2).Pixels[0]);
    }

    [Fact]
    public void Given_splits_are_recognised_in_every_spelling()
    {
        Put("Train/a/1.png");
        Put("Train/b/1.png");
        Put("valid/a/2.png");
        Put("testing/b/3.png");
        Put("testing/c/4.png");
        using var folder = ImageFolder.Open(root);
        Assert.Equal(["a", "b", "c"], folder.Classes);
        Assert.Equal([SplitPart.Train, SplitPart.Val, SplitPart.Test], folder.Parts);
        Assert.Equal(["testing/b/3.png", "testing/c/4.png"], Enumerable.Range(0, 2).Select(folder.Part(SplitPart.Test).Id));
        Assert.Equal([1, 2], Enumerable.Range(0, 2).Select(folder.Part(SplitPart.Test).Label));
        var splits = DataSplits.FromFolder(folder, new SplitOptions());
        Assert.Equal(("as given", 2, 1, 2), (splits.Origin, splits.Train.Count, splits.Val.Count, splits.Test.Count));
        Assert.Contains(splits.Warnings, w => w.Contains("'c' has no training picture"));
    }

    [Fact]
    public void A_class_called_train_is_a_class()
    {
        Put("train/1.png");
        Put("car/1.png");
        using var folder = ImageFolder.Open(root);
        Assert.Equal(["car", "train"], folder.Classes);
    }

    [Fact]
    public void Zip_is_read_in_place_by_many_threads()
    {
        var files = Enumerable.Range(0, 60).Select(i => ($"wrapped/data/{(i % 2 == 0 ? "even" : "odd")}/{i:D2}.png", Picture(i))).ToList();
        files.Add(("__MACOSX/wrapped/._x.png", [1]));
        files.Add(("wrapped/data/even/readme.txt", [1]));
        files.Add(("../evil.png", [1]));
        files.Add((@"wrapped\data\odd\99.png", Picture(99)));
        var path = Zip("set.zip", [.. files]);
        using var folder = ImageFolder.Open(path);
        Assert.Equal("set", folder.Name);
        Assert.Equal(["even", "odd"], folder.Classes);
        Assert.Equal(61, folder.Count);
        Assert.Equal(["../evil.png", "wrapped/data/even/readme.txt"], folder.Skipped.Select(s => s.Path));
        Parallel.For(0, 600, i =>
        {
            var index = i % folder.Count;
            var expected = int.Parse(Path.GetFileNameWithoutExtension(folder.Id(index)));
            Assert.Equal(expected, folder.Read(index).Pixels[0]);
        });
        Assert.False(Directory.Exists(Path.Combine(root, "wrapped")));
    }

    [Fact]
    public void Damaged_zips_are_errors_with_a_name()
    {
        PutBytes("text.zip", "this is not a zip"u8.ToArray());
        Assert.Contains("text.zip", Assert.Throws<BayouException>(() => ImageFolder.Open(Path.Combine(root, "text.zip"))).Message);
        var path = Zip("cut.zip", ("a/1.png", Picture(1, 60, 60)), ("b/1.png", Picture(2, 60, 60)));
        var bytes = File.ReadAllBytes(path);
        // The data of the first entry is overwritten; the directory at the end stays whole.
        for (var i = 60; i < 400; i++) bytes[i] = 0xAA;
        File.WriteAllBytes(path, bytes);
        using var folder = ImageFolder.Open(path);
        Assert.Contains("a/1.png", Assert.Throws<BayouException>(() => folder.Read(0)).Message);
        Assert.Equal(2, folder.Read(1).Pixels[0]);
    }

    [Fact]
    public void Senseless_folders_are_errors_that_say_what_to_do()
    {
        string Message(string path) => Assert.Throws<BayouException>(() => DataSplits.Open(path)).Message;
        Assert.Contains("no such folder", Message(Path.Combine(root, "nowhere")));
        Assert.Contains("no pictures found", Message(root));
        Put("1.png");
        Assert.Contains("none in a class folder", Message(root));
        Put("only/1.png");
        Assert.Contains("only one class", Message(root));
        using (var folder = ImageFolder.Open(root)) Assert.Contains(DataCheck.Run(folder).Warnings, w => w.Contains("only one class"));
        Put("second/1.png");
        Assert.Contains("too few", Message(root));
    }

    [Fact]
    public void Check_lists_what_is_unreadable_duplicated_leaked_and_unbalanced()
    {
        for (var i = 0; i < 30; i++) Put($"train/a/{i}.png", i, 6 + i, 5);
        Put("train/b/1.png", 100);
        Put("train/b/2.png", 101);
        Put("train/b/same-as-a0.png", 0, 6, 5);
        PutBytes("train/b/broken.jpg", [1, 2, 3]);
        PutBytes("train/a/cut.png", Picture(7, 50, 50)[..60]);
        Put("test/a/1.png", 3, 9, 5);           // equal to train/a/3.png
        Put("test/b/1.png", 120);
        PutBytes("val/b/grey.png", ImageEncoder.Png(Pictures.Formula(9, 70, 1)));
        var splits = DataSplits.Open(root);
        var report = DataCheck.Run(splits);
        Assert.Equal(["train/a/cut.png", "train/b/broken.jpg"], report.Unreadable.Select(u => u.Id).Order(StringComparer.Ordinal));
        Assert.All(report.Unreadable, u => Assert.Contains(u.Id, u.Reason));
        Assert.Equal([30, 3], report.Parts.Single(p => p.Part == "train").ClassCounts);
        Assert.Equal(2, report.Duplicates.Length);
        Assert.Equal(1, report.LeakedPictures);
        Assert.Equal(1, report.ContradictingLabels);
        Assert.Equal(10, report.Imbalance);
        Assert.Equal((6, 35), (report.Width!.Min, report.Width.Max));
        Assert.Equal((5, 70), (report.Height!.Min, report.Height.Max));
        Assert.Equal((1, 35), (report.Grey, report.Colour));
        Assert.Contains(report.Warnings, w => w.Contains("unbalanced"));
        var back = DataReport.FromJson(report.ToJson())!;
        Assert.Equal(report.ToJson(), back.ToJson());
        var clean = splits.Without(report);
        Assert.Equal((33, 1, 2), (clean.Train.Count, clean.Val.Count, clean.Test.Count));
        Assert.Empty(DataCheck.Run(clean).Unreadable);
        // Headers only: the truncated file still has a good one.
        Assert.Equal("train/b/broken.jpg", Assert.Single(DataCheck.Run(splits, new DataCheckOptions { Decode = false }).Unreadable).Id);
    }

    [Fact]
    public void Splits_are_stratified_disjoint_repeatable_and_hardly_move_when_files_come()
    {
        for (var i = 0; i < 100; i++) Put($"a/{i}.png", i);
        for (var i = 0; i < 40; i++) Put($"b/{i}.png", i + 100);
        var options = new SplitOptions { ValFraction = 0.2, TestFraction = 0.1, Seed = 5 };
        static HashSet<string> Ids(IImageDataset data) => [.. Enumerable.Range(0, data.Count).Select(data.Id)];
        static int[] Counts(IImageDataset data) => [.. Enumerable.Range(0, 2).Select(c => Enumerable.Range(0, data.Count).Count(i => data.Label(i) == c))];
        var one = DataSplits.Open(root, options);
        Assert.Equal([70, 28], Counts(one.Train));
        Assert.Equal([20, 8], Counts(one.Val));
        Assert.Equal([10, 4], Counts(one.Test));
        Assert.Equal(140, Ids(one.Train).Union(Ids(one.Val)).Union(Ids(one.Test)).Count());
        Assert.Equal(Ids(one.Test), Ids(DataSplits.Open(root, options).Test));
        Assert.NotEqual(Ids(one.Test), Ids(DataSplits.Open(root, options with { Seed = 6 }).Test));
        for (var i = 100; i < 105; i++) Put($"a/{i}.png", i + 100);
        var more = DataSplits.Open(root, options);
        Assert.True(Ids(one.Test).Except(Ids(more.Test)).Count() <= 5);
        Assert.True(Ids(one.Train).Except(Ids(more.Train)).Count() <= 5);
        Assert.Throws<BayouException>(() => DataSplits.Open(root, options with { ValFraction = 0.95 }));
        Assert.Throws<BayouException>(() => DataSplits.Open(root, options with { TestFraction = double.NaN }));
    }

    [Fact]
    public void Subset_maps_and_refuses()
    {
        var data = new MemoryDataset(6, 4, 4, 1);
        var subset = new Subset(data, [5, 0, 5]);
        Assert.Equal((3, "p5", 2, "p0"), (subset.Count, subset.Id(0), subset.Label(2), subset.Id(1)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Subset(data, [6]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Subset(data, [-1]));
    }
}
