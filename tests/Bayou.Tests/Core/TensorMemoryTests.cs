using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Values into tensors and out again.</summary>
public class TensorMemoryTests
{
    [Fact]
    public void Values_come_back_in_row_major_order_whatever_the_layout_and_type()
    {
        using var scope = NewDisposeScope();
        float[] values = [1, -2, 3.5f, 4, float.NaN, float.PositiveInfinity];
        var x = TensorMemory.FromValues(values, 2, 3);
        Assert.Equal([2L, 3L], x.shape);
        Assert.Equal(values, TensorMemory.ToArray<float>(x));
        Assert.Equal([1, 4, -2, float.NaN, 3.5f, float.PositiveInfinity], TensorMemory.ToArray<float>(x.t()));
        Assert.Equal([3.5f, float.PositiveInfinity], TensorMemory.ToArray<float>(x.narrow(1, 2, 1)));
        Assert.Equal([4, float.NaN, float.PositiveInfinity], TensorMemory.ToArray<float>(x[1]));
        Assert.Equal([1.0, -2, 3.5], TensorMemory.ToArray<double>(x[0]));
        Assert.Empty(TensorMemory.ToArray<float>(TensorMemory.FromValues([], 0, 4)));
    }

    [Fact]
    public void Values_that_do_not_fill_the_shape_are_refused() =>
        Assert.Contains("3 values", Assert.Throws<BayouException>(() => TensorMemory.FromValues([1, 2, 3], 2, 2)).Message, StringComparison.Ordinal);
}
