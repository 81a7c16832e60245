using Bayou.Compress;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>mqbench/weight-reconstruction: AdaRound on one convolution, the annealing schedules, cross-layer equalisation.</summary>
public sealed class MqbenchReconstructionAdapter : IParityAdapter
{
    public string Name => "mqbench/weight-reconstruction";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var steps = c.Config.GetProperty("T").GetInt32();
        var factor = c.Config.GetProperty("weight").GetDouble();
        var warmUp = c.Config.GetProperty("warm_up").GetDouble();
        var range = c.Config.GetProperty("b_range").EnumerateArray().Select(b => b.GetDouble()).ToArray();
        Tensor x = c.Inputs["x"], weight = c.Inputs["weight"], bias = c.Inputs["bias"];
        var reference = nn.functional.conv2d(x, weight, bias, padding: [1, 1]);

        var quantizer = new AdaRoundFakeQuantizer(new MseObserver(new QuantScheme(c.Config.GetProperty("bits").GetInt32(), true, true)));
        quantizer.Start(weight);
        var loss = new ReconstructionLoss(steps, factor, warmUp, range[0], range[1]);
        using var adam = optim.Adam([quantizer.Alpha!], 1e-3);
        var losses = new float[steps];
        Tensor? first = null;
        for (var t = 0; t < steps; t++)
        {
            adam.zero_grad();
            var value = loss.Next(nn.functional.conv2d(x, quantizer.Call(weight), bias, padding: [1, 1]), reference, quantizer);
            losses[t] = value.item<float>();
            value.backward();
            first ??= quantizer.Alpha!.grad!.clone();
            adam.step();
        }
        quantizer.Soft = false;
        var cosine = new ReconstructionLoss(steps, factor, warmUp, range[0], range[1], Annealing.Cosine);
        var (w1, b1, w2, s) = CrossLayerEqualization.Equalize(c.Inputs["eq_w1"], c.Inputs["eq_b1"], c.Inputs["eq_w2"]);
        return new Dictionary<string, Tensor>
        {
            ["fp_out"] = reference,
            ["scale"] = quantizer.Scale.reshape(-1),
            ["losses"] = tensor(losses),
            ["grad_alpha_step0"] = first!,
            ["alpha_final"] = quantizer.Alpha!.detach(),
            ["hard_weight"] = quantizer.Call(weight).detach(),
            ["b"] = tensor(Enumerable.Range(1, steps).Select(loss.Exponent).ToArray()),
            ["b_cosine"] = tensor(Enumerable.Range(1, steps).Select(cosine.Exponent).ToArray()),
            ["eq_w1"] = w1,
            ["eq_b1"] = b1!,
            ["eq_w2"] = w2,
            ["eq_s"] = s,
        };
    }
}
