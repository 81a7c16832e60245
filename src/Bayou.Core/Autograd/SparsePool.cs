using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>How a pooling window is reduced.</summary>
public enum PoolKind
{
    /// <summary>Largest; the gradient goes to the first of equal ones only.</summary>
    Max,

    /// <summary>Divided by the number of voxels that exist, not by the window's volume.</summary>
    Average,

    /// <summary>Not divided.</summary>
    Sum,
}

/// <summary>Pooling of feature rows over a <see cref="KernelMap"/>, with gradients.</summary>
public static class SparsePool
{
    /// <summary>Pools x [map.InCount, C] -> [map.OutCount, C]; an output without inputs is 0.</summary>
    /// <exception cref="BayouException">The rows do not fit the map, or x is not float32 on the CPU.</exception>
    public static Tensor Apply(KernelMap map, Tensor x, PoolKind kind)
    {
        if (x.dim() != 2 || x.shape[0] != map.InCount || !SparseConv.Plain(x))
            throw new BayouException($"sparse pooling: float32 features [{map.InCount}, C] on the CPU are needed, not {x.dtype} {new Ints(x.shape)}");
        return SparsePoolFunction.apply(map, x, kind);
    }
}

/// <summary>The autograd node of <see cref="SparsePool"/>.</summary>
internal sealed unsafe class SparsePoolFunction : KernelFunction<SparsePoolFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (map, x, kind) = ((KernelMap)vars[0], ((Tensor)vars[1]).contiguous(), (PoolKind)vars[2]);
        var channels = (int)x.shape[1];
        var y = empty([map.OutCount, channels]);
        if (kind == PoolKind.Max)
        {
            var from = new int[map.OutCount * channels];
            fixed (int* f = from) SparsePoolKernel.Max(map, TensorMemory.Floats(x), TensorMemory.Floats(y), f, channels);
            ctx.save_data("from", from);
        }
        else
        {
            var shares = kind == PoolKind.Average ? SparsePoolKernel.Shares(map) : null;
            fixed (float* s = shares) SparsePoolKernel.Sum(map, TensorMemory.Floats(x), TensorMemory.Floats(y), channels, null, s);
            ctx.save_data("shares", shares!);
        }
        ctx.save_data("map", map);
        ctx.save_data("kind", kind);
        GC.KeepAlive(x);
        return y;
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (map, dy, channels) = ((KernelMap)ctx.get_data("map"), gradient.contiguous(), (int)gradient.shape[1]);
        var dx = empty([map.InCount, channels]);
        if ((PoolKind)ctx.get_data("kind") == PoolKind.Max)
        {
            fixed (int* f = (int[])ctx.get_data("from")) SparsePoolKernel.MaxBackward(map.OutCount, f, TensorMemory.Floats(dy), TensorMemory.Floats(dx),
                map.InCount, channels);
        }
        else
        {
            fixed (float* s = (float[]?)ctx.get_data("shares")) SparsePoolKernel.Sum(map.Transposed(), TensorMemory.Floats(dy), TensorMemory.Floats(dx),
                channels, s, null);
        }
        return [null, dx, null];
    }
}
