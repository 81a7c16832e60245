using System.Runtime.Intrinsics.X86;
using Bayou.Kernels;

namespace Bayou.Tests.Kernels;

public class KernelIsaTests
{
    // .NET reports 512-bit vectors as not accelerated on Intel's first processors that have them; the kernels and the transforms use them there too.
    [Fact]
    public void Kernels_take_512_bits_wherever_the_processor_has_them()
    {
        Assert.SkipUnless(Avx512F.IsSupported && Avx512F.VL.IsSupported && Avx512BW.IsSupported && Avx512DQ.IsSupported && Avx512CD.IsSupported, "needs AVX-512");
        Assert.Equal(KernelIsaLevel.Vector512, KernelIsa.Available);
        Assert.True(Fourier.IsSupported);
        Assert.True(ProductKernel.Suits(64, 64, 64));
    }
}
