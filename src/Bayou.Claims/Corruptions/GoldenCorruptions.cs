using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>The library against the golden pictures of the published code: how many of the 95 results of each form are equal, and to how many values.</summary>
internal static class GoldenCorruptions
{
    private static readonly string Folder = Path.Combine("tests", "parity", "corruptions");

    /// <summary>Adds the checks; without the files it says so.</summary>
    public static void Run(ClaimContext context)
    {
        if (!Directory.Exists(Folder))
        {
            context.Note($"The golden pictures were not compared: run the claim in the repository's folder, which has {Folder}.");
            return;
        }
        AnySize(context);
        ImageNet(context);
        Metrics(context);
    }

    private static void AnySize(ClaimContext context)
    {
        using var golden = new Case("anysize_52x44");
        var image = golden.Picture("image");
        var corruptor = new Corruptor(CorruptionSet.AnySize);
        Compare(context, "any size, recorded draws", golden, (corruption, s) => corruptor.Apply(image, corruption, s, new RecordedDraws
        {
            ValueZ = golden.Doubles("z_hwc"),
            PixelZ = golden.Doubles("z_hw"),
            PoissonCounts = Array.ConvertAll(golden.Doubles($"shot_counts.{s}"), v => (int)v),
            ImpulseCodes = Array.ConvertAll(golden.Doubles($"impulse_code.{s}"), v => (byte)v),
            GlassOffsets = Array.ConvertAll(golden.Doubles($"glass_dxdy.{s}"), v => (sbyte)v),
            AngleDegrees = golden.Doubles(corruption == Corruption.Snow ? $"snow_angle_deg.{s}" : $"motion_angle_deg.{s}")[0],
            Frost = golden.Picture("frost_crop_rgb"),
            FogUnits = golden.Doubles("fog_u"),
            ElasticX = golden.Doubles("elastic_u_dx"),
            ElasticY = golden.Doubles("elastic_u_dy"),
        }), Bayou.Data.Corruptions.All);
        var strip = new RobustnessOptions { Corruptions = Bayou.Data.Corruptions.All };
        AtomicFile.Write(context.Figure("corruptions-pictures.png"), file => file.Write(RobustnessStrip.Draw([], image, 0, 3, strip)));
    }

    private static void ImageNet(ClaimContext context)
    {
        using var golden = new Case("imagenet_c_224");
        var image = golden.Picture("image");
        var corruptor = new Corruptor(CorruptionSet.ImageNet224);
        var seed = golden.Config.GetProperty("numpy_seed").GetUInt32();
        var crop = golden.Config.GetProperty("crop").EnumerateArray().Select(e => e.GetInt32()).ToArray();
        Compare(context, "224, drawn by numpy's seed", golden,
            (corruption, s) => corruptor.Apply(image, corruption, s, seed).Crop(crop[1], crop[0], crop[2], crop[2]),
            [.. Bayou.Data.Corruptions.All.Where(c => c != Corruption.Frost)]);
        context.Note("Frost at 224 is left out of the comparison: it needs the published photographs, which this repository does not carry (any size: the recorded piece is given).");
    }

    private static void Metrics(ClaimContext context)
    {
        using var golden = new Case("mce");
        var names = golden.Config.GetProperty("order").EnumerateArray().Select(e => e.GetString()!).ToArray();
        double[] top1 = golden.Doubles("top1"), expected = [.. golden.Expected("CE"), golden.Expected("mCE")[0]];
        var ce = new Dictionary<Corruption, double>();
        for (var i = 0; i < names.Length; i++)
        {
            var corruption = Bayou.Data.Corruptions.Parse([names[i]])[0];
            ce[corruption] = CorruptionErrors.Ce([.. top1.Skip(5 * i).Take(5).Select(a => 1 - a / 100)], CorruptionErrors.AlexNet[corruption]);
        }
        var mce = CorruptionErrors.Mce(ce);
        double[] ours = [.. names.Select(n => ce[Bayou.Data.Corruptions.Parse([n])[0]]), mce];
        context.Check("CE and mCE", "relative",
            ("largest error against the published computation", ours.Zip(expected, (a, b) => Math.Abs(a - b) / Math.Abs(b)).Max()), ("1e-6", 1e-6));
        foreach (var corruption in Bayou.Data.Corruptions.Validation) ce[corruption] = 1000;
        context.Check("validation corruptions stay out of the mCE", "%",
            ("change of the mCE by four validation CEs of 1000 %", Math.Abs(CorruptionErrors.Mce(ce) - mce)), ("0", 0));
    }

    private static void Compare(ClaimContext context, string what, Case golden, Func<Corruption, int, ImageBuffer> corrupt,
        IReadOnlyList<Corruption> corruptions)
    {
        int identical = 0, all = 0;
        double least = 1;
        var most = 0;
        var unequal = new List<string>();
        foreach (var corruption in corruptions)
        {
            for (var s = 1; s <= 5; s++, all++)
            {
                var expected = golden.Expected($"{corruption.Name()}.{s}");
                var differences = corrupt(corruption, s).Pixels.Zip(expected, (a, b) => (int)Math.Abs(a - b)).ToArray();
                var equal = differences.Count(d => d == 0) / (double)differences.Length;
                (least, most) = (Math.Min(least, equal), Math.Max(most, differences.Max()));
                if (equal == 1) identical++;
                else unequal.Add($"{corruption.Name()} {s}");
            }
        }
        context.Check($"{what}: {all} results", "% of the values", ("equal values in the least equal result", 100 * least), ("99", 99), atMost: false,
            note: $"{identical} of {all} results are bit-identical{(unequal.Count > 0 ? $"; not so: {string.Join(", ", unequal)}" : "")}");
        context.Check($"{what}: largest difference", "grey levels", ("largest difference", most), ("1", 1));
    }

    /// <summary>One golden case.</summary>
    private sealed class Case : IDisposable
    {
        private readonly WeightFile inputs, outputs;

        public Case(string name)
        {
            var folder = Path.Combine(Folder, name);
            Config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json"))).RootElement;
            inputs = WeightFile.Open(Path.Combine(folder, "inputs.safetensors"));
            outputs = WeightFile.Open(Path.Combine(folder, "outputs.safetensors"));
        }

        public JsonElement Config { get; }

        public double[] Doubles(string key) => Values(inputs, key).Values;

        public double[] Expected(string key) => Values(outputs, key).Values;

        public ImageBuffer Picture(string key)
        {
            var (shape, values) = Values(inputs, key);
            return new ImageBuffer((int)shape[1], (int)shape[0], (int)shape[2], Array.ConvertAll(values, v => (byte)v));
        }

        public void Dispose()
        {
            inputs.Dispose();
            outputs.Dispose();
        }

        private static (long[] Shape, double[] Values) Values(WeightFile file, string key)
        {
            using var scope = NewDisposeScope();
            var tensor = file.Get(key);
            return (tensor.shape, tensor.to(ScalarType.Float64).contiguous().data<double>().ToArray());
        }
    }
}
