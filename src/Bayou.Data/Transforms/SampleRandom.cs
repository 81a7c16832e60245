using System.Numerics;

namespace Bayou.Data;

/// <summary>
/// A small random generator (xoshiro256**, seeded through splitmix64) for one picture's augmentation: seeded by (seed, epoch, index), so that the result does
/// not depend on which thread prepares the picture, or when.
/// </summary>
public sealed class SampleRandom
{
    private ulong s0, s1, s2, s3;
    private double spare = double.NaN;

    /// <summary>Creates a generator; equal seeds give equal sequences.</summary>
    public SampleRandom(ulong seed)
    {
        s0 = StableHash.Mix(seed, 0);
        s1 = StableHash.Mix(seed, 1);
        s2 = StableHash.Mix(seed, 2);
        s3 = StableHash.Mix(seed, 3);
        if ((s0 | s1 | s2 | s3) == 0) s0 = 1;       // the one state it could not leave
    }

    /// <summary>The generator of picture <paramref name="index"/> in epoch <paramref name="epoch"/>.</summary>
    public static SampleRandom For(int seed, int epoch, int index) =>
        new(StableHash.Mix(StableHash.Mix((ulong)(long)seed, (ulong)(long)epoch), (ulong)(long)index));

    /// <summary>64 random bits.</summary>
    public ulong NextBits()
    {
        var result = BitOperations.RotateLeft(s1 * 5, 7) * 9;
        var t = s1 << 17;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= t;
        s3 = BitOperations.RotateLeft(s3, 45);
        return result;
    }

    /// <summary>Uniform in [0, 1), 53 bits.</summary>
    public double NextDouble() => (NextBits() >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform in [from, to).</summary>
    public double Uniform(double from, double to) => from + (to - from) * NextDouble();

    /// <summary>Uniform in 0..count-1, without bias.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is below 1.</exception>
    public int NextInt(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        var bound = (uint)count;
        var product = (NextBits() >> 32) * bound;
        if ((uint)product < bound)
        {
            var threshold = (0u - bound) % bound;       // the products below it occur once too often
            while ((uint)product < threshold) product = (NextBits() >> 32) * bound;
        }
        return (int)(product >> 32);
    }

    /// <summary>True with probability <paramref name="probability"/>.</summary>
    public bool Chance(double probability) => NextDouble() < probability;

    /// <summary>Normal with mean 0 and deviation 1 (Box and Muller; the second of each pair is kept for the next call).</summary>
    public double NextGaussian()
    {
        if (!double.IsNaN(spare))
        {
            var kept = spare;
            spare = double.NaN;
            return kept;
        }
        var radius = Math.Sqrt(-2.0 * Math.Log(1.0 - NextDouble()));
        var (sin, cos) = Math.SinCos(2 * Math.PI * NextDouble());
        spare = radius * sin;
        return radius * cos;
    }

    /// <summary>Puts the items into a random order (Fisher and Yates).</summary>
    public void Shuffle<T>(Span<T> items)
    {
        for (var i = items.Length - 1; i > 0; i--)
        {
            var j = NextInt(i + 1);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }
}
