using static Bayou.Data.CorruptionPixels;

namespace Bayou.Data;

/// <summary>Noise: of the sensor, of single photons, of broken values, of the signal's own strength.</summary>
internal static class NoiseCorruptions
{
    /// <summary>x + c z.</summary>
    public static void GaussianNoise(ImageBuffer x, double[] c, CorruptionDraws draws, ImageBuffer result)
    {
        using var scratch = new Scratch<double>(x.Pixels.Length);
        var z = scratch.Span;
        draws.ValueNormals(z);
        for (var i = 0; i < z.Length; i++) result.Pixels[i] = ToByte(Unit[x.Pixels[i]] + c[0] * z[i]);
    }

    /// <summary>x + x c z.</summary>
    public static void SpeckleNoise(ImageBuffer x, double[] c, CorruptionDraws draws, ImageBuffer result)
    {
        using var scratch = new Scratch<double>(x.Pixels.Length);
        var z = scratch.Span;
        draws.ValueNormals(z);
        for (var i = 0; i < z.Length; i++)
        {
            var unit = Unit[x.Pixels[i]];
            result.Pixels[i] = ToByte(unit + unit * (c[0] * z[i]));
        }
    }

    /// <summary>Poisson(x c) / c: c photons make white.</summary>
    public static void ShotNoise(ImageBuffer x, double[] c, CorruptionDraws draws, ImageBuffer result)
    {
        using var rateScratch = new Scratch<double>(x.Pixels.Length);
        using var countScratch = new Scratch<double>(x.Pixels.Length);
        Span<double> rates = rateScratch.Span, counts = countScratch.Span;
        for (var i = 0; i < rates.Length; i++) rates[i] = Unit[x.Pixels[i]] * c[0];
        draws.Counts(rates, counts);
        for (var i = 0; i < counts.Length; i++) result.Pixels[i] = ToByte(counts[i] / c[0]);
    }

    /// <summary>A part c of the values becomes black or white, each value of a pixel by itself.</summary>
    public static void ImpulseNoise(ImageBuffer x, double[] c, CorruptionDraws draws, ImageBuffer result)
    {
        using var scratch = new Scratch<byte>(x.Pixels.Length);
        var codes = scratch.Span;
        draws.Impulses(c[0], codes);
        for (var i = 0; i < codes.Length; i++) result.Pixels[i] = codes[i] switch { 0 => x.Pixels[i], 1 => 0, _ => 255 };
    }
}
