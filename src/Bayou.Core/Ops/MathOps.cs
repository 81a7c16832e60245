using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The kinds of <see cref="UnaryOp"/>.</summary>
public enum Unary
{
    /// <summary>e^x</summary>
    Exp,

    /// <summary>ln x</summary>
    Log,

    /// <summary>Square root.</summary>
    Sqrt,

    /// <summary>|x|</summary>
    Abs,

    /// <summary>-1, 0 or 1; no gradient.</summary>
    Sign,

    /// <summary>-x</summary>
    Neg,
}

/// <summary>An elementwise function of one tensor.</summary>
public sealed record UnaryOp(Unary Kind) : Op
{
    /// <inheritdoc/>
    public override string Name => Kind.ToString();

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => Kind switch
    {
        Unary.Exp => x[0]!.exp(),
        Unary.Log => x[0]!.log(),
        Unary.Sqrt => x[0]!.sqrt(),
        Unary.Abs => x[0]!.abs(),
        Unary.Sign => x[0]!.sign(),
        _ => x[0]!.neg(),
    };
}

/// <summary>The kinds of <see cref="ReduceOp"/>.</summary>
public enum Reduction
{
    /// <summary>Sum of the elements.</summary>
    Sum,

    /// <summary>Largest element.</summary>
    Max,

    /// <summary>Smallest element.</summary>
    Min,
}

/// <summary>Sum, maximum or minimum over axes (<see cref="MeanOp"/> is an op of its own).</summary>
public sealed record ReduceOp(Reduction Kind, Ints Dims, bool KeepDim) : Op
{
    /// <inheritdoc/>
    public override string Name => "Reduce" + Kind;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => Kind switch
    {
        Reduction.Sum => x[0]!.sum(Dims.Array, KeepDim),
        Reduction.Max => x[0]!.amax(Dims.Array, KeepDim),
        _ => x[0]!.amin(Dims.Array, KeepDim),
    };

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, Numel(inputs[0]!));
}

/// <summary>x / max(||x||_2, eps) over one axis.</summary>
public sealed record NormalizeOp(long Dim, double Eps) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => nn.functional.normalize(x[0]!, 2, Dim, Eps);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, 3 * Numel(outputs[0]));
}

/// <summary>Elements outside [low, high] become the bound.</summary>
public sealed record ClampOp(double Low, double High) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => x[0]!.clamp(Number.Of(Low), Number.Of(High));
}

/// <summary>The value without its gradient.</summary>
public sealed record StopGradientOp : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => x[0]!.detach();
}
