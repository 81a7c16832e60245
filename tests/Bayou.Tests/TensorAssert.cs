using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Comparisons of tensors with messages that say where they differ.</summary>
internal static class TensorAssert
{
    /// <summary>Same shape, type and every element bit for bit (NaN equals NaN).</summary>
    public static void Same(Tensor expected, Tensor actual) => Close(expected, actual, 0, 0);

    /// <summary>Same shape and |a - b| within atol + rtol |expected| for every element.</summary>
    public static void Close(Tensor expected, Tensor actual, double rtol, double atol)
    {
        Assert.Equal(expected.shape, actual.shape);
        Assert.Equal(expected.dtype, actual.dtype);
        using var scope = NewDisposeScope();
        var (e, a) = (expected.detach().to(float64), actual.detach().to(float64));
        var excess = (e - a).abs() - (e.abs() * rtol + atol);
        var bad = excess.gt(0).logical_or(e.isnan().ne(a.isnan()));
        var count = bad.sum().item<long>();
        Assert.True(count == 0,
            count == 0 ? "" : $"{count} of {e.numel()} elements differ, the worst by {(e - a).abs().max().item<double>():G4} (largest expected {e.abs().max().item<double>():G4})");
    }
}
