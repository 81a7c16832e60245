using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Layer normalisation over the trailing axes (biased variance). Inputs: x [..., *shape], weight or null, bias or null.</summary>
public sealed record LayerNormOp(Ints Shape, double Eps) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) =>
        FusedLayerNorm.Suits(x[0]!, Shape, x[1], x[2])
            ? FusedLayerNorm.Apply(x[0]!, x[1]!, x[2]!, Eps) : nn.functional.layer_norm(x[0]!, Shape.Array, x[1], x[2], Eps);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, 5 * Numel(outputs[0]));
}

/// <summary>
/// Batch normalisation over axis 1. Inputs: x [N, C, ...], weight, bias, running mean, running variance (all [C]). In training the statistics of
/// the batch are used and the running ones updated in place: new = (1 - momentum) old + momentum batch.
/// </summary>
public sealed record BatchNormOp(double Eps, double Momentum) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) =>
        (training || Capture.IsActive ? null : FusedConv.Normalize(x[0]!, x[1]!, x[2]!, x[3]!, x[4]!, Eps))
        ?? nn.functional.batch_norm(x[0]!, x[3]!, x[4]!, x[1], x[2], training, Momentum, Eps);

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => new(0, 2 * Numel(outputs[0]));
}

/// <summary>Dropout: in training each element is zeroed with probability P and the rest divided by 1 - P; identity otherwise.</summary>
public sealed record DropoutOp(double P) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training) =>
        training && P > 0 ? nn.functional.dropout(x[0]!, P, true) : Capture.IsActive ? x[0]!.alias() : x[0]!;

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => default;
}

/// <summary>
/// Stochastic depth: in training each sample's branch is kept with probability 1 - P and divided by it, else zeroed; identity otherwise.
/// </summary>
public sealed record DropPathOp(double P) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var branch = x[0]!;
        // A captured node needs an output object of its own: the branch itself may have other readers.
        if (!training || P == 0) return Capture.IsActive ? branch.alias() : branch;
        var shape = new long[branch.dim()];
        Array.Fill(shape, 1);
        shape[0] = branch.shape[0];
        var keep = 1 - P;
        return mul(branch, empty(shape).bernoulli_(keep).div_(Number.Of(keep)).to(branch.dtype, branch.device));
    }

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs) => default;
}
