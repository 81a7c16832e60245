using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class ConvNeXtTests
{
    public static TheoryData<string> LadderKeys => [.. ConvNeXtVariants.Ladder.Select(s => s.Key)];

    // Counted from the paper's published GFLOPs (specs/convnext.md, section 1.3).
    private static readonly Dictionary<string, long> LadderMacs = new()
    {
        ["resnet50"] = 4089184256,
        ["stage_ratio"] = 4525916160,
        ["patchify"] = 4417536000,
        ["depthwise"] = 2349507072,
        ["width"] = 5267976960,
        ["inverted"] = 4644406272,
        ["moveup"] = 4065080448,
        ["k5"] = 4097293440,
        ["k7"] = 4145612928,
        ["k9"] = 4210038912,
        ["k11"] = 4290571392,
        ["gelu"] = 4145612928,
        ["fewer_act"] = 4145612928,
        ["fewer_norm"] = 4145612928,
        ["ln"] = 4145612928,
        ["sep"] = 4455531264,
    };

    [Theory]
    [MemberData(nameof(LadderKeys))]
    public void Ladder_steps_have_the_published_macs_and_parameters(string key)
    {
        using var scope = NewDisposeScope();
        var step = ConvNeXtVariants.Ladder.Single(s => s.Key == key);
        using var model = new ResNetLadder(step.Config);
        var cost = Cost.Of(model, 1, 3, 224, 224);
        Assert.Equal(LadderMacs[key], cost.Macs);
        Assert.Equal(step.Parameters, cost.Parameters);
        if (key != "ln") Assert.InRange(cost.Macs / 1e9, step.PublishedGflops - (key == "sep" ? 0.04 : 0.0101), step.PublishedGflops + 0.0101);
    }

    [Theory]
    [InlineData("convnext_tiny", 4_455_531_264)]
    [InlineData("convnext_isotropic_small", 4_296_000_000)]
    public void Variants_have_the_published_parameters(string name, long macs)
    {
        using var scope = NewDisposeScope();
        var entry = ImageModels.All.Single(e => e.Name == name);
        using var model = entry.Create(new ModelOptions());
        var cost = Cost.Of(model, 1, 3, 224, 224);
        Assert.Equal(entry.Parameters, cost.Parameters);
        Assert.InRange(cost.Macs, macs * 0.99, macs * 1.01);
        Assert.Equal(cost.Macs * 64, cost.Ace(NumberFormat.Int8));
    }

    [Fact]
    public void Folding_layer_scale_keeps_the_macs_and_takes_only_the_scales_from_the_parameters()
    {
        using var scope = NewDisposeScope();
        using var model = new ConvNeXt(new ConvNeXtConfig { Depths = [1, 2], Dims = [8, 16], Classes = 3, LayerScale = 1 });
        var graph = Capture.Trace(model, 1, 3, 32, 32);
        var (before, after) = (Cost.Of(graph), Cost.Of(GraphPasses.Simplify(graph)));
        Assert.Equal(before.Macs, after.Macs);
        Assert.Equal(before.Parameters - 8 - 2 * 16, after.Parameters);
        Assert.Equal(model.parameters().Sum(p => p.numel()), before.Parameters);
    }

    [Fact]
    public void Layer_ids_of_the_published_depths()
    {
        using var scope = NewDisposeScope();
        using var model = new ConvNeXt(new ConvNeXtConfig { Depths = [3, 3, 27, 3], Dims = [2, 2, 2, 2], Classes = 2 });
        Assert.Equal(13, model.LayerCount);
        Assert.Equal([0, 2, 3, 12, 1, 2, 3, 3, 11, 12, 13, 13], new[]
        {
            "downsample_layers.0.0.weight", "downsample_layers.1.0.weight", "downsample_layers.2.1.bias", "downsample_layers.3.1.bias", "stages.0.2.gamma",
            "stages.1.0.gamma",
            "stages.2.0.gamma", "stages.2.2.gamma", "stages.2.26.gamma", "stages.3.0.gamma", "norm.weight", "head.bias",
        }.Select(model.LayerId));
    }

    [Fact]
    public void The_same_forward_serves_features_and_logits()
    {
        manual_seed(4);
        using var scope = NewDisposeScope();
        using var model = new ConvNeXt(new ConvNeXtConfig { Depths = [1, 2, 1], Dims = [4, 6, 8], Classes = 3, InChannels = 1, Patch = 2, LayerScale = 1 });
        model.eval();
        var x = randn(2, 1, 29, 18);    // odd sizes: floor division at every stride
        var features = model.Features(x);
        Assert.Equal([[2L, 4, 14, 9], [2L, 6, 7, 4], [2L, 8, 3, 2]], features.Select(f => f.shape));
        var pooled = features[^1].mean(new long[] { 2, 3 });
        var normed = nn.functional.layer_norm(pooled, [8], eps: 1e-6);
        var parameters = model.named_parameters().ToDictionary(p => p.name, p => p.parameter);
        TensorAssert.Close(normed.matmul(parameters["head.weight"].t()) + parameters["head.bias"], model.call(x), 1e-4, 1e-6);
    }

    [Fact]
    public void Nonsense_is_refused()
    {
        Assert.Throws<BayouException>(() => new ConvNeXt(new ConvNeXtConfig { Depths = [1], Dims = [4, 4] }));
        Assert.Throws<BayouException>(() => new ConvNeXt(new ConvNeXtConfig { Depths = [1], Dims = [4], Kernel = 4 }));
        Assert.Throws<BayouException>(() => new ConvNeXt(new ConvNeXtConfig { Depths = [1], Dims = [4], DropPath = 1 }));
        Assert.Contains("convnext_tiny", Assert.Throws<BayouException>(() => new ModelCatalog(ImageModels.All).Find("convnext_tyny")).Message);
    }

    [Fact]
    public void Stochastic_depth_drops_whole_samples_and_keeps_the_expectation()
    {
        manual_seed(5);
        using var scope = NewDisposeScope();
        var drop = new DropPath(0.25);
        drop.train();
        var y = drop.call(ones(4000, 2, 1, 1));
        Assert.Equal(1.0, y.mean().item<float>(), 0.05);
        var kept = y.select(1, 0).gt(0);
        Assert.True(kept.eq(y.select(1, 1).gt(0)).all().item<bool>());
        Assert.Equal(1 / 0.75, y.max().item<float>(), 1e-6);
    }
}
