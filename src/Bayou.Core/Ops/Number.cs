using System.Collections.Concurrent;
using TorchSharp;

namespace Bayou.Core;

/// <summary>
/// Plain numbers as arguments of tensor functions. TorchSharp turns a number into a <see cref="Scalar"/> object whose finalizer may free the native value while
/// libtorch still reads it (nothing keeps the object alive during the call): with a busy garbage collector, as a data loader makes it, that crashes or computes
/// nonsense. Scalars from here stay alive: the implicit conversion is banned in all rooms.
/// </summary>
public static class Number
{
    private const int Generation = 1 << 14;

    // Two generations: a value that has not been asked for during the last 16,384 new ones may be collected; no native call takes that long.
    private static ConcurrentDictionary<double, Scalar> young = new();
    private static ConcurrentDictionary<double, Scalar> old = new();
    private static readonly ConcurrentDictionary<long, Scalar> Integers = new();

    /// <summary>A real number.</summary>
    public static Scalar Of(double value)
    {
        if (young.TryGetValue(value, out var scalar)) return scalar;
        scalar = old.TryGetValue(value, out var kept) ? kept : value.ToScalar();
        if (young.Count >= Generation) (old, young) = (young, new());
        young[value] = scalar;
        return scalar;
    }

    /// <summary>A whole number (integer tensors stay integer).</summary>
    public static Scalar Of(long value) => Integers.GetOrAdd(value, v => v.ToScalar());

    /// <summary>A whole number (integer tensors stay integer).</summary>
    public static Scalar Of(int value) => Of((long)value);

    /// <summary>a + b. TorchSharp's own addition multiplies b by a temporary 1.</summary>
    public static torch.Tensor Plus(this torch.Tensor a, torch.Tensor b) => a.add(b, One);

    /// <summary>a + b.</summary>
    public static torch.Tensor Plus(this torch.Tensor a, Scalar b) => a.add(b, One);

    /// <summary>a += b.</summary>
    public static torch.Tensor PlusInPlace(this torch.Tensor a, torch.Tensor b) => a.add_(b, One);

    /// <summary>a += b.</summary>
    public static torch.Tensor PlusInPlace(this torch.Tensor a, Scalar b) => a.add_(b, One);

    /// <summary>x x (TorchSharp's square is a power with a temporary 2).</summary>
    public static torch.Tensor Squared(this torch.Tensor x) => x.mul(x);

    private static readonly Scalar One = 1L.ToScalar();
}
