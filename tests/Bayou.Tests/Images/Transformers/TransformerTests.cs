using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>The blocks that all transformers share.</summary>
public class TransformerTests
{
    private static VisionTransformer SmallVit(bool classToken = true, bool distilled = false, int image = 16) => new(new VisionTransformerConfig
    {
        ImageSize = image,
        Patch = 4,
        Dim = 24,
        Depth = 3,
        Heads = 3,
        Classes = 5,
        ClassToken = classToken,
        DistillationToken = distilled,
        FanInInit = true,
    });

    private static SwinTransformer SmallSwin(int image = 32) =>
        new(new SwinConfig { ImageSize = image, Dim = 12, Depths = [2, 2], Heads = [2, 4], Window = 4, Classes = 5, FanInInit = true });

    private static Rvt SmallRvt() =>
        new(new RvtConfig { ImageSize = 64, HeadDims = [8, 8], Depths = [1, 1], Heads = [2, 4], Classes = 5, FanInInit = true, MaskedBlocks = 1 });

    /// <summary>One node and its decomposition agree, in value and in every gradient, with and without a bias and at a scale of its own.</summary>
    [Theory]
    [InlineData(false, 0.25)]
    [InlineData(true, 0.25)]
    [InlineData(true, 0.7)]
    public void Attention_is_its_decomposition(bool withBias, double scale)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        Tensor Leaf(params long[] shape) => randn(shape).requires_grad_();
        Tensor q = Leaf(2, 3, 5, 16), k = Leaf(2, 3, 7, 16), v = Leaf(2, 3, 7, 6), bias = Leaf(1, 3, 5, 7);
        var weight = randn(2, 3, 5, 6);
        Tensor[] Gradients(Tensor y)
        {
            y.mul(weight).sum().backward();
            var all = new[] { q, k, v, bias }.Where(t => t.grad is not null).Select(t => t.grad!.clone()).Prepend(y.detach()).ToArray();
            foreach (var t in new[] { q, k, v, bias }) t.grad?.zero_();
            return all;
        }

        var one = Gradients(Ops.Attention(q, k, v, scale, withBias ? bias : null));
        var logits = q.matmul(k.transpose(2, 3)).mul(scale);
        if (withBias) logits = logits + bias;
        var many = Gradients(nn.functional.softmax(logits, -1).matmul(v));
        Assert.Equal(many.Length, one.Length);
        for (var i = 0; i < one.Length; i++) TensorAssert.Close(many[i], one[i], 1e-5, 1e-6);
    }

    [Fact]
    public void Attention_refuses_shapes_that_do_not_fit()
    {
        using var scope = NewDisposeScope();
        var error = Assert.Throws<BayouException>(() => Ops.Attention(randn(1, 2, 4, 8), randn(1, 2, 4, 6), randn(1, 2, 4, 8), 1));
        Assert.Contains("[1,2,4,6]", error.Message);
    }

    /// <summary>The position table follows PyTorch's bicubic interpolation, up and down, and leaves class tokens alone.</summary>
    [Theory]
    [InlineData(4, 6, 0)]
    [InlineData(7, 3, 1)]
    [InlineData(5, 9, 2)]
    public void Position_tables_are_resized_as_by_PyTorch(int from, int to, int prefix)
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var table = randn(1, prefix + from * from, 6);
        var grid = table[TensorIndex.Colon, TensorIndex.Slice(prefix), TensorIndex.Colon].reshape(1, from, from, 6).permute(0, 3, 1, 2);
        var expected = nn.functional.interpolate(grid, [to, to + 1], mode: InterpolationMode.Bicubic, align_corners: false).permute(0, 2, 3, 1)
            .reshape(1, -1, 6);
        var ours = PositionTable.Resize(table, prefix, (from, from), (to, to + 1));
        TensorAssert.Close(expected, ours[TensorIndex.Colon, TensorIndex.Slice(prefix), TensorIndex.Colon], 1e-5, 1e-5);
        if (prefix > 0)
            TensorAssert.Close(table[TensorIndex.Colon, TensorIndex.Slice(0, prefix), TensorIndex.Colon],
            ours[TensorIndex.Colon, TensorIndex.Slice(0, prefix), TensorIndex.Colon], 0, 0);
    }

    /// <summary>Every element of a window keeps its place through cutting and merging, and the mask separates exactly the regions of the shifted
    /// grid.</summary>
    [Fact]
    public void Windows_are_cut_merged_and_masked()
    {
        using var scope = NewDisposeScope();
        var x = randn(2, 8, 12, 3);
        var windows = Windows.Partition(x, 4);
        Assert.Equal([12L, 16, 3], windows.shape);
        TensorAssert.Close(x[1, TensorIndex.Slice(4, 8), TensorIndex.Slice(8, 12)].reshape(16, 3), windows[11], 0, 0);
        TensorAssert.Close(x, Windows.Merge(windows, 4, 8, 12), 0, 0);

        // The region of a token of the rolled grid, straight from the definition: which side of the seam its place in the picture lies on.
        const int size = 8, window = 4, shift = 2;
        var mask = Windows.ShiftMask(size, size, window, shift);
        for (var w = 0; w < 4; w++)
        {
            for (var i = 0; i < 16; i++)
            {
                for (var j = 0; j < 16; j++)
                {
                    (int Row, int Column) At(int t) => ((w / 2 * window + t / window + shift) % size, (w % 2 * window + t % window + shift) % size);
                    var (a, b) = (At(i), At(j));
                    var apart = Math.Abs(a.Row - b.Row) >= window || Math.Abs(a.Column - b.Column) >= window;
                    Assert.Equal(apart ? Windows.Masked : 0, mask[w, i, j].item<float>());
                }
            }
        }
    }

    /// <summary>The fused path of shifted windows equals the decomposed one.</summary>
    [Fact]
    public void Masked_windows_fuse_without_change()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(3);
        using var attention = new WindowAttention(12, 4, 3);
        var mask = Windows.ShiftMask(8, 8, 4, 2);
        var x = randn(8, 16, 12);
        TensorAssert.Close(attention.Call(x, mask, logits => logits), attention.Call(x, mask), 1e-5, 1e-6);
    }

    public static TheoryData<string, int, int> Exports => new()
    {
        { "vit", 16, 16 }, { "vit", 12, 20 }, { "vit without class token", 16, 16 }, { "distilled", 16, 16 }, { "swin", 32, 32 }, { "swin", 28, 40 },
        { "rvt", 64, 64 },
    };

    /// <summary>What ONNX Runtime computes is what TorchSharp computes, at two batch sizes, also at sizes that the network was not built for.</summary>
    [Theory]
    [MemberData(nameof(Exports))]
    public void Transformers_export_with_a_dynamic_batch(string kind, int height, int width)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(4);
        using Layer model = kind switch
        {
            "vit" => SmallVit(),
            "vit without class token" => SmallVit(classToken: false),
            "distilled" => SmallVit(distilled: true),
            "swin" => SmallSwin(),
            _ => SmallRvt(),
        };
        model.eval();
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(model, 1, 3, height, width)));
        foreach (var batch in new long[] { 1, 3 })
        {
            var x = randn(batch, 3, height, width);
            TensorAssert.Close(model.call(x), runner.Run(x), 1e-4, 1e-5);
        }
    }

    /// <summary>A tap sees every attention layer, its rows are distributions, and looking changes nothing.</summary>
    [Theory]
    [InlineData("vit", 3)]
    [InlineData("swin", 4)]
    [InlineData("rvt", 2)]
    public void A_tap_sees_all_layers_and_changes_nothing(string kind, int layers)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(5);
        using Layer model = kind switch { "vit" => SmallVit(), "swin" => SmallSwin(), _ => SmallRvt() };
        model.eval();
        var side = kind == "rvt" ? 64 : 32;
        var x = randn(2, 3, side, side);
        var plain = model.call(x);
        using var tap = AttentionTap.Open();
        TensorAssert.Close(plain, model.call(x), 1e-5, 1e-5);
        Assert.Equal(layers, tap.Maps.Count);
        foreach (var map in tap.Maps)
        {
            TensorAssert.Close(ones(map.Weights!.shape[..3]), map.Weights.sum(-1), 1e-5, 1e-5);
            var tokens = map.Layout.Window > 0 ? map.Layout.Window * map.Layout.Window : map.Layout.Prefix + map.Layout.Height * map.Layout.Width;
            Assert.Equal(tokens, map.Weights.shape[3]);
        }
        Assert.Equal(kind == "vit" ? new TokenLayout(8, 8, 1) : kind == "swin" ? new TokenLayout(8, 8, 0, 4) : new TokenLayout(4, 4), tap.Maps[0].Layout);
    }

    /// <summary>The published parameter counts, without allocating the large networks' weights twice.</summary>
    [Theory]
    [InlineData("deit_tiny")]
    [InlineData("deit_tiny_distilled")]
    [InlineData("deit_small")]
    [InlineData("swin_tiny")]
    public void Published_sizes_have_the_published_parameters(string name)
    {
        var entry = ImageModels.All.Single(e => e.Name == name);
        using var model = entry.Create(new ModelOptions());
        Assert.Equal(entry.Parameters, model.parameters().Sum(p => p.numel()));
    }

    [Fact]
    public void Features_have_the_strides_of_their_stages()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var swin = SmallSwin();
        var x = randn(1, 3, 32, 64);
        Assert.Equal(["[1,12,8,16]", "[1,24,4,8]"], swin.Features(x).Select(f => new Ints(f.shape).ToString()));
        using var vit = SmallVit();
        Assert.Equal(3, vit.Features(x).Length);
        Assert.All(vit.Features(x), f => Assert.Equal([1L, 24, 8, 16], f.shape));
    }

    [Fact]
    public void Impossible_shapes_are_refused()
    {
        Assert.Throws<BayouException>(() => new VisionTransformer(new VisionTransformerConfig { Dim = 10, Heads = 3 }));
        Assert.Throws<BayouException>(() => new VisionTransformer(new VisionTransformerConfig { Dim = 12, Heads = 3, ImageSize = 30, Patch = 16 }));
        Assert.Throws<BayouException>(() => new SwinTransformer(new SwinConfig { Dim = 12, Depths = [2, 2], Heads = [3] }));
        using var vit = SmallVit();
        using var scope = NewDisposeScope();
        Assert.Contains("smaller than one patch", Assert.Throws<BayouException>(() => vit.call(randn(1, 3, 2, 8))).Message);
    }

    /// <summary>Windows with a bias each: without gradients picture by picture, with them folded into one batch; against a plain sum per window.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Grouped_attention_gives_each_group_its_own_bias(int pictures)
    {
        using var scope = NewDisposeScope();
        manual_seed(11);
        const int groups = 4, heads = 2, tokens = 5, width = 3;
        Tensor Rand() => randn(pictures * groups, heads, tokens, width);
        var (q, k, v, bias) = (Rand(), Rand(), Rand(), randn(groups, heads, tokens, tokens));
        var logits = q.matmul(k.transpose(2, 3)) * 0.7 + bias.repeat(pictures, 1, 1, 1);
        var expected = nn.functional.softmax(logits, -1).matmul(v).permute(0, 2, 1, 3).reshape(pictures * groups, tokens, heads * width);
        TensorAssert.Close(expected, HeadOps.GroupedAttention(q, k, v, 0.7, bias), 1e-5, 1e-6);
        using var noGrad = no_grad();
        TensorAssert.Close(expected, HeadOps.GroupedAttention(q, k, v, 0.7, bias), 1e-5, 1e-6);
    }

    /// <summary>The kept position bias follows the weights, however they change.</summary>
    [Fact]
    public void Kept_biases_follow_their_weights()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(12);
        using var attention = new WindowAttention(8, 3, 2);
        attention.eval();
        var (x, mask) = (randn(4, 9, 8), Windows.ShiftMask(6, 6, 3, 1));
        Tensor Fresh(Tensor? m)
        {
            using var tap = AttentionTap.Open();      // takes the way that keeps nothing
            return attention.Call(x, m);
        }
        foreach (var change in new Action[] { () => { }, () => attention.get_parameter("relative_position_bias_table")!.mul_(Number.Of(-3)),
            () => mask.zero_() })
        {
            change();
            for (var i = 0; i < 2; i++)
            {
                TensorAssert.Close(Fresh(null), attention.Call(x, null), 1e-5, 1e-6);
                TensorAssert.Close(Fresh(mask), attention.Call(x, mask), 1e-5, 1e-6);
            }
        }
    }
}
