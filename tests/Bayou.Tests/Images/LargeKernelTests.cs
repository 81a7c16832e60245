using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>RepLKNet and SLaK: forms, keys, counts.</summary>
public class LargeKernelTests
{
    private static readonly RepLKNetConfig SmallRep =
        new() { LargeKernels = [9, 7, 5, 3], Layers = [1, 1, 2, 1], Channels = [6, 8, 10, 12], SmallKernel = 3, Classes = 5 };
    private static readonly SLaKConfig SmallSlak =
        new() { Depths = [1, 1, 2, 1], Dims = [6, 8, 10, 12], Kernels = [11, 9, 7, 5, 3], Classes = 5, LayerScale = 1 };

    [Theory]
    [InlineData("replknet", NetworkForm.Merged)]
    [InlineData("replknet", NetworkForm.Fused)]
    [InlineData("replknet-xl", NetworkForm.Fused)]
    [InlineData("slak", NetworkForm.Merged)]
    [InlineData("slak-dense", NetworkForm.Merged)]
    [InlineData("slak-nobn", NetworkForm.Merged)]
    public void A_merged_network_computes_the_same_with_fewer_layers(string kind, NetworkForm form)
    {
        using var scope = NewDisposeScope();
        using var network = Warmed(kind);
        using var guard = no_grad();
        var x = randn(2, 3, 64, 48);
        var (before, layers) = (network.call(x), Capture.Trace(network, x.shape).Nodes.Count);
        network.Merge(fuse: form == NetworkForm.Fused);
        TensorAssert.Close(before, network.call(x), 0, 2e-5);
        Assert.True(Capture.Trace(network, x.shape).Nodes.Count < layers);
        Assert.Equal(form, ((IMergeable)network).Form);
    }

    [Theory]
    [InlineData("replknet")]
    [InlineData("slak")]
    public void Weights_load_in_every_form(string kind)
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        var (training, merged) = (folder["training.safetensors"], folder["merged.safetensors"]);
        using var network = Warmed(kind);
        using var guard = no_grad();
        var x = randn(2, 3, 64, 64);
        var expected = network.call(x);
        network.Save(training);
        network.Merge(fuse: true).Save(merged);

        // A merged network takes a published training form and stays merged; a fresh one takes a merged file and becomes merged.
        using var shipped = Make(kind).Merge();
        shipped.eval();
        var form = ((IMergeable)shipped).Form;
        shipped.Load(training);
        Assert.Equal(form, ((IMergeable)shipped).Form);
        TensorAssert.Close(expected, shipped.call(x), 0, 2e-5);
        using var fresh = Make(kind);
        fresh.eval();
        fresh.Load(merged);
        TensorAssert.Close(expected, fresh.call(x), 0, 2e-5);
        fresh.Load(training);
        TensorAssert.Close(expected, fresh.call(x), 0, 2e-5);
    }

    [Fact]
    public void A_file_that_does_not_fit_leaves_a_merged_network_as_it_was()
    {
        using var scope = NewDisposeScope();
        using var network = Warmed("replknet").Merge();
        using var guard = no_grad();
        var x = randn(1, 3, 64, 64);
        var expected = network.call(x);
        using var other = new RepLKNet(SmallRep with { Channels = [6, 8, 10, 14] });
        Assert.Throws<BayouException>(() => network.LoadState(other.state_dict()));
        Assert.Equal(NetworkForm.Merged, ((IMergeable)network).Form);
        TensorAssert.Close(expected, network.call(x), 0, 0);
    }

    [Fact]
    public void The_merged_network_exports()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        using var network = Warmed("slak").Merge();
        var check = OnnxWriter.Write(GraphPasses.Simplify(Capture.Trace(network, 1, 3, 64, 64)), folder["slak.onnx"]);
        Assert.True(check.MaxAbsDiff < 1e-4);
    }

    [Fact]
    public void The_branches_of_a_large_kernel_equal_one_cross()
    {
        using var scope = NewDisposeScope();
        using var guard = no_grad();
        using var layer = new DecomposedLargeKernelConv(3, 15, 5);
        layer.eval();
        var x = randn(2, 3, 9, 20);     // the kernel is larger than the picture
        var (weight, bias) = layer.EquivalentKernel();
        Assert.Equal([3, 1, 15, 15], weight.shape);
        Assert.Equal(0, weight[TensorIndex.Colon, TensorIndex.Colon, TensorIndex.Slice(0, 5), TensorIndex.Slice(0, 5)].abs().sum().item<float>());
        TensorAssert.Close(layer.call(x), nn.functional.conv2d(x, weight, bias, [1L, 1L], [7L, 7L], groups: 3), 0, 1e-5);
        layer.Merge();
        TensorAssert.Close(weight, layer.EquivalentKernel().Weight, 0, 1e-7);
    }

    [Fact]
    public void Layer_ids_follow_the_paper()
    {
        using var network = new RepLKNet(SmallRep with { Layers = [2, 2, 18, 2], Channels = [2, 2, 2, 2] });
        Assert.Equal(13, network.LayerCount);
        Assert.Equal([0, 1, 2, 2, 3, 3, 11, 11, 12, 13],
            ((string[])["stem.0.conv.weight", "stages.0.blocks.3.pw1.conv.weight", "transitions.1.0.conv.weight", "stages.1.blocks.0.pw1.conv.weight",
            "stages.2.blocks.0.prelkb_bn.bias", "stages.2.blocks.3.pw2.bn.bias", "stages.2.blocks.35.pw2.bn.bias", "transitions.2.1.conv.weight",
            "stages.3.blocks.0.pw1.conv.weight", "head.weight"])
            .Select(network.LayerId));
    }

    [Theory]
    [InlineData("slak_tiny")]
    public void Published_sizes(string name)
    {
        using var scope = NewDisposeScope();
        var entry = ImageModels.All.Single(e => e.Name == name);
        using var network = entry.Create(new ModelOptions());
        Assert.Equal(entry.Parameters, network.parameters().Sum(p => p.numel()));
    }

    [Fact]
    public void Merging_saves_what_the_paper_says()
    {
        using var scope = NewDisposeScope();
        using var network = new RepLKNet(new RepLKNetConfig { LargeKernels = [31, 29, 27, 13], Layers = [2, 2, 18, 2], Channels = [128, 256, 512, 1024] })
            .Merge();
        Assert.Equal(79.527, network.parameters().Sum(p => p.numel()) / 1e6, 3);
        Assert.Equal(15.354, Cost.Of(GraphPasses.Simplify(Capture.Trace(network, 1, 3, 64, 64))).Macs * 12.25 / 1e9, 1);
    }

    [Fact]
    public void Even_kernels_are_refused()
    {
        Assert.Throws<BayouException>(() => new ReparamLargeKernelConv(4, 8, null));
        Assert.Throws<BayouException>(() => new ReparamLargeKernelConv(4, 5, 7));
        Assert.Throws<BayouException>(() => new DecomposedLargeKernelConv(4, 11, 4));
        Assert.Throws<BayouException>(() => new SLaK(SmallSlak with { Kernels = [11, 9, 7, 5] }));
    }

    private static Layer Make(string kind) => kind switch
    {
        "replknet" => new RepLKNet(SmallRep),
        "replknet-xl" => new RepLKNet(SmallRep with { SmallKernel = null, DwRatio = 1.5, NormIntermediateFeatures = true }),
        "slak" => new SLaK(SmallSlak with { WidthFactor = 1.3 }),
        "slak-dense" => new SLaK(SmallSlak with { Decom = false }),
        _ => new SLaK(SmallSlak with { Bn = false }),
    };

    // Running statistics that are not 0 and 1.
    private static Layer Warmed(string kind)
    {
        var network = Make(kind);
        using var guard = no_grad();
        for (var i = 0; i < 3; i++) network.call(randn(4, 3, 64, 64) + 0.3);
        network.eval();
        return network;
    }
}
