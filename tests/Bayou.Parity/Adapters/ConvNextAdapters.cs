using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>convnext/v1: stages, a block's inside, logits, losses and gradients of the hierarchical network.</summary>
public sealed class ConvNextV1Adapter : IParityAdapter
{
    public string Name => "convnext/v1";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var args = c.Config.GetProperty("constructor");
        var model = c.LoadWeights(new ConvNeXt(new ConvNeXtConfig
        {
            Depths = args.Ints("depths", [3, 3, 9, 3]),
            Dims = args.Ints("dims", [96, 192, 384, 768]),
            Classes = (int)args.Number("num_classes", 1000),
            InChannels = (int)args.Number("in_chans", 3),
            DropPath = args.Number("drop_path_rate", 0),
            LayerScale = args.Number("layer_scale_init_value", 1e-6),
            HeadInitScale = args.Number("head_init_scale", 1),
        }));
        model.eval();
        var x = c.Inputs["x"];
        var ours = new Dictionary<string, Tensor>();
        using (no_grad())
        {
            // The captured graph names every intermediate value by its module.
            var seen = new Dictionary<string, Tensor>();
            using var replay = new GraphModule(Capture.Trace(model, x.shape));
            replay.eval();
            ours["logits"] = replay.Run([x], (value, tensor) => seen[value.Name] = tensor.clone().MoveToOuterDisposeScope())[0];
            for (var s = 0; s < model.Config.Depths.Length; s++)
            {
                ours[$"down{s}"] = seen[s == 0 ? "downsample_layers.0.1/Permute" : $"downsample_layers.{s}.1"];
            }
            ours["block0_dwconv"] = seen["stages.0.0.dwconv"];
            ours["block0_norm"] = seen["stages.0.0.norm"].permute(0, 3, 1, 2);
            ours["features"] = seen["norm"];
            var features = model.Features(x);
            for (var s = 0; s < features.Length; s++) ours[$"stage{s}"] = features[s];
        }

        model.train();
        foreach (var (name, block) in model.named_modules().Where(m => m.module is ConvNeXtBlock).Select(m => (m.name, (ConvNeXtBlock)m.module)))
        {
            var parts = name.Split('.');
            if (c.Inputs.TryGetValue($"drop_keep.{parts[1]}.{parts[2]}", out var keep)) block.DropPath.Keep = keep;
        }
        var logits = model.call(x);
        var soft = c.Inputs["soft_target"].mul(nn.functional.log_softmax(logits, 1)).sum(1L).neg().mean();
        soft.backward();
        var logp = nn.functional.log_softmax(logits, 1).detach();
        var nll = logp.gather(1, c.Inputs["labels"].unsqueeze(1)).squeeze(1).neg();
        ours["train_logits"] = logits.detach();
        ours["train_loss_soft"] = soft.detach();
        ours["loss_label_smoothing"] = (0.9 * nll - 0.1 * logp.mean(new long[] { 1 })).mean();
        _ = c.Inputs.TryGetValue("mixup_lam", out _);       // already inside soft_target
        foreach (var (name, parameter) in model.named_parameters())
        {
            if (parameter.grad is { } grad) ours[$"grad.{name}"] = grad;
        }
        return ours;
    }
}

/// <summary>convnext/isotropic: blocks, features and logits of the isotropic network.</summary>
public sealed class ConvNextIsotropicAdapter : IParityAdapter
{
    public string Name => "convnext/isotropic";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var args = c.Config.GetProperty("constructor");
        var depth = (int)args.Number("depth", 18);
        var model = c.LoadWeights(new ConvNeXtIsotropic(depth, (int)args.Number("dim", 384), (int)args.Number("num_classes", 1000),
            (int)args.Number("in_chans", 3),
            args.Number("drop_path_rate", 0), args.Number("layer_scale_init_value", 0), args.Number("head_init_scale", 1)));
        model.eval();
        using var guard = no_grad();
        var x = c.Inputs["x"];
        var seen = new Dictionary<string, Tensor>();
        using var replay = new GraphModule(Capture.Trace(model, x.shape));
        replay.eval();
        var ours = new Dictionary<string, Tensor>();
        var additions = new List<Tensor>();
        ours["logits"] = replay.Run([x], (value, tensor) =>
        {
            seen[value.Name] = tensor.clone().MoveToOuterDisposeScope();
            if (value.Name.EndsWith("/Add", StringComparison.Ordinal)) additions.Add(seen[value.Name]);
        })[0];
        ours["stem"] = seen["stem"];
        ours["features"] = seen["norm"];
        for (var b = 0; b < depth; b++) ours[$"block{b}"] = additions[b];
        return ours;
    }
}

/// <summary>convnext/ladder: stem, stages and logits of every step that the case has weights for.</summary>
public sealed class ConvNextLadderAdapter : IParityAdapter
{
    public string Name => "convnext/ladder";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        using var guard = no_grad();
        var x = c.Inputs["x"];
        var ours = new Dictionary<string, Tensor>();
        foreach (var step in c.Config.GetProperty("small_configs").EnumerateObject())
        {
            var model = c.LoadWeights(new ResNetLadder(Config(step.Value)), step.Name + "/");
            model.eval();
            ours[$"{step.Name}/logits"] = model.call(x);
            ours[$"{step.Name}/stem"] = model.Stem(x);
            var features = model.Features(x);
            for (var s = 0; s < features.Length; s++) ours[$"{step.Name}/stage{s}"] = features[s];
        }
        return ours;
    }

    private static LadderConfig Config(JsonElement o)
    {
        bool Is(string key, string value) => o.TryGetProperty(key, out var v) && v.GetString() == value;
        return new LadderConfig
        {
            Depths = o.Ints("depths", [3, 4, 6, 3]),
            Width = (int)o.Number("width", 64),
            Patchify = Is("stem", "patch"),
            Depthwise = Is("groups", "dw"),
            Kind = Is("kind", "up") ? LadderBlockKind.MoveUp : Is("kind", "inverted") ? LadderBlockKind.Inverted : LadderBlockKind.Bottleneck,
            Kernel = (int)o.Number("k", 3),
            Activation = Is("act", "gelu") ? Activation.Gelu : Activation.Relu,
            FewerActivations = Is("acts", "one"),
            FewerNorms = Is("norms", "one"),
            LayerNorm = Is("norm", "ln"),
            SeparateDownsampling = o.TryGetProperty("sep", out var sep) && sep.GetBoolean(),
            Classes = (int)o.Number("ncls", 1000),
            InChannels = (int)o.Number("in_chans", 3),
        };
    }
}

/// <summary>Reading config.json.</summary>
internal static class ConfigReading
{
    public static int[] Ints(this JsonElement o, string key, int[] otherwise) =>
        o.TryGetProperty(key, out var v) ? [.. v.EnumerateArray().Select(e => e.GetInt32())] : otherwise;

    public static float[] Floats(this JsonElement o, string key) => [.. o.GetProperty(key).EnumerateArray().Select(e => e.GetSingle())];

    public static double Number(this JsonElement o, string key, double otherwise) =>
        o.TryGetProperty(key, out var v) && v.ValueKind == JsonValueKind.Number ? v.GetDouble() : otherwise;
}
