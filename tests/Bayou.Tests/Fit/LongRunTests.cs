using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>What only shows after thousands of rounds.</summary>
public sealed class LongRunTests : IDisposable
{
    private readonly TempFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Two_thousand_steps_and_predictions_leave_no_tensor_behind()
    {
        manual_seed(0);
        using var network = new ConvNeXt(new ConvNeXtConfig { Depths = [1, 1], Dims = [8, 16], Patch = 2, Classes = 3, LayerScale = 1 });
        var data = DataSplits.Open(ToyPictures.Write(folder, "toys", 40, 16));
        var preprocessing = Preprocessing.For(16, 3);
        var loader = new ImageLoader(data.Train, 8, new LoaderOptions { Shuffle = true, DropLast = true, Preprocessing = preprocessing });
        var (early, late) = (0L, 0L);
        var recipe = Recipe.Short(2000 / loader.BatchCount + 1, 8) with { MixupAlpha = 0.2 };
        using var result = Trainer.Train(network, new LoaderSource(loader), null, recipe, new TrainerOptions
        {
            Progress = p =>
            {
                // In the middle of an epoch, where the loader holds the same number of batches give or take its queue.
                if (p.Step == 200) early = LiveTensors.Settled();
                if (p.Step == 2000) late = Tensor.TotalCount;
            },
        });
        Assert.True(result.Steps >= 2000);
        Assert.InRange(late - early, -40, 40);

        network.eval();
        var metadata = OnnxClassifier.Metadata(preprocessing, data.Classes, "toy");
        OnnxWriter.Write(GraphPasses.Simplify(Capture.Trace(network, 1, 3, 16, 16)), folder["model.onnx"], new OnnxOptions { Metadata = metadata });
        using var classifier = new OnnxClassifier(folder["model.onnx"], 1);
        var picture = data.Test.Read(0);
        var input = rand(1, 3, 16, 16);
        for (var i = 0; i < 2000; i++)
        {
            if (i == 100) early = LiveTensors.Settled();
            classifier.Classify(picture);
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            network.call(input);
        }
        Assert.InRange(Tensor.TotalCount - early, -5, 5);
    }

    /// <summary>Thousands of damaged picture files: each is read or refused by name, and a check of the folder counts them all.</summary>
    [Fact]
    public void A_folder_of_damaged_pictures_is_checked_without_a_crash()
    {
        const int Files = 3000;
        var random = new Random(11);
        byte[][] whole = [ImageEncoder.Png(Pictures.Formula(19, 23, 3)), ImageEncoder.Png(Pictures.Formula(16, 16, 1)),
            ImageEncoder.Jpeg(Pictures.Formula(40, 24, 3)), ImageEncoder.Jpeg(Pictures.Formula(17, 9, 1), 40)];
        string[] extensions = [".png", ".png", ".jpg", ".jpg"];
        for (var i = 0; i < Files; i++)
        {
            var kind = i % whole.Length;
            folder.Write(Path.Combine("fuzz", i % 2 == 0 ? "even" : "odd", $"{i:0000}{extensions[kind]}"),
                Damage(whole[kind], whole[random.Next(whole.Length)], random));
        }
        for (var i = 0; i < 20; i++) folder.Write(Path.Combine("fuzz", i % 2 == 0 ? "even" : "odd", $"good{i}.png"), whole[0]);
        var splits = DataSplits.Open(folder["fuzz"]);
        var report = DataCheck.Run(splits, new DataCheckOptions());
        // Empty files are listed as skipped, not as pictures.
        Assert.Equal(Files + 20, report.Count + report.Unreadable.Length + report.Skipped.Length);
        Assert.InRange(report.Unreadable.Length, Files / 10, Files);
        Assert.DoesNotContain(report.Unreadable, u => u.Id.Contains("good"));
        Assert.All(report.Unreadable, u => Assert.False(string.IsNullOrWhiteSpace(u.Reason)));
        // What the check let through can be trained on.
        var clean = splits.Without(report);
        for (var i = 0; i < clean.Train.Count; i += 7) Assert.InRange(clean.Train.Read(i).Width, 1, 100_000);
    }

    private static byte[] Damage(byte[] file, byte[] other, Random random)
    {
        var bytes = (byte[])file.Clone();
        switch (random.Next(5))
        {
            case 0:
                return bytes[..random.Next(bytes.Length)];
            case 1:
                for (var k = random.Next(1, 6); k > 0; k--) bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
                return bytes;
            case 2:
                // In the headers, where sizes and depths stand.
                for (var k = 0; k < 3; k++) bytes[random.Next(Math.Min(64, bytes.Length))] = (byte)random.Next(256);
                return bytes;
            case 3:
                return [.. bytes[..random.Next(bytes.Length)], .. other[random.Next(other.Length)..]];
            default:
                var at = random.Next(bytes.Length - 8);
                random.NextBytes(bytes.AsSpan(at, 8));
                return bytes;
        }
    }
}
