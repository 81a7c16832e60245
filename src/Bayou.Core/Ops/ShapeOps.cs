using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Base of ops that only move or rename elements: no arithmetic.</summary>
public abstract record MoveOp : Op
{
    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => default;
}

/// <summary>Reorders the axes.</summary>
public sealed record PermuteOp(Ints Dims) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => x[0]!.permute(Dims.Array);
}

/// <summary>New shape; 0 copies the input's axis at that position, one -1 is inferred (as in ONNX).</summary>
public sealed record ReshapeOp(Ints Shape) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var input = x[0]!.shape;
        var shape = (long[])Shape.Array.Clone();
        for (var i = 0; i < shape.Length; i++)
        {
            if (shape[i] == 0)
            {
                if (i >= input.Length) throw new BayouException($"Reshape: axis {i} of {Shape} copies an axis that the input {new Ints(input)} does not have");
                shape[i] = input[i];
            }
        }
        return x[0]!.reshape(shape);
    }

    /// <inheritdoc/>
    public override Op? MergeBatch(Op other, long[][] outputs, long[][] otherOutputs)
    {
        if (Equals(other)) return this;
        if (other is not ReshapeOp reshape || reshape.Shape.Count != Shape.Count) return null;
        // The one axis that grew with the batch becomes the inferred one.
        var shape = (long[])Shape.Array.Clone();
        var symbolic = -1;
        for (var i = 0; i < shape.Length; i++)
        {
            if (shape[i] == reshape.Shape[i]) continue;
            if (symbolic >= 0) return null;
            symbolic = i;
        }
        for (var i = 0; i < shape.Length; i++)
        {
            if (i != symbolic && shape[i] == -1) shape[i] = outputs[0][i];
        }
        shape[symbolic] = -1;
        return new ReshapeOp(shape);
    }
}

/// <summary>Joins tensors along an axis.</summary>
public sealed record ConcatOp(long Dim) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => cat(x.Select(t => t!).ToArray(), Dim);
}

/// <summary>Elements start, start + step, ... below end of one axis; end may be negative (from the end) or long.MaxValue (to the end).</summary>
public sealed record SliceOp(long Dim, long Start, long End, long Step) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => x[0]!.slice(Dim, Start, End, Step);
}

/// <summary>Cuts an axis into pieces of the given sizes.</summary>
public sealed record SplitOp(long Dim, Ints Sizes) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => throw new BayouException("Split has several outputs: use ForwardMany");

    /// <inheritdoc/>
    public override Tensor[] ForwardMany(Tensor?[] x, bool training) => x[0]!.split(Sizes.Array, Dim);
}

/// <summary>Pads the last two axes of [N, C, H, W] with a constant.</summary>
public sealed record Pad2dOp(long Left, long Right, long Top, long Bottom, double Value) : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => nn.functional.pad(x[0]!, [Left, Right, Top, Bottom], PaddingModes.Constant, Value);
}

/// <summary>Repeats a tensor of batch 1 to the batch of the second input: class tokens. Inputs: token [1, ...], x [N, ...].</summary>
public sealed record ExpandBatchOp : MoveOp
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var shape = (long[])x[0]!.shape.Clone();
        shape[0] = x[1]!.shape[0];
        return x[0]!.expand(shape);
    }
}

/// <summary>Mean over axes.</summary>
public sealed record MeanOp(Ints Dims, bool KeepDim) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => x[0]!.mean(Dims.Array, KeepDim);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, Numel(inputs[0]!));
}

/// <summary>Max pooling of [N, C, H, W] (padding does not take part).</summary>
public sealed record MaxPool2dOp(Ints Kernel, Ints Stride, Ints Padding) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) =>
        nn.functional.max_pool2d(x[0]!, Kernel.Array, Stride.Array, Padding.Array);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, Numel(outputs[0]) * Kernel[0] * Kernel[1]);
}

/// <summary>Average pooling of [N, C, H, W].</summary>
public sealed record AvgPool2dOp(Ints Kernel, Ints Stride, Ints Padding, bool CountPadding) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) =>
        nn.functional.avg_pool2d(x[0]!, Kernel.Array, Stride.Array, Padding.Array, count_include_pad: CountPadding);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, Numel(outputs[0]) * Kernel[0] * Kernel[1]);
}
