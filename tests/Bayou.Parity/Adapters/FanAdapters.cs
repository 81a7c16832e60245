using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>fan/vit: FAN-ViT.</summary>
public sealed class FanVitAdapter : IParityAdapter
{
    public string Name => "fan/vit";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var config = FanCase.Config(c);
        return TrainedNetworkCase.Run(c, c.LoadWeights(new Fan(config)), name => FanCase.Module(name, config.Dims.Length));
    }
}

/// <summary>fan/hybrid: FAN-Hybrid, width changes included.</summary>
public sealed class FanHybridAdapter : IParityAdapter
{
    public string Name => "fan/hybrid";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var config = FanCase.Config(c);
        return TrainedNetworkCase.Run(c, c.LoadWeights(new Fan(config)), name => FanCase.Module(name, config.Dims.Length));
    }
}

/// <summary>fan/swin: Swin with channel attention in the stages that say so.</summary>
public sealed class FanSwinAdapter : IParityAdapter
{
    public string Name => "fan/swin";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var args = c.Config.GetProperty("constructor");
        var config = new SwinConfig
        {
            ImageSize = (int)args.Number("img_size", 224),
            Patch = (int)args.Number("patch_size", 4),
            Dim = (int)args.Number("embed_dim", 96),
            Depths = args.Ints("depths", [2, 2, 6, 2]),
            Heads = args.Ints("num_heads", [3, 6, 12, 24]),
            Window = (int)args.Number("window_size", 7),
            MlpRatio = args.Number("mlp_ratio", 4),
            QkvBias = !args.TryGetProperty("qkv_bias", out var bias) || bias.GetBoolean(),
            InChannels = (int)args.Number("in_chans", 3),
            Classes = (int)args.Number("num_classes", 1000),
            DropPath = args.Number("drop_path_rate", 0),
        };
        var kinds = args.TryGetProperty("mlp_type", out var types)
            ? types.EnumerateArray().Select(t => t.GetString() == "FAN").ToArray() : [true, true, true, false];
        var network = c.LoadWeights(FanVariants.Swin(config, kinds));
        return TrainedNetworkCase.Run(c, network, name =>
        {
            var parts = name.Replace("last_layer", $"layer{config.Depths.Length - 1}", StringComparison.Ordinal).Split('.');
            return string.Join('.', parts.Select(FanCase.Numbered));
        });
    }
}

/// <summary>fan/dense-backbone: the features for dense heads and both position encodings.</summary>
public sealed class FanDenseBackboneAdapter : IParityAdapter
{
    public string Name => "fan/dense-backbone";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        using var guard = no_grad();
        var config = FanCase.Config(c) with { Classes = 0, FlooredPositions = false };
        var network = c.LoadWeights(new Fan(config));
        network.eval();
        var ours = network.Features(c.Inputs["x"]).Select((f, i) => ($"feature{i}", f)).ToDictionary();
        const string prefix = "pos_embed_";
        foreach (var name in c.Expected.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal)))
        {
            var parts = name[prefix.Length..].Split('_', 2);
            var grid = parts[0].Split('x').Select(int.Parse).ToArray();
            var encoding = c.LoadWeights(new FourierPositions(config.Dims[0], floored: parts[1].StartsWith("classification", StringComparison.Ordinal)),
                "pos_embed.");
            ours[name] = encoding.Encode(grid[0], grid[1]).expand(c.Expected[name].shape);
        }
        return ours;
    }
}

internal static class FanCase
{
    public static FanConfig Config(ParityCase c)
    {
        var args = c.Config.GetProperty("constructor");
        var depth = (int)args.Number("depth", 12);
        int[] Each(string key, int otherwise) => args.TryGetProperty(key, out var v) && v.ValueKind == JsonValueKind.Array
            ? [.. v.EnumerateArray().Select(e => e.GetInt32())]
            : Enumerable.Repeat((int)args.Number(key, otherwise), depth).ToArray();
        bool Flag(string key, bool otherwise) =>
            args.TryGetProperty(key, out var v) && v.ValueKind is JsonValueKind.True or JsonValueKind.False ? v.GetBoolean() : otherwise;
        var dims = args.TryGetProperty("channel_dims", out var channels) && channels.ValueKind == JsonValueKind.Array
            ? Each("channel_dims", 0) : Each("embed_dim", 384);
        var hybrid = c.Config.TryGetProperty("backbone", out var backbone);
        var downsample = Flag("feat_downsample", false);
        return new FanConfig
        {
            Dims = dims,
            Heads = Each("num_heads", 8),
            Patch = (int)args.Number("patch_size", 16),
            StemDepths = hybrid ? backbone.Ints("depths", [3, 3]) : null,
            StemDims = hybrid ? backbone.Ints("dims", [128, 256]) : [],
            ClassLayers = (int)args.Number("cls_attn_layers", 2),
            MlpRatio = args.Number("mlp_ratio", 4),
            QkvBias = Flag("qkv_bias", true),
            Eta = args.TryGetProperty("eta", out var eta) && eta.ValueKind == JsonValueKind.Null ? null : args.Number("eta", 1),
            TokensNorm = Flag("tokens_norm", false),
            Positions = Flag("use_pos_embed", true),
            InChannels = (int)args.Number("in_chans", 3),
            Classes = (int)args.Number("num_classes", 1000),
            DropPath = args.Number("drop_path_rate", 0),
            HeadInitScale = args.Number("head_init_scale", 1),
            OutIndex = (int)args.Number("out_idx", -1),
            FeatureDownsample = downsample ? 768 : 0,
        };
    }

    /// <summary>"block0.mlp.mlp_v" is the module "blocks.0.mlp.mlp_v", and so on; the hybrid's stem has names of its own.</summary>
    public static string Module(string name, int depth)
    {
        const string backbone = "patch_embed.backbone.";
        if (name == "stem") return backbone + name;
        if (name.StartsWith("convnext_block", StringComparison.Ordinal)) return $"{backbone}stages.0.blocks.{name["convnext_block".Length..]}";
        if (name.StartsWith("stage", StringComparison.Ordinal)) return backbone + string.Join('.', name.Split('.').Select(Numbered));
        var parts = name.Replace("last_block", $"block{depth - 1}", StringComparison.Ordinal).Split('.');
        return string.Join('.', parts.Select(Numbered));
    }

    /// <summary>"block3" to "blocks.3", "layer1" to "layers.1", "cls0" to "cls_attn_blocks.0", "stage1" to "stages.1"; other names stay.</summary>
    public static string Numbered(string part)
    {
        var name = part.TrimEnd('0', '1', '2', '3', '4', '5', '6', '7', '8', '9');
        if (name.Length == part.Length) return part;
        var list = name switch { "block" => "blocks", "layer" => "layers", "cls" => "cls_attn_blocks", "stage" => "stages", _ => null };
        return list is null ? part : $"{list}.{part[name.Length..]}";
    }
}
