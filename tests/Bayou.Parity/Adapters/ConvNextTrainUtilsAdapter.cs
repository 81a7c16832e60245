using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>
/// convnext/train-utils: schedules, layer ids, parameter groups, losses, and four training steps with mixup, cutmix, AdamW and the running average.
/// </summary>
public sealed class ConvNextTrainUtilsAdapter : IParityAdapter
{
    public string Name => "convnext/train-utils";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        Schedules(c, ours);
        Groups(c, ours);
        Trajectory(c, ours);
        ours["loss.label_smoothing_0.1"] = LabelSmoothingCrossEntropyLoss.Of(c.Inputs["loss.logits"], c.Inputs["loss.labels"], 0.1);
        ours["drop_rates_18_0.1"] = Floats(StochasticDepth.Rates(0.1, 18));
        ours["drop_rates_36_0.5"] = Floats(StochasticDepth.Rates(0.5, 36));
        return ours;
    }

    private static void Schedules(ParityCase c, Dictionary<string, Tensor> ours)
    {
        var number = 0;
        foreach (var s in c.Config.GetProperty("schedules").EnumerateArray())
        {
            var perEpoch = (int)Value(s, "niter_per_ep");
            var warmup = Train.Schedules.WarmupSteps(Value(s, "warmup_epochs"), perEpoch, (int)Value(s, "warmup_steps"));
            ours[$"schedule{number++}"] =
                tensor(Train.Schedules.Cosine(Value(s, "base_value"), Value(s, "final_value"), (int)Value(s, "epochs") * perEpoch, warmup));
        }

        static double Value(JsonElement s, string name) => s.TryGetProperty(name, out var v) ? v.GetDouble() : 0;
    }

    // Ids and decay depend on names and ranks only: a network of the published depths, but four channels wide.
    private static void Groups(ParityCase c, Dictionary<string, Tensor> ours)
    {
        using var network = new ConvNeXt(new ConvNeXtConfig { Depths = [3, 3, 27, 3], Dims = [4, 4, 4, 4], Classes = 2 });
        var decay = c.Config.GetProperty("layer_decay").GetDouble();
        var slots = ParameterGroups.Of(network, decay).ToDictionary(s => s.Name);
        var names = c.Config.GetProperty("param_names_order").EnumerateArray().Select(n => n.GetString()!).ToArray();
        ours["layer_ids"] = tensor(names.Select(n => (long)network.LayerId(n)).ToArray());
        ours["layer_scales"] = Floats(ParameterGroups.LayerScales(decay, network.LayerCount));
        ours["param_lr_scale"] = Floats(names.Select(n => slots[n].LrScale));
        ours["param_weight_decay"] = Floats(names.Select(n => slots[n].WeightDecay * c.Config.GetProperty("weight_decay").GetDouble()));
    }

    private static void Trajectory(ParityCase c, Dictionary<string, Tensor> ours)
    {
        const int classes = 7;
        using var network = new ConvNeXt(new ConvNeXtConfig { Depths = [1, 1, 1, 1], Dims = [4, 6, 8, 10], Classes = classes });
        network.LoadState(c.Weights);
        network.train();
        var weightDecay = c.Config.GetProperty("weight_decay").GetDouble();
        using var ema = new Ema(network, c.Config.GetProperty("ema_decay").GetDouble());
        using var optimizer = new AdamW(ParameterGroups.Of(network));
        var mixup = new Mixup(classes, 0.8, 1, labelSmoothing: 0.1);
        var rates = c.Inputs["lr_per_step"].data<float>().ToArray();
        var losses = new float[rates.Length];
        for (var step = 0; step < rates.Length; step++)
        {
            var x = c.Inputs[$"x{step}"].clone();
            int height = (int)x.shape[2], width = (int)x.shape[3];
            var lambda = c.Inputs[$"mix{step}.lam"].item<double>();
            var mix = new Mix(MixKind.Mixup, lambda);
            if (c.Inputs.TryGetValue($"mix{step}.center_yx", out var center))
            {
                mix = new Mix(MixKind.Cutmix, lambda, (int)center[0].item<long>(), (int)center[1].item<long>());
                var box = Mixup.Box(height, width, mix);
                ours[$"mix{step}.bbox_yl_yh_xl_xh"] = tensor(new long[] { box.Top, box.Bottom, box.Left, box.Right });
                ours[$"mix{step}.lam_corrected"] = tensor(Mixup.CorrectedLambda(height, width, mix));
            }
            var target = mixup.Apply(x, c.Inputs[$"y{step}"], mix);
            (ours[$"mix{step}.x"], ours[$"mix{step}.target"]) = (x, target);

            var loss = SoftTargetCrossEntropyLoss.Of(network.call(x), target);
            loss.backward();
            optimizer.Step(rates[step], weightDecay, ema: ema);
            optimizer.ZeroGrad();
            losses[step] = loss.item<float>();
        }
        ours["losses"] = tensor(losses);
        foreach (var (name, value) in network.named_parameters()) ours["final." + name] = value.detach().clone();
        foreach (var (name, value) in ema.State) ours["ema." + name] = value.clone();
    }

    private static Tensor Floats(IEnumerable<double> values) => tensor(values.Select(v => (float)v).ToArray());
}
