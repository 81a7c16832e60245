using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Bench;

/// <summary>
/// Attention layers forward: projections, attention, projection back. Ours is the layer as networks use it, against the same written on libtorch's
/// scaled_dot_product_attention, on its
/// matrix products and softmax, and against ONNX Runtime with the layer's own export.
/// </summary>
internal static class AttentionPart
{
    private const string Fused = "libtorch scaled_dot_product_attention", Plain = "libtorch matmul and softmax", Onnx = "ONNX Runtime";

    // Tokens, width, heads; the last is a shifted Swin stage: windows of 49 tokens with position bias and mask.
    private static readonly (string Name, int Batch, int Tokens, int Dim, int Heads)[] Cases =
    [
        ("DeiT-Ti at 224", 1, 197, 192, 3),
        ("DeiT-S at 224", 1, 197, 384, 6),
        ("DeiT-B at 224", 1, 197, 768, 12),
        ("DeiT-S at 224", 8, 197, 384, 6),
        ("ViT of 64 tokens", 64, 64, 48, 4),
        ("1024 tokens", 1, 1024, 384, 6),
    ];

    public static void Run(BenchContext context)
    {
        if (!context.Wants("attention_forward")) return;
        var ratios = Cases.Select(c => Layer(context, c.Name, c.Batch, c.Tokens, c.Dim, c.Heads)).Append(Swin(context)).ToList();
        context.Mark("attention against the fastest peer, geometric mean", BenchContext.GeometricMean(ratios), 0.95);
    }

    private static double Layer(BenchContext context, string name, int batch, int tokens, int dim, int heads)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(context.Seed);
        using var layer = new Attention(dim, heads);
        var x = randn(batch, tokens, dim);
        var p = layer.named_parameters().ToDictionary(n => n.name, n => (Tensor)n.parameter);
        using var onnx = new OnnxPeer(Capture.Trace(layer, x.shape), x, context.Threads);
        var multiplyAdds = (double)batch * tokens * (4.0 * dim * dim + 2.0 * tokens * dim);
        return Row(context, $"{name}, batch {batch}: {tokens} tokens, {heads} heads of {dim / heads}", multiplyAdds, () => layer.call(x),
            fused => Peer(x, p, heads, null, fused), onnx);
    }

    private static double Swin(BenchContext context)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(context.Seed);
        const int window = 7, side = 56, dim = 96, heads = 3, tokens = window * window, windows = side / window * (side / window);
        using var attention = new WindowAttention(dim, window, heads);
        using var layer = new Masked(attention, Windows.ShiftMask(side, side, window, window / 2).DetachFromDisposeScope());
        var x = randn(windows, tokens, dim);
        var p = attention.named_parameters().ToDictionary(n => n.name, n => (Tensor)n.parameter);
        var bias = p["relative_position_bias_table"].index_select(0, Windows.RelativeIndex(window).flatten()).reshape(tokens, tokens, heads).permute(2, 0, 1)
            .unsqueeze(0)
            .add(Windows.ShiftMask(side, side, window, window / 2).unsqueeze(1), Number.Of(1));
        using var onnx = new OnnxPeer(Capture.Trace(new Folded(layer, windows), 1, windows * tokens, dim), x.reshape(1, windows * tokens, dim),
            context.Threads);
        var multiplyAdds = (double)windows * tokens * (4.0 * dim * dim + 2.0 * tokens * dim);
        return Row(context, $"Swin-T stage 1, shifted: {windows} windows of {tokens} tokens, {heads} heads of {dim / heads}", multiplyAdds, () => layer.call(x),
            fused => Peer(x, p, heads, bias, fused), onnx);
    }

    private static double Row(BenchContext context, string name, double multiplyAdds, Func<Tensor> ours, Func<bool, Tensor> peer, OnnxPeer onnx)
    {
        Action Scoped(Func<Tensor> run) => () =>
        {
            using var scope = NewDisposeScope();
            run();
        };
        var times = DepthwiseTurns.Medians(context.Seconds,
        [
            new("", Scoped(ours)),
            new(Fused, Scoped(() => peer(true))),
            new(Plain, Scoped(() => peer(false))),
            new(Onnx, onnx.Run, Pause: true),
        ]);
        var row = context.Add("attention_forward", name, times[0],
            new Dictionary<string, double> { [Fused] = times[1], [Plain] = times[2], [Onnx] = times[3] }, multiplyAdds / (times[0] * 1e6) / context.GemmPeak);
        return row.RatioBestPeer!.Value;
    }

    private static Tensor Peer(Tensor x, Dictionary<string, Tensor> p, int heads, Tensor? bias, bool fused)
    {
        var (n, t, c) = (x.shape[0], x.shape[1], x.shape[2]);
        var qkv = nn.functional.linear(x, p["qkv.weight"], p["qkv.bias"]).reshape(n, t, 3, heads, c / heads).permute(2, 0, 3, 1, 4);
        Tensor q = qkv[0], k = qkv[1], v = qkv[2];
        Tensor y;
        if (fused) y = nn.functional.scaled_dot_product_attention(q, k, v, bias);
        else
        {
            var logits = q.mul(Number.Of(Math.Pow((double)c / heads, -0.5))).matmul(k.transpose(2, 3));
            y = nn.functional.softmax(bias is null ? logits : logits.add(bias, Number.Of(1)), -1).matmul(v);
        }
        return nn.functional.linear(y.permute(0, 2, 1, 3).reshape(n, t, c), p["proj.weight"], p["proj.bias"]);
    }

    private sealed class Masked : Layer
    {
        private readonly WindowAttention attn;
        private readonly Tensor mask;

        public Masked(WindowAttention attn, Tensor mask)
        {
            (this.attn, this.mask) = (attn, NewBuffer(mask));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => attn.Call(x, mask);
    }

    // One picture's windows as one sample, so that the batch is a number of pictures.
    private sealed class Folded : Layer
    {
        private readonly Masked inner;
        private readonly int windows;

        public Folded(Masked inner, int windows)
        {
            (this.inner, this.windows) = (inner, windows);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var (tokens, dim) = (x.shape[1] / windows, x.shape[2]);
            return Ops.Reshape(inner.call(Ops.Reshape(x, -1, tokens, dim)), -1, windows * tokens, dim);
        }
    }
}
