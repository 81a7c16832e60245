using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>vars/rvt: RVT with any attention.</summary>
public sealed class VarsRvtAdapter : IParityAdapter
{
    public string Name => "vars/rvt";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var args = c.Config.GetProperty("constructor");
        var global = c.Config.GetProperty("global_config");
        var config = new RvtConfig
        {
            ImageSize = (int)args.Number("image_size", 224),
            HeadDims = args.Ints("base_dims", [32, 32]),
            Depths = args.Ints("depth", [10, 2]),
            Heads = args.Ints("heads", [6, 12]),
            MlpRatio = args.Number("mlp_ratio", 4),
            InChannels = (int)args.Number("in_chans", 3),
            Classes = (int)args.Number("num_classes", 1000),
            DropPath = args.Number("drop_path_rate", 0),
            MaskedBlocks = args.TryGetProperty("use_mask", out var mask) && mask.ValueKind == JsonValueKind.True
                ? (int)args.Number("masked_block", AllBlocks) : 0,
        };
        var network = VarsVariants.Create(config, global.GetProperty("attention").GetString()!, VarsCase.Config(global));
        return TrainedNetworkCase.Run(c, c.LoadWeights(network), name => Module(name, config.Depths.Length));
    }

    // The official default masks every block.
    private const double AllBlocks = int.MaxValue;

    private static string Module(string name, int stages)
    {
        var parts = name.Replace("last_stage", $"stage{stages - 1}", StringComparison.Ordinal).Split('.');
        return string.Join('.', parts.Select(p => FanCase.Numbered(p))).Replace("stages.", "transformers.", StringComparison.Ordinal)
            .Replace("pool", "pools.", StringComparison.Ordinal);
    }
}

/// <summary>vars/attention-modules: the attentions alone, with every part of the reconstruction.</summary>
public sealed class VarsAttentionModulesAdapter : IParityAdapter
{
    public string Name => "vars/attention-modules";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        using var guard = no_grad();
        int dim = (int)c.Config.Number("dim", 16), heads = (int)c.Config.Number("num_heads", 2), grid = (int)c.Config.Number("grid", 6);
        var bias = !c.Config.TryGetProperty("qkv_bias", out var b) || b.GetBoolean();
        var vars = VarsCase.Config(c.Config);
        var x = c.Inputs["x"];
        var ours = new Dictionary<string, Tensor>();
        foreach (var (module, description) in c.Config.GetProperty("modules").EnumerateObject().Select(m => (m.Name, m.Value.ToString())))
        {
            // Constructor arguments are part of the description: "VARS_S_Block(lam=0.2, int_dim_ratio=5) ...".
            double Argument(string key, double otherwise) =>
                Regex.Match(description, $@"\b{key}\s*=\s*([0-9.]+)") is { Success: true } m
                    ? double.Parse(m.Groups[1].Value.TrimEnd('.'), CultureInfo.InvariantCulture) : otherwise;
            Layer layer = module switch
            {
                "vars_d" => new VarsAttention(dim, heads, grid * grid, vars, bias),
                "vars_sd" => new VarsAttention(dim, heads, grid * grid, vars with { Kind = VarsKind.StaticAndDynamic }, bias),
                "performer" => new PerformerAttention(dim, heads, vars.FeatureRatio, bias),
                "self_att" => new Attention(dim, heads, bias),
                "vars_s_block" => new VarsStaticBlock(dim, grid, new RvtMlp(dim, (int)(Argument("mlp_ratio", 4) * dim)), Argument("lam", 3.5),
                    (int)Argument("int_dim_ratio", 5)),
                _ => throw new BayouException($"vars/attention-modules: unknown module '{module}'"),
            };
            c.LoadWeights(layer, module + ".").eval();
            ours[$"{module}.out"] = layer.call(x);
            if (layer is not VarsAttention attention) continue;
            var code = attention.Reconstruct(x);
            ours[$"{module}.dict_gram_kk"] = code.Gram;
            ours[$"{module}.input_Ptv"] = code.Input;
            ours[$"{module}.L"] = code.Lipschitz;
            ours[$"{module}.sparse_code"] = code.Code;
        }
        ours["random_feature"] = RandomFeatures.Of(c.Inputs["q"].mul(Number.Of(Math.Pow((double)dim / heads, -0.25))), c.Weights["vars_d.rand_matrix"]);
        return ours;
    }
}

internal static class VarsCase
{
    public static VarsConfig Config(JsonElement o) => new()
    {
        Lambda = o.Number("lam", 0.3),
        Steps = (int)o.Number("num_step", 5),
        FeatureRatio = (int)o.Number("rand_feat_dim_ratio", 2),
    };
}
