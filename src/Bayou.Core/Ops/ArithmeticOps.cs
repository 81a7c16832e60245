using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>2D convolution. Inputs: x [N, C, H, W], weight [O, C/groups, kh, kw], bias [O] or null. Output [N, O, H', W'].</summary>
public sealed record Conv2dOp(Ints Stride, Ints Padding, Ints Dilation, long Groups) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) =>
        DepthwiseConv.TryApply(x[0]!, x[1]!, x[2], this)
        ?? (PatchConv.Suits(x[0]!, x[1]!, x[2], this) ? PatchConv.Apply(x[0]!, x[1]!, x[2])
            : FusedConv.IsPointwise(x[0]!, x[1]!, x[2], this) ? FusedConv.Pointwise(x[0]!, x[1]!, x[2])
            : nn.functional.conv2d(x[0]!, x[1]!, x[2], Stride.Array, Padding.Array, Dilation.Array, Groups));

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs)
    {
        var weight = inputs[1]!;
        var y = Numel(outputs[0]);
        return new(y * weight[1] * weight[2] * weight[3], inputs[2] is null ? 0 : y);
    }
}

/// <summary>Affine map over the last axis. Inputs: x [..., I], weight [O, I], bias [O] or null. Output [..., O].</summary>
public sealed record LinearOp : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => Products.Linear(x[0]!, x[1]!, x[2]);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs)
    {
        var y = Numel(outputs[0]);
        return new(y * inputs[1]![1], inputs[2] is null ? 0 : y);
    }
}

/// <summary>Matrix product with broadcast batch axes: [..., M, K] x [..., K, N] -> [..., M, N].</summary>
public sealed record MatMulOp : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        Tensor a = x[0]!, b = x[1]!;
        // libtorch aborts the process on wrong shapes here instead of throwing.
        if (a.dim() < 2 || b.dim() < 2 || a.shape[^1] != b.shape[^2])
            throw new BayouException($"MatMul: shapes {new Ints(a.shape)} and {new Ints(b.shape)} do not fit: the last axis of the first must equal the last but one of the second");
        for (var i = 3; i <= Math.Min(a.dim(), b.dim()); i++)
        {
            if (a.shape[^i] != b.shape[^i] && a.shape[^i] != 1 && b.shape[^i] != 1)
                throw new BayouException($"MatMul: batch axes of {new Ints(a.shape)} and {new Ints(b.shape)} cannot be broadcast");
        }
        return matmul(a, b);
    }

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(Numel(outputs[0]) * inputs[0]![^1], 0);
}

/// <summary>The kinds of <see cref="BinaryOp"/>.</summary>
public enum Binary
{
    /// <summary>a + b</summary>
    Add,

    /// <summary>a - b</summary>
    Sub,

    /// <summary>a * b</summary>
    Mul,

    /// <summary>a / b</summary>
    Div,
}

/// <summary>Elementwise arithmetic of two tensors with broadcasting.</summary>
public sealed record BinaryOp(Binary Kind) : Op
{
    /// <inheritdoc/>
    public override string Name => Kind.ToString();

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => Kind switch
    {
        Binary.Add => x[0]!.Plus(x[1]!),
        Binary.Sub => sub(x[0]!, x[1]!),
        Binary.Mul => mul(x[0]!, x[1]!),
        _ => div(x[0]!, x[1]!),
    };
}

/// <summary>x * scale + shift with numbers known when the network is built.</summary>
public sealed record ScaleOp(double Scale, double Shift) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var y = Scale == 1 ? x[0]! : mul(x[0]!, Number.Of(Scale));
        return Shift == 0 && Scale != 1 ? y : y.Plus(Number.Of(Shift));
    }
}

/// <summary>The kinds of <see cref="ActivationOp"/>.</summary>
public enum Activation
{
    /// <summary>max(x, 0)</summary>
    Relu,

    /// <summary>x Phi(x), exact (erf)</summary>
    Gelu,

    /// <summary>1 / (1 + exp(-x))</summary>
    Sigmoid,

    /// <summary>x sigmoid(x)</summary>
    Silu,

    /// <summary>tanh x</summary>
    Tanh,

    /// <summary>x relu6(x + 3) / 6</summary>
    Hardswish,

    /// <summary>relu6(x + 3) / 6</summary>
    Hardsigmoid,
}

/// <summary>Elementwise activation.</summary>
public sealed record ActivationOp(Activation Kind) : Op
{
    /// <inheritdoc/>
    public override string Name => Kind.ToString();

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => Kind switch
    {
        Activation.Relu => nn.functional.relu(x[0]!),
        Activation.Gelu => nn.functional.gelu(x[0]!),
        Activation.Sigmoid => sigmoid(x[0]!),
        Activation.Silu => nn.functional.silu(x[0]!),
        Activation.Tanh => tanh(x[0]!),
        Activation.Hardswish => nn.functional.hardswish(x[0]!),
        _ => nn.functional.hardsigmoid(x[0]!),
    };
}

/// <summary>Softmax over one axis.</summary>
public sealed record SoftmaxOp(long Dim) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => nn.functional.softmax(x[0]!, Dim);
}
