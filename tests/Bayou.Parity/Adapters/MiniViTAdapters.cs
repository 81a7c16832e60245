using System.Globalization;
using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>minivit/mini-deit: every use of the shared modules, position buckets, logits, distillation losses, gradients.</summary>
public sealed class MiniDeiTAdapter : IParityAdapter
{
    public string Name => "minivit/mini-deit";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var (args, rpe) = (c.Config.GetProperty("constructor"), c.Config.TryGetProperty("rpe", out var r) ? r : default);
        bool Flag(string key, bool otherwise) => args.TryGetProperty(key, out var v) ? v.GetBoolean() : otherwise;
        var model = c.LoadWeights(new MiniDeiT(new MiniDeiTConfig
        {
            ImageSize = (int)args.Number("img_size", 224),
            Patch = (int)args.Number("patch_size", 16),
            Dim = (int)args.Number("embed_dim", 768),
            Depth = (int)args.Number("depth", 12),
            Heads = (int)args.Number("num_heads", 12),
            MlpRatio = args.Number("mlp_ratio", 4),
            QkvBias = Flag("qkv_bias", true),
            ClassToken = Flag("use_cls_token", false),
            Share = (int)args.Number("repeated_times", 2),
            Transform = Flag("use_transform", true),
            RelativePositions = rpe.ValueKind == JsonValueKind.Object,
            SharedHeadPositions = rpe.ValueKind != JsonValueKind.Object || !rpe.TryGetProperty("shared_head", out var shared) || shared.GetBoolean(),
            PositionRatio = rpe.ValueKind == JsonValueKind.Object ? rpe.Number("ratio", 1.9) : 1.9,
            Classes = (int)args.Number("num_classes", 1000),
            InChannels = (int)args.Number("in_chans", 3),
        }));
        var (x, soft, teacher, ours) = (c.Inputs["x"], c.Inputs["y_soft"], c.Inputs["teacher_logits"], new Dictionary<string, Tensor>());
        model.eval();
        using (no_grad())
        {
            var seen = new Dictionary<string, Tensor>();
            using var replay = new GraphModule(Capture.Trace(model, x.shape));
            replay.eval();
            ours["logits"] = replay.Run([x], (value, tensor) => seen[value.Name] = tensor.clone().MoveToOuterDisposeScope())[0];
            ours["eval.patch_embed.call0"] = seen["patch_embed.proj/Reshape"];
            for (var b = 0; b < model.Config.Depth / model.Config.Share; b++)
            {
                for (var k = 0; k < model.Config.Share; k++)
                {
                    var (attn, use) = ($"blocks.{b}.block.attn", k == 0 ? "" : $"#{k + 1}");
                    if (seen.TryGetValue($"{attn}.rpe_k.instances.{k}/Reshape#2", out var bias)) ours[$"eval.block{b}.rpe_k.call{k}"] = bias;
                    if (seen.TryGetValue($"{attn}.conv_l.instances.{k}", out var before)) ours[$"eval.block{b}.conv_l.call{k}"] = before;
                    if (seen.TryGetValue($"{attn}.conv_w.instances.{k}", out var after)) ours[$"eval.block{b}.conv_w.call{k}"] = after;
                    ours[$"eval.block{b}.attn.call{k}"] = seen[$"{attn}.proj{use}"];
                    ours[$"eval.block{b}.call{k}"] = seen[$"blocks.{b}.block.mlp.fc2/Add{use}"];
                }
            }
        }
        var (side, ratio) = (model.Config.ImageSize / model.Config.Patch, model.Config.PositionRatio);
        var buckets = PositionBuckets.Table(side, side, ratio, model.Config.ClassToken ? 1 : 0);
        ours["rpe_bucket_ids"] = tensor(buckets, [(int)Math.Sqrt(buckets.Length), (int)Math.Sqrt(buckets.Length)]);
        var large = tensor(PositionBuckets.Table(14, 14, ratio), [196, 196]);
        ours["rpe_bucket_ids_14x14_rows_0_and_105"] = large.index_select(0, tensor(new long[] { 0, 105 }));

        model.train();
        var logits = model.call(x);
        var (distill, labels) = (c.Config.GetProperty("distill"), SoftTargetCrossEntropyLoss.Of(logits, soft));
        var loss = MiniViTLoss.Logits(labels, logits, teacher, Kind(distill.GetProperty("type").GetString()!), distill.Number("alpha", 1),
            distill.Number("tau", 1));
        loss.backward();
        (ours["train.logits"], ours["train.loss"]) = (logits.detach(), loss.detach());
        // loss.KIND_aALPHA_tT
        foreach (var name in c.Expected.Keys.Where(k => k.StartsWith("loss.", StringComparison.Ordinal)))
        {
            var parts = name["loss.".Length..].Split('_');
            double Value(char key, double otherwise) => parts.FirstOrDefault(p => p[0] == key && p.Length > 1 && char.IsDigit(p[1])) is { } p
                ? double.Parse(p[1..], CultureInfo.InvariantCulture) : otherwise;
            ours[name] = MiniViTLoss.Logits(labels, logits, teacher, Kind(parts[0]), Value('a', 1), Value('t', 1)).detach();
        }
        foreach (var (name, parameter) in model.named_parameters())
        {
            if (parameter.grad is { } grad) ours[$"train.grad.{name}"] = grad;
        }
        return ours;
    }

    private static LogitDistillation Kind(string name) =>
        name switch { "none" => LogitDistillation.None, "hard" => LogitDistillation.Hard, _ => LogitDistillation.Soft };
}

/// <summary>minivit/mini-swin: the stream after every repeat, logits, weight distillation from a Swin teacher, gradients.</summary>
public sealed class MiniSwinAdapter : IParityAdapter
{
    public string Name => "minivit/mini-swin";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var args = c.Config.GetProperty("constructor");
        bool Flag(string key) => !args.TryGetProperty(key, out var v) || v.GetBoolean();
        var depths = args.Ints("depths", [2, 2, 6, 2]);
        var model = new MiniSwin(new MiniSwinConfig
        {
            ImageSize = (int)args.Number("img_size", 224),
            Patch = (int)args.Number("patch_size", 4),
            Dim = (int)args.Number("embed_dim", 96),
            Depths = depths,
            Blocks = args.Ints("separate_layer_num_list", depths),
            Heads = args.Ints("num_heads", [3, 6, 12, 24]),
            Window = (int)args.Number("window_size", 7),
            MlpRatio = args.Number("mlp_ratio", 4),
            QkvBias = Flag("qkv_bias"),
            SeparateNorms = Flag("is_sep_layernorm"),
            TransformMlp = Flag("is_transform_FFN"),
            TransformHeads = Flag("is_transform_heads"),
            DropPath = args.Number("drop_path_rate", 0),
            Classes = (int)args.Number("num_classes", 1000),
        });
        Load(model, key => !key.StartsWith("teacher.", StringComparison.Ordinal), "");
        var (x, ours) = (c.Inputs["x"], new Dictionary<string, Tensor>());
        model.eval();
        using (no_grad())
        {
            using var tap = LayerTap.Open();
            ours["logits"] = model.call(x);
            tap.Stop();
            var seen = new Dictionary<string, Tensor>();
            using var replay = new GraphModule(Capture.Trace(model, x.shape));
            replay.eval();
            replay.Run([x], (value, tensor) => seen[value.Name] = tensor.clone().MoveToOuterDisposeScope());
            ours["eval.patch_embed"] = Flat(seen["patch_embed.norm"]);
            var layer = 0;
            for (var s = 0; s < depths.Length; s++)
            {
                var share = depths[s] / model.Config.Blocks[s];
                var shifts = model.Config.ImageSize / model.Config.Patch >> s > model.Config.Window ? model.Config.Window / 2 > 0 : false;
                for (var k = 0; k < depths[s]; k++)
                    ours[$"eval.layer{s}.block{k / share}.repeat{k % share}.shift{(shifts && k % 2 == 1 ? 1 : 0)}"] = tap.States[layer++].clone();
                if (seen.TryGetValue($"layers.{s}.downsample.reduction", out var merged)) ours[$"eval.layer{s}"] = Flat(merged);
                else ours[$"eval.layer{s}"] = tap.States[layer - 1].clone();
            }
        }
        if (c.Config.TryGetProperty("teacher", out var t)) Distil(c, t, model, x, ours, Load);
        return ours;

        void Load(nn.Module module, Func<string, bool> wanted, string prefix)
        {
            using var file = WeightFile.Open(Path.Combine(c.Folder, "weights.safetensors"));
            file.LoadInto(module, mapKey: key => wanted(key) ? key[prefix.Length..] : null);
            foreach (var key in c.Weights.Keys.Where(wanted).ToList()) _ = c.Weights[key];
        }
    }

    private static void Distil(ParityCase c, JsonElement t, MiniSwin model, Tensor x, Dictionary<string, Tensor> ours,
        Action<nn.Module, Func<string, bool>, string> load)
    {
        var teacher = new SwinTransformer(new SwinConfig
        {
            ImageSize = (int)t.Number("img_size", 224),
            Patch = (int)t.Number("patch_size", 4),
            Dim = (int)t.Number("embed_dim", 96),
            Depths = t.Ints("depths", [2, 2, 6, 2]),
            Heads = t.Ints("num_heads", [3, 6, 12, 24]),
            Window = (int)t.Number("window_size", 7),
            MlpRatio = t.Number("mlp_ratio", 4),
            QkvBias = !t.TryGetProperty("qkv_bias", out var bias) || bias.GetBoolean(),
            Classes = (int)t.Number("num_classes", 1000),
        });
        load(teacher, key => key.StartsWith("teacher.", StringComparison.Ordinal), "teacher.");
        teacher.eval();
        model.train();
        var distill = c.Config.GetProperty("distill");
        var weights = distill.GetProperty("weights");
        var loss = new WeightDistillation(teacher.call)
        {
            StudentLayers = distill.Ints("student_layers", []),
            TeacherLayers = distill.Ints("teacher_layers", []),
            RelationHeads = (int)distill.Number("Ar", 1),
            Temperature = distill.Number("temperature", 1),
            Soft = weights.Number("soft", 1),
            QkvWeight = weights.Number("qkv_relation", 1),
            HiddenWeight = weights.Number("hidden_relation", 0.1),
        }.Terms(model, x);
        (ours["student.logits"], ours["teacher.logits"]) = (loss.Student.detach(), loss.Teacher);
        (ours["loss.soft"], ours["loss.qkv_relation"], ours["loss.hidden_relation"]) = (loss.Soft.detach(), loss.Qkv!.detach(), loss.Hidden!.detach());
        loss.Total.backward();
        ours["loss.total"] = loss.Total.detach();
        foreach (var (name, parameter) in model.named_parameters())
        {
            if (parameter.grad is { } grad) ours[$"train.grad.{name}"] = grad;
        }
    }

    private static Tensor Flat(Tensor grid) => grid.flatten(1, 2);
}
