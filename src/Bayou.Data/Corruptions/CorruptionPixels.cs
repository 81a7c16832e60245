using System.Buffers;

namespace Bayou.Data;

/// <summary>Bytes to the 0..1 scale and back, as the published functions do it: division by 255, clipping, scaling by 255, truncation.</summary>
internal static class CorruptionPixels
{
    /// <summary>v / 255 in doubles.</summary>
    public static readonly double[] Unit = [.. Enumerable.Range(0, 256).Select(v => v / 255.0)];

    /// <summary>v / 255 in floats.</summary>
    public static readonly float[] UnitSingle = [.. Enumerable.Range(0, 256).Select(v => v / 255f)];

    /// <summary>Truncates, never rounds: np.uint8(clip(x, 0, 1) * 255).</summary>
    public static byte ToByte(double unit) => (byte)(Math.Clamp(unit, 0.0, 1.0) * 255.0);

    /// <summary>As <see cref="ToByte(double)"/> in float arithmetic.</summary>
    public static byte ToByte(float unit) => (byte)(Math.Clamp(unit, 0f, 1f) * 255f);

    /// <summary>A picture on the 0..1 scale.</summary>
    public static Scratch<double> ToUnit(ImageBuffer x)
    {
        var unit = new Scratch<double>(x.Pixels.Length);
        var to = unit.Span;
        for (var i = 0; i < to.Length; i++) to[i] = Unit[x.Pixels[i]];
        return unit;
    }

    /// <summary>Clips and truncates a whole picture.</summary>
    public static void ToBytes(ReadOnlySpan<double> unit, ImageBuffer result)
    {
        var to = result.Pixels.AsSpan(0, unit.Length);
        for (var i = 0; i < unit.Length; i++) to[i] = ToByte(unit[i]);
    }
}

/// <summary>Memory borrowed from the shared pool; its content is undefined at first.</summary>
internal readonly struct Scratch<T>(int length) : IDisposable
{
    private readonly T[] rented = ArrayPool<T>.Shared.Rent(length);

    /// <summary>The memory.</summary>
    public Span<T> Span => rented.AsSpan(0, length);

    /// <inheritdoc/>
    public void Dispose() => ArrayPool<T>.Shared.Return(rented);
}
