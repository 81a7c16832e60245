namespace Bayou.Kernels;

/// <summary>Order of points along the Z-curve: neighbours in space become neighbours in memory.</summary>
public static class MortonOrder
{
    /// <summary>Indices of the points in Z-curve order, 16 bits an axis over the longest side of their box. Points in one cell keep their order.</summary>
    /// <param name="xyz">[n, 3], finite.</param>
    public static int[] Of(ReadOnlySpan<float> xyz)
    {
        var n = xyz.Length / 3;
        var order = new int[n];
        if (n == 0) return order;
        float lowX = xyz[0], lowY = xyz[1], lowZ = xyz[2], highX = lowX, highY = lowY, highZ = lowZ;
        for (var i = 0; i < xyz.Length; i += 3)
        {
            (lowX, highX) = (MathF.Min(lowX, xyz[i]), MathF.Max(highX, xyz[i]));
            (lowY, highY) = (MathF.Min(lowY, xyz[i + 1]), MathF.Max(highY, xyz[i + 1]));
            (lowZ, highZ) = (MathF.Min(lowZ, xyz[i + 2]), MathF.Max(highZ, xyz[i + 2]));
        }
        double side = Math.Max((double)highX - lowX, Math.Max((double)highY - lowY, (double)highZ - lowZ)), scale = side > 0 ? 65535 / side : 0;
        var keys = new ulong[n];
        for (var i = 0; i < n; i++)
        {
            order[i] = i;
            var (x, y, z) = ((xyz[3 * i] - (double)lowX) * scale, (xyz[3 * i + 1] - (double)lowY) * scale, (xyz[3 * i + 2] - (double)lowZ) * scale);
            keys[i] = Spread((ulong)x) | Spread((ulong)y) << 1 | Spread((ulong)z) << 2;
        }
        RadixSort.Sort(keys, order);
        return order;
    }

    // Bit i of a 16-bit number goes to bit 3 i.
    private static ulong Spread(ulong v)
    {
        v &= 0xFFFF;
        v = (v | v << 16) & 0x0000FF0000FF;
        v = (v | v << 8) & 0x00F00F00F00F;
        v = (v | v << 4) & 0x0C30C30C30C3;
        return (v | v << 2) & 0x249249249249;
    }
}
