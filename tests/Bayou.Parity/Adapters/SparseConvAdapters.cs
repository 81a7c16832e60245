using System.Text.RegularExpressions;
using Bayou.Core;
using Bayou.Kernels;
using Bayou.Points;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>sparse-conv/minkowski-ops: kernel maps, convolutions, poolings, interpolation, with gradients. What a tensor is follows from its name.</summary>
public sealed class MinkowskiOpsAdapter : IParityAdapter
{
    public string Name => "sparse-conv/minkowski-ops";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        var coordinates = c.Inputs["coords"];
        foreach (var name in c.Expected.Keys.Where(k => k.EndsWith(".F", StringComparison.Ordinal)).Select(k => k[..^2])) Convolve(c, name, ours);
        var voxels = SparseTensor.Create(coordinates, c.Inputs["feats"]).Voxels;
        var coarse = voxels.Space.Coarser(voxels, 2);
        ours["stride2.coords"] = tensor(coarse.Coordinates, [coarse.Count, 4]);
        foreach (var name in c.Expected.Keys.Where(k => k.StartsWith("kmap.", StringComparison.Ordinal)))
        {
            var (size, stride, dilation, region) = Settings(name.Replace("kmap.cube", "k").Replace("kmap.cross", "cross_k").Replace("kmap.", ""));
            ours[name] = Rows(voxels.Space.Map(voxels, stride == 1 ? voxels : voxels.Space.Coarser(voxels, stride), size, dilation, region));
        }
        using (no_grad())
        {
            var query = c.Inputs["query"];
            ours["interp.stride1"] = SparsePooling.Interpolate(SparseTensor.Create(coordinates, c.Inputs["feats"]), query);
            ours["interp.stride2"] = SparsePooling.Interpolate(Layer("k2s2", c, []).call(SparseTensor.Create(coordinates, c.Inputs["feats"])), query);
        }
        return ours;
    }

    private static void Convolve(ParityCase c, string name, Dictionary<string, Tensor> ours)
    {
        var feats = c.Inputs["feats"].clone().requires_grad_();
        var x = SparseTensor.Create(c.Inputs["coords"], feats);
        var parts = name.Split("_then_tr_");
        var kernels = new List<(string, Tensor)>();
        var y = parts.Length == 2 ? Layer(name, c, kernels).call(Layer(parts[0], c, []).call(x)) : Layer(name, c, kernels).call(x);
        var where = y.CoordinateTensor();
        var weight = (where.to(float32) * tensor(new[] { 1f, 0.3f, 0.7f, 1.1f })).sum(1L).cos().unsqueeze(1);
        (y.Features * weight).sum().backward();
        (ours[$"{name}.F"], ours[$"{name}.C"], ours[$"{name}.grad_feats"]) = (y.Features.detach(), where, feats.grad!);
        foreach (var (key, kernel) in kernels) ours[key] = kernel.grad!;
    }

    // k3s2, subm_k3_d2, cross_k3, k1, depthwise_k3_d2, maxpool_k3s2, ..._then_tr_k2s2
    private static SparseLayer Layer(string name, ParityCase c, List<(string, Tensor)> kernels)
    {
        var pool = Regex.Match(name, "^(max|avg|sum)pool_");
        var (size, stride, dilation, region) = Settings(name.Split("_then_tr_")[^1]);
        var settings = new ConvSettings(size, stride, dilation, region);
        if (pool.Success)
            return new MinkowskiPooling(pool.Groups[1].Value switch { "max" => PoolKind.Max, "avg" => PoolKind.Average, _ => PoolKind.Sum }, settings);
        var shape = c.Weights[$"{name}.kernel"].shape;
        var bias = c.Weights.ContainsKey($"{name}.bias");
        SparseLayer layer = name.StartsWith("depthwise", StringComparison.Ordinal) ? new MinkowskiChannelwiseConvolution((int)shape[1], settings, bias)
            : name.Contains("_then_tr_") ? new MinkowskiConvolutionTranspose((int)shape[1], (int)shape[2], settings, bias)
            : new MinkowskiConvolution((int)shape[^2], (int)shape[^1], settings, bias);
        c.LoadWeights(layer, name + ".");
        kernels.Add(($"{name}.grad_kernel", layer.get_parameter("kernel")!));
        return layer;
    }

    private static (int Size, int Stride, int Dilation, KernelRegion Region) Settings(string name)
    {
        var match = Regex.Match(name, @"k?(\d+)(?:_?s(\d+))?(?:_?d(\d+))?$");
        int Number(int group) => match.Groups[group].Success ? int.Parse(match.Groups[group].Value) : 1;
        return (Number(1), Number(2), Number(3), name.StartsWith("cross", StringComparison.Ordinal) ? KernelRegion.Hypercross : KernelRegion.Hypercube);
    }

    private static Tensor Rows(KernelMap map)
    {
        var rows = new List<int>();
        for (var k = 0; k < map.Volume; k++) for (var p = 0; p < map.In(k).Length; p++) rows.AddRange([k, map.In(k)[p], map.Out(k)[p]]);
        return tensor(rows.ToArray(), [rows.Count / 3, 3]);
    }
}

/// <summary>sparse-conv/minkunet: every stage of the U-Net, and a training step.</summary>
public sealed class MinkUNetAdapter : IParityAdapter
{
    public string Name => "sparse-conv/minkunet";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var args = c.Config.GetProperty("args");
        var blocks = args.TryGetProperty("blocks", out var b) ? b.EnumerateArray().Select(e => e.GetString() == "Bottleneck").ToArray() : null;
        using var network = c.LoadWeights(new MinkUNet(new MinkUNetConfig
        {
            Planes = args.Ints("planes", [32, 64, 128, 256, 256, 128, 96, 96]),
            Layers = args.Ints("layers", [2, 2, 2, 2, 2, 2, 2, 2]),
            Bottlenecks = blocks,
            InitDim = (int)args.Number("init_dim", 32),
            InChannels = (int)args.Number("in_channels", 3),
            Classes = (int)args.Number("out_channels", 20),
            StemKernel = (int)args.Number("conv1_kernel_size", 5),
            WidenWhenStriding = true,
            Momentum = args.Number("bn_momentum", 0.1),
        }));
        var ours = new Dictionary<string, Tensor>();
        var (coordinates, feats) = (c.Inputs["coords"], c.Inputs["feats"]);
        network.eval();
        using (no_grad())
        {
            ours["logits"] = network.Forward(SparseTensor.Create(coordinates, feats), (stage, x) =>
                (ours[$"{stage}.F"], ours[$"{stage}.C"]) = (x.Features.clone(), x.CoordinateTensor())).Features;
        }
        network.train();
        var logits = network.Forward(SparseTensor.Create(coordinates, feats)).Features;
        var loss = nn.functional.cross_entropy(logits, c.Inputs["labels"], ignore_index: -1);
        loss.backward();
        (ours["train_logits"], ours["train_loss"]) = (logits.detach(), loss.detach().reshape(1));
        foreach (var (name, parameter) in network.named_parameters()) if (parameter.grad is { } grad) ours[$"grad.{name}"] = grad;
        return ours;
    }
}

/// <summary>sparse-conv/spconv: regular, strided, dilated and inverse convolutions.</summary>
public sealed class SpconvAdapter : IParityAdapter
{
    public string Name => "sparse-conv/spconv";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        using var guard = no_grad();
        var ours = new Dictionary<string, Tensor>();
        var grid = (int)c.Config.GetProperty("args").Number("grid", 12);
        var x = SpconvTensor.Create(c.Inputs["coords"], c.Inputs["feats"], [grid, grid, grid]);
        foreach (var key in c.Weights.Keys)
        {
            if (Regex.Match(key, @"^(subm_k(\d+)(?:_?d(\d+))?)\.weight_oikkk$") is { Success: true } same)
            {
                var dilated = same.Groups[3].Success ? int.Parse(same.Groups[3].Value) : 1;
                ours[$"{same.Groups[1].Value}.F"] =
                    Layer(SpconvKind.Submanifold, c.Weights[key], int.Parse(same.Groups[2].Value), 1, 0, dilated, same.Groups[1].Value).call(x).Features;
                continue;
            }
            var match = Regex.Match(key, @"^(k(\d+)s(\d+)p(\d+)(?:d(\d+))?)\.weight_oikkk$");
            if (!match.Success) continue;
            var name = match.Groups[1].Value;
            var (kernel, stride, padding) = (int.Parse(match.Groups[2].Value), int.Parse(match.Groups[3].Value), int.Parse(match.Groups[4].Value));
            var y = Layer(SpconvKind.Regular, c.Weights[key], kernel, stride, padding, match.Groups[5].Success ? int.Parse(match.Groups[5].Value) : 1, name)
                .call(x);
            ours[$"{name}.coords"] = tensor(y.Coordinates, [y.Coordinates.Length / 4, 4]);
            (ours[$"{name}.F"], ours[$"{name}.spatial_shape"]) = (y.Features, tensor(y.SpatialShape.Select(n => (long)n).ToArray()));
            // The inverse goes back along fine = stride coarse - padding + j: onto the inputs of the centred strided convolution.
            var inverse = $"inverse_k{kernel}";
            if (stride == 1 || padding != (kernel - 1) / 2 || !c.Weights.TryGetValue($"{inverse}.weight_oikkk_of_the_inverse", out var weight)) continue;
            ours[$"{inverse}.F"] = Layer(SpconvKind.Inverse, weight, kernel, 1, 0, 1, name).call(y).Features;
        }
        return ours;
    }

    private static SpconvConv3d Layer(SpconvKind kind, Tensor weight, int kernel, int stride, int padding, int dilation, string indiceKey)
    {
        // Dense [out, in, k, k, k] -> spconv 2.x [out, k, k, k, in].
        var layer = new SpconvConv3d(kind, (int)weight.shape[1], (int)weight.shape[0], kernel, stride, padding, dilation, bias: false, indiceKey);
        layer.get_parameter("weight")!.copy_(weight.permute(0, 2, 3, 4, 1));
        return layer;
    }
}

/// <summary>sparse-conv/torchsparse-helpers: offset tables, quantisation, hash, trilinear weights.</summary>
public sealed class TorchSparseHelpersAdapter : IParityAdapter
{
    public string Name => "sparse-conv/torchsparse-helpers";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        foreach (var name in c.Expected.Keys)
        {
            // offsets_k3_d2: one side for all axes; offsets_331: one for each.
            if (Regex.Match(name, @"^offsets_(?:k(\d)|(\d)(\d)(\d))(?:_s(\d))?(?:_d(\d))?$") is { Success: true } m)
            {
                int Digit(int group) => m.Groups[group].Success ? int.Parse(m.Groups[group].Value) : 1;
                int[] size = m.Groups[1].Success ? [Digit(1), Digit(1), Digit(1)] : [Digit(2), Digit(3), Digit(4)];
                var offsets = KernelOffsets.TorchSparse(size, Digit(5), Digit(6));
                ours[name] = tensor(offsets, [offsets.Length / 3, 3]);
            }
            else if (Regex.Match(name, @"^ti\.scale(\d+)$") is { Success: true } t)
            {
                var index = c.Inputs["ti.idx"];
                ours[name] = tensor(TorchSparse.TrilinearWeights(TensorMemory.ToArray<float>(c.Inputs["ti.points"]), TensorMemory.ToArray<long>(index),
                    int.Parse(t.Groups[1].Value)), index.shape);
            }
        }
        var side = (float)(c.Config.TryGetProperty("args", out var args) ? args.Number("voxel_size", 0.5) : 0.5);
        var (coordinates, first, inverse) = TorchSparse.Quantize(TensorMemory.ToArray<float>(c.Inputs["points"]), side);
        ours["quantize.coords"] = tensor(coordinates, [coordinates.Length / 3, 3]);
        ours["quantize.index"] = tensor(first.Select(i => (long)i).ToArray());
        ours["quantize.inverse"] = tensor(inverse.Select(i => (long)i).ToArray());
        ours["hash"] = tensor(TorchSparse.Hash(TensorMemory.ToArray<int>(c.Inputs["hash_coords"])));
        return ours;
    }
}
