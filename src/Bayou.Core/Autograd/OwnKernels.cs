namespace Bayou.Core;

/// <summary>The switch between Bayou's own kernels, with passes that do several ops at once, and libtorch op by op.</summary>
public static class OwnKernels
{
    /// <summary>
    /// Whether networks use them. Off only to compare: BAYOU_KERNELS=0 in the environment; depthwise convolutions have a switch of their own besides (<see
    /// cref="DepthwiseConv.Enabled"/>).
    /// </summary>
    public static bool Enabled { get; set; } = Environment.GetEnvironmentVariable("BAYOU_KERNELS") != "0";
}
