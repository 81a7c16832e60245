using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

/// <summary>numpy's generators against published outputs.</summary>
public sealed class NumpyRandomTests
{
    [Fact]
    public void MersenneTwisterGivesItsPublishedOutputs()
    {
        // C++'s std::mt19937 is the same generator; its standard names the first and the 10,000th number of seed 5489.
        var random = new NumpyRandom(5489);
        Assert.Equal(3499211612u, random.NextBits());
        for (var i = 2; i < 10_000; i++) random.NextBits();
        Assert.Equal(4123659995u, random.NextBits());
    }

    [Fact]
    public void UniformsNormalsAndIntegersAreThoseOfNumpy()
    {
        double[] uniform = [0.5488135039273248, 0.7151893663724195, 0.6027633760716439, 0.5448831829968969, 0.4236547993389047];
        var random = new NumpyRandom(0);
        Assert.All(uniform, u => Assert.Equal(u, random.NextDouble()));

        double[] normal = [1.764052345967664, 0.4001572083672233, 0.9787379841057392, 2.240893199201458, 1.867557990149967];
        random = new NumpyRandom(0);
        Assert.All(normal, z => Assert.Equal(z, random.NextNormal(), 1e-15));

        int[] integers = [51, 92, 14, 71, 60];
        random = new NumpyRandom(42);
        Assert.All(integers, i => Assert.Equal(i, random.NextInt(0, 100)));
        Assert.Equal(7, random.NextInt(7, 8));
    }

    [Fact]
    public void TheNewerGeneratorIsNumpys()
    {
        double[] zero = [0.6369616873214543, 0.2697867137638703, 0.04097352393619469], fortyTwo = [0.7739560485559633, 0.4388784397520523, 0.8585979199113825];
        var generator = new NumpyGenerator(0);
        Assert.All(zero, u => Assert.Equal(u, generator.NextDouble()));
        generator = new NumpyGenerator(42);
        Assert.All(fortyTwo, u => Assert.Equal(u, generator.NextDouble()));
    }

    [Theory]
    [InlineData(0.7)]
    [InlineData(6)]
    [InlineData(10)]
    [InlineData(57.3)]
    [InlineData(1500)]
    public void PoissonCountsFollowTheirLaw(double rate)
    {
        const int n = 40_000;
        var random = new NumpyRandom(3);
        var counts = Enumerable.Range(0, n).Select(_ => random.NextPoisson(rate)).ToArray();
        var mean = counts.Average();
        var variance = counts.Average(c => (c - mean) * (c - mean));
        Assert.InRange(mean, rate - 5 * Math.Sqrt(rate / n), rate + 5 * Math.Sqrt(rate / n));
        Assert.InRange(variance, rate * 0.95, rate * 1.05);
        // Probability of the most frequent value, from the law itself.
        var mode = (int)rate;
        var logProbability = mode * Math.Log(rate) - rate - Enumerable.Range(1, mode).Sum(k => Math.Log(k));
        var expected = Math.Exp(logProbability);
        Assert.InRange(counts.Count(c => c == mode) / (double)n, expected - 5 * Math.Sqrt(expected / n), expected + 5 * Math.Sqrt(expected / n));
    }

    [Fact]
    public void ImpossibleRequestsAreErrors()
    {
        var random = new NumpyRandom(1);
        Assert.Throws<BayouException>(() => random.NextInt(3, 3));
        Assert.Throws<BayouException>(() => random.NextPoisson(-1));
        Assert.Throws<BayouException>(() => random.NextPoisson(double.NaN));
        Assert.Equal(0, random.NextPoisson(0));
    }
}
