using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>The state of one post-training quantisation: histograms, reference outputs, the layers quantised so far.</summary>
internal sealed class PtqSession
{
    private readonly QuantizationPlan plan;
    private readonly PtqOptions options;
    private readonly DisposeScope scope;      // of the whole quantisation: what is kept between steps lives in it
    private readonly Dictionary<GraphValue, ValueHistogram> histograms;
    private readonly Dictionary<GraphValue, (Tensor Sum, long Count)> inputMeans = [];
    private readonly Dictionary<(GraphValue, ActivationObserver), (double Scale, long Zero)> activationScales = [];
    private readonly Dictionary<(GraphValue, WeightObserver), Tensor> weightScales = [];
    private readonly List<(Tensor X, Tensor[] Float, Tensor? Labels)> judges = [];
    private readonly HashSet<QuantLayer> quantized;
    private ActivationObserver activationObserver;
    private WeightObserver weightObserver;

    public PtqSession(QuantizationPlan plan, PtqOptions options, DisposeScope scope)
    {
        (this.plan, this.options, this.scope) = (plan, options, scope);
        (activationObserver, weightObserver) = (options.ActivationObserver, options.WeightObserver);
        histograms = plan.Roots.ToDictionary(v => v, v => new ValueHistogram(v.Name));
        quantized = plan.Layers.Where(l => !options.KeepFloat.Contains(l.Node.Name)).ToHashSet();
    }

    /// <summary>One pass of the float network over the calibration pictures.</summary>
    public void Calibrate(List<Tensor> batches)
    {
        var float32 = new GraphModule(plan.Graph);      // not disposed: it shares the model's parameters
        float32.eval();
        var meansOf = options.BiasCorrection ? plan.Layers.Where(l => l.Weight is not null).ToLookup(l => l.Node.Inputs[0]!) : null;
        foreach (var batch in batches)
        {
            using var step = NewDisposeScope();
            float32.Run([batch], (value, tensor) =>
            {
                if (histograms.TryGetValue(value, out var histogram)) histogram.Add(tensor);
                if (meansOf is not null && meansOf[value].FirstOrDefault() is { } layer) AddMean(value, layer, tensor);
            });
        }
        options.Progress?.Invoke($"calibrated {histograms.Count} activations of {plan.Layers.Count} layers");
    }

    private void AddMean(GraphValue value, QuantLayer layer, Tensor x)
    {
        var channel = layer.Node.Op is Conv2dOp ? 1 : (int)x.dim() - 1;
        var rows = x.to(float64).transpose(0, channel).reshape(x.shape[channel], -1);
        var sum = rows.sum([1]);
        if (inputMeans.TryGetValue(value, out var old)) sum = sum.Plus(old.Sum);
        inputMeans[value] = (sum.MoveToOtherDisposeScope(scope), old.Count + rows.shape[1]);
    }

    /// <summary>Runs the float network on the pictures that judge and keeps its outputs.</summary>
    public void Judge(Tensor images, Tensor? labels)
    {
        var float32 = new GraphModule(plan.Graph);      // not disposed: it shares the model's parameters
        float32.eval();
        long at = 0;
        foreach (var x in PostTrainingQuantization.Chunks(images, options.BatchSize))
        {
            judges.Add((x, float32.Run([x]), labels?.narrow(0, at, x.shape[0])));
            at += x.shape[0];
        }
        if (judges.Any(j => j.Float.Any(y => !y.isfinite().all().item<bool>())))
            throw new BayouException("Quantisation: the float network's output is NaN or infinite on the evaluation pictures; the network diverged or its input is not normalised as in training");
    }

    /// <summary>Tries the observers, measures the layers, keeps the worst in float.</summary>
    public CompressReport Choose()
    {
        var trials = new List<ObserverTrial>();
        if (options.Search)
        {
            foreach (var w in Enum.GetValues<WeightObserver>())
            {
                foreach (var a in Enum.GetValues<ActivationObserver>())
                {
                    (activationObserver, weightObserver) = (a, w);
                    trials.Add(new(a, w, Evaluate()));
                    options.Progress?.Invoke($"observers {a}/{w}: {Describe(trials[^1].Loss)}");
                }
            }
            // Accuracy on some hundred pictures moves in coarse steps: the divergence decides among equals.
            var best = trials.OrderBy(t => t.Loss.Accuracy is null ? 0 : Math.Max(0, t.Loss.Points)).ThenBy(t => t.Loss.Kl).ThenBy(t => t.Loss.RelativeMse)
                .First();
            (activationObserver, weightObserver) = (best.ActivationObserver, best.WeightObserver);
        }
        var all = trials.FirstOrDefault(t => t.ActivationObserver == activationObserver && t.WeightObserver == weightObserver)?.Loss ?? Evaluate();
        var ranking = options.KeepSensitiveInFloat ? Measure() : [];
        var steps = new List<GreedyStep>();
        var final = options.KeepSensitiveInFloat ? KeepSensitive(ranking, all, steps) : all;
        var reasons = steps.Where(s => s.ToFloat)
            .ToDictionary(s => s.Layer, s => $"loss {s.Loss.Points:P2} after leaving it in float; alone it cost KL {Alone(s.Layer):G3}");
        var kept = plan.Layers.Where(l => !quantized.Contains(l)).Select(l => l.Node.Name).ToList();
        return new CompressReport
        {
            Layers = ranking.Select(r => kept.Contains(r.Layer)
                ? r with { KeptInFloat = true, Why = reasons.GetValueOrDefault(r.Layer, "asked for") }
                : r).ToList(),
            Trials = trials,
            Steps = steps,
            KeptInFloat = kept,
            QuantizableLayers = plan.Layers.Count,
            ActivationObserver = activationObserver,
            WeightObserver = weightObserver,
            ActivationType = options.ActivationType,
            WeightBits = plan.ReducedRange ? 7 : options.WeightBits,
            ReducedRange = plan.ReducedRange,
            CalibrationPictures = 0,
            EvaluationPictures = 0,
            AllQuantized = all,
            Final = final,
            MaxLoss = options.MaxLoss,
            WithinMaxLoss = final.Points <= options.MaxLoss,
            Seconds = 0,
        };

        double Alone(string layer) => ranking.First(r => r.Layer == layer).Loss.Kl;
    }

    /// <summary>The result, with its scales detached from any dispose scope.</summary>
    public Graph Build() => Insert(quantized, out _);

    private Graph Insert(IReadOnlySet<QuantLayer> layers, out Dictionary<GraphValue, GraphValue> values) =>
        plan.Insert(layers, ActivationScale, WeightScale, options.BiasCorrection ? CorrectedBias : null, out values);

    private static string Describe(QuantizationLoss loss) =>
        $"KL {loss.Kl:G3}, agreement {loss.Agreement:P2}{(loss.Accuracy is { } a ? $", accuracy {a:P2} (float {loss.FloatAccuracy:P2})" : "")}";

    private (double Low, double High) Range(GraphValue root)
    {
        var (low, high) = plan.ActivationCodes;
        return histograms[root].Range(activationObserver, options.Percentile, (int)(high - low + 1), options.ActivationType == ActivationType.Int8);
    }

    private (double Scale, long Zero) ActivationScale(GraphValue root)
    {
        if (activationScales.TryGetValue((root, activationObserver), out var known)) return known;
        var (low, high) = Range(root);
        var (min, max) = plan.ActivationCodes;
        double scale;
        long zero = 0;
        if (options.ActivationType == ActivationType.Int8) scale = Math.Max(-low, high) / max;
        else scale = (high - low) / (max - min);
        // A constant-zero activation (a dead layer, a blank channel): any scale codes it exactly, but a tiny one would clip whatever comes later and overflow
        // the bias.
        if (scale < 1e-7) scale = 1.0 / max;
        if (options.ActivationType == ActivationType.UInt8) zero = Math.Clamp((long)Math.Round(min - low / (float)scale), min, max);
        return activationScales[(root, activationObserver)] = (scale, zero);
    }

    private Tensor WeightScale(QuantLayer layer)
    {
        if (weightScales.TryGetValue((layer.Weight!, weightObserver), out var known)) return known;
        var axis = options.PerChannel ? layer.Axis : -1;
        var scale = WeightScales.Choose(layer.Weight!.Tensor!, axis, plan.WeightCodes.Max, weightObserver);
        // The bias of an integer kernel is int32 in steps of (input scale x weight scale): keep it well inside.
        if (layer.Node.Inputs.Count > 2 && layer.Node.Inputs[2]?.Tensor is { } bias)
        {
            var input = ActivationScale(plan.Root(layer.Node.Inputs[0]!)).Scale;
            var floor = bias.detach().abs().to(float32) / Number.Of((float)(input * (1 << 30)));
            scale = maximum(scale, axis < 0 ? floor.amax() : floor);
        }
        return weightScales[(layer.Weight!, weightObserver)] = scale.MoveToOtherDisposeScope(scope);
    }

    // What rounding the weights adds to the mean of each output channel: (w - w_q) E[x], summed over the kernel. Padding is neglected.
    private Tensor? CorrectedBias(QuantLayer layer)
    {
        if (layer.Weight is null || layer.Node.Op is MatMulOp || !inputMeans.TryGetValue(layer.Node.Inputs[0]!, out var mean)) return null;
        using var step = NewDisposeScope();
        var weight = layer.Weight.Tensor!.detach().to(float64);
        var scale = WeightScale(layer).to(float64);
        if (scale.dim() == 1) scale = scale.reshape([-1, .. Enumerable.Repeat(1L, (int)weight.dim() - 1)]);
        var (low, high) = plan.WeightCodes;
        var rounding = (weight - (weight / scale).round().clamp(Number.Of(low), Number.Of(high)) * scale).flatten(1);
        var x = mean.Sum / Number.Of(mean.Count);
        if (layer.Node.Op is Conv2dOp conv)
        {
            // Output channel o of group g reads input channels [g C/groups, (g + 1) C/groups).
            var outputs = weight.shape[0];
            rounding = weight.shape[2] * weight.shape[3] == 1 ? rounding : rounding.reshape(outputs, weight.shape[1], -1).sum([2]);
            x = x.reshape(conv.Groups, 1, -1).expand(conv.Groups, outputs / conv.Groups, -1).reshape(outputs, -1);
        }
        else
        {
            x = x.unsqueeze(0);
        }
        var shift = (rounding * x).sum([1]);
        var old = layer.Node.Inputs[2]?.Tensor?.detach().to(float64);
        return (old is null ? shift : old.Plus(shift)).to(float32).MoveToOuterDisposeScope();
    }

    // The loss of the network with the layers in `quantized`.
    private QuantizationLoss Evaluate()
    {
        var meter = new LossMeter();
        using var outer = NewDisposeScope();
        var graph = Insert(quantized, out _);
        var network = new GraphModule(graph);
        network.eval();
        foreach (var (x, reference, labels) in judges)
        {
            using var step = NewDisposeScope();
            meter.Add(reference, network.Run([x]), labels);
        }
        DisposeConstants(graph);
        return meter.Result;
    }

    // Every layer quantised alone. The float network runs once; each layer's variant forks off just before its layer, so that only what comes after is computed
    // again.
    private List<LayerSensitivity> Measure()
    {
        var variants = plan.Layers.Select(l => (Layer: l, Graph: Insert(new HashSet<QuantLayer> { l }, out var values), Values: values)).ToList();
        var meters = variants.Select(_ => new LossMeter()).ToArray();
        var noise = new (double Signal, double Noise)[variants.Count];
        var pictures = 0L;
        foreach (var (x, reference, labels) in judges)
        {
            if (pictures >= options.SensitivityCount) break;
            var take = Math.Min(x.shape[0], options.SensitivityCount - pictures);
            pictures += take;
            using var step = NewDisposeScope();
            var run = new PartialRun(plan.Graph, x.narrow(0, 0, take));
            var expected = reference.Select(r => r.narrow(0, 0, take * (r.shape[0] / x.shape[0]))).ToArray();
            for (var i = 0; i < variants.Count; i++)
            {
                var (layer, graph, values) = variants[i];
                run.RunTo(layer.Index);
                using var forked = NewDisposeScope();
                var fork = run.Fork(graph, values);
                // The layer is the node that writes its mapped output; what was inserted stands before it.
                var output = values[layer.Node.Output];
                var index = graph.Nodes.FindIndex(n => n.Outputs.Contains(output)) + 1;
                fork.RunTo(index);
                var float32 = layer.Node.Op.Forward(layer.Node.Inputs.Select(v => v is null ? null : v.Tensor ?? run[v]).ToArray(), false);
                noise[i].Signal += float32.Squared().sum().to(float64).item<double>();
                noise[i].Noise += (float32 - fork[output]).Squared().sum().to(float64).item<double>();
                fork.RunTo(graph.Nodes.Count);
                meters[i].Add(expected, fork.Outputs, labels?.narrow(0, 0, take));
            }
        }
        foreach (var (_, graph, _) in variants) DisposeConstants(graph);
        return variants.Select((v, i) => Describe(v.Layer, meters[i].Result, noise[i].Signal, noise[i].Noise))
            .OrderByDescending(s => s.Loss.Kl).ThenByDescending(s => s.Loss.RelativeMse).ToList();
    }

    private LayerSensitivity Describe(QuantLayer layer, QuantizationLoss loss, double signal, double noise)
    {
        var root = plan.Root(layer.Node.Inputs[layer.Inputs[0]]!);
        var (scale, zero) = ActivationScale(root);
        var (min, max) = plan.ActivationCodes;
        // Capped at 200 dB: without noise the ratio is infinite.
        var sqnr = noise > 0 && signal > 0 ? Math.Min(200, 10 * Math.Log10(signal / noise)) : noise > 0 ? 0 : 200;
        return new(layer.Node.Name, layer.Node.Op.Name, plan.ReducedRange ? 7 : options.WeightBits, weightObserver, activationObserver,
            (min - zero) * scale, (max - zero) * scale, histograms[root].Min, histograms[root].Max, sqnr, loss);
    }

    // The most sensitive layer goes to float, again and again, until the loss is bearable; then each goes back, least sensitive first, if the loss stays
    // bearable.
    private QuantizationLoss KeepSensitive(List<LayerSensitivity> ranking, QuantizationLoss all, List<GreedyStep> steps)
    {
        var layers = plan.Layers.ToDictionary(l => l.Node.Name);
        var limit = (int)Math.Ceiling(options.MaxFloatShare * plan.Layers.Count);
        var loss = all;
        var moved = new List<QuantLayer>();
        foreach (var candidate in ranking)
        {
            if (loss.Points <= options.MaxLoss || moved.Count >= limit) break;
            var layer = layers[candidate.Layer];
            if (!quantized.Remove(layer)) continue;
            moved.Add(layer);
            loss = Evaluate();
            steps.Add(new(candidate.Layer, true, loss));
            options.Progress?.Invoke($"{candidate.Layer} in float: {Describe(loss)}");
        }
        if (moved.Count == 0) return loss;
        // Where the bound cannot be met, a layer must at least not make things worse by coming back.
        var bound = Math.Max(options.MaxLoss, loss.Points);
        for (var i = moved.Count - 2; i >= 0; i--)
        {
            quantized.Add(moved[i]);
            var back = Evaluate();
            if (back.Points > bound)
            {
                quantized.Remove(moved[i]);
                continue;
            }
            loss = back;
            steps.Add(new(moved[i].Node.Name, false, back));
            options.Progress?.Invoke($"{moved[i].Node.Name} back to integers: {Describe(back)}");
        }
        return loss;
    }

    // Scales and corrected biases of a trial graph outlive dispose scopes; the model's own tensors stay.
    private void DisposeConstants(Graph trial)
    {
        var own = plan.Graph.Weights.Select(w => w.Tensor!).ToHashSet(ReferenceEqualityComparer.Instance);
        foreach (var weight in trial.Weights) if (!own.Contains(weight.Tensor!)) weight.Tensor!.Dispose();
    }
}
