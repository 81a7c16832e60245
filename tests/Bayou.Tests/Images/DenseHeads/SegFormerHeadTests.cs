using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>A segmentation head on features at every stage.</summary>
public class SegFormerHeadTests
{
    private static Fan Backbone() =>
        new(new FanConfig { Dims = [16, 16], Heads = [4, 4], StemDepths = [1, 1], StemDims = [8, 12], OutIndex = 0, Classes = 0, FanInInit = true });

    [Theory]
    [InlineData(3, 5, 7, 4)]
    [InlineData(8, 8, 3, 8)]
    [InlineData(1, 2, 5, 2)]
    public void Bilinear_maps_are_pytorchs(int rows, int columns, int toRows, int toColumns)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var x = randn(2, 3, rows, columns);
        TensorAssert.Close(nn.functional.interpolate(x, [toRows, toColumns], mode: InterpolationMode.Bilinear, align_corners: false),
            BilinearResize.To(x, toRows, toColumns), 1e-5, 1e-6);
    }

    /// <summary>The head against its definition written out: projections, resize, concatenation from coarse to fine, fusion, classifier.</summary>
    [Fact]
    public void The_head_follows_its_definition()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(2);
        using var head = new SegFormerHead([4, 6], classes: 3, embed: 5);
        head.eval();
        var p = head.named_parameters().ToDictionary(n => n.name, n => (Tensor)n.parameter);
        Assert.Equal(
            ["linear_c1.proj.bias", "linear_c1.proj.weight", "linear_c2.proj.bias", "linear_c2.proj.weight", "linear_fuse.bn.bias", "linear_fuse.bn.weight",
                "linear_fuse.conv.weight", "linear_pred.bias", "linear_pred.weight"],
            p.Keys.Order(StringComparer.Ordinal));
        var (fine, coarse) = (randn(2, 4, 6, 8), randn(2, 6, 3, 4));
        Tensor Projected(Tensor x, int i) => nn.functional.conv2d(x, p[$"linear_c{i}.proj.weight"].unsqueeze(-1).unsqueeze(-1), p[$"linear_c{i}.proj.bias"]);
        var joined = cat(new[] { nn.functional.interpolate(Projected(coarse, 2), [6, 8], mode: InterpolationMode.Bilinear, align_corners: false),
            Projected(fine, 1) }, 1);
        var fused = nn.functional.relu(nn.functional.conv2d(joined, p["linear_fuse.conv.weight"]) / Math.Sqrt(1 + 1e-5));
        TensorAssert.Close(nn.functional.conv2d(fused, p["linear_pred.weight"], p["linear_pred.bias"]), head.Of([fine, coarse]), 1e-4, 1e-5);
    }

    /// <summary>
    /// On FAN's features: a logit for every pixel, also where the picture is not square; every parameter learns; the export agrees at two batch sizes.
    /// </summary>
    [Fact]
    public void Fan_segments_pixel_by_pixel_trains_and_exports()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        using var network = new SegmentationNetwork(Backbone(), new SegFormerHead([8, 12, 16, 16], classes: 4, embed: 10));
        var x = randn(2, 3, 32, 48);
        var logits = network.call(x);
        Assert.Equal([2, 4, 32, 48], logits.shape);
        nn.functional.cross_entropy(logits, randint(4, [2, 32, 48])).backward();
        var without = network.named_parameters().Where(n => n.parameter.requires_grad && n.parameter.grad is null).Select(n => n.name).ToList();
        // The class token's own way ends at the features: only its keys and values do not matter to the patches.
        Assert.All(without, n => Assert.Contains("cls_", n));
        network.eval();
        using var noGrad = no_grad();
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(network, 1, 3, 32, 48)));
        TensorAssert.Close(network.call(x), runner.Run(x), 1e-3, 1e-4);
        var one = randn(1, 3, 32, 48);
        TensorAssert.Close(network.call(one), runner.Run(one), 1e-3, 1e-4);
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        Assert.Throws<BayouException>(() => new SegFormerHead([], 3));
        Assert.Throws<BayouException>(() => new SegFormerHead([4], 0));
        using var head = new SegFormerHead([4, 6], 3, 5);
        Assert.Contains("built for 2 maps", Assert.Throws<BayouException>(() => head.Of([zeros(1, 4, 2, 2)])).Message);
        using var plain = new TinyNet();
        Assert.Contains("no features", Assert.Throws<BayouException>(() => new SegmentationNetwork(plain, head)).Message);
    }
}
