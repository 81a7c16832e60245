using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Rearrangements around multi-head attention: plain nodes in a capture, few library calls otherwise, for at batch 1 each call counts.</summary>
public static class HeadOps
{
    /// <summary>A fused projection [N, T, parts C] to its parts, each [N, h, T, C / h].</summary>
    public static Tensor[] Split(Tensor x, int heads, int parts)
    {
        var shape = x.shape;
        var width = shape[^1] / parts;
        if (!Capture.IsActive && shape.Length == 3)
            return x.reshape(shape[0], shape[1], parts, heads, width / heads).permute(2, 0, 3, 1, 4).unbind(0);
        return Ops.Split(x, -1, Enumerable.Repeat(width, parts).ToArray()).Select(p => Ops.Permute(Ops.Reshape(p, 0, 0, heads, -1), 0, 2, 1, 3)).ToArray();
    }

    /// <summary>
    /// Attention whose bias differs from group to group: q, k, v [N G, h, T, d], bias [G, h, T, T]; sample n G + g gets bias g. Shifted windows: G windows a
    /// picture. Result [N G, T, h d].
    /// </summary>
    /// <param name="q">Queries.</param>
    /// <param name="k">Keys.</param>
    /// <param name="v">Values.</param>
    /// <param name="scale">Factor on the logits.</param>
    /// <param name="bias">Added to the logits.</param>
    public static Tensor GroupedAttention(Tensor q, Tensor k, Tensor v, double scale, Tensor bias)
    {
        var (groups, heads, tokens) = (bias.shape[0], bias.shape[1], bias.shape[2]);
        if (!Capture.IsActive && !is_grad_enabled())
        {
            // Picture by picture: neither bias nor parts have to be copied to lie as one batch.
            var pictures = q.shape[0] / groups;
            Tensor Of(long n) =>
                Join(Ops.Attention(q.narrow(0, n * groups, groups), k.narrow(0, n * groups, groups), v.narrow(0, n * groups, groups), scale, bias));
            if (pictures == 1) return Join(Ops.Attention(q, k, v, scale, bias));
            return cat(Enumerable.Range(0, (int)pictures).Select(n => Of(n)).ToArray(), 0);
        }
        // Groups and heads become one axis, so that one bias serves the whole batch.
        Tensor Fold(Tensor t) => Ops.Reshape(t, -1, groups * heads, tokens, t.shape[^1]);
        var y = Ops.Attention(Fold(q), Fold(k), Fold(v), scale, Ops.Reshape(bias, 1, groups * heads, tokens, tokens));
        return Join(Ops.Reshape(y, -1, heads, tokens, y.shape[^1]));
    }

    /// <summary>[N, h, T, d] -> [N, T, h d].</summary>
    public static Tensor Join(Tensor x) => Capture.IsActive ? Ops.Reshape(Ops.Permute(x, 0, 2, 1, 3), 0, 0, -1) : x.transpose(1, 2).flatten(2);
}
