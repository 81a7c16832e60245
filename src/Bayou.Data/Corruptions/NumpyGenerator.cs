namespace Bayou.Data;

/// <summary>
/// The newer generator of numpy (<c>numpy.random.default_rng</c>): PCG64 (O'Neill 2014, XSL-RR output of 128 bits of state) seeded through SeedSequence. Only
/// impulse noise needs it: scikit-image draws its salt and pepper from it.
/// </summary>
public sealed class NumpyGenerator
{
    private static readonly UInt128 multiplier = new(0x2360ed051fc65da4, 0x4385df649fccf645);

    private readonly UInt128 increment;
    private UInt128 state;

    /// <summary>Creates the generator as <c>default_rng(seed)</c> does.</summary>
    public NumpyGenerator(uint seed)
    {
        var words = Spread(seed);
        var start = new UInt128(words[0], words[1]);
        increment = (new UInt128(words[2], words[3]) << 1) | 1;
        state = increment;
        state = (state + start) * multiplier + increment;
    }

    /// <summary>64 random bits.</summary>
    public ulong NextBits()
    {
        state = state * multiplier + increment;
        return ulong.RotateRight((ulong)(state >> 64) ^ (ulong)state, (int)(state >> 122));
    }

    /// <summary>Uniform in [0, 1), 53 bits: <c>random</c>.</summary>
    public double NextDouble() => (NextBits() >> 11) * (1.0 / 9007199254740992.0);

    // SeedSequence: a pool of four words, each mixed with all others, from which the state is hashed.
    private static ulong[] Spread(uint seed)
    {
        var constant = 0x43b0d7e5u;
        uint Hash(uint value)
        {
            value ^= constant;
            constant *= 0x931e8875;
            value *= constant;
            return value ^ (value >> 16);
        }

        Span<uint> pool = [Hash(seed), Hash(0), Hash(0), Hash(0)];
        for (var from = 0; from < 4; from++)
        {
            for (var to = 0; to < 4; to++)
            {
                if (from == to) continue;
                var mixed = 0xca01f9ddu * pool[to] - 0x4973f715u * Hash(pool[from]);
                pool[to] = mixed ^ (mixed >> 16);
            }
        }
        constant = 0x8b51f9dd;
        var words = new ulong[4];
        for (var i = 0; i < 8; i++)
        {
            var value = pool[i % 4] ^ constant;
            constant *= 0x58f38ded;
            value *= constant;
            value ^= value >> 16;
            words[i / 2] |= (ulong)value << (32 * (i % 2));
        }
        return words;
    }
}
