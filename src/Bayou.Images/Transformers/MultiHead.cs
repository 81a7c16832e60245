using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What all multi-head attention layers share. Tokens are [N, T, C], or [N, H, W, C] where their grid matters; heads are [N, h, T, C/h].</summary>
public static class MultiHead
{
    /// <summary>[N, T, C] -> [N, h, T, C/h].</summary>
    public static Tensor Split(Tensor x, int heads) => Permute(Reshape(x, 0, 0, heads, -1), 0, 2, 1, 3);

    /// <summary>[N, h, T, d] -> [N, T, h d].</summary>
    public static Tensor Join(Tensor x) => HeadOps.Join(x);

    /// <summary>A fused projection [N, T, parts C] -> its parts (q, k, v), each [N, h, T, C/h].</summary>
    public static Tensor[] SplitFused(Tensor x, int heads, int parts = 3) => HeadOps.Split(x, heads, parts);

    /// <summary>[N, H, W, C] -> [N, H W, C]; [N, T, C] stays.</summary>
    public static Tensor Flat(Tensor x) => x.dim() == 4 ? Reshape(x, 0, -1, x.shape[^1]) : x;

    /// <summary>Gives tokens [N, T, C'] the grid of the layer's input: [N, H, W, C'] if that had one.</summary>
    public static Tensor Like(Tensor tokens, Tensor input) => input.dim() == 4 ? Reshape(tokens, 0, input.shape[1], input.shape[2], -1) : tokens;

    /// <summary>
    /// softmax(scale q k' + bias) v: one node, unless the weights are changed by the caller (MiniViT's transformations) or asked for
    /// (<see cref="AttentionTap"/>): then its decomposition.
    /// </summary>
    /// <param name="q">[N, h, Q, d]</param>
    /// <param name="k">[N, h, K, d]</param>
    /// <param name="v">[N, h, K, e]</param>
    /// <param name="scale">Factor on the logits, usually d^-1/2.</param>
    /// <param name="bias">Added to the scaled logits; broadcastable to [N, h, Q, K]; masks are large negative numbers.</param>
    /// <param name="onLogits">Changes the logits, bias included, before the softmax.</param>
    /// <param name="onWeights">Changes the weights after the softmax.</param>
    public static Tensor Attend(Tensor q, Tensor k, Tensor v, double scale, Tensor? bias = null, Func<Tensor, Tensor>? onLogits = null,
        Func<Tensor, Tensor>? onWeights = null)
    {
        if (onLogits is null && onWeights is null && !AttentionTap.IsActive) return Ops.Attention(q, k, v, scale, bias);
        var weights = MatMul(scale == 1 ? q : Scale(q, scale), Permute(k, 0, 1, 3, 2));
        if (bias is not null) weights = Add(weights, bias);
        if (onLogits is not null) weights = onLogits(weights);
        weights = Softmax(weights, -1);
        if (onWeights is not null) weights = onWeights(weights);
        AttentionTap.Record(weights);
        return MatMul(weights, v);
    }
}
