using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// One operation with its attributes: how it runs in TorchSharp, what it costs. Records compare by value, so that a graph captured
/// at two batch sizes can be compared node by node.
/// </summary>
public abstract record Op
{
    /// <summary>The op's name: the record's without "Op".</summary>
    public virtual string Name => GetType().Name[..^2];

    /// <summary>Runs the op. Inputs that the op declares optional may be null.</summary>
    /// <param name="x">Inputs in the op's order.</param>
    /// <param name="training">Whether nodes with two behaviours (BatchNorm, Dropout, DropPath) take the training one.</param>
    public abstract Tensor Forward(Tensor?[] x, bool training);

    /// <summary>Runs an op with several outputs; single-output ops wrap <see cref="Forward"/>.</summary>
    public virtual Tensor[] ForwardMany(Tensor?[] x, bool training) => [Forward(x, training)];

    /// <summary>Multiply-accumulates and elementwise operations for the given shapes. Default: one elementwise operation an output element.</summary>
    /// <param name="inputs">Shapes of the inputs; null where an optional input is absent.</param>
    /// <param name="outputs">Shapes of the outputs.</param>
    public virtual OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, outputs.Sum(Numel));

    /// <summary>
    /// The op that serves every batch size, given the same node as captured at two batch sizes, or null when there is none (an attribute
    /// depends on the batch in a way the op cannot express).
    /// </summary>
    public virtual Op? MergeBatch(Op other, long[][] outputs, long[][] otherOutputs) => Equals(other) ? this : null;

    /// <summary>Number of elements of a shape.</summary>
    protected static long Numel(long[] shape)
    {
        long n = 1;
        foreach (var d in shape) n *= d;
        return n;
    }
}

/// <summary>Arithmetic of one node.</summary>
/// <param name="Macs">Multiply-accumulates of convolutions and matrix products (padding positions count).</param>
/// <param name="Elementwise">Other scalar operations.</param>
public readonly record struct OpWork(long Macs, long Elementwise);
