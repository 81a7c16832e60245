using Bayou.Compress;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>
/// mqbench/observers-quantizers: every observer and fake quantiser, run by the names of the case's outputs ("details" of its config.json says what each run
/// sees).
/// </summary>
public sealed class MqbenchObserversAdapter : IParityAdapter
{
    public string Name => "mqbench/observers-quantizers";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var results = new Dictionary<string, Tensor>();
        foreach (var group in c.Expected.Keys.GroupBy(Stem))
        {
            var values = group.Key.StartsWith("obs.", StringComparison.Ordinal) ? Observe(group.Key.Split('.'), c) : Quantize(group.Key, c);
            foreach (var (name, value) in values) results[$"{group.Key}.{name}"] = value;
        }
        return results;
    }

    private static string Stem(string name) =>
        name.StartsWith("fq.AdaRound.init_alpha", StringComparison.Ordinal) || name.StartsWith("fq.AdaRound.rectified", StringComparison.Ordinal)
        ? "fq.AdaRound"
        : name[..name.LastIndexOf('.')];

    private static Tensor Vector(Tensor x) => x.detach().reshape(-1).clone();

    private static QuantScheme Scheme(IEnumerable<string> parts) => new(
        parts.Contains("b4") ? 4 : 8, parts.Contains("sym"), parts.Contains("pc"), parts.Contains("pot"));

    private static Observer Create(string name, QuantScheme scheme) => name switch
    {
        "MinMax" => new MinMaxObserver(scheme),
        "EMAMinMax" => new EmaMinMaxObserver(scheme),
        "EMAQuantile" => new EmaQuantileObserver(scheme, 0.99),
        "ClipStd" => new ClipStdObserver(scheme),
        "LSQ" => new LsqObserver(scheme),
        "LSQPlus" => new LsqPlusObserver(scheme),
        "MSE" => new MseObserver(scheme),
        _ => new MseObserver(scheme, ratio: 0.9),
    };

    private static Tensor[] Batches(string what, ParityCase c) => what == "weight"
        ? [c.Inputs["weight"]]
        : [.. Enumerable.Range(0, 3).Select(i => c.Inputs[$"act{i}"]).Select(x => what == "relu" ? x.relu() : x)];

    private static Dictionary<string, Tensor> Observe(string[] parts, ParityCase c)
    {
        if (parts[1] is "MinMaxFloor" or "PoTMode")
        {
            var kind = parts[2] switch { "param" => VitisTensor.Param, "input" => VitisTensor.Input, _ => VitisTensor.Tensor };
            var scheme = new QuantScheme(8, true);
            Observer floor = parts[1] == "PoTMode" ? new PotModeObserver(scheme, kind) : new MinMaxFloorObserver(scheme, kind);
            var scales = new List<float>();
            foreach (var batch in Batches(kind == VitisTensor.Param ? "weight" : "act", c))
            {
                floor.Observe(batch);
                scales.Add(floor.Parameters().Scale.item<float>());
            }
            return new() { ["scales"] = tensor(scales.ToArray()) };
        }
        var observer = Create(parts[1], Scheme(parts));
        foreach (var batch in Batches(parts[^1], c)) observer.Observe(batch);
        var (scale, zero) = observer.Parameters();
        return new() { ["scale"] = Vector(scale), ["zero_point"] = Vector(zero), ["min"] = Vector(observer.Min), ["max"] = Vector(observer.Max) };
    }

    private static Dictionary<string, Tensor> Quantize(string stem, ParityCase c)
    {
        var parts = stem.Split('.');
        var scheme = Scheme(parts);
        var weights = scheme.PerChannel || parts[1] is "DoReFa" or "AdaRound" || stem == "fq.TQT.param";
        var input = weights ? c.Inputs["weight"] : c.Inputs["act0"];
        var gradient = weights ? c.Inputs["grad_weight"] : c.Inputs["grad_act"];
        if (parts.Contains("relu")) input = input.relu();
        FakeQuantizer quantizer;
        switch (parts[1])
        {
            case "Fixed":
                quantizer = new FixedFakeQuantizer(new MinMaxObserver(scheme));
                Calibrate(quantizer, Batches(weights ? "weight" : "act", c), 0.7);
                break;
            case "LSQ":
                quantizer = new LearnableFakeQuantizer(new MinMaxObserver(scheme));
                Calibrate(quantizer, Batches(weights ? "weight" : "act", c), 0.6);
                using (no_grad())
                {
                    quantizer.Scale.mul_(1.07);
                    if (!scheme.Symmetric) quantizer.ZeroPoint.add_(0.3);
                }
                break;
            case "DSQ":
                quantizer = new DsqFakeQuantizer(weights ? new MinMaxObserver(scheme) : new ClipStdObserver(scheme));
                Calibrate(quantizer, [input], 0.6);
                break;
            case "QDrop":
                var half = stem.Contains("prob0.5");
                quantizer = new QDropFakeQuantizer(new MseObserver(scheme), half ? 0.5 : 1, _ => c.Inputs["qdrop.uniform"]);
                Calibrate(quantizer, Batches("act", c), half ? 1 : 0.8);
                break;
            case "PACT":
                quantizer = new PactFakeQuantizer(new MinMaxObserver(scheme), 1.5);
                Calibrate(quantizer, [input], 1);
                break;
            case "DoReFa":
                quantizer = new DoReFaFakeQuantizer(new MinMaxObserver(scheme));
                Calibrate(quantizer, [input], 1);
                break;
            case "TQT":
                var kind = weights ? VitisTensor.Param : VitisTensor.Tensor;
                var vitis = new QuantScheme(8, true);
                quantizer = new TqtFakeQuantizer(weights ? new MinMaxFloorObserver(vitis, kind) : new PotModeObserver(vitis, kind), kind);
                Calibrate(quantizer, [input], 0.5);
                break;
            case "NNIE":
                quantizer = new NnieFakeQuantizer(new MinMaxObserver(new QuantScheme(8, true)));
                Calibrate(quantizer, [input], 1);
                break;
            default:
                return AdaRound(stem, parts, c);
        }
        var x = input.clone().requires_grad_();
        var y = quantizer.Call(x);
        (y * gradient).sum().backward();
        var results = new Dictionary<string, Tensor>
        {
            ["y"] = y.detach(),
            ["dx"] = x.grad!,
            ["scale"] = Vector(quantizer.Scale),
            ["zero_point"] = Vector(quantizer.ZeroPoint),
        };
        if (quantizer is NnieFakeQuantizer nnie) results["data_max"] = tensor(new[] { nnie.Largest });
        foreach (var (name, parameter) in quantizer.Parameters)
        {
            results[name] = Vector(parameter);
            results["d" + name] = parameter.grad is { } g ? Vector(g) : zeros_like(Vector(parameter));
        }
        return results.Where(r => c.Expected.ContainsKey($"{stem}.{r.Key}")).ToDictionary();
    }

    private static Dictionary<string, Tensor> AdaRound(string stem, string[] parts, ParityCase c)
    {
        var weight = c.Inputs["weight"];
        if (stem == "fq.AdaRound")
        {
            var pieces = new Dictionary<string, Tensor>();
            foreach (var bits in new[] { 8, 4 })
            {
                var start = Started(bits);
                pieces[$"init_alpha.b{bits}"] = start.Alpha!.detach().clone();
                using (no_grad()) start.Alpha!.copy_(c.Inputs[$"adaround.alpha.b{bits}"]);
                pieces[$"rectified_sigmoid.b{bits}"] = start.RectifiedSigmoid().detach();
            }
            return pieces;
        }
        var width = parts.Contains("b4") ? 4 : 8;
        var quantizer = Started(width);
        using (no_grad()) quantizer.Alpha!.copy_(c.Inputs[$"adaround.alpha.b{width}"]);
        quantizer.Soft = parts[2] == "soft";
        var x = weight.clone().requires_grad_();
        var y = quantizer.Call(x);
        if (!quantizer.Soft) return new() { ["y"] = y.detach() };
        (y * c.Inputs["grad_weight"]).sum().backward();
        return new()
        {
            ["y"] = y.detach(),
            ["dx"] = x.grad ?? zeros_like(x),
            ["dalpha"] = quantizer.Alpha!.grad!,
            ["scale"] = Vector(quantizer.Scale),
            ["zero_point"] = Vector(quantizer.ZeroPoint),
        };

        AdaRoundFakeQuantizer Started(int bits)
        {
            var fresh = new AdaRoundFakeQuantizer(new MseObserver(new QuantScheme(bits, true, true)));
            fresh.Start(weight);
            return fresh;
        }
    }

    private static void Calibrate(FakeQuantizer quantizer, Tensor[] batches, double factor)
    {
        foreach (var batch in batches) quantizer.Calibrate(batch * factor);
        quantizer.ObserverEnabled = false;
    }
}
