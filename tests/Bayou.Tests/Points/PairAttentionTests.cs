using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Tests.Points;

/// <summary>Attention over pairs against the same written with gathers in libtorch, gradients included.</summary>
public sealed class PairAttentionTests
{
    [Theory]
    [InlineData(1, 3)]
    [InlineData(4, 16)]
    [InlineData(3, 21)]
    public void AttentionEqualsTheGatheredFormWithGradients(int heads, int width)
    {
        manual_seed(heads);
        int[] starts = [0, 3, 3, 8, 20], queries = [.. Enumerable.Range(0, 4).SelectMany(s => Enumerable.Repeat(s, starts[s + 1] - starts[s]))];
        int[] keys = [.. Enumerable.Range(0, 20).Select(p => p * 7 % 6)];
        Tensor q = randn(4, heads, width), k = randn(6, heads, width), v = randn(6, heads, width), dy = randn(4, heads, width);
        var (iq, ik) = (tensor(Array.ConvertAll(queries, i => (long)i)), tensor(Array.ConvertAll(keys, i => (long)i)));

        var ours = Run((a, b, c) =>
            Ops.Run(new PairSumOp(keys, queries, 4), false,
            Ops.Run(new SegmentSoftmaxOp(starts), false, Ops.Run(new PairDotOp(queries, keys), false, a, b)), c));
        var plain = Run((a, b, c) =>
        {
            var logits = a.index_select(0, iq).mul(b.index_select(0, ik)).sum(2);
            var parts = Enumerable.Range(0, 4).Where(s => starts[s + 1] > starts[s])
                .Select(s => nn.functional.softmax(logits.slice(0, starts[s], starts[s + 1], 1), 0)).ToArray();
            return zeros(4, heads, width).index_add(0, iq, cat(parts, 0).unsqueeze(2).mul(c.index_select(0, ik)), Number.Of(1));
        });
        for (var i = 0; i < 4; i++) TensorAssert.Close(plain[i], ours[i], 1e-4, 1e-5);

        Tensor[] Run(Func<Tensor, Tensor, Tensor, Tensor> f)
        {
            var (a, b, c) = (q.clone().requires_grad_(), k.clone().requires_grad_(), v.clone().requires_grad_());
            var y = f(a, b, c);
            y.backward([dy]);
            return [y.detach(), a.grad!, b.grad!, c.grad!];
        }
    }

    [Fact]
    public void IndicesOutOfRangeAreErrors()
    {
        Assert.Contains("index 6", Assert.Throws<BayouException>(() => PairAttention.Dot(zeros(4, 1, 2), [0], zeros(6, 1, 2), [6])).Message);
        Assert.Throws<BayouException>(() => PairAttention.Sum(zeros(2, 1), zeros(6, 1, 2), [0, 1], [0, 5], 4));
        Assert.Throws<BayouException>(() => PairAttention.Softmax(zeros(5, 1), [0, 3, 2, 5]));
    }
}
