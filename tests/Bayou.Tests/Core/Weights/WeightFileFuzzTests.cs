using System.Diagnostics;
using Bayou.Core;

namespace Bayou.Tests;

/// <summary>Damaged checkpoints give a <see cref="BayouException"/> or a tensor, never another exception, a crash, or a wait.</summary>
public class WeightFileFuzzTests
{
    public static TheoryData<string> Cases() =>
        ["plain_zip", "plain_legacy", "dtypes", "views_and_shared_storage", "parameters_state_dict", "training_checkpoint_namespace_numpy",
            "safetensors_overlap"];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Any_byte_may_be_wrong(string name)
    {
        using var folder = new TempFolder();
        var good = File.ReadAllBytes(WeightCases.Checkpoint(name));
        var random = new Random(1);
        for (var at = 0; at < good.Length; at += random.Next(1, 6))
        {
            var bad = (byte[])good.Clone();
            bad[at] = (at % 4) switch { 0 => (byte)0, 1 => (byte)255, 2 => (byte)(bad[at] ^ (1 << random.Next(8))), _ => (byte)random.Next(256) };
            Probe(folder.Write("a.pth", bad));
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_file_may_end_anywhere(string name)
    {
        using var folder = new TempFolder();
        var good = File.ReadAllBytes(WeightCases.Checkpoint(name));
        var random = new Random(3);
        for (var length = 0; length < good.Length; length += random.Next(1, 12))
            Assert.Throws<BayouException>(() => ReadAll(folder.Write("a.pth", good.AsSpan(0, length))));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Bytes_may_be_wrong_in_many_places(string name)
    {
        using var folder = new TempFolder();
        var good = File.ReadAllBytes(WeightCases.Checkpoint(name));
        var random = new Random(2);
        for (var round = 0; round < 150; round++)
        {
            var bad = (byte[])good.Clone();
            for (var i = random.Next(2, 12); i > 0; i--) bad[random.Next(bad.Length)] = (byte)random.Next(256);
            Probe(folder.Write("a.pth", bad));
        }
    }

    private static void Probe(string path)
    {
        var clock = Stopwatch.StartNew();
        try
        {
            ReadAll(path);
        }
        catch (BayouException)
        {
            // What a damaged file should give, unless the damage is within the values.
        }
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(30));
    }

    private static void ReadAll(string path)
    {
        using var file = WeightFile.Open(path);
        foreach (var key in file.Keys) file.Get(key).Dispose();
    }
}
