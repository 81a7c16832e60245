using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Rows of a table: inputs x and an int64 vector of positions along axis Dim; output as x with that axis replaced by the vector's length.</summary>
public sealed record GatherOp(long Dim) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => x[0]!.index_select(Dim, x[1]!);
}

/// <summary>Cyclic shift along one axis: element i moves to i + Shift. Shift may be negative.</summary>
public sealed record RollOp(long Dim, long Shift) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => x[0]!.roll(Shift, Dim);
}
