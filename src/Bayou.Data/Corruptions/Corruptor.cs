using Bayou.Core;

namespace Bayou.Data;

/// <summary>Order of a picture's three channels.</summary>
public enum ChannelOrder
{
    /// <summary>Red first.</summary>
    Rgb,

    /// <summary>
    /// Blue first: the corruption takes blue for red. Generators that read pictures with OpenCV and call the published functions (FAN's Cityscapes-C and
    /// COCO-C) do so; colours of frost and spatter, snow's grey and JPEG's chroma then differ.
    /// </summary>
    Bgr,
}

/// <summary>
/// Corrupts pictures as ImageNet-C, its any-size port and CIFAR-10-C do (Hendrycks and Dietterich 2019; Michaelis et al. 2019): 19 corruptions, severity 1 to
/// 5. Instances can be used by several threads at once. Grey pictures stay grey: noise, blur, fog, contrast, elastic, pixelate and snow work on one channel,
/// the others on three equal ones and back by luma.
/// </summary>
public sealed class Corruptor
{
    private readonly FrostPictures frost;
    private readonly ChannelOrder order;

    /// <summary>Creates a corruptor.</summary>
    /// <param name="set">Constants and rules; see <see cref="SetFor"/>.</param>
    /// <param name="frost">Pictures of ice; null for procedural ones.</param>
    /// <param name="order">What the published functions are told to be red.</param>
    public Corruptor(CorruptionSet set, FrostPictures? frost = null, ChannelOrder order = ChannelOrder.Rgb) =>
        (Set, this.frost, this.order) = (set, frost ?? FrostPictures.Procedural, order);

    /// <summary>Constants and rules.</summary>
    public CorruptionSet Set { get; }

    /// <summary>The set that fits a size: up to 48 pixels a side that of CIFAR-10-C, 224x224 that of ImageNet-C, otherwise the one for any size.</summary>
    public static CorruptionSet SetFor(int width, int height) =>
        Math.Max(width, height) <= 48 && Math.Min(width, height) >= 8 ? CorruptionSet.Small32
        : width == 224 && height == 224 ? CorruptionSet.ImageNet224
        : CorruptionSet.AnySize;

    /// <summary>A corrupted copy, drawn by a seed: the one the published function gives after <c>numpy.random.seed(seed)</c>.</summary>
    /// <param name="picture">The picture; not changed.</param>
    /// <param name="corruption">Which.</param>
    /// <param name="severity">1 (mildest) to 5.</param>
    /// <param name="seed">Seed of its random numbers.</param>
    /// <exception cref="BayouException">A severity out of range, or a size the set has no rules for.</exception>
    public ImageBuffer Apply(ImageBuffer picture, Corruption corruption, int severity, uint seed) =>
        Apply(picture, corruption, severity, new SeededDraws(seed));

    /// <summary>A corrupted copy with the given random numbers.</summary>
    /// <exception cref="BayouException">A severity out of range, a size the set has no rules for, or recorded draws that do not fit.</exception>
    public ImageBuffer Apply(ImageBuffer picture, Corruption corruption, int severity, CorruptionDraws draws)
    {
        Check(picture, corruption, severity);
        var needsColour = corruption is Corruption.Frost or Corruption.Spatter or Corruption.Brightness or Corruption.Saturate or Corruption.JpegCompression;
        var x = picture.Channels == 1 && needsColour ? picture.WithChannels(3) : picture;
        if (order == ChannelOrder.Bgr && x.Channels == 3) x = Reversed(x);
        var result = new ImageBuffer(x.Width, x.Height, x.Channels);
        Run(x, corruption, CorruptionConstants.Of(corruption, Set, severity), draws, result);
        if (order == ChannelOrder.Bgr && x.Channels == 3) result = Reversed(result);
        return result.WithChannels(picture.Channels);
    }

    private void Run(ImageBuffer x, Corruption corruption, double[] c, CorruptionDraws draws, ImageBuffer result)
    {
        switch (corruption)
        {
            case Corruption.GaussianNoise: NoiseCorruptions.GaussianNoise(x, c, draws, result); break;
            case Corruption.ShotNoise: NoiseCorruptions.ShotNoise(x, c, draws, result); break;
            case Corruption.ImpulseNoise: NoiseCorruptions.ImpulseNoise(x, c, draws, result); break;
            case Corruption.SpeckleNoise: NoiseCorruptions.SpeckleNoise(x, c, draws, result); break;
            case Corruption.GaussianBlur: BlurCorruptions.GaussianBlur(x, c, result); break;
            case Corruption.GlassBlur: BlurCorruptions.GlassBlur(x, c, draws, result); break;
            case Corruption.DefocusBlur: BlurCorruptions.DefocusBlur(x, c, result); break;
            case Corruption.MotionBlur: BlurCorruptions.MotionBlur(x, c, Set, draws, result); break;
            case Corruption.ZoomBlur: BlurCorruptions.ZoomBlur(x, c, Set, result); break;
            case Corruption.Snow: WeatherCorruptions.Snow(x, c, Set, draws, result); break;
            case Corruption.Frost: WeatherCorruptions.Frost(x, c, Set, frost, draws, result); break;
            case Corruption.Fog: WeatherCorruptions.Fog(x, c, Set, draws, result); break;
            case Corruption.Brightness: WeatherCorruptions.Brightness(x, c, result); break;
            case Corruption.Contrast: DigitalCorruptions.Contrast(x, c, result); break;
            case Corruption.ElasticTransform: ElasticTransform.Apply(x, c, Set, draws, result); break;
            case Corruption.Pixelate: DigitalCorruptions.Pixelate(x, c, Set, result); break;
            case Corruption.JpegCompression: DigitalCorruptions.Jpeg(x, c, result); break;
            case Corruption.Spatter: SpatterCorruption.Apply(x, c, draws, result); break;
            default: DigitalCorruptions.Saturate(x, c, result); break;
        }
    }

    private void Check(ImageBuffer picture, Corruption corruption, int severity)
    {
        if (!Enum.IsDefined(corruption)) throw new BayouException($"Corruption {(int)corruption} does not exist; there are {Corruptions.All.Count}.");
        if (severity is < Corruptions.MinSeverity or > Corruptions.MaxSeverity)
            throw new BayouException($"{corruption.Name()}: a severity of {severity}; 1 to 5 is possible.");
        var (fits, sizes) = Set switch
        {
            CorruptionSet.ImageNet224 => (picture.Width == 224 && picture.Height == 224, "224x224 pixels"),
            CorruptionSet.Small32 => (Math.Min(picture.Width, picture.Height) >= 8 && Math.Max(picture.Width, picture.Height) <= 64, "8 to 64 pixels a side"),
            _ => (true, ""),
        };
        if (!fits)
            throw new BayouException($"A picture of {picture.Width}x{picture.Height}: the constants {Set} are for {sizes}; use {nameof(CorruptionSet.AnySize)}.");
    }

    private static ImageBuffer Reversed(ImageBuffer image)
    {
        var result = new ImageBuffer(image.Width, image.Height, 3);
        for (var i = 0; i < image.Pixels.Length; i += 3)
            (result.Pixels[i], result.Pixels[i + 1], result.Pixels[i + 2]) = (image.Pixels[i + 2], image.Pixels[i + 1], image.Pixels[i]);
        return result;
    }
}
