using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class AViTTests
{
    // Random weights with a wide channel 0, so that tokens halt at many depths.
    private static AViT Net(double scale = 3, double center = 2, int depth = 5, double spread = 0.7)
    {
        var net = new AViT(new VisionTransformerConfig { ImageSize = 16, Patch = 4, Dim = 12, Heads = 3, Depth = depth, Classes = 4, FanInInit = true },
            new HaltingGate(scale, center));
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        net.Positions.add_(randn(net.Positions.shape) * spread);
        return net;
    }

    [Theory]
    [InlineData(1, 16, 16)]
    [InlineData(6, 16, 16)]
    [InlineData(3, 20, 12)]
    public void Removing_tokens_gives_the_masked_logits_and_depths(int batch, int height, int width)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(1);
        using var net = Net();
        net.eval();
        var x = randn(batch, 3, height, width);
        var (masked, removed) = (net.Masked(x), net.Removing(x));
        TensorAssert.Close(masked.Logits, removed.Logits, 1e-4, 1e-5);
        TensorAssert.Same(removed.Logits, net.call(x));
        var tokens = (int)masked.Depth.shape[1];
        for (var n = 0; n < batch; n++)
        {
            var depths = masked.Depth[n].data<float>().ToArray();
            Assert.Equal(depths.Select(d => (int)Math.Min(d, depths[0])), removed.Depths[n]);
        }
        Assert.Equal(batch * tokens, removed.TokensPerLayer[0]);
        Assert.True(removed.TokensPerLayer[^1] < removed.TokensPerLayer[0]);
        Assert.Equal(removed.TokensPerLayer.OrderDescending(), removed.TokensPerLayer);
        Assert.Equal(removed.Depths.Sum(d => d.Sum()) / (5.0 * batch * tokens), removed.TokensKept, 1e-9);
        Assert.Equal([batch, height / 4, width / 4], net.TokenDepths(x).shape);
    }

    [Fact]
    public void A_gate_that_never_opens_leaves_the_plain_transformer()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        using var net = Net(scale: 1, center: 60);
        net.eval();
        var x = randn(2, 3, 16, 16);
        var adaptive = net.call(x);
        net.Halts = false;
        TensorAssert.Close(net.call(x), adaptive, 1e-4, 1e-5);
        Assert.Equal(1, net.Removing(x).TokensKept);
    }

    /// <summary>Narrow layers are padded into one call, wide ones run picture by picture.</summary>
    [Theory]
    [InlineData(12, 5, 1, 7)]
    [InlineData(12, 4, 4, 4)]
    [InlineData(192, 90, 1, 40)]
    public void Packed_attention_is_each_pictures_own_attention(int width, params int[] lengths)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var layer = new Attention(width, 3);
        var pictures = lengths.Select(n => randn(1, n, width)).ToArray();
        var packed = cat(pictures.Select(p => p[0]).ToArray(), 0);
        foreach (var grad in (bool[])[true, false])
        {
            using var mode = set_grad_enabled(grad);
            TensorAssert.Close(cat(pictures.Select(p => layer.call(p)[0]).ToArray(), 0), layer.Packed(packed, new Ints([.. lengths.Select(n => (long)n)])),
                1e-4, 1e-5);
        }
    }

    [Fact]
    public void Packed_attention_counts_each_pictures_own_pairs()
    {
        using var scope = NewDisposeScope();
        var layer = new Attention(12, 3);
        var packed = randn(13, 12);
        Assert.Equal(2 * (25 + 1 + 49) * 12, new PackedAttentionOp(new Ints(5, 1, 7), 3, 1).Work([[13, 36]], [[13, 12]]).Macs);
        Assert.Throws<BayouException>(() => layer.Packed(packed, new Ints(5, 1)));
    }

    [Fact]
    public void The_exported_file_masks_and_gives_the_same_logits()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        using var net = Net();
        net.eval();
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(net, 1, 3, 16, 16)));
        foreach (var batch in (int[])[1, 5])
        {
            var x = randn(batch, 3, 16, 16);
            TensorAssert.Close(net.call(x), runner.Run(x), 1e-4, 1e-5);
        }
    }

    [Fact]
    public void The_prior_wants_the_published_shares()
    {
        var target = HaltingLoss.Target(12);
        Assert.Equal(0.98, target.Take(8).Sum(), 1e-9);
        Assert.Equal([4.36e-4, 0.01445, 0.17606, 0.78905, 1.30092, 0.78905, 0.17606, 0.01445], target.Skip(4).Select(v => Math.Round(v, v < 1e-3 ? 6 : 5)));
        Assert.Throws<BayouException>(() => HaltingLoss.Target(6, 8));
        using var scope = NewDisposeScope();
        Assert.Throws<BayouException>(() => HaltingLoss.Prior(ones(5), target));
        // Halting where it is wanted costs less than halting early.
        var (wanted, early) = (tensor(target.Select(v => (float)v).ToArray()), tensor(target.Reverse().Select(v => (float)v).ToArray()));
        Assert.True(HaltingLoss.Prior(wanted, target).item<float>() < HaltingLoss.Prior(early, target).item<float>());
    }

    [Fact]
    public void Layer_means_leave_out_the_class_token_or_as_published_the_first_picture()
    {
        using var scope = NewDisposeScope();
        var h = tensor(new float[] { 1, 2, 3, 10, 20, 30 }, [2, 3]);
        var layers = new[] { new HaltingLayer(h, h, h) };
        Assert.Equal((2 + 3 + 20 + 30) / 4f, HaltingLoss.LayerMeans(layers, HaltingStatistics.Patches).item<float>());
        Assert.Equal(20, HaltingLoss.LayerMeans(layers, HaltingStatistics.OfficialSlice).item<float>());
    }

    [Fact]
    public void Dead_gates_are_woken_and_the_ponder_cost_pushes_them_up()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        using var net = Net(scale: 10, center: 30, depth: 4, spread: 0.02);
        var source = new SyntheticSource(12, size: 16);
        net.eval();
        net.Wake(source);
        using (no_grad())
        {
            using var batch = source.Epoch(0).First();
            var (tokens, mean) = (net.Embed(batch.Images), 0.0);
            foreach (var block in net.Blocks) mean += ((tokens = block.call(tokens)).select(2, 0) * 10 - 30).sigmoid().mean().item<float>() / 4;
            var logit = Math.Log(mean / (1 - mean));
            Assert.Equal(AViT.FirstLogit, logit, 0.8);
        }
        // A dear ponder cost pushes every halting probability up.
        net.train();
        HaltingLoss.Ponder(net.Masked(randn(4, 3, 16, 16)).Ponder).backward();
        Assert.True(net.Positions.grad!.select(2, 0).sum().item<float>() < 0);
    }

    [Fact]
    public void The_stages_share_the_epochs()
    {
        using var net = Net();
        var stages = net.Stages(Recipe.Short(5));
        Assert.Equal([("dense", 3), ("halting", 2)], stages.Select(s => (s.Name, s.Recipe.Epochs)));
        stages[0].Begin!();
        Assert.False(net.Halts);
        stages[1].Begin!();
        Assert.True(net.Halts);
        net.HaltingShare = 1.5;
        Assert.Throws<BayouException>(() => net.Stages(Recipe.Short(5)));
    }

    [Fact]
    public void Nonsense_is_refused()
    {
        var config = new VisionTransformerConfig { ImageSize = 16, Patch = 4, Dim = 12, Heads = 3, Depth = 2, Classes = 4 };
        Assert.Throws<BayouException>(() => new AViT(config with { ClassToken = false }, new HaltingGate()));
        Assert.Throws<BayouException>(() => new AViT(config, new HaltingGate(Eps: 1)));
    }
}
