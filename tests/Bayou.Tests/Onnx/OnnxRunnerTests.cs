using Bayou.Core;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Loading, wrong inputs, damaged files, latency, profile.</summary>
public sealed class OnnxRunnerTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("bayou-run-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string File(string name = "model.onnx") => Path.Combine(folder, name);

    private static byte[] NetBytes()
    {
        manual_seed(1);
        using var model = new OnnxWriterTests.Net();
        return OnnxWriter.ToBytes(Capture.Trace(model, 1, 3, 16, 16));
    }

    [Fact]
    public void Arrays_and_tensors_give_the_same()
    {
        using var scope = NewDisposeScope();
        using var runner = new OnnxRunner(NetBytes(), new OnnxRunnerOptions { Threads = 1 });
        Assert.Equal(1, runner.Threads);
        var x = randn(2, 3, 16, 16);
        var expected = runner.Run(x);
        Assert.Equal(expected.data<float>().ToArray(), runner.Run(x.data<float>().ToArray(), [2, 3, 16, 16]));
        // Strided input, and a view that does not start at its storage's beginning.
        var strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
        TensorAssert.Same(expected, runner.Run(strided));
        TensorAssert.Same(runner.Run(x.slice(0, 1, 2, 1).clone()), runner.Run(x.slice(0, 1, 2, 1)));
    }

    [Fact]
    public void Wrong_inputs_are_refused_with_the_expected_shape()
    {
        using var scope = NewDisposeScope();
        using var runner = new OnnxRunner(NetBytes());
        foreach (var bad in new[] { zeros(1, 3, 16, 17), zeros(3, 16, 16), zeros(0, 3, 16, 16) })
            Assert.Contains("input[N,3,16,16]", Assert.Throws<BayouException>(() => runner.Run(bad)).Message);
        Assert.Throws<BayouException>(() => runner.Run(zeros(1, 3, 16, 16, int64)));
        Assert.Throws<BayouException>(() => runner.Run(new float[10], [1, 3, 16, 16]));
    }

    [Fact]
    public void Files_that_are_no_model_are_told_apart()
    {
        Assert.Contains("there is no file", Assert.Throws<BayouException>(() => new OnnxRunner(File("absent.onnx"))).Message);
        Assert.Contains("folder", Assert.Throws<BayouException>(() => new OnnxRunner(folder)).Message);
        var bytes = NetBytes();
        foreach (var (name, content) in new[] { ("empty", []), ("text", "hello, world"u8.ToArray()), ("cut", bytes[..(bytes.Length / 2)]),
            ("zeros", new byte[100]) })
        {
            System.IO.File.WriteAllBytes(File(name), content);
            Assert.Contains(name, Assert.Throws<BayouException>(() => new OnnxRunner(File(name))).Message);
        }
    }

    [Fact]
    public void Damaged_files_load_or_are_errors()
    {
        var bytes = NetBytes();
        var random = new Random(11);
        int errors = 0, loaded = 0;
        for (var i = 0; i < 150; i++)
        {
            var copy = (byte[])bytes.Clone();
            switch (i % 3)
            {
                case 0:
                    for (var k = 0; k < 1 + i / 30; k++) copy[random.Next(copy.Length)] = (byte)random.Next(256);
                    break;
                case 1:
                    copy[random.Next(copy.Length)] ^= (byte)(1 << random.Next(8));
                    break;
                default:
                    var at = random.Next(copy.Length);
                    copy = [.. copy[..at], .. copy[Math.Min(copy.Length, at + random.Next(1, 40))..]];
                    break;
            }
            try
            {
                using var runner = new OnnxRunner(copy, new OnnxRunnerOptions { Threads = 1 });
                loaded++;
            }
            catch (BayouException)
            {
                errors++;
            }
        }
        Assert.True(errors > 20, $"{errors} errors");
        Assert.True(loaded > 5, $"{loaded} loaded");
    }

    [Fact]
    public void Latency_is_the_median_of_the_rounds_medians()
    {
        // One round of three is disturbed tenfold, one run in another.
        var quiet = LatencyMeasurement.Of([[1.0, 1.1, 1.2], [10, 11, 12], [1.0, 1.2, 50]]);
        Assert.Equal(1.2, quiet.P50, 9);
        Assert.Equal(9, quiet.Runs);
        Assert.Equal(1.0, quiet.P10, 9);
        Assert.Equal((1.0 + 1.1 + 1.2 + 10 + 11 + 12 + 1.0 + 1.2 + 50) / 9, quiet.Mean, 9);
        Assert.True(quiet.Noisy);
        var steady = LatencyMeasurement.Of([[1.0, 1.0], [1.02, 1.02], [1.01, 1.01]]);
        Assert.Equal(1.01, steady.P50, 9);
        Assert.Equal(0.01 / 1.01, steady.Spread, 9);
        Assert.False(steady.Noisy);
        Assert.Throws<BayouException>(() => LatencyMeasurement.Of([[]]));
    }

    [Fact]
    public void Measured_runs_respect_the_limits()
    {
        using var runner = new OnnxRunner(NetBytes());
        var counted = runner.MeasureLatency(new LatencyOptions { Batch = 2, MinSeconds = 0, MinRuns = 20, Rounds = 4, WarmUpSeconds = 0 });
        Assert.Equal(20, counted.Runs);
        Assert.InRange(counted.P10, 1e-3, counted.P90);
        Assert.InRange(counted.P50, counted.P10, counted.P90 + 1e-9);
        var cut = runner.MeasureLatency(new LatencyOptions { MinRuns = 1_000_000, MaxSeconds = 0.05 });
        Assert.InRange(cut.Runs, 1, 999_999);
        Assert.Throws<BayouException>(() => runner.MeasureLatency(new LatencyOptions { Batch = 0 }));
    }

    [Fact]
    public void The_profile_names_the_graphs_nodes()
    {
        System.IO.File.WriteAllBytes(File(), NetBytes());
        using var model = new OnnxWriterTests.Net();
        var graph = Capture.Trace(model, 1, 3, 16, 16).Nodes.Select(n => n.Name).ToHashSet();
        var profile = OnnxProfile.PerNodeLatency(File(), runs: 5);
        var named = profile.Where(p => p.Node.Length > 0).ToArray();
        Assert.Equal([], named.Select(p => p.Node).Except(graph));
        Assert.Equal(named.Length, named.Select(p => p.Node).Distinct().Count());
        foreach (var node in new[] { "stem", "blocks.0.dwconv", "blocks.1.dwconv", "blocks.0.pwconv1", "blocks.1.pwconv2", "head" })
            Assert.Contains(named, p => p.Node == node && p.Microseconds > 0);
        // Nearly everything that takes time is put down to a node; the rest are changes of memory layout.
        Assert.All(profile.Where(p => p.Node.Length == 0),
            p => Assert.All(p.Kernel.Split('+'), k => Assert.Contains(k, new[] { "ReorderInput", "ReorderOutput", "Transpose" })));
    }

    [Theory]
    [InlineData("head", "head")]
    [InlineData("head::Add", "head")]
    [InlineData("blocks.1.fc_nchwc", "blocks.1.fc")]
    [InlineData("fused blocks.1.fc/Gelu", "blocks.1.fc/Gelu")]
    [InlineData("blocks.11.fc", "")]
    [InlineData("ReorderInput_token_3", "")]
    public void Profiled_names_are_matched_by_whole_segments(string profiled, string expected) =>
        Assert.Equal(expected, OnnxProfile.Match(profiled, ["head", "blocks.1.fc", "blocks.1.fc/Gelu"]));
}
