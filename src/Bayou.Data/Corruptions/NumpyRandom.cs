using System.Runtime.Intrinsics;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// The legacy generator of numpy (<c>numpy.random.seed</c>, <c>RandomState</c>): MT19937 (Matsumoto and Nishimura 1998), 53-bit uniforms, normals by
/// Marsaglia's polar method with one value kept, bounded integers by masking and rejection, Poisson counts by multiplication (rates below 10) or transformed
/// rejection (Hörmann 1993). Equal seeds give numpy's sequences value for value, so that a corruption drawn here is the one the published scripts draw.
/// </summary>
public sealed class NumpyRandom
{
    private const int StateLength = 624, Shift = 397;
    private const uint Upper = 0x80000000, Lower = 0x7fffffff, Matrix = 0x9908b0df;

    private static readonly double[] logFactorials = LogFactorials(1024);

    private readonly uint[] state = new uint[StateLength], output = new uint[StateLength];
    private int next = StateLength;
    private double spare;
    private bool hasSpare;

    /// <summary>Creates the generator as <c>numpy.random.seed(seed)</c> leaves it.</summary>
    public NumpyRandom(uint seed)
    {
        state[0] = seed;
        for (var i = 1; i < StateLength; i++) state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + (uint)i;
    }

    /// <summary>32 random bits.</summary>
    public uint NextBits()
    {
        if (next == StateLength) Refill();
        return output[next++];
    }

    /// <summary>Uniform in [0, 1), 53 bits: <c>random_sample</c>.</summary>
    public double NextDouble()
    {
        var high = NextBits() >> 5;
        var low = NextBits() >> 6;
        return (high * 67108864.0 + low) / 9007199254740992.0;
    }

    /// <summary>Uniform in [from, to): <c>uniform</c>.</summary>
    public double Uniform(double from, double to) => from + (to - from) * NextDouble();

    /// <summary>Uniform integer in low..high-1: <c>randint</c>.</summary>
    /// <exception cref="BayouException">The range is empty.</exception>
    public int NextInt(int low, int high)
    {
        if (low >= high) throw new BayouException($"A random integer from {low} up to, but not including, {high} cannot be.");
        var range = (uint)(high - 1 - low);
        if (range == 0) return low;
        var mask = uint.MaxValue >> System.Numerics.BitOperations.LeadingZeroCount(range);
        uint value;
        do value = NextBits() & mask;
        while (value > range);
        return low + (int)value;
    }

    /// <summary>Normal with mean 0 and deviation 1: <c>standard_normal</c>.</summary>
    public double NextNormal()
    {
        if (hasSpare)
        {
            hasSpare = false;
            return spare;
        }
        double a, b, square;
        do
        {
            a = 2.0 * NextDouble() - 1.0;
            b = 2.0 * NextDouble() - 1.0;
            square = a * a + b * b;
        }
        while (square >= 1.0 || square == 0.0);
        var factor = Math.Sqrt(-2.0 * Math.Log(square) / square);
        (spare, hasSpare) = (factor * a, true);
        return factor * b;
    }

    /// <summary>Number of events of a Poisson process: <c>poisson</c>.</summary>
    /// <param name="rate">Mean, finite, 0 or above; 0 gives 0 without a draw.</param>
    /// <exception cref="BayouException">The rate is negative, not finite or above 2^31.</exception>
    public int NextPoisson(double rate)
    {
        if (!(rate is >= 0 and < int.MaxValue)) throw new BayouException($"A Poisson rate of {rate}; a finite number from 0 up is possible.");
        return rate >= 10 ? Transformed(rate) : rate == 0 ? 0 : Multiplied(rate);
    }

    private int Multiplied(double rate)
    {
        var limit = Math.Exp(-rate);
        var count = 0;
        for (var product = NextDouble(); product > limit; product *= NextDouble()) count++;
        return count;
    }

    // W. Hörmann, "The transformed rejection method for generating Poisson random variables" (1993), algorithm PTRS.
    private int Transformed(double rate)
    {
        var b = 0.931 + 2.53 * Math.Sqrt(rate);
        var a = -0.059 + 0.02483 * b;
        var inverseAlpha = 1.1239 + 1.1328 / (b - 3.4);
        var limit = 0.9277 - 3.6224 / (b - 2);
        while (true)
        {
            var u = NextDouble() - 0.5;
            var v = NextDouble();
            var distance = 0.5 - Math.Abs(u);
            var k = Math.Floor((2 * a / distance + b) * u + rate + 0.43);
            if (distance >= 0.07 && v <= limit) return (int)k;
            if (k < 0 || (distance < 0.013 && v > distance)) continue;
            if (Math.Log(v) + Math.Log(inverseAlpha) - Math.Log(a / (distance * distance) + b) <= -rate + k * Math.Log(rate) - LogFactorial(k)) return (int)k;
        }
    }

    private static double LogFactorial(double k)
    {
        if (k < logFactorials.Length) return logFactorials[(int)k];
        var x = k + 1;              // Stirling; at these sizes three terms are exact to the last bit
        var inverse = 1 / (x * x);
        return (x - 0.5) * Math.Log(x) - x + 0.5 * Math.Log(2 * Math.PI) + (1.0 / 12 - (1.0 / 360 - inverse / 1260) * inverse) / x;
    }

    private static double[] LogFactorials(int count)
    {
        var values = new double[count];
        for (var k = 2; k < count; k++) values[k] = values[k - 1] + Math.Log(k);
        return values;
    }

    // The next 624 numbers at once. A new word depends on words at least 227 away, so that eight can be made together.
    private void Refill()
    {
        Twist(0, StateLength - Shift, Shift);
        Twist(StateLength - Shift, StateLength - 1, Shift - StateLength);
        var y = (state[StateLength - 1] & Upper) | (state[0] & Lower);
        state[StateLength - 1] = state[Shift - 1] ^ (y >> 1) ^ ((0u - (y & 1)) & Matrix);
        for (var i = 0; i < StateLength; i += Vector256<uint>.Count)
        {
            var word = Vector256.LoadUnsafe(ref state[i]);
            word ^= word >>> 11;
            word ^= (word << 7) & Vector256.Create(0x9d2c5680u);
            word ^= (word << 15) & Vector256.Create(0xefc60000u);
            (word ^ (word >>> 18)).StoreUnsafe(ref output[i]);
        }
        next = 0;
    }

    private void Twist(int from, int to, int far)
    {
        var i = from;
        for (; i <= to - Vector256<uint>.Count; i += Vector256<uint>.Count)
        {
            var y = (Vector256.LoadUnsafe(ref state[i]) & Vector256.Create(Upper)) | (Vector256.LoadUnsafe(ref state[i + 1]) & Vector256.Create(Lower));
            var odd = Vector256<uint>.Zero - (y & Vector256<uint>.One);
            (Vector256.LoadUnsafe(ref state[i + far]) ^ (y >>> 1) ^ (odd & Vector256.Create(Matrix))).StoreUnsafe(ref state[i]);
        }
        for (; i < to; i++)
        {
            var y = (state[i] & Upper) | (state[i + 1] & Lower);
            state[i] = state[i + far] ^ (y >> 1) ^ ((0u - (y & 1)) & Matrix);
        }
    }
}
