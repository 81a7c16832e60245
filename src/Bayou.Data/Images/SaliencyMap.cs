using Bayou.Core;

namespace Bayou.Data;

/// <summary>One real number a cell of a grid over a picture: attention, saliency, uncertainty.</summary>
public sealed class SaliencyMap
{
    // From dark to bright; between the stops colours are blended.
    private static readonly byte[][] Stops =
        [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

    /// <summary>Wraps row-major values.</summary>
    public SaliencyMap(int width, int height, float[] values)
    {
        if (width <= 0 || height <= 0 || values.Length != width * height)
            throw new BayouException($"SaliencyMap: {values.Length} values for a grid of {width} x {height}");
        (Width, Height, Values) = (width, height, values);
    }

    /// <summary>Columns.</summary>
    public int Width { get; }

    /// <summary>Rows.</summary>
    public int Height { get; }

    /// <summary>Row-major values.</summary>
    public float[] Values { get; }

    /// <summary>The brightness of a picture, 0 to 255.</summary>
    public static SaliencyMap FromPicture(ImageBuffer picture) =>
        new(picture.Width, picture.Height, picture.WithChannels(1).Pixels.Select(p => (float)p).ToArray());

    /// <summary>Bilinear interpolation with aligned pixel centres; borders repeat.</summary>
    public SaliencyMap Resize(int width, int height)
    {
        var values = new float[width * height];
        for (var y = 0; y < height; y++)
        {
            var (top, bottom, down) = Taps(y, height, Height);
            for (var x = 0; x < width; x++)
            {
                var (left, right, across) = Taps(x, width, Width);
                var above = Values[top * Width + left] + across * (Values[top * Width + right] - Values[top * Width + left]);
                var below = Values[bottom * Width + left] + across * (Values[bottom * Width + right] - Values[bottom * Width + left]);
                values[y * width + x] = above + down * (below - above);
            }
        }
        return new SaliencyMap(width, height, values);
    }

    /// <summary>Scaled to [0, 1]; a constant map becomes 0.</summary>
    public SaliencyMap Normalized()
    {
        var (low, high) = (Values.Min(), Values.Max());
        return new SaliencyMap(Width, Height, Values.Select(v => high > low ? (v - low) / (high - low) : 0).ToArray());
    }

    /// <summary>The map laid over a picture: brightest where the map is largest.</summary>
    /// <param name="picture">The picture; the map is stretched over it.</param>
    /// <param name="opacity">Share of the map's colour, 0..1.</param>
    public ImageBuffer Over(ImageBuffer picture, double opacity = 0.6)
    {
        var colour = picture.WithChannels(3);
        var heat = Resize(picture.Width, picture.Height).Normalized();
        var result = new ImageBuffer(picture.Width, picture.Height, 3);
        for (var i = 0; i < heat.Values.Length; i++)
        {
            var place = heat.Values[i] * (Stops.Length - 1);
            var stop = Math.Min((int)place, Stops.Length - 2);
            for (var c = 0; c < 3; c++)
            {
                var tone = Stops[stop][c] + (place - stop) * (Stops[stop + 1][c] - Stops[stop][c]);
                result.Pixels[3 * i + c] = (byte)Math.Round(opacity * tone + (1 - opacity) * colour.Pixels[3 * i + c]);
            }
        }
        return result;
    }

    private static (int First, int Second, float Share) Taps(int i, int to, int from)
    {
        var position = Math.Clamp((i + 0.5) * from / to - 0.5, 0, from - 1);
        var first = (int)position;
        return (first, Math.Min(first + 1, from - 1), (float)(position - first));
    }
}
