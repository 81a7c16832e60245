using Bayou.Core;

namespace Bayou.Images;

/// <summary>
/// The benchmark's order of its cells: their enumeration, shuffled once by Python's random.shuffle with seed 88. That shuffle (Mersenne twister MT19937,
/// Matsumoto and Nishimura 1998; numbers below n by rejection) is repeated here, so that indices need no table.
/// </summary>
internal static class NasBench201Index
{
    private static readonly Lazy<(ushort[] NumberAt, ushort[] IndexOf)> Order = new(Shuffle);

    public static NasBench201Cell At(int index)
    {
        if (index is < 0 or >= NasBench201Cell.Count) throw new BayouException($"NAS-Bench-201 has no cell {index}: 0 to {NasBench201Cell.Count - 1}");
        int number = Order.Value.NumberAt[index];
        var operations = new NasBench201Operation[NasBench201Cell.Edges];
        for (var e = operations.Length - 1; e >= 0; e--, number /= 5) operations[e] = (NasBench201Operation)(number % 5);
        return new(operations);
    }

    public static int Of(NasBench201Cell cell) => Order.Value.IndexOf[cell.Number];

    private static (ushort[], ushort[]) Shuffle()
    {
        var twister = new Twister(88);
        var order = new ushort[NasBench201Cell.Count];
        for (var i = 0; i < order.Length; i++) order[i] = (ushort)i;
        for (var i = order.Length - 1; i > 0; i--)
        {
            var j = twister.Below((uint)i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }
        var index = new ushort[order.Length];
        for (var i = 0; i < order.Length; i++) index[order[i]] = (ushort)i;
        return (order, index);
    }

    /// <summary>MT19937 seeded as Python does, by the array form of the seed.</summary>
    private sealed class Twister
    {
        private const int N = 624;

        private readonly uint[] state = new uint[N];
        private int at = N;

        public Twister(uint seed)
        {
            state[0] = 19650218;
            for (var i = 1; i < N; i++) state[i] = 1812433253 * (state[i - 1] ^ (state[i - 1] >> 30)) + (uint)i;
            var p = 1;
            for (var k = 0; k < N; k++) Mix(1664525, seed, add: true);
            for (var k = 0; k < N - 1; k++) Mix(1566083941, (uint)p, add: false);
            state[0] = 0x80000000;

            void Mix(uint factor, uint value, bool add)
            {
                var mixed = state[p] ^ ((state[p - 1] ^ (state[p - 1] >> 30)) * factor);
                state[p] = add ? mixed + value : mixed - value;
                if (++p < N) return;
                state[0] = state[N - 1];
                p = 1;
            }
        }

        public uint Below(uint n)
        {
            var shift = System.Numerics.BitOperations.LeadingZeroCount(n);
            uint value;
            do value = Next() >> shift;
            while (value >= n);
            return value;
        }

        private uint Next()
        {
            if (at == N) Generate();
            var y = state[at++];
            y ^= y >> 11;
            y ^= (y << 7) & 0x9d2c5680;
            y ^= (y << 15) & 0xefc60000;
            return y ^ (y >> 18);
        }

        private void Generate()
        {
            for (var i = 0; i < N; i++)
            {
                var y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
                state[i] = state[(i + 397) % N] ^ (y >> 1) ^ ((y & 1) * 0x9908b0df);
            }
            at = 0;
        }
    }
}
