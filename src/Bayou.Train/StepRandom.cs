namespace Bayou.Train;

/// <summary>
/// Random numbers of one training step, drawn from (seed, step) alone: a resumed run draws what the uninterrupted one would have drawn, with no
/// state to save. The generator is splitmix64.
/// </summary>
internal struct StepRandom
{
    private ulong state;

    public StepRandom(long seed, long step)
    {
        state = (ulong)seed;
        state = Next() ^ (ulong)step;
        Next();
    }

    /// <summary>Uniform in [0, 1).</summary>
    public double Uniform() => (Next() >> 11) * (1.0 / (1L << 53));

    /// <summary>Uniform integer in [0, bound).</summary>
    public int Below(int bound) => (int)(Uniform() * bound);

    /// <summary>Beta(a, b) as a quotient of gamma variates.</summary>
    public double Beta(double a, double b)
    {
        double x = Gamma(a), y = Gamma(b);
        // Both underflow only for tiny a and b, where the distribution sits at 0 and 1.
        return x + y > 0 ? x / (x + y) : Uniform() < a / (a + b) ? 1 : 0;
    }

    // Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); shapes below 1 by their boost: Gamma(a) = Gamma(a + 1) U^(1/a).
    private double Gamma(double shape)
    {
        if (shape < 1) return Gamma(shape + 1) * Math.Pow(1 - Uniform(), 1 / shape);
        var d = shape - 1.0 / 3;
        var c = 1 / Math.Sqrt(9 * d);
        while (true)
        {
            var x = Normal();
            var t = 1 + c * x;
            if (t <= 0) continue;
            var v = t * t * t;
            if (Math.Log(1 - Uniform()) < 0.5 * x * x + d * (1 - v + Math.Log(v))) return d * v;
        }
    }

    private double Normal() => Math.Sqrt(-2 * Math.Log(1 - Uniform())) * Math.Cos(2 * Math.PI * Uniform());

    private ulong Next()
    {
        var z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
