using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Rows of features by index: x [n, c], index int [...] -> [..., c]. The gradient adds up.</summary>
public sealed record GatherRowsOp : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var (features, index) = (x[0]!, x[1]!.to(ScalarType.Int64));
        return features.index_select(0, index.reshape(-1)).reshape([.. index.shape, .. features.shape.Skip(1)]);
    }
}

/// <summary>Weighted sum of rows: x [n, c], index int [m, k], weight [m, k] -> [m, c]: interpolation. Differentiable in x and weight.</summary>
public sealed record InterpolateRowsOp : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var (features, index, weight) = (x[0]!, x[1]!.to(ScalarType.Int64), x[2]!);
        return features.index_select(0, index.reshape(-1)).reshape([.. index.shape, features.shape[1]]).mul(weight.unsqueeze(-1)).sum(1);
    }

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(Numel(outputs[0]) * inputs[1]![^1], 0);
}

/// <summary>Adds rows to segments: x [n, c], index int [n] in 0..Segments-1 -> [Segments, c]; divided by the row count where <paramref name="Mean"/>.</summary>
public sealed record SegmentSumOp(long Segments, bool Mean) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var (features, index) = (x[0]!, x[1]!.to(ScalarType.Int64));
        var sums = zeros([Segments, features.shape[1]], features.dtype, features.device).index_add(0, index, features, Number.Of(1));
        if (!Mean) return sums;
        var counts = zeros([Segments, 1], features.dtype, features.device)
            .index_add(0, index, ones([index.shape[0], 1], features.dtype, features.device), Number.Of(1));
        return sums.div(counts.clamp(Number.Of(1)));
    }

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, Numel(inputs[0]!));
}
