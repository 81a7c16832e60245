using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Products of rows by pairs: a [n, heads, width], b [m, heads, width] -> [pairs, heads]; see <see cref="PairAttention.Dot"/>. It has no ONNX form.
/// </summary>
public sealed record PairDotOp(int[] A, int[] B) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => PairAttention.Dot(x[0]!, A, x[1]!, B);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(Numel(outputs[0]) * inputs[0]![2], 0);
}

/// <summary>Weighted sums of rows by pairs: w [pairs, heads], x [m, heads, width] -> [rows, heads, width]; see <see cref="PairAttention.Sum"/>.</summary>
public sealed record PairSumOp(int[] From, int[] To, int Rows) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => PairAttention.Sum(x[0]!, x[1]!, From, To, Rows);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(Numel(inputs[0]!) * inputs[1]![2], 0);
}

/// <summary>Softmax over the pairs of every segment: [pairs, heads]; see <see cref="PairAttention.Softmax"/>.</summary>
public sealed record SegmentSoftmaxOp(int[] Starts) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => PairAttention.Softmax(x[0]!, Starts);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, 3 * Numel(outputs[0]));
}
