using System.Numerics;

namespace Bayou.Core;

/// <summary>How integers lie in a register.</summary>
public enum RegisterCode
{
    /// <summary>Two's complement.</summary>
    TwosComplement,

    /// <summary>Sign and magnitude; the most negative code takes the largest magnitude.</summary>
    SignMagnitude,

    /// <summary>Offset binary: the value plus 2^(b-1).</summary>
    Offset,

    /// <summary>The offset in Gray code: neighbours differ by one bit.</summary>
    Gray,
}

/// <summary>
/// Bits that flip in a register while a stream of integers passes through it: what dynamic energy is proportional to, E = C V^2 / 2 for each flip
/// (specs/ace.md, section 4).
/// </summary>
public static class BitToggles
{
    /// <summary>The register's bits for a value of b bits.</summary>
    public static uint Register(int value, int bits, RegisterCode code)
    {
        if (bits is < 1 or > 31) throw new BayouException($"a register of {bits} bits: 1 to 31 are possible");
        var mask = (1u << bits) - 1;
        var offset = (uint)(value + (1 << (bits - 1))) & mask;
        return code switch
        {
            RegisterCode.TwosComplement => (uint)value & mask,
            RegisterCode.SignMagnitude => Math.Min((uint)Math.Abs((long)value), mask >> 1) | (value < 0 ? 1u << (bits - 1) : 0),
            RegisterCode.Offset => offset,
            _ => offset ^ (offset >> 1),
        };
    }

    /// <summary>Flips between consecutive values of a stream.</summary>
    public static long Count(ReadOnlySpan<int> stream, int bits, RegisterCode code)
    {
        long flips = 0;
        for (var i = 1; i < stream.Length; i++) flips += BitOperations.PopCount(Register(stream[i - 1], bits, code) ^ Register(stream[i], bits, code));
        return flips;
    }

    /// <summary>Flips of a 32-bit two's complement accumulator that starts at 0 and sums x[i] w[i].</summary>
    /// <exception cref="BayouException">The streams differ in length.</exception>
    public static long CountAccumulator(ReadOnlySpan<int> x, ReadOnlySpan<int> w)
    {
        if (x.Length != w.Length) throw new BayouException($"an accumulator needs as many weights as values: {w.Length} and {x.Length}");
        long flips = 0;
        var sum = 0;
        for (var i = 0; i < x.Length; i++)
        {
            var next = unchecked(sum + x[i] * w[i]);
            flips += BitOperations.PopCount((uint)(sum ^ next));
            sum = next;
        }
        return flips;
    }
}
