using System.Text.Json;
using System.Text.Json.Serialization;
using Bayou.Core;
using Bayou.Kernels;

namespace Bayou.Data;

/// <summary>How a picture gets to the model's input size.</summary>
public enum ResizeMode
{
    /// <summary>The shorter side to floor(size / CropPct), then the centre is cut out.</summary>
    Crop,

    /// <summary>Both sides straight to the size; proportions are not kept (the papers' choice from 384 pixels up).</summary>
    Warp,
}

/// <summary>
/// Everything between a decoded picture and a model's input, as it is stored beside a model: resize (PIL-exact), crop, channels, normalisation. JSON
/// round-trips. The defaults are ImageNet's.
/// </summary>
public sealed record Preprocessing
{
    private static readonly JsonSerializerOptions json = new()
    {
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
    };

    /// <summary>ImageNet's mean per channel, on the 0..1 scale.</summary>
    public static readonly float[] ImageNetMean = [0.485f, 0.456f, 0.406f];

    /// <summary>ImageNet's standard deviation per channel.</summary>
    public static readonly float[] ImageNetStd = [0.229f, 0.224f, 0.225f];

    /// <summary>Input height and width in pixels.</summary>
    public int Size { get; init; } = 224;

    /// <summary>1 (grey, ITU-R 601 luma) or 3 (RGB).</summary>
    public int Channels { get; init; } = 3;

    /// <summary>How the picture gets to <see cref="Size"/>.</summary>
    public ResizeMode Resize { get; init; } = ResizeMode.Crop;

    /// <summary>For <see cref="ResizeMode.Crop"/>: the part of the resized shorter side that is kept, above 0 up to 1.</summary>
    public double CropPct { get; init; } = 0.875;

    /// <summary>Resampling filter.</summary>
    public ResampleFilter Interpolation { get; init; } = ResampleFilter.Bicubic;

    /// <summary>Mean per channel, on the 0..1 scale.</summary>
    public float[] Mean { get; init; } = ImageNetMean;

    /// <summary>Standard deviation per channel.</summary>
    public float[] Std { get; init; } = ImageNetStd;

    /// <summary>Number of floats a picture becomes: channels * size * size.</summary>
    [JsonIgnore]
    public int Length => Channels * Size * Size;

    /// <summary>The usual choice for a size: centre crop with 0.875 below 384 pixels, warp from 384; up to 64 pixels nothing is cut away.</summary>
    /// <param name="size">Input size in pixels.</param>
    /// <param name="channels">1 or 3; with 1, mean and deviation are 0.5 unless set.</param>
    public static Preprocessing For(int size, int channels = 3) => new Preprocessing
    {
        Size = size,
        Channels = channels,
        Resize = size >= 384 ? ResizeMode.Warp : ResizeMode.Crop,
        CropPct = size <= 64 ? 1.0 : 0.875,
        Mean = channels == 1 ? [0.5f] : ImageNetMean,
        Std = channels == 1 ? [0.5f] : ImageNetStd,
    }.Checked();

    /// <summary>The evaluation transform: picture to normalised planes.</summary>
    /// <param name="image">The picture, any size.</param>
    /// <param name="chw">[C, Size, Size]; exactly <see cref="Length"/> floats.</param>
    /// <exception cref="BayouException">The span has another length, or a setting is out of range.</exception>
    public void Apply(ImageBuffer image, Span<float> chw) => Normalize(Fit(image), chw);

    /// <summary>The evaluation transform, into an array of its own.</summary>
    public float[] Apply(ImageBuffer image)
    {
        var chw = new float[Length];
        Apply(image, chw);
        return chw;
    }

    /// <summary>The picture at the input size and with the input channels, not yet normalised.</summary>
    public ImageBuffer Fit(ImageBuffer image)
    {
        Checked();
        image = image.WithChannels(Channels);
        if (Resize == ResizeMode.Warp) return image.Resize(Size, Size, Interpolation);
        return CenterCrop(ResizeShorter(image, (int)Math.Floor(Size / CropPct), Interpolation), Size);
    }

    /// <summary>ToTensor and Normalize: bytes [H, W, C] to floats [C, H, W].</summary>
    public void Normalize(ImageBuffer image, Span<float> chw)
    {
        if (chw.Length != image.Pixels.Length || image.Channels != Channels)
            throw new BayouException($"A picture of {image.Width}x{image.Height}x{image.Channels} does not fill {chw.Length} floats of {Channels} channels.");
        ImagePixels.Normalize(image.Pixels, Channels, chw, Mean, Std);
    }

    /// <summary>Normalised planes back to a picture (for contact sheets); values outside 0..255 are clipped.</summary>
    public ImageBuffer Denormalize(ReadOnlySpan<float> chw, int width, int height)
    {
        var image = new ImageBuffer(width, height, Channels);
        var plane = width * height;
        for (var c = 0; c < Channels; c++)
        {
            for (var i = 0; i < plane; i++)
                image.Pixels[i * Channels + c] = (byte)Math.Clamp(MathF.Round((chw[c * plane + i] * Std[c] + Mean[c]) * 255f), 0f, 255f);
        }
        return image;
    }

    /// <summary>As JSON, one line.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, json);

    /// <summary>From JSON.</summary>
    /// <exception cref="BayouException">Not the JSON of a preprocessing, or a setting is out of range.</exception>
    public static Preprocessing FromJson(string text)
    {
        try
        {
            return (JsonSerializer.Deserialize<Preprocessing>(text, json) ?? throw new JsonException("null")).Checked();
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new BayouException($"The preprocessing of this model cannot be read ({e.Message}).", e);
        }
    }

    /// <inheritdoc/>
    public bool Equals(Preprocessing? other) =>
        other is not null && Size == other.Size && Channels == other.Channels && Resize == other.Resize && CropPct.Equals(other.CropPct)
        && Interpolation == other.Interpolation && Mean.AsSpan().SequenceEqual(other.Mean) && Std.AsSpan().SequenceEqual(other.Std);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Size, Channels, Resize, CropPct, Interpolation, Mean.FirstOrDefault(), Std.FirstOrDefault());

    /// <summary>This, when every setting is in range.</summary>
    /// <exception cref="BayouException">One is not.</exception>
    public Preprocessing Checked()
    {
        if (Size is < 1 or > 16384) throw new BayouException($"Preprocessing: an input size of {Size} pixels is out of range (1..16384).");
        if (Channels is not (1 or 3)) throw new BayouException($"Preprocessing: {Channels} channels; 1 (grey) or 3 (RGB) are possible.");
        if (!(CropPct is > 0 and <= 1)) throw new BayouException($"Preprocessing: a crop fraction of {CropPct}; above 0 up to 1 is possible.");
        if (!Enum.IsDefined(Resize) || !Enum.IsDefined(Interpolation))
            throw new BayouException($"Preprocessing: unknown resize mode or filter ({Resize}, {Interpolation}).");
        if (Mean is null || Std is null || Mean.Length != Channels || Std.Length != Channels)
            throw new BayouException($"Preprocessing: {Channels} channels need {Channels} means and deviations, not {Mean?.Length ?? 0} and {Std?.Length ?? 0}.");
        if (Std.Any(s => !(s > 0) || float.IsInfinity(s)) || Mean.Any(m => !float.IsFinite(m)))
            throw new BayouException("Preprocessing: deviations must be above 0, means finite.");
        return this;
    }

    /// <summary>torchvision's Resize(size): the shorter side becomes <paramref name="size"/>, the longer one int(size * longer / shorter).</summary>
    internal static ImageBuffer ResizeShorter(ImageBuffer image, int size, ResampleFilter filter)
    {
        var (shorter, longer) = image.Width <= image.Height ? (image.Width, image.Height) : (image.Height, image.Width);
        var other = Math.Max(1, checked((int)((long)size * longer / shorter)));
        return image.Width <= image.Height ? image.Resize(size, other, filter) : image.Resize(other, size, filter);
    }

    /// <summary>torchvision's CenterCrop: offsets round half to even; a smaller picture is padded with black.</summary>
    internal static ImageBuffer CenterCrop(ImageBuffer image, int size)
    {
        // Padding first, as torchvision does: its odd pixel goes to the far side.
        int padX = size > image.Width ? (size - image.Width) / 2 : 0, padY = size > image.Height ? (size - image.Height) / 2 : 0;
        var x = size > image.Width ? -padX : (int)Math.Round((image.Width - size) / 2.0);
        var y = size > image.Height ? -padY : (int)Math.Round((image.Height - size) / 2.0);
        return image.Crop(x, y, size, size);
    }
}
