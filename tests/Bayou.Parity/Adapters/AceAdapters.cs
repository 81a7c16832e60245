using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>ace/formats: every code and the casts of each small float; bf16, fp16, tf32; AQT's downcast; stochastic rounding.</summary>
public sealed class AceFormatsAdapter : IParityAdapter
{
    public string Name => "ace/formats";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var x = c.Inputs["x"].data<float>().ToArray();
        var ours = new Dictionary<string, Tensor>();
        foreach (var f in c.Config.GetProperty("formats").EnumerateArray())
        {
            var format = Format(f);
            var name = f.GetProperty("name").GetString()!;
            if (format.Max != f.Number("max", 0) || format.MinNormal != f.Number("min_normal", 0) || format.MinSubnormal != f.Number("min_subnormal", 0))
                throw new BayouException($"{name}: {format} has another range than the case says");
            ours[$"{name}.decode"] = tensor(Enumerable.Range(0, 1 << format.Bits).Select(format.Decode).ToArray());
            foreach (var (mode, saturate) in new[] { ("sat", true), ("nosat", false) })
            {
                var values = new float[x.Length];
                format.Cast(x, values, saturate);
                ours[$"{name}.{mode}.value"] = tensor(values);
                ours[$"{name}.{mode}.code"] = tensor(x.Select(v => format.Encode(v, saturate)).ToArray());
            }
        }
        ours["bf16.rne"] = tensor(x.Select(v => (int)FloatRounding.ToBf16(v)).ToArray());
        ours["bf16.trunc"] = tensor(x.Select(v => (int)FloatRounding.ToBf16(v, BitRounding.Truncate)).ToArray());
        var half = new float[x.Length];
        NumberFormat.Fp16.Float!.Cast(x, half, saturate: false);
        ours["fp16.rne_value"] = tensor(half);
        ours["tf32.rne"] = tensor(x.Select(v => FloatRounding.ToTf32(v, BitRounding.NearestEven)).ToArray());
        ours["tf32.rna"] = tensor(x.Select(v => FloatRounding.ToTf32(v)).ToArray());
        ours["tf32.trunc"] = tensor(x.Select(v => FloatRounding.ToTf32(v, BitRounding.Truncate)).ToArray());
        var finite = c.Inputs["x_finite"].data<float>().ToArray();
        foreach (var name in c.Expected.Keys.Where(k => k.StartsWith("aqt_downcast_sat_ftz.", StringComparison.Ordinal)))
        {
            var n = name[(name.IndexOf('.') + 1)..].Split('_').Select(int.Parse).ToArray();
            // The recorded values carry float32's full significand (the official sum in the unit binade was taken in double, where it rounds nothing): what
            // they fix is the range.
            ours[name] = tensor(finite.Select(v => FloatRounding.AqtRange(v, n[0], n[1], n[2])).ToArray());
        }
        var noise = c.Inputs["sr_noise"].data<int>().ToArray();
        var drawn = c.Inputs["sr_x"].data<float>().ToArray();
        foreach (var name in c.Expected.Keys.Where(k => k.StartsWith("sr_", StringComparison.Ordinal)))
        {
            var known = c.Config.GetProperty("formats").EnumerateArray().Where(f => f.GetProperty("name").GetString() == name[3..]).Select(Format)
                .FirstOrDefault();
            var format = known ?? NumberFormat.Parse(name[3..]).Float!;
            ours[name] = tensor(drawn.Select((v, i) => FloatRounding.Stochastic(v, noise[i], format)).ToArray());
        }
        return ours;
    }

    private static Minifloat Format(JsonElement f) =>
        new((int)f.Number("exponent", 0), (int)f.Number("mantissa", 0), (int)f.Number("bias", 0), f.GetProperty("kind").GetString() switch
        {
            "fn" => MinifloatKind.Fn,
            "fnuz" => MinifloatKind.Fnuz,
            "fin" => MinifloatKind.Finite,
            _ => MinifloatKind.Ieee,
        });
}

/// <summary>ace/int-quantizers: codes, values and straight-through gradients of AQT's quantisers.</summary>
public sealed class AceIntQuantizersAdapter : IParityAdapter
{
    public string Name => "ace/int-quantizers";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var bound = c.Config.Number("bound", 3);
        var (x, w, g) = (c.Inputs["x"], c.Inputs["w"], c.Inputs["g"]);
        var ours = new Dictionary<string, Tensor>();
        foreach (var name in c.Expected.Keys)
        {
            // act.signed.p4.half.q, act.unsigned.p4.fake, weight.p4.int.fake
            var parts = name.Split('.');
            var bits = int.Parse(parts.First(p => p.Length > 1 && p[0] == 'p' && char.IsDigit(p[1]))[1..]);
            var codes = parts.Contains("half") ? AqtCodes.HalfShift : parts.Contains("unsigned") ? AqtCodes.Unsigned : AqtCodes.Signed;
            var weight = parts[0] == "weight";
            var op = new AqtQuantizeOp(bits, codes, weight ? null : bound, -1);
            var value = weight ? w : codes == AqtCodes.Unsigned ? x.clamp_min(Number.Of(0)) : x;
            if (parts[^1] == "q")
            {
                ours[name] = op.Code(value * op.Scale(value, null));
                continue;
            }
            value = value.detach().clone().requires_grad_(true);
            var y = op.Forward([value, null], training: true);
            if (parts[^1] == "dx")
            {
                (y * g).sum().backward();
                y = value.grad!;
            }
            ours[name] = y.detach();
        }
        return ours;
    }
}

/// <summary>ace/toggles: flips of registers and accumulators.</summary>
public sealed class AceTogglesAdapter : IParityAdapter
{
    public string Name => "ace/toggles";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        foreach (var stream in c.Inputs.Keys.Where(k => !k.StartsWith("w.", StringComparison.Ordinal)))
        {
            var bits = int.Parse(stream[(stream.LastIndexOf('b') + 1)..]);
            var (x, w) = (c.Inputs[stream].data<int>().ToArray(), c.Inputs["w." + stream].data<int>().ToArray());
            foreach (var (name, code) in new[] { ("twos", RegisterCode.TwosComplement), ("signmag", RegisterCode.SignMagnitude),
                ("offset", RegisterCode.Offset), ("gray", RegisterCode.Gray) })
                ours[$"{stream}.{name}"] = tensor(BitToggles.Count(x, bits, code), int64);
            ours[$"{stream}.acc32"] = tensor(BitToggles.CountAccumulator(x, w), int64);
        }
        return ours;
    }
}

/// <summary>ace/pokebnn: the stages, logits and straight-through gradients of PokeBNN; tensors are NHWC there.</summary>
public sealed class AcePokeBnnAdapter : IParityAdapter
{
    public string Name => "ace/pokebnn";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var network = new PokeBnn(new PokeBnnConfig
        {
            Plan = [.. c.Config.GetProperty("plan_stride_features").EnumerateArray().Select(p => (p[0].GetInt32(), p[1].GetInt32()))],
            InitGroup = (int)c.Config.Number("init_group", 32),
            InitFeatures = (int)c.Config.Number("init_features", 64),
            Classes = (int)c.Config.Number("classes", 1000),
            InChannels = (int)c.Inputs["x"].shape[3],
            Window = c.Config.Number("window", 3),
        });
        using (var file = WeightFile.Open(Path.Combine(c.Folder, "weights.safetensors"))) file.LoadInto(network, mapKey: key => key.Replace('/', '.'));
        foreach (var key in c.Weights.Keys) _ = c.Weights[key];
        network.eval();
        var x = c.Inputs["x"].permute(0, 3, 1, 2);
        var outputs = network.Outputs(x);
        var pool = outputs[^1][^1].mean([2, 3]);
        var logits = network.call(x);
        logits.mul(arange(logits.numel(), float32).sin().reshape(logits.shape)).sum().backward();
        var ours = new Dictionary<string, Tensor> { ["logits"] = logits.detach(), ["stage.init"] = Last(network.Stem(x)), ["stage.pool"] = pool.detach() };
        for (var b = 0; b < outputs.Length; b++)
            for (var i = 0; i < outputs[b].Length; i++) ours[$"stage.resblock{b}-{i + 1}"] = Last(outputs[b][i]);
        foreach (var (name, parameter) in network.named_parameters()) ours[$"grad.{name.Replace('.', '/')}"] = parameter.grad!;
        return ours;
    }

    private static Tensor Last(Tensor x) => x.detach().permute(0, 2, 3, 1);
}

/// <summary>
/// ace/counts: ACE of known networks. The torchvision networks are given as tables of layers; PokeBNN is built, captured and counted. Beside
/// outputs.safetensors every figure of config.json is compared.
/// </summary>
public sealed class AceCountsAdapter : IParityAdapter
{
    public string Name => "ace/counts";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        var int8 = new List<long>();
        foreach (var net in c.Config.GetProperty("nets").EnumerateObject())
        {
            if (net.Value.TryGetProperty("mac", out _))
            {
                var layers = net.Value.GetProperty("layers").EnumerateArray()
                    .Select(l => new NodeCost(l[0].GetString()!, l[1].GetString()!, l[3].GetInt64(), l[2].GetInt64(), 0, 0, 0)).ToArray();
                ours[$"config/{net.Name}/mac"] = Of(layers.Sum(l => l.Macs));
                ours[$"config/{net.Name}/weights"] = Of(layers.Sum(l => l.Parameters));
                foreach (var ace in net.Value.GetProperty("ace").EnumerateObject())
                    ours[$"config/{net.Name}/{ace.Name}"] = Of(layers.Select((l, i) => Layer(l, ace.Name, i == 0 || i == layers.Length - 1)).Sum());
                int8.Add(layers.Sum(l => l.Ace(NumberFormat.Int8, NumberFormat.Int8)));
                continue;
            }
            using var scope = NewDisposeScope();
            var width = double.Parse(net.Name[(net.Name.IndexOf('_') + 1)..^1], System.Globalization.CultureInfo.InvariantCulture);
            using var network = new PokeBnn(PokeBnnVariants.Config(width));
            var nodes = Cost.Of(network, 1, 3, 224, 224).Nodes.Where(n => n.Macs > 0).ToArray();
            ours[$"config/{net.Name}/ace"] = Of(nodes.Sum(n => n.AceAsIs));
            ours[$"config/{net.Name}/conv_ace"] = Of(nodes.Where(n => n.Op == "Conv2d").Sum(n => n.AceAsIs));
            ours[$"config/{net.Name}/dense_ace"] = Of(nodes.Where(n => n.Op == "Linear").Sum(n => n.AceAsIs));
            ours[$"config/{net.Name}/layers"] = tensor(nodes.SelectMany(n => new[] { n.Macs, n.ABits, n.BBits }).ToArray()).reshape(-1, 3)
                .MoveToOuterDisposeScope();
            foreach (var key in (string[])["ace", "conv_ace", "dense_ace"]) ours[$"config/{net.Name}/{key}"].MoveToOuterDisposeScope();
        }
        ours["total_ace_int8"] = tensor(int8.ToArray());
        return ours;
    }

    public IReadOnlyDictionary<string, Tensor> ExpectedFromConfig(ParityCase c)
    {
        var expected = new Dictionary<string, Tensor>();
        foreach (var net in c.Config.GetProperty("nets").EnumerateObject())
        {
            foreach (var key in (string[])["mac", "weights", "ace", "conv_ace", "dense_ace"])
                if (net.Value.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.Number)
                    expected[$"config/{net.Name}/{key}"] = Of(value.GetInt64());
            if (net.Value.GetProperty("ace").ValueKind == JsonValueKind.Object)
            {
                foreach (var ace in net.Value.GetProperty("ace").EnumerateObject()) expected[$"config/{net.Name}/{ace.Name}"] = Of(ace.Value.GetInt64());
                continue;
            }
            expected[$"config/{net.Name}/layers"] =
                tensor(net.Value.GetProperty("layers").EnumerateArray().SelectMany(l => new[] { l[1].GetInt64(), l[3].GetInt64(), l[2].GetInt64() }).ToArray())
                .reshape(-1, 3);
        }
        return expected;
    }

    // "int8"; "w4a8"; "int4_first_last_int8".
    private static long Layer(NodeCost layer, string formats, bool outer)
    {
        const string firstLast = "_first_last_";
        if (formats.IndexOf(firstLast, StringComparison.Ordinal) is var at and > 0) formats = outer ? formats[(at + firstLast.Length)..] : formats[..at];
        if (formats[0] == 'w' && formats.IndexOf('a') is var a and > 0) return layer.Ace(Bits(formats[1..a]), Bits(formats[(a + 1)..]));
        var format = NumberFormat.Parse(formats);
        return layer.Ace(format, format);
    }

    private static NumberFormat Bits(string bits) => NumberFormat.Parse($"int{bits}");

    private static Tensor Of(long value) => tensor(value, int64);
}
