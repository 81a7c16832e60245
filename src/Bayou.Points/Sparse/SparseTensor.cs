using Bayou.Core;
using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>Features [n, C] on occupied voxels.</summary>
/// <param name="Voxels">Where they are.</param>
/// <param name="Features">[n, C], a row a voxel.</param>
public sealed record SparseTensor(VoxelSet Voxels, Tensor Features)
{
    /// <summary>Makes a sparse tensor.</summary>
    /// <param name="coordinates">int [n, 4]: batch, x, y, z; unique.</param>
    /// <param name="features">[n, C].</param>
    /// <param name="stride">Tensor stride of the coordinates.</param>
    /// <exception cref="BayouException">Shapes do not fit.</exception>
    public static SparseTensor Create(Tensor coordinates, Tensor features, int stride = 1)
    {
        if (coordinates.dim() != 2 || coordinates.shape[1] != 4 || features.dim() != 2 || features.shape[0] != coordinates.shape[0])
            throw new BayouException($"a sparse tensor needs coordinates [n, 4] and features [n, C], not {new Ints(coordinates.shape)} and {new Ints(features.shape)}");
        return new(VoxelSpace.Create(TensorMemory.ToArray<int>(coordinates), stride), features);
    }

    /// <summary>
    /// Reads the packed form [n, 4 + C] (batch, x, y, z, features), which is how networks on voxels take one tensor. float32 holds whole numbers up to 16.7
    /// million exactly.
    /// </summary>
    public static SparseTensor Unpack(Tensor packed)
    {
        if (packed.dim() != 2 || packed.shape[1] < 5)
            throw new BayouException($"packed voxels are [n, 4 + C] (batch, x, y, z, features), not {new Ints(packed.shape)}");
        var coordinates = Ops.Slice(packed, 1, 0, 4);
        return new(VoxelSpace.Create(TensorMemory.ToArray<int>(coordinates)), Ops.Slice(packed, 1, 4));
    }

    /// <summary>The same voxels with other features.</summary>
    public SparseTensor With(Tensor features) => new(Voxels, features);

    /// <summary>Coordinates as int32 [n, 4].</summary>
    public Tensor CoordinateTensor() => tensor(Voxels.Coordinates, [Voxels.Count, 4]);

    /// <summary>
    /// Voxels of points as MinkowskiEngine makes them: floor(point / side), the first point of each voxel kept, in the order of first occurrence. With
    /// labels, a voxel whose points
    /// disagree gets <paramref name="ignore"/>.
    /// </summary>
    /// <param name="xyz">[n, 3], finite.</param>
    /// <param name="side">Side of a voxel.</param>
    /// <param name="batch">Batch item of all points.</param>
    /// <param name="labels">[n] or empty.</param>
    /// <param name="ignore">Label of disagreement.</param>
    public static Quantized Quantize(ReadOnlySpan<float> xyz, float side, int batch = 0, ReadOnlySpan<int> labels = default, int ignore = -100)
    {
        if (!(side > 0)) throw new BayouException($"voxels of side {side}: it must be above 0");
        var n = xyz.Length / 3;
        var rows = new int[4 * n];
        for (var i = 0; i < n; i++)
        {
            rows[4 * i] = batch;
            for (var d = 0; d < 3; d++)
            {
                var cell = MathF.Floor(xyz[3 * i + d] / side);
                if (!(MathF.Abs(cell) < 1 << 30))
                    throw new BayouException($"point {i} ({xyz[3 * i]}, {xyz[3 * i + 1]}, {xyz[3 * i + 2]}) is too far away, or not finite, for voxels of side {side}");
                rows[4 * i + 1 + d] = (int)cell;
            }
        }
        var groups = KeyGroups.Of(VoxelKeys.Of(rows), sorted: false);
        int[] voxelLabels = [];
        if (!labels.IsEmpty)
        {
            voxelLabels = new int[groups.First.Length];
            for (var g = 0; g < voxelLabels.Length; g++) voxelLabels[g] = labels[groups.First[g]];
            for (var i = 0; i < n; i++) if (labels[i] != labels[groups.First[groups.Inverse[i]]]) voxelLabels[groups.Inverse[i]] = ignore;
        }
        return new([.. groups.First.SelectMany(row => rows.AsSpan(4 * row, 4).ToArray())], groups.First, groups.Inverse, voxelLabels);
    }
}

/// <summary>Points as voxels.</summary>
/// <param name="Coordinates">[m, 4] batch, x, y, z.</param>
/// <param name="First">[m] the point each voxel keeps.</param>
/// <param name="Inverse">[n] voxel of every point.</param>
/// <param name="Labels">[m], empty without labels.</param>
public sealed record Quantized(int[] Coordinates, int[] First, int[] Inverse, int[] Labels);
