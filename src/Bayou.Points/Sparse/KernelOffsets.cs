using Bayou.Core;

namespace Bayou.Points;

/// <summary>Shape of a generalised convolution's kernel (Choy et al., CVPR 2019, section 3).</summary>
public enum KernelRegion
{
    /// <summary>The full cube.</summary>
    Hypercube,

    /// <summary>The centre and the axes.</summary>
    Hypercross,
}

/// <summary>Kernel index -> offset [K, 3], in each library's order.</summary>
public static class KernelOffsets
{
    /// <summary>MinkowskiEngine: first axis fastest; odd sizes are centred, even ones run from 0.</summary>
    /// <param name="size">Side along every axis.</param>
    /// <param name="step">Dilation x tensor stride.</param>
    /// <param name="region">Shape.</param>
    public static int[] Minkowski(int size, int step = 1, KernelRegion region = KernelRegion.Hypercube)
    {
        if (size < 1 || step < 1) throw new BayouException($"a kernel of size {size} and step {step}: both must be at least 1");
        var offsets = new List<int>();
        var low = size % 2 == 1 ? -(size / 2) : 0;
        if (region == KernelRegion.Hypercube)
        {
            for (var z = 0; z < size; z++)
                for (var y = 0; y < size; y++) for (var x = 0; x < size; x++) offsets.AddRange([(low + x) * step, (low + y) * step, (low + z) * step]);
            return [.. offsets];
        }
        if (size % 2 == 0) throw new BayouException($"a hypercross needs an odd size, not {size}");
        offsets.AddRange([0, 0, 0]);
        for (var axis = 0; axis < 3; axis++)
        {
            // Outwards on the positive side, then inwards from the far end of the negative one.
            for (var i = 1; i < size; i++)
            {
                var distance = i <= size / 2 ? i : i - size;
                var offset = new int[3];
                offset[axis] = distance * step;
                offsets.AddRange(offset);
            }
        }
        return [.. offsets];
    }

    /// <summary>
    /// TorchSparse: every axis runs from -size/2 + 1 (rounded down) to size/2; an odd volume has the first axis fastest, an even one the last.
    /// </summary>
    /// <param name="size">Side of every axis.</param>
    /// <param name="stride">Tensor stride.</param>
    /// <param name="dilation">Dilation.</param>
    public static int[] TorchSparse(ReadOnlySpan<int> size, int stride = 1, int dilation = 1)
    {
        var step = stride * dilation;
        int[] low = [1 - (size[0] + 1) / 2, 1 - (size[1] + 1) / 2, 1 - (size[2] + 1) / 2];
        var offsets = new List<int>();
        if (size[0] * size[1] * size[2] % 2 == 1)
        {
            for (var z = 0; z < size[2]; z++)
                for (var y = 0; y < size[1]; y++)
                    for (var x = 0; x < size[0]; x++) offsets.AddRange([(low[0] + x) * step, (low[1] + y) * step, (low[2] + z) * step]);
        }
        else
        {
            for (var x = 0; x < size[0]; x++)
                for (var y = 0; y < size[1]; y++)
                    for (var z = 0; z < size[2]; z++) offsets.AddRange([(low[0] + x) * step, (low[1] + y) * step, (low[2] + z) * step]);
        }
        return [.. offsets];
    }

    /// <summary>spconv and dense convolutions: row-major (last axis fastest), offset = index x dilation - padding.</summary>
    public static int[] Dense(int size, int padding, int dilation)
    {
        var offsets = new List<int>();
        for (var a = 0; a < size; a++)
            for (var b = 0; b < size; b++)
                for (var c = 0; c < size; c++) offsets.AddRange([a * dilation - padding, b * dilation - padding, c * dilation - padding]);
        return [.. offsets];
    }

    /// <summary>
    /// Row of a TorchSparse 2x2x2 kernel that holds the weights of a MinkowskiEngine kernel's row, and the other way round: k = x + 2y + 4z in one is 4x + 2y
    /// + z in the other.
    /// </summary>
    public static int SwapEven(int k) => (k & 1) << 2 | (k & 2) | k >> 2;
}
