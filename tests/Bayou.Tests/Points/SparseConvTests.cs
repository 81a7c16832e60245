using Bayou.Core;
using Bayou.Data;
using Bayou.Kernels;
using Bayou.Points;
using static TorchSharp.torch;

namespace Bayou.Tests.Points;

/// <summary>Sparse convolution against dense convolution on a grid, finite differences in double, and independence of threads and vector widths.</summary>
public sealed class SparseConvTests
{
    private const int Grid = 12, Shift = 5;         // coordinates run from -5 to 6

    private static int[] Voxels(int seed, double density = 0.15)
    {
        var random = new SampleRandom((ulong)seed);
        var rows = new List<int>();
        for (var b = 0; b < 2; b++) for (var i = 0; i < Grid * Grid * Grid; i++)
            if (random.Chance(density)) rows.AddRange([b, i / (Grid * Grid) - Shift, i / Grid % Grid - Shift, i % Grid - Shift]);
        // Rows come in any order.
        var order = Enumerable.Range(0, rows.Count / 4).ToArray();
        random.Shuffle(order.AsSpan());
        return [.. order.SelectMany(r => rows.GetRange(4 * r, 4))];
    }

    // [2, C, x, y, z] with zeros where there is no voxel; the origin of the grid is an even coordinate.
    private static Tensor Dense(int[] voxels, Tensor features, int low = -6, int size = 14)
    {
        var flat = zeros([2L * size * size * size, features.shape[1]], features.dtype);
        flat = flat.index_add(0, Cells(voxels, low, size, 1), features, Number.Of(1));
        return flat.reshape(2, size, size, size, -1).permute(0, 4, 1, 2, 3);
    }

    private static Tensor At(Tensor dense, int[] voxels, int low, int stride)
    {
        var size = (int)dense.shape[2];
        return dense.permute(0, 2, 3, 4, 1).reshape(-1, dense.shape[1]).index_select(0, Cells(voxels, low, size, stride));
    }

    private static Tensor Cells(int[] voxels, int low, int size, int stride) => tensor(Enumerable.Range(0, voxels.Length / 4)
        .Select(i => Enumerable.Range(1, 3).Aggregate((long)voxels[4 * i], (a, d) => a * size + (voxels[4 * i + d] - low) / stride)).ToArray());

    // W_dense[o, i, x, y, z] = kernel[x + k y + k k z, i, o]
    private static Tensor DenseWeight(Tensor kernel, int k) => kernel.reshape(k, k, k, kernel.shape[1], kernel.shape[2]).permute(4, 3, 2, 1, 0);

    [Theory]
    [InlineData(3, 1)]
    [InlineData(3, 2)]
    [InlineData(3, 3)]
    [InlineData(5, 1)]
    public void SubmanifoldEqualsMaskedDense(int size, int dilation)
    {
        var voxels = Voxels(1);
        var set = VoxelSpace.Create(voxels);
        var (x, kernel) = (randn(set.Count, 7), randn(size * size * size, 7, 19) * 0.1);
        var y = SparseConv.Apply(set.Space.Map(set, set, size, dilation, KernelRegion.Hypercube), x, kernel, null);
        var dense = nn.functional.conv3d(Dense(voxels, x), DenseWeight(kernel, size), padding: [size / 2 * dilation, size / 2 * dilation, size / 2 * dilation],
            dilation: [dilation, dilation, dilation]);
        TensorAssert.Close(At(dense, voxels, -6, 1), y, 1e-4, 1e-5);
    }

    [Fact]
    public void StridedAndTransposedEqualDense()
    {
        var voxels = Voxels(2);
        var set = VoxelSpace.Create(voxels);
        var coarse = set.Space.Coarser(set, 2);
        Assert.All(Enumerable.Range(0, coarse.Coordinates.Length).Where(i => i % 4 > 0), i => Assert.Equal(0, coarse.Coordinates[i] & 1));
        var (x, kernel, back) = (randn(set.Count, 4), randn(8, 4, 6) * 0.2, randn(8, 6, 4) * 0.2);
        var map = set.Space.Map(set, coarse, 2, 1, KernelRegion.Hypercube);
        var y = SparseConv.Apply(map, x, kernel, null);
        var dense = nn.functional.conv3d(Dense(voxels, x), DenseWeight(kernel, 2), strides: [2, 2, 2]);
        TensorAssert.Close(At(dense, coarse.Coordinates, -6, 2), y, 1e-4, 1e-5);
        // Up again: onto the fine voxels that exist.
        var up = SparseConv.Apply(map.Transposed(), y, back, null);
        var upDense = nn.functional.conv_transpose3d(Dense(Halved(coarse.Coordinates), y, -3, 7), back.reshape(2, 2, 2, 6, 4).permute(3, 4, 2, 1, 0),
            strides: [2, 2, 2]);
        TensorAssert.Close(At(upDense, voxels, -6, 1), up, 1e-4, 1e-5);

        static int[] Halved(int[] rows) => [.. rows.Select((v, i) => i % 4 == 0 ? v : v / 2)];
    }

    [Fact]
    public void StridedThreeEqualsDenseWithPadding()
    {
        var voxels = Voxels(3);
        var set = VoxelSpace.Create(voxels);
        var coarse = set.Space.Coarser(set, 2);
        var (x, kernel) = (randn(set.Count, 5), randn(27, 5, 3) * 0.2);
        var y = SparseConv.Apply(set.Space.Map(set, coarse, 3, 1, KernelRegion.Hypercube), x, kernel, null);
        TensorAssert.Close(At(nn.functional.conv3d(Dense(voxels, x), DenseWeight(kernel, 3), strides: [2, 2, 2], padding: [1, 1, 1]), coarse.Coordinates, -6,
            2), y, 1e-4, 1e-5);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(4, 5)]
    [InlineData(16, 64)]
    [InlineData(37, 48)]
    [InlineData(70, 33)]
    public void KernelsEqualTheComposedFormulationWithGradientsAtEveryWidth(int cin, int cout)
    {
        var voxels = Voxels(4, 0.2);
        var set = VoxelSpace.Create(voxels);
        var map = set.Space.Map(set, set, 3, 1, KernelRegion.Hypercube);
        var (x, kernel, bias, dy) = (randn(set.Count, cin), randn(27, cin, cout) * 0.1, randn(1, cout), randn(set.Count, cout));
        var expected = Run((a, w, b) => SparseConv.Composed(map, a, w, b));
        foreach (var isa in Enum.GetValues<KernelIsaLevel>())
        {
            KernelIsa.Max = isa;
            try
            {
                var actual = Run((a, w, b) => SparseConv.Apply(map, a, w, b));
                for (var i = 0; i < 4; i++) TensorAssert.Close(expected[i], actual[i], 1e-3, 2e-3);
            }
            finally
            {
                KernelIsa.Max = KernelIsaLevel.Vector512;
            }
        }

        Tensor[] Run(Func<Tensor, Tensor, Tensor, Tensor> f)
        {
            var (a, w, b) = (x.clone().requires_grad_(), kernel.clone().requires_grad_(), bias.clone().requires_grad_());
            var y = f(a, w, b);
            y.backward([dy]);
            return [y.detach(), a.grad!, w.grad!, b.grad!];
        }
    }

    [Fact]
    public void GradientsEqualFiniteDifferencesInDouble()
    {
        var set = VoxelSpace.Create(Voxels(5, 0.03));
        var map = set.Space.Map(set, set.Space.Coarser(set, 2), 3, 1, KernelRegion.Hypercube);
        var x = randn([set.Count, 2], float64).requires_grad_();
        var w = randn([27, 2, 3], float64).requires_grad_();
        Tensor Loss() => SparseConv.Apply(map, x, w, null).pow(Number.Of(3)).sum();
        Loss().backward();
        foreach (var (parameter, place) in new[] { (x, 3L), (x, 17L), (w, 5L), (w, 100L) })
        {
            using var guard = no_grad();
            var flat = parameter.view(-1);
            double At(double delta)
            {
                flat[place] = flat[place] + delta;
                var value = Loss().item<double>();
                flat[place] = flat[place] - delta;
                return value;
            }
            Assert.Equal((At(1e-5) - At(-1e-5)) / 2e-5, parameter.grad!.view(-1)[place].item<double>(), 1e-5 * (1 + Math.Abs(At(0))));
        }
        // The kernels' float32 gradients agree with the double ones.
        var (xf, wf) = (x.detach().to(float32).requires_grad_(), w.detach().to(float32).requires_grad_());
        SparseConv.Apply(map, xf, wf, null).pow(Number.Of(3)).sum().backward();
        TensorAssert.Close(x.grad!.to(float32), xf.grad!, 1e-3, 1e-2);
        TensorAssert.Close(w.grad!.to(float32), wf.grad!, 1e-3, 1e-2);
    }

    [Fact]
    public void ResultsDoNotDependOnTheNumberOfThreads()
    {
        var n = 5000;
        var random = new SampleRandom(9);
        var voxels = SparseTensor.Quantize([.. Enumerable.Range(0, 3 * n).Select(_ => (float)random.Uniform(0, 14))], 1).Coordinates;
        var map = KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(3));
        var (x, w, dy) = (randn(voxels.Length / 4, 32), randn(27, 32, 48), randn(voxels.Length / 4, 48));
        var before = KernelThreads.Count;
        try
        {
            var results = new List<Tensor[]>();
            foreach (var threads in (int[])[1, 2, 3])
            {
                KernelThreads.Count = threads;
                var (a, b) = (x.clone().requires_grad_(), w.clone().requires_grad_());
                var y = SparseConv.Apply(map, a, b, null);
                y.backward([dy]);
                results.Add([y.detach(), a.grad!, b.grad!]);
            }
            for (var r = 1; r < results.Count; r++) for (var i = 0; i < 3; i++) TensorAssert.Same(results[0][i], results[r][i]);
        }
        finally
        {
            KernelThreads.Count = before;
        }
    }

    [Fact]
    public void MapsOfAnyRangeAreExact()
    {
        // Coordinates at both ends of the integers: too wide for one number, so empty stretches are shortened.
        int[] far = [int.MinValue / 2, int.MinValue / 2 + 1, 0, 1, 5, int.MaxValue / 2 - 1, int.MaxValue / 2];
        var rows = new List<int>();
        foreach (var x in far) foreach (var y in far) foreach (var z in far) rows.AddRange([0, x, y, z]);
        int[] voxels = [.. rows];
        var map = KernelMap.Build(voxels, voxels, KernelOffsets.Minkowski(3));
        var known = Enumerable.Range(0, voxels.Length / 4).ToDictionary(i => (voxels[4 * i + 1], voxels[4 * i + 2], voxels[4 * i + 3]));
        var offsets = KernelOffsets.Minkowski(3);
        for (var k = 0; k < 27; k++)
        {
            var expected = known.Where(o => known.ContainsKey(Moved(o.Key, k))).Select(o => (known[Moved(o.Key, k)], o.Value)).Order();
            var actual = Enumerable.Range(0, map.In(k).Length).Select(p => (map.In(k)[p], map.Out(k)[p])).Order();
            Assert.Equal(expected, actual);
        }

        (int, int, int) Moved((int X, int Y, int Z) o, int k) => (o.X + offsets[3 * k], o.Y + offsets[3 * k + 1], o.Z + offsets[3 * k + 2]);
    }

    [Fact]
    public void PoolingFollowsItsRules()
    {
        int[] voxels = [0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 4, 4, 1, 0, 0, 0];
        var x = tensor(new[] { 2f, 5, 2, 1, 9, 3, -1, -2 }, [4, 2]).requires_grad_();
        var sparse = new SparseTensor(VoxelSpace.Create(voxels), x);
        var max = new MinkowskiPooling(PoolKind.Max, new(2, 2)).call(sparse).Features;
        TensorAssert.Same(tensor(new[] { 2f, 5, 9, 3, -1, -2 }, [3, 2]), max.detach());
        max.sum().backward();
        TensorAssert.Same(tensor(new[] { 1f, 1, 0, 0, 1, 1, 1, 1 }, [4, 2]), x.grad!);        // a tie stays with the first
        TensorAssert.Close(tensor(new[] { 2f, 3, 9, 3, -1, -2 }, [3, 2]), new MinkowskiPooling(PoolKind.Average, new(2, 2)).call(sparse).Features.detach(),
            1e-6, 0);
        TensorAssert.Close(tensor(new[] { 13f, 9, -1, -2 }, [2, 2]), SparsePooling.Global(sparse, PoolKind.Sum).detach(), 1e-6, 0);
        TensorAssert.Same(tensor(new[] { 9f, 5, -1, -2 }, [2, 2]), SparsePooling.Global(sparse, PoolKind.Max).detach());
    }

    [Fact]
    public void InstanceNormNormalisesEveryItem()
    {
        var voxels = Voxels(6);
        var set = VoxelSpace.Create(voxels);
        var y = new MinkowskiInstanceNorm(3).call(new SparseTensor(set, randn(set.Count, 3) * 4 + 7)).Features.detach();
        for (var b = 0; b < 2; b++)
        {
            var rows = tensor(Enumerable.Range(0, set.Count).Where(i => voxels[4 * i] == b).Select(i => (long)i).ToArray());
            var part = y.index_select(0, rows);
            TensorAssert.Close(zeros(3), part.mean([0]), 0, 1e-5);
            TensorAssert.Close(ones(3), part.var(0, unbiased: false), 0, 1e-4);
        }
    }

    [Fact]
    public void SpconvSubmanifoldEqualsMinkowskiAfterReordering()
    {
        var grid = Voxels(7).Select((v, i) => i % 4 == 0 ? v : v + Shift).ToArray();
        var x = randn(grid.Length / 4, 4);
        var layer = new SpconvConv3d(SpconvKind.Submanifold, 4, 6, 3, bias: false, indiceKey: "subm");
        var dense = layer.get_parameter("weight")!.detach().permute(0, 4, 1, 2, 3);         // [out, in, z, y, x]
        var y = layer.call(SpconvTensor.Create(tensor(grid, [grid.Length / 4, 4]), x, [Grid, Grid, Grid])).Features.detach();
        TensorAssert.Close(At(nn.functional.conv3d(Dense(grid, x, 0, Grid), dense, padding: [1, 1, 1]), grid, 0, 1), y, 1e-4, 1e-5);
        Assert.Contains("lies outside",
            Assert.Throws<BayouException>(() => SpconvTensor.Create(tensor(new[] { 0, 0, 0, Grid }, [1, 4]), x, [Grid, Grid, Grid])).Message);
    }

    [Fact]
    public void AUNetBuildsEveryMapOnce()
    {
        var voxels = Voxels(8);
        using var network = new MinkUNet(new MinkUNetConfig { Planes = [8, 8, 8, 8, 8, 8, 8, 8], InitDim = 8, Classes = 3, StemKernel = 3 });
        network.eval();
        using var guard = no_grad();
        var x = SparseTensor.Create(tensor(voxels, [voxels.Length / 4, 4]), randn(voxels.Length / 4, 3));
        var y = network.Forward(x);
        Assert.Equal([x.Voxels.Count, 3], y.Features.shape);
        Assert.Same(x.Voxels, y.Voxels);
        Assert.Equal(5 + 4, x.Voxels.Space.MapsBuilt);      // five levels of 3x3x3, four strides, each shared by encoder and decoder
        var packed = cat([x.CoordinateTensor().to(float32), x.Features], 1);
        TensorAssert.Close(y.Features, network.call(packed), 1e-5, 1e-6);
    }

    [Fact]
    public void DuplicatesAndForeignShapesAreErrors()
    {
        var twice = VoxelSpace.Create([0, 1, 1, 1, 0, 1, 1, 1]);
        Assert.Contains("unique", Assert.Throws<BayouException>(() => twice.Space.Map(twice, twice, 3, 1, KernelRegion.Hypercube)).Message);
        var one = VoxelSpace.Create([0, 1, 1, 1]);
        var map = one.Space.Map(one, one, 3, 1, KernelRegion.Hypercube);
        Assert.Contains("do not fit", Assert.Throws<BayouException>(() => SparseConv.Apply(map, zeros(1, 3), zeros(27, 4, 2), null)).Message);
        Assert.Throws<BayouException>(() => SparseTensor.Quantize([float.NaN, 0, 0], 1));
        Assert.Throws<BayouException>(() => KernelOffsets.Minkowski(4, 1, KernelRegion.Hypercross));
        Assert.Throws<BayouException>(() => SparseTensor.Create(zeros([3, 3], int32), zeros(3, 1)));
    }

    [Fact]
    public void QuantizationKeepsFirstPointsAndIgnoresDisagreement()
    {
        float[] xyz = [0.1f, 0, 0, 1.2f, 0, 0, 0.4f, 0.1f, 0, -0.1f, 0, 0, 1.3f, 0.2f, 0.4f];
        var q = SparseTensor.Quantize(xyz, 0.5f, labels: [1, 2, 1, 4, 3]);
        Assert.Equal([0, 0, 0, 0, 0, 2, 0, 0, 0, -1, 0, 0], q.Coordinates);
        Assert.Equal([0, 1, 3], q.First);
        Assert.Equal([0, 1, 0, 2, 1], q.Inverse);
        Assert.Equal([1, -100, 4], q.Labels);
    }
}
