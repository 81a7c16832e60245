using Bayou.Core;
using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>A sparse tensor in spconv's convention: coordinates batch, z, y, x inside a spatial shape, and the pair lists of named convolutions.</summary>
/// <param name="Coordinates">[n, 4] batch, z, y, x.</param>
/// <param name="Features">[n, C].</param>
/// <param name="SpatialShape">Sizes z, y, x.</param>
/// <param name="Pairs">By indice key; shared along a network.</param>
public sealed record SpconvTensor(int[] Coordinates, Tensor Features, int[] SpatialShape, Dictionary<string, SpconvPairs> Pairs)
{
    /// <summary>Starts from coordinates int [n, 4] and features [n, C]. Rows outside the shape are an error (spconv drops them silently).</summary>
    public static SpconvTensor Create(Tensor coordinates, Tensor features, int[] spatialShape)
    {
        var rows = TensorMemory.ToArray<int>(coordinates);
        for (var i = 0; i < rows.Length; i++)
        {
            if (rows[i] < 0 || (i % 4 > 0 && rows[i] >= spatialShape[i % 4 - 1]))
                throw new BayouException($"voxel {i / 4} ({string.Join(", ", rows[(i / 4 * 4)..(i / 4 * 4 + 4)])}) lies outside the spatial shape {string.Join(" x ", spatialShape)}");
        }
        return new(rows, features, spatialShape, []);
    }

    /// <summary>[batch, C, z, y, x] with zeros where there is no voxel.</summary>
    public Tensor Dense()
    {
        var (n, batches) = (Coordinates.Length / 4, Coordinates.Length == 0 ? 0 : Enumerable.Range(0, Coordinates.Length / 4).Max(i => Coordinates[4 * i]) + 1);
        var cells = new long[n];
        for (var i = 0; i < n; i++)
        {
            for (var c = 0; c < 4; c++) cells[i] = cells[i] * (c == 0 ? batches : SpatialShape[c - 1]) + Coordinates[4 * i + c];
        }
        long volume = (long)SpatialShape[0] * SpatialShape[1] * SpatialShape[2];
        var rows = Ops.SegmentSum(Features, Ops.Constant(tensor(cells)), batches * volume);
        return Ops.Permute(Ops.Reshape(rows, batches, SpatialShape[0], SpatialShape[1], SpatialShape[2], -1), 0, 4, 1, 2, 3);
    }
}

/// <summary>The pairs of a named convolution, and where it came from.</summary>
public sealed record SpconvPairs(KernelMap Map, int[] Coordinates, int[] SpatialShape);

/// <summary>How spconv stores a weight.</summary>
public enum SpconvLayout
{
    /// <summary>spconv 1.x and mmcv: [k, k, k, Cin, Cout].</summary>
    V1,

    /// <summary>spconv 2.x: [Cout, k, k, k, Cin].</summary>
    V2,
}

/// <summary>Which of spconv's convolutions.</summary>
public enum SpconvKind
{
    /// <summary>SparseConv3d: every site whose receptive field holds an input becomes active.</summary>
    Regular,

    /// <summary>SubMConv3d: the same sites.</summary>
    Submanifold,

    /// <summary>SparseInverseConv3d: the pairs of an earlier convolution backwards, onto its input sites.</summary>
    Inverse,
}

/// <summary>spconv's SparseConv3d, SubMConv3d and SparseInverseConv3d; keys weight, bias.</summary>
public sealed class SpconvConv3d : nn.Module<SpconvTensor, SpconvTensor>
{
    private readonly Parameter weight;
    private readonly Parameter? bias;
    private readonly SpconvKind kind;
    private readonly SpconvLayout layout;
    private readonly int kernel, stride, padding, dilation;
    private readonly string? indiceKey;

    /// <summary>Initialised uniformly in +-1 / sqrt(Cin K).</summary>
    /// <param name="kind">Which one; an inverse convolution takes kernel and pairs from the convolution named <paramref name="indiceKey"/>.</param>
    /// <param name="inChannels">Input channels.</param>
    /// <param name="outChannels">Output channels.</param>
    /// <param name="kernel">Side.</param>
    /// <param name="stride">Stride (regular only).</param>
    /// <param name="padding">Padding (regular only; a submanifold convolution is centred).</param>
    /// <param name="dilation">Dilation.</param>
    /// <param name="bias">Whether it has one.</param>
    /// <param name="indiceKey">Shares pairs with, or gives them to, convolutions of the same name.</param>
    /// <param name="layout">Of the weight.</param>
    public SpconvConv3d(SpconvKind kind, int inChannels, int outChannels, int kernel, int stride = 1, int padding = 0, int dilation = 1, bool bias = true,
        string? indiceKey = null,
        SpconvLayout layout = SpconvLayout.V2) : base("spconv")
    {
        if (kernel < 1 || stride < 1 || padding < 0 || dilation < 1)
            throw new BayouException($"spconv: kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation} are no convolution");
        if (kind == SpconvKind.Submanifold && kernel % 2 == 0) throw new BayouException($"spconv: a submanifold convolution needs an odd kernel, not {kernel}");
        if (kind == SpconvKind.Inverse && indiceKey is null)
            throw new BayouException("spconv: an inverse convolution needs the indice key of the convolution it inverts");
        (this.kind, this.kernel, this.stride, this.padding, this.dilation, this.indiceKey, this.layout) =
            (kind, kernel, stride, padding, dilation, indiceKey, layout);
        long k = kernel;
        var bound = 1 / Math.Sqrt(inChannels * Math.Pow(kernel, 3));
        var shape = layout == SpconvLayout.V1 ? new[] { k, k, k, inChannels, outChannels } : [outChannels, k, k, k, inChannels];
        weight = (Parameter)new Parameter(empty(shape).DetachFromDisposeScope()).DetachFromDisposeScope();
        nn.init.uniform_(weight, -bound, bound);
        if (bias)
        {
            this.bias = (Parameter)new Parameter(empty(outChannels).DetachFromDisposeScope()).DetachFromDisposeScope();
            nn.init.uniform_(this.bias, -bound, bound);
        }
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override SpconvTensor forward(SpconvTensor x)
    {
        var (map, coordinates, shape) = Pairs(x);
        var cin = x.Features.shape[1];
        var matrices = layout == SpconvLayout.V1 ? weight : Ops.Permute(weight, 1, 2, 3, 4, 0);
        var y = Ops.SparseConvolution(x.Features, Ops.Reshape(matrices, kernel * kernel * kernel, cin, -1), bias, map);
        return new(coordinates, y, shape, x.Pairs);
    }

    private (KernelMap, int[], int[]) Pairs(SpconvTensor x)
    {
        if (kind == SpconvKind.Inverse)
        {
            if (!x.Pairs.TryGetValue(indiceKey!, out var earlier))
                throw new BayouException($"spconv: no convolution named '{indiceKey}' has run before its inverse");
            return (earlier.Map.Transposed(), earlier.Coordinates, earlier.SpatialShape);
        }
        if (kind == SpconvKind.Submanifold)
        {
            // A submanifold convolution is its own inverse's target: its pairs can be shared by name.
            if (indiceKey is not null && x.Pairs.TryGetValue(indiceKey, out var shared) && ReferenceEquals(shared.Coordinates, x.Coordinates))
                return (shared.Map, x.Coordinates, x.SpatialShape);
            var own = KernelMap.Build(x.Coordinates, x.Coordinates, KernelOffsets.Dense(kernel, kernel / 2 * dilation, dilation));
            if (indiceKey is not null) x.Pairs[indiceKey] = new(own, x.Coordinates, x.SpatialShape);
            return (own, x.Coordinates, x.SpatialShape);
        }
        int[] shape = [.. x.SpatialShape.Select(n => (n + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1)];
        if (shape.Any(n => n < 1)) throw new BayouException($"spconv: kernel {kernel} does not fit the spatial shape {string.Join(" x ", x.SpatialShape)}");
        var outputs = ActiveOutputs(x.Coordinates, shape);
        var map = KernelMap.Build(x.Coordinates, outputs, KernelOffsets.Dense(kernel, padding, dilation), stride);
        if (indiceKey is not null) x.Pairs[indiceKey] = new(map, x.Coordinates, x.SpatialShape);
        return (map, outputs, shape);
    }

    // Sites whose receptive field holds an input, in lexicographic order.
    private int[] ActiveOutputs(int[] inputs, int[] shape)
    {
        var reached = new List<int>();
        var offsets = KernelOffsets.Dense(kernel, padding, dilation);
        Span<int> site = stackalloc int[3];
        for (var i = 0; i < inputs.Length; i += 4)
        {
            for (var k = 0; k < offsets.Length; k += 3)
            {
                var inside = true;
                for (var d = 0; d < 3; d++)
                {
                    var place = inputs[i + 1 + d] - offsets[k + d];
                    site[d] = place / stride;
                    inside &= place >= 0 && place % stride == 0 && site[d] < shape[d];
                }
                if (inside) reached.AddRange([inputs[i], site[0], site[1], site[2]]);
            }
        }
        var rows = reached.ToArray();
        return [.. KeyGroups.Of(VoxelKeys.Of(rows), sorted: true).First.SelectMany(row => rows.AsSpan(4 * row, 4).ToArray())];
    }
}
