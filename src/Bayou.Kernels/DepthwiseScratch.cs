using System.Buffers;
using System.Runtime.InteropServices;

namespace Bayou.Kernels;

/// <summary>Aligned buffers of one unit: a 512-bit load across two cache lines costs twice.</summary>
internal readonly unsafe ref struct DepthwiseScratch : IDisposable
{
    private readonly float[] memory;
    private readonly GCHandle pin;
    private readonly float* first;
    private readonly int b, c, d, e;

    public DepthwiseScratch(int length0, int length1 = 0, int length2 = 0, int length3 = 0)
    {
        (b, c, d) = (Round(length0), Round(length0) + Round(length1), Round(length0) + Round(length1) + Round(length2));
        e = checked(d + Round(length3));
        memory = ArrayPool<float>.Shared.Rent(checked(e + 256 + DepthwiseTuning.TileLength + 16));
        pin = GCHandle.Alloc(memory, GCHandleType.Pinned);
        first = (float*)((pin.AddrOfPinnedObject() + 63) & ~63);
    }

    public float* this[int buffer] => first + buffer switch { 0 => 0, 1 => b, 2 => c, _ => d };

    /// <summary>The plane as it lies, or turned.</summary>
    public float* Plane(bool turned) => this[turned ? 3 : 1];

    /// <summary>A square of the widest registers.</summary>
    public float* Block => first + e;

    /// <summary>A tile of sums.</summary>
    public float* Sums => first + e + 256;

    public void Dispose()
    {
        pin.Free();
        ArrayPool<float>.Shared.Return(memory);
    }

    private static int Round(int length) => checked(length + 15) & ~15;
}
