using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// A hard decision: 1 where x is above the threshold, else 0. With <paramref name="StraightThrough"/> the gradient passes through (Bengio et al., arXiv
/// 1308.3432): the value is the decision, the derivative that of x; without it there is none.
/// </summary>
public sealed record HardGateOp(double Threshold, bool StraightThrough = true) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var p = x[0]!;
        var hard = p.detach().gt(Number.Of(Threshold)).to(p.dtype);
        return StraightThrough && p.requires_grad && is_grad_enabled() ? hard.Plus(sub(p, p.detach())) : hard;
    }
}

/// <summary>x * mask in value, x in derivative: what writing zeros into x outside the autograd graph does. Inputs: x, mask that broadcasts to x.</summary>
public sealed record MaskValuesOp : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var masked = mul(x[0]!, x[1]!);
        return x[0]!.requires_grad && is_grad_enabled() ? x[0]!.Plus(sub(masked, x[0]!).detach()) : masked;
    }
}

/// <summary>Networks whose samples of one batch take different ways.</summary>
public static class RowChoice
{
    /// <summary>
    /// Samples whose decision is 1 go through <paramref name="then"/>, those at 0 through <paramref name="otherwise"/>. With <paramref name="skip"/> each
    /// sample runs only the way it takes: the rows of either kind are gathered, run, and put back in their places. Without it (training, where batch statistics
    /// and gradients need both ways, and capture, whose graph must not depend on the values) both ways run for all and are blended: m then(x) + (1 - m)
    /// otherwise(x), the same numbers for decisions of 0 and 1.
    /// </summary>
    /// <param name="decision">[N, 1, ..., 1] with as many axes as the results.</param>
    /// <param name="x">[N, ...].</param>
    /// <param name="then">For any number of rows; keeps the batch axis.</param>
    /// <param name="otherwise">The other way, to the same shape as <paramref name="then"/>; null: x itself.</param>
    /// <param name="skip">Whether to run only what is needed.</param>
    public static Tensor Of(Tensor decision, Tensor x, Func<Tensor, Tensor> then, Func<Tensor, Tensor>? otherwise, bool skip)
    {
        if (!skip || Capture.IsActive)
        {
            var stay = Ops.Mul(Ops.Scale(decision, -1, 1), otherwise is null ? x : otherwise(x));
            return Ops.Add(Ops.Mul(decision, then(x)), stay);
        }
        var (go, rest) = Rows(decision);
        if (rest.Length == 0) return then(x);
        if (go.Length == 0) return otherwise is null ? x : otherwise(x);
        using var scope = NewDisposeScope();
        var goIndex = tensor(go, device: x.device);
        var gone = then(x.index_select(0, goIndex));
        if (otherwise is null) return x.clone().index_copy_(0, goIndex, gone).MoveToOuterDisposeScope();
        var restIndex = tensor(rest, device: x.device);
        var stayed = otherwise(x.index_select(0, restIndex));
        var y = empty([x.shape[0], .. stayed.shape[1..]], stayed.dtype, stayed.device).index_copy_(0, restIndex, stayed);
        return y.index_copy_(0, goIndex, gone).MoveToOuterDisposeScope();
    }

    /// <summary>Rows at 1 and rows at 0 of a decision [N, ...] with one value a row.</summary>
    public static (long[] Running, long[] Staying) Rows(Tensor decision)
    {
        var values = TensorMemory.IsPlain(decision) ? TensorMemory.Values(decision) : TensorMemory.ToArray<float>(decision);
        return Rows(values);
    }

    /// <summary>Indices of values above a half, and of the others.</summary>
    public static (long[] Running, long[] Staying) Rows(ReadOnlySpan<float> decisions)
    {
        var running = 0;
        foreach (var d in decisions) running += d > 0.5f ? 1 : 0;
        var (go, rest) = (new long[running], new long[decisions.Length - running]);
        var (g, r) = (0, 0);
        for (var i = 0; i < decisions.Length; i++)
        {
            if (decisions[i] > 0.5f) go[g++] = i;
            else rest[r++] = i;
        }
        return (go, rest);
    }
}
