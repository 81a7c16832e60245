using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>corruptions/anysize: every corruption and severity with the recorded draws.</summary>
public sealed class CorruptionsAnySizeAdapter : IParityAdapter
{
    public string Name => "corruptions/anysize";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var image = CorruptionCase.Image(c.Inputs["image"]);
        var corruptor = new Corruptor(CorruptionSet.AnySize);
        double[]? Doubles(string key) => c.Inputs.TryGetValue(key, out var t) ? CorruptionCase.Doubles(t) : null;
        int[]? Ints(string key) => Doubles(key) is { } v ? Array.ConvertAll(v, x => (int)x) : null;
        double? Number(string key) => Doubles(key) is { } v ? v[0] : null;
        return CorruptionCase.Run(c, image, (corruption, severity) => corruptor.Apply(image, corruption, severity, new RecordedDraws
        {
            ValueZ = Doubles("z_hwc"),
            PixelZ = Doubles("z_hw"),
            PoissonCounts = Ints($"shot_counts.{severity}"),
            ImpulseCodes = Ints($"impulse_code.{severity}") is { } codes ? Array.ConvertAll(codes, v => (byte)v) : null,
            GlassOffsets = Ints($"glass_dxdy.{severity}") is { } pairs ? Array.ConvertAll(pairs, v => (sbyte)v) : null,
            AngleDegrees = Number(corruption == Corruption.Snow ? $"snow_angle_deg.{severity}" : $"motion_angle_deg.{severity}"),
            Frost = CorruptionCase.Image(c.Inputs["frost_crop_rgb"]),
            FogUnits = Doubles("fog_u"),
            ElasticX = Doubles("elastic_u_dx"),
            ElasticY = Doubles("elastic_u_dy"),
        }), result => result, "stats_mean_std_absdiff", perChannel: false);
    }
}

/// <summary>corruptions/imagenet-c-224: the 224 functions; what is not recorded is drawn by the case's numpy seed.</summary>
public sealed class CorruptionsImageNetAdapter : IParityAdapter
{
    public string Name => "corruptions/imagenet-c-224";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var image = CorruptionCase.Image(c.Inputs["image"]);
        var corruptor = new Corruptor(CorruptionSet.ImageNet224);
        var seed = (uint)c.Config.Number("numpy_seed", 0);
        var crop = c.Config.Ints("crop", [0, 0, 224]);
        double[]? Doubles(string key) => c.Inputs.TryGetValue(key, out var t) ? CorruptionCase.Doubles(t) : null;
        return CorruptionCase.Run(c, image, (corruption, severity) => corruptor.Apply(image, corruption, severity, new RecordedDraws(new SeededDraws(seed))
        {
            AngleDegrees = Doubles(corruption == Corruption.Snow ? $"snow_angle_deg.{severity}" : $"motion_angle_deg.{severity}") is { } angle
                ? angle[0] : null,
            Snow = Doubles($"snow_layer_before_blur_u8.{severity}") is { } snow ? Array.ConvertAll(snow, v => (byte)v) : null,
            AnchorShifts = Doubles($"elastic_affine_shift.{severity}"),
            ElasticX = Doubles("elastic_u_dx"),
            ElasticY = Doubles("elastic_u_dy"),
        }), result => result.Crop(crop[1], crop[0], crop[2], crop[2]), "full_image_stats", perChannel: true);
    }
}

/// <summary>corruptions/mce: CE and mCE of a table of accuracies.</summary>
public sealed class CorruptionsMceAdapter : IParityAdapter
{
    public string Name => "corruptions/mce";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var names = CorruptionCase.Strings(c.Config, "order");
        var top1 = c.Inputs["top1"].to(ScalarType.Float64);
        var baseline = c.Config.TryGetProperty("alexnet_error", out var given) ? given.EnumerateArray().Select(e => e.GetDouble()).ToArray() : null;
        var ce = new Dictionary<Corruption, double>();
        for (var i = 0; i < names.Length; i++)
        {
            var corruption = Corruptions.Parse([names[i]])[0];
            var errors = CorruptionCase.Doubles(top1[i]).Select(a => 1 - a / 100).ToArray();
            ce[corruption] = CorruptionErrors.Ce(errors, baseline is null ? CorruptionErrors.AlexNet[corruption] : baseline[i]);
        }
        return new Dictionary<string, Tensor>
        {
            ["CE"] = tensor(names.Select(n => ce[Corruptions.Parse([n])[0]]).ToArray()),
            ["mCE"] = tensor(new[] { CorruptionErrors.Mce(ce) }),
            ["mean_top1"] = top1.mean(new long[] { 1 }).mean().reshape(1),
        };
    }
}

/// <summary>What the two picture cases share.</summary>
internal static class CorruptionCase
{
    public static IReadOnlyDictionary<string, Tensor> Run(
        ParityCase c, ImageBuffer image, Func<Corruption, int, ImageBuffer> corrupt, Func<ImageBuffer, ImageBuffer> shown, string statistics, bool perChannel)
    {
        var results = new Dictionary<string, Tensor>();
        var rows = new List<double>();
        var names = Strings(c.Config, "names");
        var severities = c.Config.Ints("severities", [1, 2, 3, 4, 5]);
        foreach (var name in names)
        {
            foreach (var severity in severities)
            {
                var result = corrupt(Corruptions.Parse([name])[0], severity);
                var part = shown(result);
                results[$"{name}.{severity}"] = tensor(part.Pixels, [part.Height, part.Width, part.Channels]);
                rows.AddRange(Statistics(image, result, perChannel));
            }
        }
        results[statistics] = tensor(rows.ToArray(), [names.Length, severities.Length, rows.Count / names.Length / severities.Length]);
        return results;
    }

    public static ImageBuffer Image(Tensor t) =>
        new((int)t.shape[1], (int)t.shape[0], t.shape.Length == 3 ? (int)t.shape[2] : 1, t.contiguous().data<byte>().ToArray());

    public static double[] Doubles(Tensor t) => t.to(ScalarType.Float64).contiguous().data<double>().ToArray();

    public static string[] Strings(JsonElement config, string key) => config.TryGetProperty(key, out var list)
        ? [.. list.EnumerateArray().Select(e => e.GetString()!)]
        : throw new BayouException($"config.json has no \"{key}\"");

    // Means, deviations (of the whole picture or of each channel), mean absolute difference to the clean picture.
    private static IEnumerable<double> Statistics(ImageBuffer clean, ImageBuffer result, bool perChannel)
    {
        var groups = perChannel ? result.Channels : 1;
        IEnumerable<double> Values(int group) => result.Pixels.Where((_, i) => i % groups == group).Select(p => (double)p);
        var means = Enumerable.Range(0, groups).Select(g => Values(g).Average()).ToArray();
        var deviations = Enumerable.Range(0, groups).Select(g => Math.Sqrt(Values(g).Average(v => (v - means[g]) * (v - means[g]))));
        return [.. means, .. deviations, result.Pixels.Zip(clean.Pixels, (a, b) => (double)Math.Abs(a - b)).Average()];
    }
}
