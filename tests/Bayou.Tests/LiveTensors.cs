using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Counts of live tensors for leak tests.</summary>
internal static class LiveTensors
{
    /// <summary>
    /// The number of live tensors once everything that earlier tests left to the collector is gone: freed later, it would hide a growth or look like a negative
    /// one. The count a test compares with this one is taken without collecting, so that tensors left to the collector show.
    /// </summary>
    public static long Settled()
    {
        // Twice: what a finalizer lets go of (a graph's saved tensors) is garbage of the next round.
        for (var i = 0; i < 2; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        return Tensor.TotalCount;
    }
}
