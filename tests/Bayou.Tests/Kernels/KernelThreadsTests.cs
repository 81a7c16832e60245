using Bayou.Kernels;

namespace Bayou.Tests;

public class KernelThreadsTests
{
    [Fact]
    public void Count_is_never_below_one()
    {
        var before = KernelThreads.Count;
        KernelThreads.Count = 0;
        Assert.Equal(1, KernelThreads.Count);
        KernelThreads.Count = before;
    }
}
