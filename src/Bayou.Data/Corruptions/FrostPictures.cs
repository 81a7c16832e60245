using System.Collections.Concurrent;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// The pictures of ice that frost cuts its pieces from: procedural ones (this library carries none of the published photographs; results of frost are therefore
/// comparable between models measured here, not digit by digit with published ones), or the published files from a folder. Only the first five of the six are
/// ever used, as published.
/// </summary>
public sealed class FrostPictures
{
    private const int Count = 5;

    // Sizes of the published photographs.
    private static readonly (int Width, int Height)[] sizes = [(900, 600), (560, 315), (560, 315), (527, 350), (660, 495)];

    private readonly Lazy<ImageBuffer>[] pictures;
    private readonly ConcurrentDictionary<(int Index, int Width, int Height, bool Cubic), ImageBuffer> scaled = new();

    private FrostPictures(bool procedural, Func<int, ImageBuffer> picture)
    {
        IsProcedural = procedural;
        pictures = [.. Enumerable.Range(0, Count).Select(i => new Lazy<ImageBuffer>(() => picture(i)))];
    }

    /// <summary>Drawn by this library, each when it is first needed.</summary>
    public static FrostPictures Procedural { get; } = new(true, i => FrostPainter.Paint(sizes[i].Width, sizes[i].Height, (uint)i + 1));

    /// <summary>True for pictures drawn by this library.</summary>
    public bool IsProcedural { get; }

    /// <summary>The published pictures: frost1.png, frost2.png, frost3.png, frost4.jpg, frost5.jpg in a folder (of either repository).</summary>
    /// <exception cref="BayouException">One of them is missing.</exception>
    public static FrostPictures FromFolder(string folder)
    {
        var files = Enumerable.Range(1, Count).Select(i => Path.Combine(folder, $"frost{i}.{(i <= 3 ? "png" : "jpg")}")).ToArray();
        foreach (var file in files)
        {
            if (!File.Exists(file))
                throw new BayouException($"'{folder}' has no {Path.GetFileName(file)}: frost needs frost1.png to frost3.png, frost4.jpg and frost5.jpg.");
        }
        return new(false, i => ImageDecoder.Decode(files[i]).WithChannels(3));
    }

    /// <summary>Picture 0 to 4.</summary>
    public ImageBuffer this[int index] => pictures[index].Value;

    /// <summary>
    /// A random piece of a random picture, of a size and by the rules of a set: as it is (224), at a fifth (32), enlarged to fit and by a tenth (any size).
    /// </summary>
    internal ImageBuffer Cut(int width, int height, CorruptionSet set, CorruptionDraws draws)
    {
        var index = draws.Integer(0, Count);
        var picture = this[index];
        double factor = set switch
        {
            CorruptionSet.ImageNet224 => 1,
            CorruptionSet.Small32 => 0.2,
            _ => 1.1 * Math.Max(1, Math.Max((double)width / picture.Width, (double)height / picture.Height)),
        };
        if (factor != 1)
        {
            var cubic = set == CorruptionSet.AnySize;
            int newWidth = cubic ? (int)Math.Ceiling(picture.Width * factor) : (int)Math.Round(picture.Width * factor);
            int newHeight = cubic ? (int)Math.Ceiling(picture.Height * factor) : (int)Math.Round(picture.Height * factor);
            picture = scaled.GetOrAdd((index, newWidth, newHeight, cubic), _ => FrostPainter.Scale(picture, newWidth, newHeight, cubic));
        }
        if (picture.Width <= width || picture.Height <= height)
            throw new BayouException($"Frost: a picture of {picture.Width}x{picture.Height} is too small to cut {width}x{height} from; use the constants for any size.");
        var top = draws.Integer(0, picture.Height - height);
        var left = draws.Integer(0, picture.Width - width);
        return picture.Crop(left, top, width, height);
    }
}
