using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Softmax attention of all heads as one node: softmax(scale q k' + bias) v. Inputs: q [..., Q, d], k [..., K, d], v [..., K, e], bias or null, broadcastable
/// to [..., Q, K] (relative
/// positions, masks). Output [..., Q, e]. Its decomposition, also its ONNX form: MatMul, Mul, Add, Softmax, MatMul. libtorch's fused kernel never writes the Q
/// x K weights to memory;
/// who wants to see them (<c>AttentionTap</c>) or changes them runs the decomposition.
/// </summary>
public sealed record AttentionOp(double Scale) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        Tensor q = x[0]!, k = x[1]!, v = x[2]!;
        long[] qs = q.shape, ks = k.shape, vs = v.shape;
        if (qs.Length < 3 || qs.Length != ks.Length || ks.Length != vs.Length || qs[^1] != ks[^1] || ks[^2] != vs[^2])
            throw new BayouException($"Attention: q {new Ints(qs)}, k {new Ints(ks)} and v {new Ints(vs)} do not fit: [..., Q, d], [..., K, d] and [..., K, e] are needed");
        if (FusedAttention.Forward(q, k, v, x[3], Scale) is { } y) return y;
        // The fused kernel scales by 1 / sqrt(d) itself.
        var correction = Scale * Math.Sqrt(qs[^1]);
        if (Math.Abs(correction - 1) > 1e-12) q = q.mul(Number.Of(correction));
        return nn.functional.scaled_dot_product_attention(q, k, v, x[3]);
    }

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs)
    {
        long[] q = inputs[0]!, k = inputs[1]!, v = inputs[2]!;
        var weights = Numel(q) / q[^1] * k[^2];
        // Softmax: subtract, exponential, sum, divide; then scale and bias.
        return new(weights * (q[^1] + v[^1]), weights * (inputs[3] is null ? 5 : 6));
    }
}
