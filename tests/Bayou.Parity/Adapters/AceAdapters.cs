using System.Text.Json;
using Bayou.Core;
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
            // The recorded values carry float32's full significand (the official sum in the unit binade was taken in double, where it rounds nothing): what they fix is the range.
            ours[name] = tensor(finite.Select(v => FloatRounding.AqtRange(v, n[0], n[1], n[2])).ToArray());
        }
        var noise = c.Inputs["sr_noise"].data<int>().ToArray();
        var drawn = c.Inputs["sr_x"].data<float>().ToArray();
        foreach (var name in c.Expected.Keys.Where(k => k.StartsWith("sr_", StringComparison.Ordinal)))
        {
            var known = c.Config.GetProperty("formats").EnumerateArray().Where(f => f.GetProperty("name").GetString() == name[3..]).Select(Format).FirstOrDefault();
            var format = known ?? NumberFormat.Parse(name[3..]).Float!;
            ours[name] = tensor(drawn.Select((v, i) => FloatRounding.Stochastic(v, noise[i], format)).ToArray());
        }
        return ours;
    }

    private static Minifloat Format(JsonElement f) => new((int)f.Number("exponent", 0), (int)f.Number("mantissa", 0), (int)f.Number("bias", 0), f.GetProperty("kind").GetString() switch
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
            foreach (var (name, code) in new[] { ("twos", RegisterCode.TwosComplement), ("signmag", RegisterCode.SignMagnitude), ("offset", RegisterCode.Offset), ("gray", RegisterCode.Gray) })
                ours[$"{stream}.{name}"] = tensor(BitToggles.Count(x, bits, code), int64);
            ours[$"{stream}.acc32"] = tensor(BitToggles.CountAccumulator(x, w), int64);
        }
        return ours;
    }
}
