using System.Runtime.InteropServices;
using Bayou.Core;
using TorchSharp;

namespace Bayou.Parity;

/// <summary>A tensor's values in row-major order: whole numbers and truth values as 64-bit integers, everything else as doubles.</summary>
public sealed class TensorValues
{
    private readonly long[]? whole;
    private readonly double[]? real;

    public TensorValues(torch.Tensor tensor)
    {
        Shape = tensor.shape;
        using var scope = torch.NewDisposeScope();
        var plain = tensor.detach().cpu();
        if (tensor.dtype is torch.ScalarType.Float64 or torch.ScalarType.Float32 or torch.ScalarType.Float16 or torch.ScalarType.BFloat16)
            real = Copy<double>(plain.to(torch.float64));
        else if (tensor.dtype is torch.ScalarType.ComplexFloat32 or torch.ScalarType.ComplexFloat64)
            throw new BayouException("complex tensors cannot be compared; give real and imaginary part");
        else
            whole = Copy<long>(plain.to(torch.int64));
    }

    private static T[] Copy<T>(torch.Tensor tensor) where T : unmanaged =>
        tensor.numel() == 0 ? [] : MemoryMarshal.Cast<byte, T>(tensor.contiguous().bytes).ToArray();

    public long[] Shape { get; }

    public int Count => whole?.Length ?? real!.Length;

    public double this[int i] => whole is null ? real![i] : whole[i];

    /// <summary>How far ours[i] (or -ours[i]) is from reference[j]: 0 for equal values, NaN with NaN and an infinity with itself included;
    /// infinite when only one side is a number. Whole numbers are subtracted as such, so unsigned ones do not wrap around.</summary>
    public static double Distance(TensorValues ours, int i, TensorValues reference, int j, bool negate = false)
    {
        if (ours.whole is not null && reference.whole is not null)
            return (double)Int128.Abs((negate ? -(Int128)ours.whole[i] : ours.whole[i]) - reference.whole[j]);
        double a = negate ? -ours[i] : ours[i], b = reference[j];
        if (a == b || (double.IsNaN(a) && double.IsNaN(b))) return 0;
        return double.IsFinite(a) && double.IsFinite(b) ? Math.Abs(a - b) : double.PositiveInfinity;
    }

    /// <summary>Orders rows of two tensors element by element (NaN equals NaN and comes first).</summary>
    public static int CompareRows(TensorValues a, int rowA, TensorValues b, int rowB, int width)
    {
        for (var c = 0; c < width; c++)
        {
            int i = rowA * width + c, j = rowB * width + c;
            var order = a.whole is not null && b.whole is not null ? a.whole[i].CompareTo(b.whole[j]) : a[i].CompareTo(b[j]);
            if (order != 0) return order;
        }
        return 0;
    }

    /// <summary>The position of a flat index, for messages: [0, 3, 1].</summary>
    public string Position(int index)
    {
        var position = new long[Shape.Length];
        for (var d = Shape.Length - 1; d >= 0; d--) (position[d], index) = (index % Shape[d], (int)(index / Shape[d]));
        return $"[{string.Join(", ", position)}]";
    }
}
