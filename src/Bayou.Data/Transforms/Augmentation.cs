using Bayou.Core;
using Bayou.Kernels;

namespace Bayou.Data;

/// <summary>How a training picture is cut.</summary>
public enum CropKind
{
    /// <summary>As in evaluation.</summary>
    None,

    /// <summary>A random part (area and proportions drawn), resized: torchvision's RandomResizedCrop.</summary>
    RandomResized,

    /// <summary>Padded with black, then a window of the input size at random: torchvision's RandomCrop with padding, for small pictures.</summary>
    Pad,
}

/// <summary>
/// Training transforms with PyTorch's and timm's semantics, in timm's order: crop, flip, RandAugment or colour jitter, normalise, random erasing. Every piece
/// is switchable. All randomness comes from the <see cref="SampleRandom"/> given: equal seeds give equal pictures.
/// </summary>
public sealed record Augmentation
{
    /// <summary>How the picture is cut.</summary>
    public CropKind Crop { get; init; } = CropKind.RandomResized;

    /// <summary>Smallest area of a <see cref="CropKind.RandomResized"/> crop, as a part of the picture.</summary>
    public double ScaleMin { get; init; } = 0.08;

    /// <summary>Largest area of a crop.</summary>
    public double ScaleMax { get; init; } = 1.0;

    /// <summary>Smallest width over height of a crop.</summary>
    public double RatioMin { get; init; } = 3.0 / 4;

    /// <summary>Largest width over height of a crop.</summary>
    public double RatioMax { get; init; } = 4.0 / 3;

    /// <summary>Pixels added on every side for <see cref="CropKind.Pad"/>.</summary>
    public int Padding { get; init; } = 4;

    /// <summary>Probability of mirroring left and right.</summary>
    public double Flip { get; init; } = 0.5;

    /// <summary>RandAugment, or null for none.</summary>
    public RandAugment? RandAugment { get; init; }

    /// <summary>
    /// Strength of brightness, contrast and saturation jitter: factors 1 - s .. 1 + s; 0 for none. As in timm it is not used together with RandAugment.
    /// </summary>
    public double ColorJitter { get; init; }

    /// <summary>Strength of hue jitter, 0..0.5; 0 for none.</summary>
    public double HueJitter { get; init; }

    /// <summary>Probability of random erasing (Zhong et al., arXiv 1708.04896; timm's pixel mode: one box of normal noise on the normalised picture).</summary>
    public double Erasing { get; init; }

    /// <summary>For pictures up to 64 pixels: padded crop and flip.</summary>
    public static Augmentation SmallPictures { get; } = new() { Crop = CropKind.Pad };

    /// <summary>The recipe of the ConvNeXt paper (table 5): random resized crop, flip, rand-m9-mstd0.5-inc1, random erasing 0.25.</summary>
    public static Augmentation ImageNet { get; } = new() { RandAugment = new RandAugment(), Erasing = 0.25 };

    /// <summary>Nothing random.</summary>
    public static Augmentation None { get; } = new() { Crop = CropKind.None, Flip = 0 };

    /// <summary>The training transform: picture to normalised planes.</summary>
    /// <param name="image">The picture, any size; it is not changed.</param>
    /// <param name="preprocessing">Input size, channels, filter and normalisation.</param>
    /// <param name="random">Randomness.</param>
    /// <param name="chw">[C, Size, Size], exactly <see cref="Preprocessing.Length"/> floats.</param>
    public void Apply(ImageBuffer image, Preprocessing preprocessing, SampleRandom random, Span<float> chw)
    {
        var size = preprocessing.Size;
        preprocessing.Normalize(ApplyBytes(image, preprocessing, random), chw);
        if (Erasing > 0 && random.Chance(Erasing)) Erase(chw, preprocessing.Channels, size, size, random);
    }

    /// <summary>Everything before normalisation, for looking at what augmentation does: the picture at the input size.</summary>
    public ImageBuffer ApplyBytes(ImageBuffer image, Preprocessing preprocessing, SampleRandom random)
    {
        image = image.WithChannels(preprocessing.Channels);
        var size = preprocessing.Size;
        image = Crop switch
        {
            CropKind.RandomResized => RandomResizedCrop(image, size, preprocessing.Interpolation, random),
            CropKind.Pad => PadCrop(preprocessing.Fit(image), random),
            _ => preprocessing.Fit(image),
        };
        if (Flip > 0 && random.Chance(Flip)) image = ImageOps.FlipHorizontal(image);
        if (RandAugment is not null)
        {
            Span<byte> fill = stackalloc byte[preprocessing.Channels];
            for (var c = 0; c < fill.Length; c++) fill[c] = (byte)Math.Clamp(Math.Round(255.0 * preprocessing.Mean[c]), 0, 255);
            return RandAugment.Apply(image, random, preprocessing.Interpolation, fill);
        }
        return ColorJitter > 0 || HueJitter > 0 ? Jitter(image, random) : image;
    }

    /// <summary>
    /// torchvision's RandomResizedCrop: ten tries for an area and proportions that fit, else the largest centre part with allowed proportions.
    /// </summary>
    internal (int X, int Y, int Width, int Height) DrawCrop(int width, int height, SampleRandom random)
    {
        var area = (double)width * height;
        double logMin = Math.Log(RatioMin), logMax = Math.Log(RatioMax);
        for (var attempt = 0; attempt < 10; attempt++)
        {
            var target = area * random.Uniform(ScaleMin, ScaleMax);
            var ratio = Math.Exp(random.Uniform(logMin, logMax));
            var w = (int)Math.Round(Math.Sqrt(target * ratio));
            var h = (int)Math.Round(Math.Sqrt(target / ratio));
            if (w > 0 && w <= width && h > 0 && h <= height)
            {
                var y = random.NextInt(height - h + 1);
                var x = random.NextInt(width - w + 1);
                return (x, y, w, h);
            }
        }
        var whole = (double)width / height;
        var (cropWidth, cropHeight) = whole < RatioMin ? (width, (int)Math.Round(width / RatioMin))
            : whole > RatioMax ? ((int)Math.Round(height * RatioMax), height)
            : (width, height);
        cropWidth = Math.Clamp(cropWidth, 1, width);
        cropHeight = Math.Clamp(cropHeight, 1, height);
        return ((width - cropWidth) / 2, (height - cropHeight) / 2, cropWidth, cropHeight);
    }

    private ImageBuffer RandomResizedCrop(ImageBuffer image, int size, ResampleFilter filter, SampleRandom random)
    {
        var (x, y, width, height) = DrawCrop(image.Width, image.Height, random);
        var result = new ImageBuffer(size, size, image.Channels);
        ImageResize.CropResize(image.Pixels, image.Width, image.Height, image.Channels, x, y, width, height, result.Pixels, size, size, filter);
        return result;
    }

    private ImageBuffer PadCrop(ImageBuffer image, SampleRandom random)
    {
        var y = random.NextInt(2 * Padding + 1) - Padding;
        var x = random.NextInt(2 * Padding + 1) - Padding;
        return image.Crop(x, y, image.Width, image.Height);
    }

    // torchvision's ColorJitter: the four adjustments in a random order, each with its own factor.
    private ImageBuffer Jitter(ImageBuffer image, SampleRandom random)
    {
        Span<int> order = [0, 1, 2, 3];
        random.Shuffle(order);
        double low = Math.Max(0, 1 - ColorJitter), high = 1 + ColorJitter;
        double brightness = random.Uniform(low, high), contrast = random.Uniform(low, high), saturation = random.Uniform(low, high);
        var hue = random.Uniform(-HueJitter, HueJitter);
        foreach (var step in order)
        {
            image = step switch
            {
                0 when ColorJitter > 0 => ImageOps.Brightness(image, brightness),
                1 when ColorJitter > 0 => ImageOps.Contrast(image, contrast),
                2 when ColorJitter > 0 => ImageOps.Color(image, saturation),
                3 when HueJitter > 0 => ImageOps.Hue(image, hue),
                _ => image,
            };
        }
        return image;
    }

    /// <summary>
    /// timm's RandomErasing, pixel mode: area 2 to 33 %, proportions log-uniform 0.3 to 3.33, ten tries, one box, normal noise in every value.
    /// </summary>
    internal static void Erase(Span<float> chw, int channels, int height, int width, SampleRandom random)
    {
        const double minArea = 0.02, maxArea = 1.0 / 3, minRatio = 0.3;
        for (var attempt = 0; attempt < 10; attempt++)
        {
            var target = random.Uniform(minArea, maxArea) * height * width;
            var ratio = Math.Exp(random.Uniform(Math.Log(minRatio), Math.Log(1 / minRatio)));
            var h = (int)Math.Round(Math.Sqrt(target * ratio));
            var w = (int)Math.Round(Math.Sqrt(target / ratio));
            if (w >= width || h >= height) continue;
            var top = random.NextInt(height - h + 1);
            var left = random.NextInt(width - w + 1);
            for (var c = 0; c < channels; c++)
            {
                for (var y = top; y < top + h; y++)
                {
                    foreach (ref var value in chw.Slice((c * height + y) * width + left, w)) value = (float)random.NextGaussian();
                }
            }
            return;
        }
    }

    internal void Checked()
    {
        if (!Enum.IsDefined(Crop)) throw new BayouException($"Augmentation: unknown crop {Crop}.");
        if (!(ScaleMin > 0 && ScaleMin <= ScaleMax && ScaleMax <= 1))
            throw new BayouException($"Augmentation: crop areas {ScaleMin}..{ScaleMax} do not lie within 0..1.");
        if (!(RatioMin > 0 && RatioMin <= RatioMax && double.IsFinite(RatioMax)))
            throw new BayouException($"Augmentation: crop proportions {RatioMin}..{RatioMax} are not a range above 0.");
        if (Padding is < 0 or > 1024) throw new BayouException($"Augmentation: a padding of {Padding} pixels is out of range (0..1024).");
        foreach (var (name, value) in new[] { ("flip", Flip), ("erasing", Erasing), ("colour jitter", ColorJitter), ("hue jitter", HueJitter * 2) })
        {
            if (!(value is >= 0 and <= 1)) throw new BayouException($"Augmentation: {name} is out of range.");
        }
        RandAugment?.Checked();
    }
}
