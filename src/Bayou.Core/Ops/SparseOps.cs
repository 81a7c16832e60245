using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Sparse convolution: x [n, Cin], weight [K, Cin, Cout], bias [Cout] or null -> [m, Cout]; see <see cref="SparseConv"/>. It has no ONNX form.
/// </summary>
public sealed record SparseConvOp(KernelMap Map) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => SparseConv.Apply(Map, x[0]!, x[1]!, x[2]);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(Map.Pairs * inputs[1]![1] * inputs[1]![2], 0);
}

/// <summary>Channelwise sparse convolution: x [n, C], weight [K, C] -> [m, C].</summary>
public sealed record SparseChannelwiseOp(KernelMap Map) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => SparseConv.ApplyChannelwise(Map, x[0]!, x[1]!);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(Map.Pairs * inputs[1]![1], 0);
}

/// <summary>Sparse pooling: x [n, C] -> [m, C]; see <see cref="SparsePool"/>.</summary>
public sealed record SparsePoolOp(KernelMap Map, PoolKind Kind) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) => SparsePool.Apply(Map, x[0]!, Kind);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, Map.Pairs * outputs[0][1]);
}
