using System.Globalization;
using Bayou.Core;
using Bayou.Kernels;

namespace Bayou.Data;

/// <summary>
/// RandAugment (Cubuk et al., arXiv 1909.13719) as timm's <c>rand-m9-mstd0.5-inc1</c>: <see cref="Layers"/> operations drawn with replacement from fifteen,
/// each applied with <see cref="Probability"/> at a magnitude drawn around <see cref="Magnitude"/> (scale 0..10); "increasing" operations do more at a higher
/// magnitude.
/// </summary>
public sealed record RandAugment
{
    /// <summary>The operations, by timm's names.</summary>
    public static IReadOnlyList<string> Operations { get; } =
    [
        "AutoContrast", "Equalize", "Invert", "Rotate", "PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd", "ColorIncreasing", "ContrastIncreasing",
        "BrightnessIncreasing", "SharpnessIncreasing", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel",
    ];

    /// <summary>Mean magnitude, 0..10.</summary>
    public double Magnitude { get; init; } = 9;

    /// <summary>Standard deviation of the magnitude.</summary>
    public double MagnitudeStd { get; init; } = 0.5;

    /// <summary>Operations per picture.</summary>
    public int Layers { get; init; } = 2;

    /// <summary>Probability of each drawn operation to be applied.</summary>
    public double Probability { get; init; } = 0.5;

    /// <summary>Reads timm's notation: rand, then -mM, -nN, -mstdS, -pP, -inc1 in any order.</summary>
    /// <exception cref="BayouException">Another policy or an unknown setting.</exception>
    public static RandAugment Parse(string text)
    {
        var parts = text.Split('-');
        if (parts[0] != "rand") throw new BayouException($"'{text}': only RandAugment policies are known, such as rand-m9-mstd0.5-inc1.");
        var result = new RandAugment { Magnitude = 10, MagnitudeStd = 0 };
        var increasing = false;
        foreach (var part in parts.Skip(1))
        {
            var at = part.IndexOfAny([.. "0123456789."]);
            if (at < 1 || !double.TryParse(part.AsSpan(at), NumberStyles.Float, CultureInfo.InvariantCulture, out var value))
                throw new BayouException($"'{text}': cannot read '{part}'. Example: rand-m9-mstd0.5-inc1.");
            switch (part[..at])
            {
                case "m": result = result with { Magnitude = value }; break;
                case "n": result = result with { Layers = (int)value }; break;
                case "mstd": result = result with { MagnitudeStd = value }; break;
                case "p": result = result with { Probability = value }; break;
                case "inc": increasing = value != 0; break;
                default: throw new BayouException($"'{text}': unknown setting '{part}'. Known: m, n, mstd, p, inc.");
            }
        }
        if (!increasing) throw new BayouException($"'{text}': only the increasing operations are available; add -inc1.");
        return result.Checked();
    }

    /// <summary>Augments a picture.</summary>
    /// <param name="image">The picture at the model's input size.</param>
    /// <param name="random">Randomness.</param>
    /// <param name="filter">Filter of the geometric operations: bicubic, or anything else for bilinear.</param>
    /// <param name="fill">One byte per channel for what comes from outside the picture.</param>
    public ImageBuffer Apply(ImageBuffer image, SampleRandom random, ResampleFilter filter, ReadOnlySpan<byte> fill)
    {
        // The operations are drawn first, then applied.
        Span<int> drawn = stackalloc int[Layers];
        for (var i = 0; i < Layers; i++) drawn[i] = random.NextInt(Operations.Count);
        foreach (var operation in drawn)
        {
            if (Probability < 1 && random.NextDouble() > Probability) continue;
            var magnitude = Magnitude;
            if (MagnitudeStd > 0) magnitude += MagnitudeStd * random.NextGaussian();
            image = Apply(image, Operations[operation], Math.Clamp(magnitude, 0, 10), random, filter, fill);
        }
        return image;
    }

    /// <summary>One operation at a magnitude 0..10; its direction is drawn.</summary>
    internal static ImageBuffer Apply(ImageBuffer image, string operation, double magnitude, SampleRandom random, ResampleFilter filter,
        ReadOnlySpan<byte> fill)
    {
        var level = magnitude / 10;
        double Signed(double value) => random.NextDouble() > 0.5 ? -value : value;
        double Factor() => Math.Max(0.1, 1.0 + Signed(level * 0.9));
        return operation switch
        {
            "AutoContrast" => ImageOps.AutoContrast(image),
            "Equalize" => ImageOps.Equalize(image),
            "Invert" => ImageOps.Invert(image),
            "Rotate" => ImageOps.Rotate(image, Signed(level * 30), filter, fill),
            "PosterizeIncreasing" => ImageOps.Posterize(image, 4 - (int)(level * 4)),
            "SolarizeIncreasing" => ImageOps.Solarize(image, 256 - Math.Min(256, (int)(level * 256))),
            "SolarizeAdd" => ImageOps.SolarizeAdd(image, Math.Min(128, (int)(level * 110))),
            "ColorIncreasing" => ImageOps.Color(image, Factor()),
            "ContrastIncreasing" => ImageOps.Contrast(image, Factor()),
            "BrightnessIncreasing" => ImageOps.Brightness(image, Factor()),
            "SharpnessIncreasing" => ImageOps.Sharpness(image, Factor()),
            "ShearX" => ImageOps.ShearX(image, Signed(level * 0.3), filter, fill),
            "ShearY" => ImageOps.ShearY(image, Signed(level * 0.3), filter, fill),
            "TranslateXRel" => ImageOps.Translate(image, Signed(level * 0.45) * image.Width, 0, filter, fill),
            "TranslateYRel" => ImageOps.Translate(image, 0, Signed(level * 0.45) * image.Height, filter, fill),
            _ => throw new ArgumentException($"Unknown operation {operation}.", nameof(operation)),
        };
    }

    internal RandAugment Checked()
    {
        if (!(Magnitude is >= 0 and <= 10) || !(MagnitudeStd is >= 0 and <= 10) || Layers is < 0 or > 15 || !(Probability is >= 0 and <= 1))
        {
            throw new BayouException(
                $"RandAugment: magnitude {Magnitude} (0..10), its deviation {MagnitudeStd} (0..10), {Layers} layers (0..15) "
                + $"or probability {Probability} (0..1) is out of range.");
        }
        return this;
    }
}
