using Bayou.Core;
using Bayou.Kernels;

namespace Bayou.Points;

/// <summary>The occupied voxels of one resolution: rows batch, x, y, z (spconv: batch, z, y, x) in units of the finest voxel.</summary>
public sealed class VoxelSet
{
    internal VoxelSet(int[] coordinates, int stride, VoxelSpace space) => (Coordinates, Stride, Space) = (coordinates, stride, space);

    /// <summary>[n, 4] in row-major order; do not change it.</summary>
    public int[] Coordinates { get; }

    /// <summary>Tensor stride: coordinates are multiples of it (MinkowskiEngine's convention).</summary>
    public int Stride { get; }

    /// <summary>Voxels.</summary>
    public int Count => Coordinates.Length / 4;

    /// <summary>The space it belongs to.</summary>
    public VoxelSpace Space { get; }

    /// <summary>First row beyond each batch item's last, when rows are grouped by batch; items are 0, 1, ...</summary>
    public int Batches => Count == 0 ? 0 : Enumerable.Range(0, Count).Max(i => Coordinates[4 * i]) + 1;
}

/// <summary>
/// All resolutions of one batch of clouds and the kernel maps between them, each built once: a U-Net's decoder meets its encoder's voxels again, and two
/// convolutions of a block share a map.
/// </summary>
public sealed class VoxelSpace
{
    private readonly Dictionary<int, VoxelSet> levels = [];
    private readonly Dictionary<(VoxelSet, VoxelSet, int Size, int Dilation, KernelRegion), KernelMap> maps = [];
    private readonly Dictionary<(VoxelSet, int), (VoxelSet Coarse, KeyGroups Groups)> parents = [];

    /// <summary>Kernel maps built by this space since it was made (cached ones count once).</summary>
    public int MapsBuilt { get; private set; }

    /// <summary>Starts a space.</summary>
    /// <param name="coordinates">[n, 4] unique rows.</param>
    /// <param name="stride">Their tensor stride.</param>
    public static VoxelSet Create(int[] coordinates, int stride = 1)
    {
        if (coordinates.Length % 4 != 0) throw new BayouException($"{coordinates.Length} numbers are no rows of batch and three coordinates");
        if (stride < 1) throw new BayouException($"tensor stride {stride}: it must be at least 1");
        var space = new VoxelSpace();
        return space.levels[stride] = new VoxelSet(coordinates, stride, space);
    }

    /// <summary>The voxels of a tensor stride, or null when none have been made.</summary>
    public VoxelSet? At(int stride) => levels.GetValueOrDefault(stride);

    /// <summary>The voxels of a coarser level: unique floor(c / (ts s)) ts s, in the order of first occurrence.</summary>
    public VoxelSet Coarser(VoxelSet fine, int stride) => stride == 1 ? fine : Parents(fine, stride).Coarse;

    /// <summary>The coarser level and, for every fine row, its parent.</summary>
    public (VoxelSet Coarse, KeyGroups Groups) Parents(VoxelSet fine, int stride)
    {
        if (stride < 2) throw new BayouException($"stride {stride}: a coarser level needs at least 2");
        if (parents.TryGetValue((fine, stride), out var known)) return known;
        var floored = VoxelKeys.Floored(fine.Coordinates, checked(fine.Stride * stride));
        var groups = KeyGroups.Of(VoxelKeys.Of(floored), sorted: false);
        if (levels.TryGetValue(fine.Stride * stride, out var level))
        {
            // The level exists: rows must mean the same voxels there.
            if (level.Count != groups.First.Length
                || !groups.First.Select((row, i) => floored.AsSpan(4 * row, 4).SequenceEqual(level.Coordinates.AsSpan(4 * i, 4))).All(same => same))
                throw new BayouException($"two different sets of voxels at tensor stride {fine.Stride * stride} in one space: use another VoxelSpace");
            return parents[(fine, stride)] = (level, groups);
        }
        var coarse = Add([.. groups.First.SelectMany(row => floored.AsSpan(4 * row, 4).ToArray())], fine.Stride * stride);
        return parents[(fine, stride)] = (coarse, groups);
    }

    /// <summary>
    /// The voxels a transposed convolution gives: those of the finer level where it exists, else every voxel the kernel reaches; <paramref name="generate"/>
    /// always takes the latter.
    /// </summary>
    public VoxelSet Finer(VoxelSet coarse, int stride, int size, int dilation, KernelRegion region, bool generate)
    {
        if (coarse.Stride % stride != 0)
            throw new BayouException($"a transposed convolution of stride {stride} does not divide the tensor stride {coarse.Stride}");
        var target = coarse.Stride / stride;
        if (!generate && levels.TryGetValue(target, out var level)) return level;
        var offsets = KernelOffsets.Minkowski(size, dilation * target, region);
        var reached = new int[coarse.Count * offsets.Length / 3 * 4];
        var at = 0;
        for (var i = 0; i < coarse.Count; i++)
        {
            for (var k = 0; k < offsets.Length; k += 3)
            {
                reached[at++] = coarse.Coordinates[4 * i];
                for (var d = 0; d < 3; d++) reached[at++] = checked(coarse.Coordinates[4 * i + 1 + d] + offsets[k + d]);
            }
        }
        var groups = KeyGroups.Of(VoxelKeys.Of(reached), sorted: false);
        int[] unique = [.. groups.First.SelectMany(row => reached.AsSpan(4 * row, 4).ToArray())];
        return generate ? new VoxelSet(unique, target, this) : Add(unique, target);
    }

    /// <summary>
    /// The pairs of a convolution from <paramref name="fine"/> to <paramref name="coarse"/> (the same set for stride 1); offsets are in units of the fine
    /// tensor stride.
    /// </summary>
    public KernelMap Map(VoxelSet fine, VoxelSet coarse, int size, int dilation, KernelRegion region)
    {
        if (maps.TryGetValue((fine, coarse, size, dilation, region), out var map)) return map;
        try
        {
            map = KernelMap.Build(fine.Coordinates, coarse.Coordinates, KernelOffsets.Minkowski(size, checked(dilation * fine.Stride), region));
        }
        catch (ArgumentException e)
        {
            throw new BayouException($"sparse convolution: {e.Message} (SparseTensor.Quantize makes voxels unique)", e);
        }
        MapsBuilt++;
        return maps[(fine, coarse, size, dilation, region)] = map;
    }

    private VoxelSet Add(int[] coordinates, int stride) => levels[stride] = new VoxelSet(coordinates, stride, this);
}
