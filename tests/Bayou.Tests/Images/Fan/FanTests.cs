using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Fully attentional networks.</summary>
public class FanTests
{
    private static Fan Vit(FanChannelMixing mixing = FanChannelMixing.Attention) =>
        new(new FanConfig { Dims = [16, 16], Heads = [4, 4], Patch = 4, Classes = 5, Mixing = mixing, FanInInit = true });

    private static Fan Hybrid() =>
        new(new FanConfig { Dims = [16, 16, 24], Heads = [4, 4, 6], StemDepths = [1, 1], StemDims = [8, 12], Classes = 5, FanInInit = true });

    /// <summary>The block against its formula written out with plain tensor operations (specs/fan.md, section 1.1).</summary>
    [Fact]
    public void Channel_attention_follows_its_formula()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(1);
        using var block = new ChannelAttention(12, 3);
        var p = block.named_parameters().ToDictionary(n => n.name, n => n.parameter);
        p["temperature"].copy_(rand(3, 1, 1) + 0.5);
        p["mlp_v.gamma"].copy_(randn(48));
        block.eval();
        var x = randn(2, 4, 5, 12);

        var u = x.reshape(2, 20, 12);
        Tensor Heads(Tensor t) => t.reshape(2, 20, 3, 4).permute(0, 2, 1, 3);
        var q = nn.functional.softmax(Heads(nn.functional.linear(u, p["q.weight"], p["q.bias"])), 2).transpose(2, 3);
        var k = nn.functional.softmax(Heads(u), 2).mean([-1], true);
        var a = q.matmul(k).sigmoid() * p["temperature"];
        var y = nn.functional.linear(x, p["mlp_v.fc1.weight"], p["mlp_v.fc1.bias"]);
        var dw = nn.functional.conv2d(y.permute(0, 3, 1, 2), p["mlp_v.dwconv.conv1.weight"], p["mlp_v.dwconv.conv1.bias"], padding: [1, 1], groups: 48);
        dw = nn.functional.gelu(dw) / Math.Sqrt(1 + 1e-5);
        dw = nn.functional.conv2d(dw, p["mlp_v.dwconv.conv2.weight"], p["mlp_v.dwconv.conv2.bias"], padding: [1, 1], groups: 48).permute(0, 2, 3, 1);
        var v = nn.functional.linear(p["mlp_v.gamma"] * dw + y, p["mlp_v.fc2.weight"], p["mlp_v.fc2.bias"]);
        v = Heads(nn.functional.layer_norm(v, [12], p["norm_v.weight"], p["norm_v.bias"], 1e-5).reshape(2, 20, 12));
        var expected = (v * a.transpose(2, 3)).permute(0, 2, 1, 3).reshape(2, 4, 5, 12);
        TensorAssert.Close(expected, block.call(x), 1e-5, 1e-6);
    }

    /// <summary>The gate lies where two token distributions put it: between one half and sigmoid(1), so that a gate fixed at one half is its limit for many
    /// tokens.</summary>
    [Fact]
    public void The_gate_is_bounded()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(2);
        using var open = new ChannelAttention(8, 2);
        using var half = new ChannelAttention(8, 2, fixedGate: 0.5);
        half.load_state_dict(open.state_dict());
        open.eval();
        half.eval();
        foreach (var side in new[] { 1, 3, 24 })
        {
            var x = randn(1, side, side, 8);
            var ratio = (open.call(x) / half.call(x)).flatten();
            Assert.InRange(ratio.min().item<float>(), 1f - 1e-4f, 2 * 0.7311f);
            Assert.InRange(ratio.max().item<float>(), 1f, 2 * 0.7311f);
            if (side == 24) Assert.InRange(ratio.max().item<float>(), 1f, 1.01f);
        }
    }

    /// <summary>The two published encodings agree in the first frequency of every pair and differ in the second.</summary>
    [Fact]
    public void Position_encodings_differ_as_documented()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using FourierPositions floored = new(64), dense = new(64, floored: false);
        // The projection as identity shows the features themselves.
        foreach (var layer in (FourierPositions[])[floored, dense])
        {
            foreach (var (name, parameter) in layer.named_parameters())
                parameter.copy_(name.EndsWith("bias", StringComparison.Ordinal) ? zeros_like(parameter) : eye(64).reshape(64, 64, 1, 1));
        }
        Tensor a = floored.Encode(3, 5), b = dense.Encode(3, 5);
        for (var i = 0; i < 64; i++)
        {
            var distance = (a[0, i] - b[0, i]).abs().max().item<float>();
            if (i % 2 == 0) Assert.InRange(distance, 0, 1e-6f);
        }
        Assert.InRange((a[0, 3] - b[0, 3]).abs().max().item<float>(), 0.1f, 2f);
        Assert.Equal(Math.Sin(2 / (3 + 1e-6) * 2 * Math.PI), a[0, 0, 1, 4].item<float>(), 5);
        Assert.Equal(Math.Cos(4 / (5 + 1e-6) * 2 * Math.PI), a[0, 33, 1, 3].item<float>(), 5);
    }

    /// <summary>The stem's norm divides by the sample deviation.</summary>
    [Fact]
    public void The_hybrid_stem_normalises_with_the_sample_variance()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(3);
        using var network = Hybrid();
        var norm = network.modules().OfType<SampleLayerNorm2d>().First(m => m.parameters().First().numel() == 8);
        foreach (var parameter in norm.parameters()) parameter.copy_(randn(8));
        var (weight, bias) = (norm.parameters().First(), norm.parameters().Last());
        var x = randn(2, 8, 3, 4);
        var u = x.mean([1], true);
        var s = x.var(1, unbiased: true, keepdim: true);
        TensorAssert.Close((x - u) / (s + 1e-6).sqrt() * weight.reshape(1, 8, 1, 1) + bias.reshape(1, 8, 1, 1), norm.call(x), 1e-5, 1e-5);
    }

    [Theory]
    [InlineData("vit", 16, 24)]
    [InlineData("hybrid", 64, 64)]
    [InlineData("swin", 32, 32)]
    public void Fan_exports_with_a_dynamic_batch(string kind, int height, int width)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(4);
        using Layer network = kind switch
        {
            "vit" => Vit(),
            "hybrid" => Hybrid(),
            _ => FanVariants.Swin(new SwinConfig { ImageSize = 32, Dim = 16, Depths = [2, 2], Heads = [2, 4], Window = 4, Classes = 5, FanInInit = true },
                [true, false]),
        };
        network.eval();
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(network, 1, 3, height, width)));
        foreach (var batch in new long[] { 1, 3 })
        {
            var x = randn(batch, 3, height, width);
            TensorAssert.Close(network.call(x), runner.Run(x), 1e-4, 1e-5);
        }
    }

    /// <summary>Features at every stage, non-square, and none of them depends on whether the network classifies.</summary>
    [Fact]
    public void A_backbone_gives_features_at_every_stage()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(5);
        var config = new FanConfig
        {
            Dims = [16, 16],
            Heads = [4, 4],
            StemDepths = [1, 1],
            StemDims = [8, 12],
            OutIndex = 0,
            Classes = 0,
            FeatureDownsample = 20
        };
        using var backbone = new Fan(config);
        backbone.eval();
        var features = backbone.Features(randn(1, 3, 64, 96));
        Assert.Equal(["[1,8,16,24]", "[1,12,8,12]", "[1,16,4,6]", "[1,20,2,3]"], features.Select(f => new Ints(f.shape).ToString()));
        Assert.Throws<BayouException>(() => backbone.call(randn(1, 3, 64, 96)));
    }

    /// <summary>Ablations differ only where they say: same stem, positions, attention; gradients reach every parameter.</summary>
    [Theory]
    [InlineData(FanChannelMixing.Attention)]
    [InlineData(FanChannelMixing.FixedGate)]
    [InlineData(FanChannelMixing.Mlp)]
    public void Gradients_reach_every_parameter(FanChannelMixing mixing)
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        using var network = Vit(mixing);
        network.train();
        nn.functional.cross_entropy(network.call(randn(4, 3, 16, 16)), tensor(new long[] { 0, 1, 2, 3 })).backward();
        foreach (var (name, parameter) in network.named_parameters())
        {
            // A fixed gate leaves the attention's own parameters out.
            var unused = mixing == FanChannelMixing.FixedGate
                && (name.EndsWith("temperature", StringComparison.Ordinal) || name.Contains("mlp.q.", StringComparison.Ordinal));
            Assert.Equal(unused, parameter.grad is null || parameter.grad.abs().sum().item<float>() == 0);
        }
    }

    [Theory]
    [InlineData("fan_tiny_12_p16_224")]
    [InlineData("fan_tiny_8_p4_hybrid")]
    [InlineData("fan_swin_tiny")]
    public void Published_sizes_have_the_published_parameters(string name)
    {
        var entry = ImageModels.All.Single(e => e.Name == name);
        using var network = entry.Create(new ModelOptions());
        Assert.Equal(entry.Parameters, network.parameters().Sum(p => p.numel()));
    }

    [Fact]
    public void Impossible_shapes_are_refused()
    {
        Assert.Throws<BayouException>(() => new Fan(new FanConfig { Dims = [16], Heads = [4, 4] }));
        Assert.Throws<BayouException>(() => new Fan(new FanConfig { Dims = [16], Heads = [3] }));
        Assert.Throws<BayouException>(() => new Fan(new FanConfig { Dims = [16], Heads = [4], Patch = 5 }));
        Assert.Throws<BayouException>(() => new Fan(new FanConfig { Dims = [16], Heads = [4], OutIndex = 1 }));
    }
}
