using Bayou.Kernels;

namespace Bayou.Tests;

/// <summary>Gates of many samples.</summary>
public class GateKernelTests
{
    [Fact]
    public void Every_sample_takes_one_step()
    {
        foreach (var count in new[] { 0, 1, 3, 4, 5, 33 })
        {
            var steps = new int[count];
            GateKernel.ForSamples(count, (from, to) =>
            {
                for (var i = from; i < to; i++) Interlocked.Increment(ref steps[i]);
            });
            Assert.All(steps, s => Assert.Equal(1, s));
        }
    }
}
