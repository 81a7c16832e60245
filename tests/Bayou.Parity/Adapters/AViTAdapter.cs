using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>
/// avit/avit: masks, halting probabilities, block outputs, depths, ponder cost, logits, loss terms and gradients; removal of tokens must give the same logits
/// and depths.
/// </summary>
public sealed class AViTAdapter : IParityAdapter
{
    public string Name => "avit/avit";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var (args, gate) = (c.Config.GetProperty("constructor"), c.Config.GetProperty("args"));
        var model = c.LoadWeights(new AViT(
            new VisionTransformerConfig
            {
                ImageSize = (int)args.Number("img_size", 224),
                Patch = (int)args.Number("patch_size", 16),
                Dim = (int)args.Number("embed_dim", 768),
                Depth = (int)args.Number("depth", 12),
                Heads = (int)args.Number("num_heads", 12),
                MlpRatio = args.Number("mlp_ratio", 4),
                QkvBias = !args.TryGetProperty("qkv_bias", out var bias) || bias.GetBoolean(),
                Classes = (int)args.Number("num_classes", 1000),
                InChannels = (int)args.Number("in_chans", 3),
            },
            new HaltingGate(gate.Number("gate_scale", 10), gate.Number("gate_center", 30), c.Config.Number("eps", 0.01))));
        model.PonderScale = gate.Number("ponder_token_scale", 5e-4);
        model.PriorScale = gate.Number("distr_prior_alpha", 1e-3);
        model.PriorMean = gate.Number("distr_target_depth", Math.Round(model.Config.Depth * 2.0 / 3));
        model.Statistics = HaltingStatistics.OfficialSlice;

        var (x, y, ours) = (c.Inputs["x"], c.Inputs["y"], new Dictionary<string, Tensor>());
        model.eval();
        using (no_grad())
        {
            var trace = model.Masked(x);
            (ours["logits"], ours["counter_token"], ours["rho_token"]) = (trace.Logits, trace.Depth, trace.Ponder);
            for (var l = 0; l < trace.Layers.Count; l++)
                (ours[$"layer{l}.mask_in"], ours[$"layer{l}.h"], ours[$"layer{l}.out"]) =
                    (trace.Layers[l].Active, trace.Layers[l].Halting, trace.Layers[l].Output);
            RemovalGivesTheSame(model, x, trace);
        }

        model.train();
        var train = model.Masked(x);
        var ce = nn.functional.cross_entropy(train.Logits, y);
        var loss = ce + model.Penalty(train);
        loss.backward();
        ours["train.logits"] = train.Logits.detach();
        ours["train.ce"] = ce.detach();
        ours["train.loss"] = loss.detach();
        ours["train.ponder_loss"] = HaltingLoss.Ponder(train.Ponder).detach() * model.PonderScale;
        if (model.PriorScale > 0)
        {
            var target = HaltingLoss.Target(model.Config.Depth, model.PriorMean.Value);
            var means = HaltingLoss.LayerMeans(train.Layers, model.Statistics);
            ours["train.halting_score_layer"] = means.detach();
            ours["distr_target"] = tensor(target.Select(v => (float)v).ToArray());
            ours["train.distr_prior_loss"] = HaltingLoss.Prior(means, target).detach() * model.PriorScale;
        }
        foreach (var (name, parameter) in model.named_parameters())
        {
            if (parameter.grad is { } grad) ours[$"train.grad.{name}"] = grad;
        }
        return ours;
    }

    // Removed with their picture, tokens may stop earlier than their own sum says: they are compared up to the class token's depth.
    private static void RemovalGivesTheSame(AViT model, Tensor x, HaltingTrace masked)
    {
        var removed = model.Removing(x);
        var worst = (removed.Logits - masked.Logits).abs().max().item<float>() / Math.Max(1, masked.Logits.abs().max().item<float>());
        if (worst > 1e-5) throw new BayouException($"removing tokens changes the logits by {worst:G3}");
        for (var n = 0; n < removed.Depths.Length; n++)
        {
            var depths = masked.Depth[n].data<float>().ToArray();
            for (var t = 0; t < depths.Length; t++)
            {
                var expected = (int)Math.Min(depths[t], depths[0]);
                if (removed.Depths[n][t] != expected)
                    throw new BayouException($"removing tokens: token {t} of picture {n} ran through {removed.Depths[n][t]} layers, masked through {expected}");
            }
        }
    }
}
