using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Attention over lists of pairs, with gradients: pointops' attention_step1, attention_step2 and, with a table instead of the keys, its relative position
/// products. float32 on the CPU.
/// </summary>
public static class PairAttention
{
    /// <summary>y[p, h] = a[ia[p], h] . b[ib[p], h].</summary>
    /// <param name="a">[n, heads, width].</param>
    /// <param name="ia">[pairs].</param>
    /// <param name="b">[m, heads, width].</param>
    /// <param name="ib">[pairs].</param>
    /// <returns>[pairs, heads].</returns>
    public static Tensor Dot(Tensor a, int[] ia, Tensor b, int[] ib)
    {
        Check(a, ia, b, ib);
        return PairDotFunction.apply(a, ia, b, ib);
    }

    /// <summary>y[iy[p], h] = sum over pairs of w[p, h] x[ix[p], h].</summary>
    /// <param name="w">[pairs, heads].</param>
    /// <param name="x">[m, heads, width].</param>
    /// <param name="ix">[pairs].</param>
    /// <param name="iy">[pairs].</param>
    /// <param name="rows">Rows of the result.</param>
    /// <returns>[rows, heads, width].</returns>
    public static Tensor Sum(Tensor w, Tensor x, int[] ix, int[] iy, int rows)
    {
        if (w.dim() != 2 || w.shape[0] != ix.Length || ix.Length != iy.Length || x.dim() != 3 || w.shape[1] != x.shape[1] || !SparseConv.Plain(w)
            || !SparseConv.Plain(x))
            throw new BayouException($"pair attention: weights {new Ints(w.shape)} and rows {new Ints(x.shape)} for {ix.Length} and {iy.Length} indices, float32 on the CPU, do not fit");
        InRange(ix, x.shape[0]);
        InRange(iy, rows);
        return PairSumFunction.apply(w, x, ix, iy, rows);
    }

    /// <summary>Softmax over the pairs of every segment.</summary>
    /// <param name="x">[pairs, heads].</param>
    /// <param name="starts">First pair of every segment, and the end.</param>
    public static Tensor Softmax(Tensor x, int[] starts)
    {
        var ascending = starts.Length > 0 && starts[0] == 0;
        for (var s = 1; s < starts.Length; s++) ascending &= starts[s] >= starts[s - 1];
        if (x.dim() != 2 || !ascending || starts[^1] != x.shape[0] || !SparseConv.Plain(x))
            throw new BayouException($"segment softmax: float32 [pairs, heads] on the CPU and ascending starts from 0 to {x.shape[0]} are needed");
        return SegmentSoftmaxFunction.apply(x, starts);
    }

    private static void Check(Tensor a, int[] ia, Tensor b, int[] ib)
    {
        if (a.dim() != 3 || b.dim() != 3 || a.shape[1] != b.shape[1] || a.shape[2] != b.shape[2] || ia.Length != ib.Length || !SparseConv.Plain(a)
            || !SparseConv.Plain(b))
            throw new BayouException($"pair attention: rows {new Ints(a.shape)} and {new Ints(b.shape)} for {ia.Length} and {ib.Length} indices, float32 on the CPU, do not fit");
        InRange(ia, a.shape[0]);
        InRange(ib, b.shape[0]);
    }

    private static void InRange(int[] index, long rows)
    {
        foreach (var i in index) if (i < 0 || i >= rows) throw new BayouException($"pair attention: index {i} of {rows} rows");
    }

    internal static unsafe Tensor DotOf(Tensor a, int[] ia, Tensor b, int[] ib)
    {
        var y = empty(ia.Length, a.shape[1]);
        fixed (int* i = ia, j = ib)
            if (ia.Length > 0)
                PairKernel.Dot(TensorMemory.Floats(a), i, TensorMemory.Floats(b), j, TensorMemory.Floats(y), ia.Length, (int)a.shape[1], (int)a.shape[2]);
        return y;
    }

    internal static unsafe Tensor SumOf(Tensor w, Tensor x, int[] ix, int[] iy, long rows)
    {
        var y = zeros(rows, x.shape[1], x.shape[2]);
        fixed (int* i = ix, j = iy)
        {
            if (ix.Length > 0 && rows > 0)
                PairKernel.Sum(TensorMemory.Floats(w), TensorMemory.Floats(x), i, TensorMemory.Floats(y), j, ix.Length, (int)rows, (int)x.shape[1],
                    (int)x.shape[2]);
        }
        return y;
    }
}

/// <summary>The autograd node of <see cref="PairAttention.Dot"/>.</summary>
internal sealed class PairDotFunction : KernelFunction<PairDotFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (a, b) = (((Tensor)vars[0]).contiguous(), ((Tensor)vars[2]).contiguous());
        ctx.save_for_backward([a, b]);
        ctx.save_data("index", ((int[])vars[1], (int[])vars[3]));
        return PairAttention.DotOf(a, (int[])vars[1], b, (int[])vars[3]);
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var ((ia, ib), g) = (((int[], int[]))ctx.get_data("index"), gradient.contiguous());
        var (a, b) = (saved[0], saved[1]);
        return [PairAttention.SumOf(g, b, ib, ia, a.shape[0]), null, PairAttention.SumOf(g, a, ia, ib, b.shape[0]), null];
    }
}

/// <summary>The autograd node of <see cref="PairAttention.Sum"/>.</summary>
internal sealed class PairSumFunction : KernelFunction<PairSumFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (w, x) = (((Tensor)vars[0]).contiguous(), ((Tensor)vars[1]).contiguous());
        ctx.save_for_backward([w, x]);
        ctx.save_data("index", ((int[])vars[2], (int[])vars[3]));
        return PairAttention.SumOf(w, x, (int[])vars[2], (int[])vars[3], (int)vars[4]);
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var ((ix, iy), g) = (((int[], int[]))ctx.get_data("index"), gradient.contiguous());
        var (w, x) = (saved[0], saved[1]);
        return [PairAttention.DotOf(g, iy, x, ix), PairAttention.SumOf(w, g, iy, ix, x.shape[0]), null, null, null];
    }
}

/// <summary>The autograd node of <see cref="PairAttention.Softmax"/>.</summary>
internal sealed unsafe class SegmentSoftmaxFunction : KernelFunction<SegmentSoftmaxFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (x, starts) = (((Tensor)vars[0]).contiguous(), (int[])vars[1]);
        var y = empty(x.shape);
        fixed (int* s = starts) if (x.numel() > 0) PairKernel.Softmax(TensorMemory.Floats(x), s, TensorMemory.Floats(y), starts.Length - 1, (int)x.shape[1]);
        ctx.save_data("starts", starts);
        // Its own result, kept apart from the node's output.
        ctx.save_for_backward([y.detach()]);
        return y;
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (y, g, starts) = (saved[0], gradient.contiguous(), (int[])ctx.get_data("starts"));
        var dx = empty(y.shape);
        fixed (int* s = starts) if (y.numel() > 0) PairKernel.SoftmaxBackward(TensorMemory.Floats(y), TensorMemory.Floats(g), s, TensorMemory.Floats(dx),
            starts.Length - 1, (int)y.shape[1]);
        return [dx, null];
    }
}
