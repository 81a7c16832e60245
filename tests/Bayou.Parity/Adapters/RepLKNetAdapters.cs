using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>
/// replknet/train-and-merged and replknet/xl-form: stem, blocks, stages, outputs, training, merged kernels, outputs of the merged and the fused form.
/// </summary>
public sealed class RepLKNetAdapter(string name) : IParityAdapter
{
    public string Name => name;

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var config = ConfigOf(c.Config.GetProperty("constructor"));
        using var model = c.LoadWeights(new RepLKNet(config));
        model.eval();
        var x = c.Inputs["x"];
        var ours = new Dictionary<string, Tensor>();
        using (no_grad())
        {
            Walk(model, x, ours);
            Outputs(model, x, "out", ours);
            Outputs(model.Merge(), x, "merged_out", ours);
            foreach (var (key, value) in model.named_parameters().Where(p => p.name.Contains(".lkb_reparam."))) ours["merged." + key] = value.clone();
            Outputs(model.Merge(fuse: true), x, "deep_fused_out", ours);
        }
        if (c.Inputs.TryGetValue("labels", out var labels)) Train(c.LoadWeights(new RepLKNet(config)), x, labels, ours);
        return ours;
    }

    public static RepLKNetConfig ConfigOf(JsonElement args) => new()
    {
        LargeKernels = args.Ints("large_kernel_sizes", [31, 29, 27, 13]),
        Layers = args.Ints("layers", [2, 2, 18, 2]),
        Channels = args.Ints("channels", [128, 256, 512, 1024]),
        SmallKernel = args.Number("small_kernel", 0) is > 0 and var k ? (int)k : null,
        DwRatio = args.Number("dw_ratio", 1),
        FfnRatio = args.Number("ffn_ratio", 4),
        DropPath = args.Number("drop_path_rate", 0),
        InChannels = (int)args.Number("in_channels", 3),
        Classes = (int)args.Number("num_classes", args.Number("num_classes_of_stored_head", 0)),
        OutIndices = args.TryGetProperty("out_indices", out var o) && o.ValueKind == JsonValueKind.Array && o.GetArrayLength() > 0
            ? args.Ints("out_indices", []) : null,
        NormIntermediateFeatures = args.TryGetProperty("norm_intermediate_features", out var n) && n.ValueKind == JsonValueKind.True,
        Merged = args.TryGetProperty("small_kernel_merged", out var m) && m.ValueKind == JsonValueKind.True,
    };

    private static void Walk(RepLKNet model, Tensor x, Dictionary<string, Tensor> ours)
    {
        foreach (var (i, layer) in model.Stem.Index()) ours[$"stem{i}"] = x = layer.call(x);
        for (var s = 0; s < model.Stages.Count; s++)
        {
            foreach (var (j, block) in model.Stages[s].Blocks.Index())
            {
                x = block.call(x);
                if (s == 0) ours[$"stage0.block{j}"] = x;
            }
            ours[$"stage{s}"] = x;
            if (s < model.Transitions.Count) ours[$"transition{s}"] = x = model.Transitions[s].call(x);
        }
    }

    // The official code gives logits, or the list of features when it was built with out_indices.
    private static void Outputs(RepLKNet model, Tensor x, string prefix, Dictionary<string, Tensor> ours)
    {
        if (model.Config.OutIndices is null) ours[prefix == "out" ? "logits" : prefix + "0"] = model.call(x);
        else foreach (var (i, feature) in model.Features(x).Index()) ours[$"{prefix}{i}"] = feature;
    }

    private static void Train(RepLKNet model, Tensor x, Tensor labels, Dictionary<string, Tensor> ours)
    {
        model.train();
        var logits = model.call(x);
        var loss = nn.functional.cross_entropy(logits, labels);
        loss.backward();
        (ours["train_logits"], ours["train_loss"]) = (logits.detach(), loss.detach());
        foreach (var (key, parameter) in model.named_parameters()) if (parameter.grad is { } grad) ours["grad." + key] = grad;
        foreach (var (key, buffer) in model.named_buffers()) ours["after_train." + key] = buffer;
    }
}

/// <summary>replknet/reparam-layers: single large-kernel layers, in both forms.</summary>
public sealed class RepLKNetLayersAdapter : IParityAdapter
{
    public string Name => "replknet/reparam-layers";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        using var guard = no_grad();
        var ours = new Dictionary<string, Tensor>();
        foreach (var (i, args) in c.Config.GetProperty("layers").EnumerateArray().Index())
        {
            var small = args.Number("small_kernel", 0) is > 0 and var k ? (int?)k : null;
            using var layer = c.LoadWeights(new ReparamLargeKernelConv((int)args.Number("channels", 1), (int)args.Number("kernel", 1), small,
                (int)args.Number("stride", 1)), $"{i}/");
            layer.eval();
            var x = c.Inputs[$"{i}/x"];
            ours[$"{i}/train_form"] = layer.call(x);
            layer.Merge();
            (ours[$"{i}/weight"], ours[$"{i}/bias"]) = layer.EquivalentKernel();
            ours[$"{i}/merged_form"] = layer.call(x);
        }
        return ours;
    }
}

/// <summary>replknet/erf: contribution maps, their average, the analysed map, high-contribution areas.</summary>
public sealed class RepLKNetErfAdapter : IParityAdapter
{
    public string Name => "replknet/erf";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        using var model = c.LoadWeights(new RepLKNet(RepLKNetAdapter.ConfigOf(c.Config.GetProperty("constructor"))));
        model.eval();
        var ours = new Dictionary<string, Tensor>();
        var thresholds = c.Config.GetProperty("thresholds").EnumerateArray().Select(t => t.GetDouble()).ToArray();
        var field = new ReceptiveField();
        for (var i = 0; c.Inputs.TryGetValue($"x{i}", out var x); i++)
        {
            var map = ReceptiveField.Map(picture => model.Features(picture)[^1], x);
            ours[$"map{i}"] = map;
            field.Add(map);
        }
        var average = field.Average();
        var analysed = ReceptiveField.Analysed(average);
        ours["avg"] = Floats(average, field.Height, field.Width);
        ours["analysed"] = Floats(analysed, field.Height, field.Width);
        ours["rect"] = Areas(analysed, field.Height, field.Width);
        for (var i = 0; c.Inputs.TryGetValue($"syn{i}", out var synthetic); i++)
        {
            // The first synthetic matrix is raw, the others are used as they are (config.json, "inputs").
            var values = synthetic.contiguous().data<double>().ToArray();
            ours[$"rect_syn{i}"] = Areas(i == 0 ? ReceptiveField.Analysed(values) : values, (int)synthetic.shape[0], (int)synthetic.shape[1]);
        }
        return ours;

        Tensor Areas(double[] map, int height, int width) =>
            tensor(thresholds.Select(t => ReceptiveField.Area(map, height, width, t)).SelectMany(a => new[] { a.Side, a.Ratio }).ToArray()).reshape(-1, 2);

        static Tensor Floats(double[] values, int height, int width) => tensor(values).reshape(height, width).to(float32);
    }
}
