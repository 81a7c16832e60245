using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Sparse convolution of feature rows over a <see cref="KernelMap"/>, with gradients. float32 on the CPU runs in Bayou's kernels; every other type runs as
/// libtorch's gather, product and scatter, which is also what the tests and the bench compare with.
/// </summary>
public static unsafe class SparseConv
{
    /// <summary>y[out] = bias + sum over k and pairs of x[in] W[k].</summary>
    /// <param name="map">The pairs.</param>
    /// <param name="x">[map.InCount, Cin].</param>
    /// <param name="weight">[K, Cin, Cout].</param>
    /// <param name="bias">[Cout], [1, Cout] or null.</param>
    /// <returns>[map.OutCount, Cout].</returns>
    /// <exception cref="BayouException">Shapes do not fit the map.</exception>
    public static Tensor Apply(KernelMap map, Tensor x, Tensor weight, Tensor? bias)
    {
        Check(map, x, weight.dim() == 3 && weight.shape[0] == map.Volume && x.dim() == 2 && weight.shape[1] == x.shape[1], weight);
        if (!Plain(x) || !Plain(weight)) return Composed(map, x, weight, bias);
        return SparseConvFunction.apply(map, x, weight, bias!);
    }

    /// <summary>Channelwise: y[out] = sum over k and pairs of w[k] x[in].</summary>
    /// <param name="map">The pairs.</param>
    /// <param name="x">[map.InCount, C].</param>
    /// <param name="weight">[K, C].</param>
    public static Tensor ApplyChannelwise(KernelMap map, Tensor x, Tensor weight)
    {
        Check(map, x, weight.dim() == 2 && weight.shape[0] == map.Volume && x.dim() == 2 && weight.shape[1] == x.shape[1], weight);
        if (Plain(x) && Plain(weight)) return ChannelwiseFunction.apply(map, x, weight);
        return Sum(map, x, weight.shape[1], (rows, k) => rows.mul(weight[k]));
    }

    /// <summary>The plain libtorch formulation: for every offset gather the rows, multiply, add them where they belong.</summary>
    public static Tensor Composed(KernelMap map, Tensor x, Tensor weight, Tensor? bias)
    {
        var y = Sum(map, x, weight.shape[2], (rows, k) => rows.mm(weight[k]));
        return bias is null ? y : y.Plus(bias.reshape(1, -1));
    }

    private static Tensor Sum(KernelMap map, Tensor x, long channels, Func<Tensor, int, Tensor> product)
    {
        var y = zeros([map.OutCount, channels], x.dtype, x.device);
        for (var k = 0; k < map.Volume; k++)
        {
            if (map.In(k).Length == 0) continue;
            var (inRows, outRows) = (tensor(Longs(map.In(k)), device: x.device), tensor(Longs(map.Out(k)), device: x.device));
            y = y.index_add(0, outRows, product(x.index_select(0, inRows), k), Number.Of(1));
        }
        return y;
    }

    internal static long[] Longs(ReadOnlySpan<int> rows)
    {
        var longs = new long[rows.Length];
        for (var i = 0; i < longs.Length; i++) longs[i] = rows[i];
        return longs;
    }

    internal static bool Plain(Tensor t) => t.dtype == ScalarType.Float32 && t.device_type == DeviceType.CPU;

    private static void Check(KernelMap map, Tensor x, bool weightFits, Tensor weight)
    {
        if (x.shape[0] != map.InCount || !weightFits)
            throw new BayouException($"sparse convolution: features {new Ints(x.shape)} and weight {new Ints(weight.shape)} do not fit a map of {map.Volume} offsets over {map.InCount} voxels");
    }
}

/// <summary>The autograd node of <see cref="SparseConv.Apply"/>.</summary>
internal sealed unsafe class SparseConvFunction : KernelFunction<SparseConvFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (map, weight, bias) = ((KernelMap)vars[0], ((Tensor)vars[2]).contiguous(), (Tensor?)vars[3]);
        var x = ((Tensor)vars[1]).contiguous();
        var (cin, cout) = ((int)weight.shape[1], (int)weight.shape[2]);
        ctx.save_for_backward([x, weight]);
        ctx.save_data("map", map);
        ctx.save_data("needs", (((Tensor)vars[1]).requires_grad, ((Tensor)vars[2]).requires_grad, bias?.requires_grad == true, bias?.shape ?? []));
        var y = empty([map.OutCount, cout]);
        var b = bias?.contiguous();
        if (y.numel() > 0)
            SparseGemm.Forward(map, TensorMemory.Floats(x), TensorMemory.Floats(weight), b is null ? null : TensorMemory.Floats(b), TensorMemory.Floats(y),
            cin, cout);
        GC.KeepAlive(b);
        return y;
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (x, weight, map) = (saved[0], saved[1], (KernelMap)ctx.get_data("map"));
        var (needX, needWeight, needBias, biasShape) = ((bool, bool, bool, long[]))ctx.get_data("needs");
        var (cin, cout, dy) = ((int)weight.shape[1], (int)weight.shape[2], gradient.contiguous());
        var dx = needX ? empty(x.shape) : null;
        var dw = needWeight ? empty(weight.shape) : null;
        if (dx is not null) SparseGemm.BackwardInput(map, TensorMemory.Floats(dy), TensorMemory.Floats(weight), TensorMemory.Floats(dx), cin, cout);
        if (dw is not null) SparseGemm.BackwardWeight(map, TensorMemory.Floats(x), TensorMemory.Floats(dy), TensorMemory.Floats(dw), cin, cout);
        var db = needBias ? dy.sum(new long[] { 0 }).reshape(biasShape) : null;
        return [null, dx, dw, db];
    }
}

/// <summary>The autograd node of <see cref="SparseConv.ApplyChannelwise"/>.</summary>
internal sealed unsafe class ChannelwiseFunction : KernelFunction<ChannelwiseFunction>
{
    protected override Tensor Forward(autograd.AutogradContext ctx, object[] vars)
    {
        var (map, x, weight) = ((KernelMap)vars[0], ((Tensor)vars[1]).contiguous(), ((Tensor)vars[2]).contiguous());
        ctx.save_for_backward([x, weight]);
        ctx.save_data("map", map);
        ctx.save_data("needs", (((Tensor)vars[1]).requires_grad, ((Tensor)vars[2]).requires_grad));
        var y = empty([map.OutCount, x.shape[1]]);
        SparsePoolKernel.Channelwise(map, TensorMemory.Floats(x), TensorMemory.Floats(weight), TensorMemory.Floats(y), (int)x.shape[1]);
        return y;
    }

    protected override Tensor?[] Backward(autograd.AutogradContext ctx, List<Tensor> saved, Tensor gradient)
    {
        var (x, weight, map, dy) = (saved[0], saved[1], (KernelMap)ctx.get_data("map"), gradient.contiguous());
        var (needX, needWeight) = ((bool, bool))ctx.get_data("needs");
        var channels = (int)x.shape[1];
        var dx = needX ? empty(x.shape) : null;
        var dw = needWeight ? empty(weight.shape) : null;
        if (dx is not null)
            SparsePoolKernel.Channelwise(map.Transposed(), TensorMemory.Floats(dy), TensorMemory.Floats(weight), TensorMemory.Floats(dx), channels);
        if (dw is not null) SparsePoolKernel.ChannelwiseWeight(map, TensorMemory.Floats(x), TensorMemory.Floats(dy), TensorMemory.Floats(dw), channels);
        return [null, dx, dw];
    }
}
