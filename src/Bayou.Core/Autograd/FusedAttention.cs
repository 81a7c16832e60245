using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Attention without gradients by <see cref="AttentionKernel"/>, where the machine has AVX-512 (<see cref="Products.OwnAttention"/>). <see cref="AttentionOp"/>
/// takes it; networks do not call it.
/// </summary>
internal static unsafe class FusedAttention
{
    /// <summary>softmax(scale q k' + bias) v, or null where it does not suit.</summary>
    /// <param name="q">[..., Q, d].</param>
    /// <param name="k">[..., K, d].</param>
    /// <param name="v">[..., K, e].</param>
    /// <param name="bias">Broadcastable to [..., Q, K], or null.</param>
    /// <param name="scale">Factor on q k'.</param>
    /// <returns>[..., Q, e], the rows of all heads of a token side by side in memory.</returns>
    public static Tensor? Forward(Tensor q, Tensor k, Tensor v, Tensor? bias, double scale)
    {
        if (!OwnKernels.Enabled || q.dim() is not (3 or 4) || !Suits(q) || !Suits(k) || !Suits(v) || (bias is not null && !Suits(bias))) return null;
        long[] qs = q.shape, ks = k.shape, vs = v.shape;
        var batched = qs.Length == 4;
        if (!qs.AsSpan(0, qs.Length - 2).SequenceEqual(ks.AsSpan(0, qs.Length - 2)) || !qs.AsSpan(0, qs.Length - 2).SequenceEqual(vs.AsSpan(0, qs.Length - 2)))
            return null;
        if (Math.Max(qs[0], Math.Max(qs[^2], Math.Max(ks[^2], Math.Max(qs[^1], vs[^1])))) > int.MaxValue / 2) return null;
        var s = new AttentionShape((int)qs[0], batched ? (int)qs[1] : 1, (int)qs[^2], (int)ks[^2], (int)qs[^1], (int)vs[^1]);
        if (s.Batches * (long)s.Heads is 0 or > int.MaxValue / 64 || !AttentionKernel.Suits(s) || !Products.OwnAttention) return null;
        using var all = bias is null ? null : Expand(bias, s, batched);
        if (bias is not null && all is null) return null;
        if (Rows(q) is not { } queries || Rows(k) is not { } keys || Rows(v) is not { } values) return null;
        AttentionRows? biases = all is null ? null : Rows(all);
        if (bias is not null && biases is null) return null;
        var y = empty(s.Batches, s.Queries, s.Heads, s.ValueWidth);
        var row = (long)s.Heads * s.ValueWidth;
        AttentionKernel.Forward(queries, keys, values, biases, (float)scale, new((nint)TensorMemory.Floats(y), s.Queries * row, s.ValueWidth, row), s);
        GC.KeepAlive(q);
        GC.KeepAlive(k);
        GC.KeepAlive(v);
        GC.KeepAlive(bias);
        return batched ? y.permute(0, 2, 1, 3) : y.view(s.Batches, s.Queries, s.ValueWidth);
    }

    private static bool Suits(Tensor t) =>
        t.dtype == ScalarType.Float32 && t.device_type == DeviceType.CPU && !(t.requires_grad && is_grad_enabled()) && t.numel() > 0;

    // [B, H, Q, K], without copying.
    private static Tensor? Expand(Tensor bias, AttentionShape s, bool batched)
    {
        long[] to = batched ? [s.Batches, s.Heads, s.Queries, s.Keys] : [s.Batches, s.Queries, s.Keys];
        var from = bias.shape;
        if (from.Length > to.Length) return null;
        for (var i = 1; i <= from.Length; i++) if (from[^i] != to[^i] && from[^i] != 1) return null;
        return bias.expand(to);
    }

    private static AttentionRows? Rows(Tensor t)
    {
        var steps = t.stride();
        return steps[^1] != 1 ? null : new((nint)TensorMemory.Strided(t), steps[0], steps.Length == 4 ? steps[1] : 0, steps[^2]);
    }
}
