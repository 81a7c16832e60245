using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// An autograd node around kernels that work on bare memory. Two things must not happen meanwhile: the collector frees a temporary whose last managed use is
/// over while a kernel reads its memory, or a gradient that TorchSharp has handed to the native engine as a bare address and forgotten. So a scope holds
/// everything a backward makes until its end, and the last gradients of each thread stay referenced until its next backward. A backward must not throw, that
/// would end the process: everything it relies on is checked in the forward.
/// </summary>
internal abstract class KernelFunction<T> : autograd.SingleTensorFunction<T>
    where T : KernelFunction<T>, new()
{
    [ThreadStatic] private static List<Tensor>? returned;

    public sealed override string Name => typeof(T).Name;

    public sealed override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        // No scope here: what is saved for the backward is taken over only after this has returned.
        var y = Forward(ctx, vars);
        GC.KeepAlive(vars);
        return y;
    }

    public sealed override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var gradients = Backward(ctx, ctx.get_saved_variables(), grad_output);
        foreach (var gradient in gradients) gradient?.MoveToOuterDisposeScope();
        GC.KeepAlive(grad_output);
        // TorchSharp's signature knows no null, its engine does: the place of what needs no gradient.
        return returned = gradients.Select(g => g!).ToList();
    }

    /// <summary>The value. A temporary that a kernel reads must be saved for the backward or kept alive.</summary>
    protected abstract Tensor Forward(autograd.AutogradContext ctx, object[] vars);

    /// <summary>One gradient for every argument of the forward; null for what is no tensor or needs none.</summary>
    protected abstract Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient);
}
