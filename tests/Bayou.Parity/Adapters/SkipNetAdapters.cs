using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>
/// skipnet/cifar-recurrent, skipnet/cifar-feedforward, skipnet/imagenet: decisions, probabilities, logits, straight-through gradients, the shortcut's two
/// updates.
/// </summary>
public sealed class SkipNetAdapter(string kind) : IParityAdapter
{
    public string Name => $"skipnet/{kind}";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var model = c.LoadWeights(new SkipNet(SkipNetCases.Config(c.Config, kind)));
        var (x, ours) = (c.Inputs["x"], new Dictionary<string, Tensor>());
        // The official ImageNet model stops at the last block that has something to decide.
        var gates = c.Expected.Keys.Count(k => k.StartsWith("gprob", StringComparison.Ordinal));
        var lastGate = gates > model.GatedBlocks;
        model.eval();
        using (no_grad()) Record(model.Run(x, lastGate: lastGate), "");
        using (no_grad()) SkipNetCases.SameWithoutSkipping(model, x, ours["logits"]);
        ours["cp"] = SkipNetCases.Computation(ours["masks"]);

        model.train();
        var trace = model.Run(x, lastGate: lastGate);
        Record(trace, "train_");
        var loss = nn.functional.cross_entropy(trace.Logits, c.Inputs["labels"]);
        loss.backward();
        ours["train_loss"] = loss.detach();
        foreach (var (name, parameter) in model.named_parameters())
        {
            if (parameter.grad is not { } grad) continue;
            ours[$"grad.{name}"] = grad;
            ours[$"grad.{SkipNetCases.OtherName(name)}"] = grad;
        }
        foreach (var (name, buffer) in model.named_buffers())
        {
            ours[$"after_train.{name}"] = buffer;
            ours[$"after_train.{SkipNetCases.OtherName(name)}"] = buffer;
        }
        return ours;

        void Record(SkipTrace trace, string prefix)
        {
            ours[prefix + "logits"] = trace.Logits.detach();
            ours[prefix + "masks"] = SkipNetCases.Rows(trace.Decisions);
            for (var i = 0; i < trace.Probabilities.Count; i++)
            {
                var p = trace.Probabilities[i].detach();
                ours[$"{prefix}gprob{i}"] = model.Config.Gate == SkipGateKind.Recurrent ? p : cat([1 - p, p], 1).log();
            }
        }
    }
}

/// <summary>
/// skipnet/hybrid-rl: returns, policy losses and gradients of given actions under the CIFAR rule, the ImageNet rule, and the ImageNet script's broadcast.
/// </summary>
public sealed class SkipNetHybridAdapter : IParityAdapter
{
    public string Name => "skipnet/hybrid-rl";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var model = c.LoadWeights(new SkipNet(SkipNetCases.Config(c.Config, "cifar-recurrent")));
        var (x, labels, actions, ours) = (c.Inputs["x"], c.Inputs["labels"], c.Inputs["actions"], new Dictionary<string, Tensor>());
        var cifar = new HybridReward(c.Config.Number("alpha", 0.1), c.Config.Number("rl_weight", 0.01), c.Config.Number("gamma", 1));
        var imagenet = cifar with { ScaleCrossEntropy = true, Reduction = PolicyReduction.BatchMean };

        model.eval();
        using (no_grad())
        {
            var eval = model.Run(x);
            (ours["eval_logits"], ours["eval_masks"]) = (eval.Logits, SkipNetCases.Rows(eval.Decisions));
            ours["cp"] = SkipNetCases.Computation(ours["eval_masks"]);
            SkipNetCases.SameWithoutSkipping(model, x, eval.Logits);
        }

        model.train();
        // Batch statistics do not depend on the running ones: the passes are independent.
        Pass(cifar, "cifar", "rl_loss_sum_over_batch", "grad", rlOnly: false);
        Pass(imagenet, "imagenet", "rl_loss_per_sample", "grad", rlOnly: false);
        Pass(imagenet with { Reduction = PolicyReduction.BroadcastMean }, "imagenet_bug", "", "grad_rl_only", rlOnly: true);
        return ours;

        void Pass(HybridReward reward, string prefix, string lossName, string gradName, bool rlOnly)
        {
            model.zero_grad();
            var trace = model.Run(x, (block, _) => actions[block].unsqueeze(1).to(float32));
            var each = SkipPolicyLoss.CrossEntropy(trace.Logits, labels);
            var returns = SkipPolicyLoss.Returns(trace.Decisions, each, reward);
            var policy = SkipPolicyLoss.Of(trace.Probabilities, trace.Decisions, returns, reward.Reduction) * reward.Weight;
            (rlOnly ? policy : each.mean() + policy).backward();
            if (rlOnly) ours["imagenet.rl_loss_broadcast_bug"] = policy.detach();
            else
            {
                ours[$"{prefix}.cum_rewards"] = returns;
                ours[$"{prefix}.{lossName}"] = policy.detach();
                (ours["ce_mean"], ours["ce_per_sample"], ours["logits"]) = (each.mean().detach(), each.detach(), trace.Logits.detach());
                ours["prob_execute"] = SkipNetCases.Rows(trace.Probabilities);
            }
            foreach (var (name, parameter) in model.named_parameters())
            {
                if (parameter.grad is { } grad) ours[$"{prefix}.{gradName}.{name}"] = grad.clone();
            }
        }
    }
}

/// <summary>What the SkipNet adapters share.</summary>
internal static class SkipNetCases
{
    public static SkipNetConfig Config(JsonElement config, string kind)
    {
        var args = config.GetProperty("constructor");
        string Text(string key) => args.TryGetProperty(key, out var v) && v.ValueKind == JsonValueKind.String ? v.GetString()!.ToLowerInvariant() : "";
        var imagenet = kind == "imagenet";
        var gate = Text("gate_type");
        return new SkipNetConfig
        {
            Layers = args.Ints("layers", [6, 6, 6]),
            Widths = args.Ints("widths", imagenet ? [64, 128, 256, 512] : [16, 32, 64]),
            Block = Text("block") == "bottleneck" ? ResidualKind.Bottleneck : ResidualKind.Basic,
            ImageNet = imagenet,
            Gate = kind != "cifar-feedforward" ? SkipGateKind.Recurrent : gate.EndsWith('2') ? SkipGateKind.FeedForward2 : SkipGateKind.FeedForward1,
            Mode = (gate + Text("class")).Contains("soft", StringComparison.Ordinal) ? GateMode.Soft : GateMode.StraightThrough,
            EmbedDim = (int)args.Number("embed_dim", 10),
            HiddenDim = (int)args.Number("hidden_dim", 10),
            Classes = (int)args.Number("num_classes", config.Number("num_classes", 10)),
        };
    }

    /// <summary>[N, 1] each -> [gates, N].</summary>
    public static Tensor Rows(IReadOnlyList<Tensor> each) => cat(each.Select(t => t.detach().reshape(1, -1)).ToArray(), 0);

    /// <summary>(sum of the gates' means + 1) / (gates + 1) in percent.</summary>
    public static Tensor Computation(Tensor masks) => (masks.gt(0.5).to(float64).mean([1]).sum() + 1) / (masks.shape[0] + 1) * 100;

    /// <summary>The projection is one object under two names.</summary>
    public static string OtherName(string name) =>
        name.Contains("_ds0.", StringComparison.Ordinal) ? name.Replace("_ds0.", "_layer0.downsample.") : name.Replace("_layer0.downsample.", "_ds0.");

    /// <summary>The blended forward of the official code gives what skipping gives.</summary>
    public static void SameWithoutSkipping(SkipNet model, Tensor x, Tensor logits)
    {
        model.Skips = false;
        var blended = model.call(x);
        model.Skips = true;
        var worst = (blended - logits).abs().max().item<float>() / Math.Max(1, logits.abs().max().item<float>());
        if (worst > 1e-5) throw new BayouException($"skipping changes the logits by {worst:G3}");
    }
}
