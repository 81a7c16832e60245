using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>What `bayou explain` shows.</summary>
public class ExplainTests
{
    /// <summary>Every place of the picture gets the weight that its token was given, through windows, shift and padding.</summary>
    [Theory]
    [InlineData(8, 8, 4, 2)]
    [InlineData(6, 10, 4, 2)]
    [InlineData(8, 8, 4, 0)]
    public void Window_maps_lie_where_their_tokens_lie(int height, int width, int window, int shift)
    {
        using var scope = NewDisposeScope();
        // Number the places, cut them exactly as a block does, and let every query of a window give key t the number of its place.
        long up = (height + window - 1) / window * window, right = (width + window - 1) / window * window;
        var places = nn.functional.pad(arange(height * width, float32).reshape(1, height, width), [0, right - width, 0, up - height]).unsqueeze(-1);
        places = Windows.Partition(places.roll([-shift, -shift], [1, 2]), window).squeeze(-1);                 // [windows, w w]
        var weights = places.unsqueeze(1).unsqueeze(1).expand(-1, 3, window * window, -1).contiguous();
        var heat = AttentionExplainer.Heat(new AttentionMap(new TokenLayout(height, width, 0, window, shift), weights, null));
        Assert.Equal((width, height), (heat.Width, heat.Height));
        for (var i = 0; i < heat.Values.Length; i++) Assert.Equal(i, heat.Values[i], 3);
    }

    [Fact]
    public void The_class_token_asks_first()
    {
        using var scope = NewDisposeScope();
        var weights = zeros(1, 2, 5, 5);
        weights[0, 0, 0] = tensor(new float[] { 9, 1, 2, 3, 4 });
        weights[0, 1, 0] = tensor(new float[] { 9, 3, 2, 1, 0 });
        weights[0, 0, 3] = tensor(new float[] { 9, 9, 9, 9, 9 });
        Assert.Equal([2f, 2, 2, 2], AttentionExplainer.Heat(new AttentionMap(new TokenLayout(2, 2, 1), weights, null)).Values);
    }

    /// <summary>Tokens made of three directions fall into those three groups, in order of size, and span three directions.</summary>
    [Fact]
    public void Clusters_find_the_groups_that_are_there()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        int[] expected = [0, 0, 0, 1, 0, 0, 1, 1, 0, 2, 2, 1];
        var directions = eye(3, 8) * 5;
        var tokens = stack(expected.Select(g => directions[g]).ToArray()) + 0.05 * randn(12, 8);
        var map = tokens.t().reshape(1, 8, 3, 4);
        Assert.Equal(expected, TokenGrouping.Cluster(map, 3));
        Assert.Equal(3, TokenGrouping.Significant(TokenGrouping.Eigenvalues(map)));
        // Eigenvalues of the affinity sum to the number of unit tokens, whichever Gram matrix is solved.
        Assert.Equal(12, TokenGrouping.Eigenvalues(map).Sum(), 4);
        Assert.Throws<BayouException>(() => TokenGrouping.Cluster(map, 13));
    }

    [Fact]
    public void Methods_explain_a_picture_and_say_what_they_cannot()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        using var vit = new VisionTransformer(new VisionTransformerConfig { ImageSize = 32, Patch = 8, Dim = 24, Depth = 2, Heads = 3, Classes = 5 });
        vit.eval();
        var random = new Random(3);
        var picture = new ImageBuffer(40, 30, 3);
        random.NextBytes(picture.Pixels);
        var request = new ExplainRequest(vit, Preprocessing.For(32), picture, new ExplainOptions());
        var attention = Explainers.Find("attention").Explain(request);
        Assert.Equal((384, 384), (attention.Pictures[0].Picture.Width, attention.Pictures[0].Picture.Height));
        Assert.Equal((4, 4), (attention.Heat!.Width, attention.Heat.Height));
        Assert.InRange(attention.Heat.Values.Sum(), 0.5f, 1f);      // the class token keeps the rest for itself
        Assert.Contains("0 to 1",
            Assert.Throws<BayouException>(() => Explainers.Find("attention").Explain(request with { Options = new ExplainOptions { Layer = 2 } })).Message);
        var clusters = Explainers.Find("clusters").Explain(request with { Options = new ExplainOptions { Clusters = 3 } });
        Assert.NotEqual(request.Shown.Pixels, clusters.Pictures[0].Picture.Pixels);
        Assert.Equal(3, clusters.Lines.Count);       // groups, then one line for each of two stages

        using var convolutional = new ConvNeXt(new ConvNeXtConfig { Depths = [1, 1], Dims = [8, 16], Classes = 5 });
        convolutional.eval();
        Assert.Contains("no attention",
            Assert.Throws<BayouException>(() => Explainers.Find("attention").Explain(request with { Model = convolutional })).Message);
        Assert.Contains("attention, clusters", Assert.Throws<BayouException>(() => Explainers.Find("magic")).Message);
    }

    /// <summary>
    /// Outputs of blocks outlive the forward pass, whose own memory is freed block by block; nothing stays behind when the caller's scope ends.
    /// </summary>
    [Fact]
    public void Outputs_of_blocks_stay_with_the_caller()
    {
        using var network = new SwinTransformer(new SwinConfig { ImageSize = 32, Dim = 8, Depths = [2, 2], Heads = [2, 2], Window = 4, Classes = 4 });
        network.eval();
        var counts = new List<long>();
        for (var round = 0; round < 3; round++)
        {
            using (var scope = NewDisposeScope())
            {
                var x = randn(1, 3, 32, 32);
                var outputs = TokenGrouping.Outputs(network, x, m => m is SwinBlock);
                Assert.Equal(["[1,8,8,8]", "[1,8,8,8]", "[1,4,4,16]", "[1,4,4,16]"], outputs.Select(o => new Ints(o.shape).ToString()));
                Assert.True(outputs.All(o => double.IsFinite(o.sum().item<float>())));
                Assert.Equal(4, TokenGrouping.NoiseDecay(network, x, x + 0.1, m => m is SwinBlock).Length);
            }
            counts.Add(Tensor.TotalCount);
        }
        Assert.True(counts[2] <= counts[1]);
    }
}
