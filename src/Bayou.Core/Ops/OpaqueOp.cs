using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// What has no ONNX form (sparse convolution, point operators, removal of tokens): a node that runs and declares its cost; exporting it is an error that names
/// it. Compared by reference of its function: capture at two batch sizes sees the same module.
/// </summary>
public sealed record OpaqueOp(string Label, Func<Tensor?[], bool, Tensor[]> Run, Func<long[]?[], long[][], OpWork> Declared) : Op
{
    /// <inheritdoc/>
    public override string Name => Label;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => Run(x, training)[0];

    /// <inheritdoc/>
    public override Tensor[] ForwardMany(Tensor?[] x, bool training) => Run(x, training);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => Declared(inputs, outputs);

    /// <inheritdoc/>
    public override Op? MergeBatch(Op other, long[][] outputs, long[][] otherOutputs) => other is OpaqueOp o && o.Label == Label ? this : null;
}
