using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>help/help: encoding, z, modulation, adaptation, predictions; with a query's loss also the meta-gradients.</summary>
public sealed class HelpAdapter : IParityAdapter
{
    public string Name => "help/help";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        foreach (var key in c.Weights.Keys) _ = c.Weights[key];
        using var network = HelpNetwork.Load(Path.Combine(c.Folder, "weights.safetensors"));
        return c.Inputs.ContainsKey("query_latency") ? Published(c, network) : Meta(c, network);
    }

    // A published checkpoint on a device's measured latencies.
    private static Dictionary<string, Tensor> Published(ParityCase c, HelpNetwork network)
    {
        foreach (var key in c.Inputs.Keys) _ = c.Inputs[key];
        var (support, query) = (Encode(c, "finetune_archs"), Encode(c, "query_archs"));
        CheckEncoding(c, "finetune_features", support.Features);
        CheckEncoding(c, "query_features", query.Features);
        foreach (var set in (string[])["finetune", "query"])
        {
            if (!c.Inputs.TryGetValue($"{set}_index", out var given)) continue;
            var cells = c.Config.GetProperty($"{set}_archs").EnumerateArray().Select(a => (long)NasBench201Cell.Parse(a.GetString()!).Index);
            if (!cells.SequenceEqual(given.data<long>().ToArray())) throw new BayouException($"the indices of the {set} cells differ from ours");
        }
        var hardware = Scaling.Of(Values(c.Inputs["hw_latency"]), 1).Scale(Values(c.Inputs["hw_latency"]));
        var range = Values(c.Inputs["train_min_max"]);
        var scaling = new Scaling(range[0], range[1], 0.9);
        var (finetune, truth) = (Floats(scaling.Scale(Values(c.Inputs["finetune_latency"]))), Floats(scaling.Scale(Values(c.Inputs["query_latency"]))));
        var device = Floats(hardware);
        var ours = new Dictionary<string, Tensor> { ["finetune_norm"] = finetune, ["query_norm"] = truth };
        var (mean, std) = network.Posterior(device);
        ours["kl"] = HelpNetwork.Kl(mean, std);
        ours["pred_base"] = network.Forward(network.Weights.ToDictionary(w => w.Key, w => (Tensor)w.Value), query, device);
        var (adapted, losses) =
            network.Adapt(network.Modulate(mean, c.Config.Number("z_scaling", HelpNetwork.Modulation)), support, finetune.reshape(-1, 1), device,
            (int)c.Config.Number("num_updates", 2));
        ours["inner_losses"] = tensor(losses.Select(l => (float)l).ToArray());
        ours["pred_query"] = network.Forward(adapted, query, device);
        ours["spearman_query"] = tensor(RankCorrelation.Spearman(Values(ours["pred_query"].detach().reshape(-1)), Values(truth)), float64);
        return ours;
    }

    // Random weights: one task of meta-training with all its gradients.
    private static Dictionary<string, Tensor> Meta(ParityCase c, HelpNetwork network)
    {
        var all = c.Config.TryGetProperty("arch_strings", out _) ? Encode(c, "arch_strings")
            : c.Config.TryGetProperty("archs", out _) ? Encode(c, "archs")
            : HelpEncoding.FBNet(Rows(c.Inputs["op_idx"]));
        foreach (var (key, value) in new[] { ("ops", all.Features), ("features", all.Features), ("adj", all.Adjacency) }) CheckEncoding(c, key, value);
        var k = (int)c.Config.Number("k", 10);
        var hardware = Floats(Scaling.Of(Values(c.Inputs["hw_latency"]), 1).Scale(Values(c.Inputs["hw_latency"])));
        if ((hardware - c.Inputs["hw_embed"]).abs().max().item<float>() > 1e-6) throw new BayouException("the hardware embedding differs from ours");
        var target = Floats(Scaling.Of(Values(c.Inputs["latency"]), 0.9).Scale(Values(c.Inputs["latency"]))).reshape(-1, 1);
        var ours = new Dictionary<string, Tensor> { ["norm_latency"] = target };
        ours["pred_base_all"] = network.Forward(network.Weights.ToDictionary(w => w.Key, w => (Tensor)w.Value), all, hardware);
        var (mean, std) = network.Posterior(hardware);
        var z = mean.Plus(c.Inputs["eps"] * std);
        var kl = HelpNetwork.Kl(mean, std);
        (ours["z_mean"], ours["z_std"], ours["z"], ours["kl"]) = (mean, std, z, kl);
        var p = network.Modulate(z, c.Config.Number("z_scaling", HelpNetwork.Modulation));
        foreach (var (name, value) in p) ours[$"mod.meta_learner.{name}"] = value;
        var second = !c.Config.TryGetProperty("second_order", out var order) || order.GetBoolean();
        var (adapted, losses) =
            network.Adapt(p, all.Slice(0, k), target.slice(0, 0, k, 1), hardware, (int)c.Config.Number("num_updates", 2), differentiable: true,
            secondOrder: second);
        ours["inner_losses"] = tensor(losses.Select(l => (float)l).ToArray());
        foreach (var (name, value) in adapted) ours[$"adapted_sum.meta_learner.{name}"] = value.sum();
        var query = all.Slice(k, all.Features.shape[0]);
        ours["pred_query"] = network.Forward(adapted, query, hardware);
        ours["query_mse"] = nn.functional.mse_loss(ours["pred_query"], target.slice(0, k, long.MaxValue, 1));
        ours["meta_loss"] = ours["query_mse"].Plus(kl.mul(Number.Of(c.Config.Number("kl_scaling", 0.1))));
        ours["meta_loss"].backward();
        foreach (var (prefix, parameters) in new[] { ("grad.meta_learner.", network.Weights), ("grad_lr.meta_learner.", network.Rates),
            ("grad_inf.", network.Inference) })
            foreach (var (name, parameter) in parameters)
                if (parameter.grad is { } grad) ours[prefix + name] = grad;
        return ours.ToDictionary(o => o.Key, o => o.Value.detach());
    }

    private static HelpInput Encode(ParityCase c, string key)
    {
        var archs = c.Config.GetProperty(key).EnumerateArray().ToArray();
        if (archs[0].ValueKind == JsonValueKind.Object) return HelpEncoding.Ofa([.. archs.Select(Ofa)]);
        if (archs[0].ValueKind != JsonValueKind.String)
            return HelpEncoding.FBNet(archs.Select(a => a.EnumerateArray().Select(v => v.GetInt32()).ToArray()).ToArray());
        var order = c.Config.TryGetProperty("op_order", out var o) && o.ValueKind == JsonValueKind.Array
            ? o.EnumerateArray().Select(v => v.GetString()!).ToArray() : null;
        return HelpEncoding.NasBench201(archs.Select(a => NasBench201Cell.Parse(a.GetString()!)).ToArray(), order);
    }

    // As in the official list of once-for-all networks: ks, e, d, r, the last perhaps in a list of one.
    private static OfaArchitecture Ofa(JsonElement a)
    {
        int[] List(string key) => [.. a.GetProperty(key).EnumerateArray().Select(v => v.GetInt32())];
        var r = a.GetProperty("r");
        return new(List("ks"), List("e"), List("d"), r.ValueKind == JsonValueKind.Array ? r[0].GetInt32() : r.GetInt32());
    }

    private static void CheckEncoding(ParityCase c, string key, Tensor? ours)
    {
        if (c.Inputs.TryGetValue(key, out var given) && (ours is null || !given.to(float32).Equals(ours)))
            throw new BayouException($"our encoding differs from '{key}' of the case");
    }

    private static int[][] Rows(Tensor indices) =>
        [.. Enumerable.Range(0, (int)indices.shape[0]).Select(r => indices[r].data<long>().Select(v => (int)v).ToArray())];

    private static double[] Values(Tensor t) => t.to(float64).contiguous().data<double>().ToArray();

    private static Tensor Floats(double[] values) => tensor(values.Select(v => (float)v).ToArray());
}

/// <summary>maple/pipeline: counters to descriptors, weights, regression, gradients, metrics, virtual pairs.</summary>
public sealed class MaplePipelineAdapter : IParityAdapter
{
    public string Name => "maple/pipeline";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var (counters, operatorLatency, latency) = (c.Inputs["counters"], c.Inputs["op_latency"], c.Inputs["latency"]);
        var devices = (int)counters.shape[0];
        var target = (int)c.Config.Number("target_device", devices - 1);
        var sources = Enumerable.Range(0, devices).Where(d => d != target).ToArray();
        var measured = c.Inputs["adapt_index"].data<long>().Select(i => (int)i).ToArray();
        var raw = Enumerable.Range(0, devices).Select(d => MapleWeights.Descriptor(
            [.. Enumerable.Range(0, (int)counters.shape[1]).Select(o => (IReadOnlyList<double>)counters[d, o].data<double>().ToArray())],
            operatorLatency[d].data<double>().ToArray())).ToArray();
        var byDevice = Enumerable.Range(0, devices).Select(d => latency[d].data<double>().ToArray()).ToArray();
        var encodings = Enumerable.Range(0, (int)c.Inputs["ops"].shape[0])
            .Select(a => LatencySpace.OneHot(c.Inputs["ops"][a].data<long>().Select(o => (int)o).ToArray(), 5)).ToArray();

        var training = sources.SelectMany(d => byDevice[d]).Concat(measured.Select(i => byDevice[target][i])).ToArray();
        var (hidden, layers) = ((int)c.Weights["0.weight"].shape[0], c.Weights.Keys.Count(k => k.EndsWith("weight", StringComparison.Ordinal)) - 1);
        var network = c.LoadWeights(MapleModel.NewNetwork(encodings[0].Length + raw[0].Length, hidden, layers));
        using var model = MapleModel.Create(network, [.. sources.Select(d => raw[d])], [.. sources.SelectMany(d => byDevice[d])]);
        var normalized = raw.Select(model.Normalize).ToArray();
        var similarity = MapleWeights.Similarity([.. sources.Select(d => normalized[d])], normalized[target]);
        var rowWeights = MapleWeights.Rows(similarity, encodings.Length, measured.Length);
        var rows = cat([.. sources.Select(d => MapleModel.Rows(encodings, normalized[d])),
            MapleModel.Rows([.. measured.Select(i => encodings[i])], normalized[target])], 0);
        var (weight, truth) = (Floats(rowWeights), Floats([.. training.Select(model.Normalize)]));
        var predicted = network.call(rows).reshape(-1);
        var loss = MapleTraining.Loss(predicted, truth, weight);
        loss.backward();
        var ours = new Dictionary<string, Tensor>
        {
            ["descriptor"] = stack([.. normalized.Select(Floats)], 0),
            ["similarity"] = Floats(similarity),
            ["sample_weight"] = weight,
            ["target_norm"] = truth,
            ["pred_norm"] = predicted.detach(),
            ["loss"] = loss.detach(),
        };
        foreach (var (name, parameter) in network.named_parameters()) ours[$"grad.{name}"] = parameter.grad!;
        // The case tests the metrics on predictions it drew at random and keeps only beside its outputs: they are the metrics' argument, no result of ours.
        // Everything else is computed.
        var drawn = c.Expected["m_pred"];
        var real = byDevice[target];
        var metrics = LatencyMetrics.Of(real, drawn.to(float64).data<double>().ToArray());
        ours["m_true"] = Floats(real);
        ours["m_pred"] = drawn;
        ours["bound_acc"] = Floats([metrics.Within1, metrics.Within5, metrics.Within10]);
        ours["spearman"] = tensor((float)metrics.Spearman);
        ours["kendall"] = tensor((float)metrics.Kendall);
        ours["mape"] = tensor((float)metrics.Mape);
        ours["virtual_pairs"] =
            tensor(MapleWeights.VirtualPairs([.. sources.Select(d => byDevice[d])], measured, 0.2).SelectMany(p => new[] { (long)p.Measured, p.Other })
            .ToArray()).reshape(-1, 2);
        return ours;
    }

    private static Tensor Floats(double[] values) => tensor(values.Select(v => (float)v).ToArray());
}
