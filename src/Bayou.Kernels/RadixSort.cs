using System.Buffers;

namespace Bayou.Kernels;

/// <summary>
/// Stable sort of 64-bit keys with a 32-bit companion: least significant digit first, eleven bits a pass; passes in which all keys agree are left out.
/// </summary>
public static class RadixSort
{
    private const int Bits = 11, Buckets = 1 << Bits;

    /// <summary>Sorts keys ascending (unsigned) and moves the values with them; equal keys keep their order.</summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static void Sort(Span<ulong> keys, Span<int> values)
    {
        if (keys.Length != values.Length) throw new ArgumentException($"{keys.Length} keys and {values.Length} values");
        if (keys.Length < 2) return;
        ulong differing = 0;
        foreach (var key in keys) differing |= key ^ keys[0];
        var keyBuffer = ArrayPool<ulong>.Shared.Rent(keys.Length);
        var valueBuffer = ArrayPool<int>.Shared.Rent(keys.Length);
        Span<int> count = stackalloc int[Buckets];
        Span<ulong> from = keys, to = keyBuffer.AsSpan(0, keys.Length);
        Span<int> fromValues = values, toValues = valueBuffer.AsSpan(0, keys.Length);
        var swapped = false;
        for (var shift = 0; shift < 64; shift += Bits)
        {
            if (((differing >> shift) & (Buckets - 1)) == 0) continue;
            count.Clear();
            foreach (var key in from) count[(int)(key >> shift) & (Buckets - 1)]++;
            var sum = 0;
            for (var b = 0; b < Buckets; b++) (count[b], sum) = (sum, sum + count[b]);
            for (var i = 0; i < from.Length; i++)
            {
                var place = count[(int)(from[i] >> shift) & (Buckets - 1)]++;
                to[place] = from[i];
                toValues[place] = fromValues[i];
            }
            var freeKeys = from;
            var freeValues = fromValues;
            from = to;
            fromValues = toValues;
            to = freeKeys;
            toValues = freeValues;
            swapped = !swapped;
        }
        if (swapped)
        {
            from.CopyTo(keys);
            fromValues.CopyTo(values);
        }
        ArrayPool<ulong>.Shared.Return(keyBuffer);
        ArrayPool<int>.Shared.Return(valueBuffer);
    }
}
