using System.Numerics;
using Bayou.Kernels;
using static Bayou.Data.CorruptionPixels;

namespace Bayou.Data;

/// <summary>Weather: snow, frost, fog, brightness.</summary>
internal static class WeatherCorruptions
{
    /// <summary>
    /// White flakes above a threshold, enlarged and smeared, over a paler picture. Constants: mean and deviation of the field, zoom, threshold, radius and
    /// deviation of the smear, part of the picture that keeps its colours.
    /// </summary>
    public static void Snow(ImageBuffer x, double[] c, CorruptionSet set, CorruptionDraws draws, ImageBuffer result)
    {
        using var layer = Flakes(x.Height, x.Width, c, set, draws);
        var flakes = layer.Span;
        int channels = x.Channels, pixels = x.Width * x.Height;
        float mix = (float)c[6], rest = (float)(1 - c[6]);
        for (var i = 0; i < pixels; i++)
        {
            var at = i * channels;
            var grey = channels == 1
                ? UnitSingle[x.Pixels[at]]
                : UnitSingle[x.Pixels[at]] * 0.299f + UnitSingle[x.Pixels[at + 1]] * 0.587f + UnitSingle[x.Pixels[at + 2]] * 0.114f;
            var pale = grey * 1.5f + 0.5f;
            // The layer falls twice: as it is, and turned by half a turn.
            double first = flakes[i], second = flakes[pixels - 1 - i];
            for (var k = 0; k < channels; k++)
            {
                var value = UnitSingle[x.Pixels[at + k]];
                result.Pixels[at + k] = ToByte(mix * value + rest * Math.Max(value, pale) + first + second);
            }
        }
    }

    // The layer on the 0..1 scale, in steps of 1/255.
    private static Scratch<double> Flakes(int height, int width, double[] c, CorruptionSet set, CorruptionDraws draws)
    {
        var anySize = set == CorruptionSet.AnySize;
        var zoom = new ClippedZoom(height, width, c[2], centred: !anySize);
        // The any-size version smears the whole enlarged layer and cuts afterwards; the other cuts first.
        var (rows, columns) = anySize ? (zoom.ZoomedHeight, zoom.ZoomedWidth) : (height, width);
        using var enlarged = new Scratch<double>(rows * columns);
        var layer = enlarged.Span;
        if (draws.SnowLayer is { } recorded && !anySize)
        {
            if (recorded.Length != layer.Length) throw new Core.BayouException($"Recorded snow: {recorded.Length} values for a picture of {width}x{height}.");
            for (var i = 0; i < layer.Length; i++) layer[i] = recorded[i];
        }
        else
        {
            using var field = new Scratch<double>(height * width);
            draws.PixelNormals(field.Span);
            foreach (ref var z in field.Span) z = c[0] + c[1] * z;
            using var crop = new Scratch<double>(zoom.CropHeight * zoom.CropWidth);
            for (var y = 0; y < zoom.CropHeight; y++)
                field.Span.Slice((zoom.CropTop + y) * width + zoom.CropLeft, zoom.CropWidth).CopyTo(crop.Span[(y * zoom.CropWidth)..]);
            BilinearZoom.Window(crop.Span, zoom.CropHeight, zoom.CropWidth, c[2], anySize ? 0 : zoom.Top, anySize ? 0 : zoom.Left, layer, rows, columns);
            foreach (ref var flake in layer)
            {
                flake = flake < c[3] ? 0 : Math.Clamp(flake, 0, 1);
                if (!anySize) flake = Math.Floor(flake * 255);
            }
        }
        new MotionKernel((int)c[4], c[5], draws.Angle(-135, -45)).Apply(layer, rows, columns, 1, stopAtBorder: anySize);
        var result = new Scratch<double>(height * width);
        for (var y = 0; y < height; y++)
        {
            for (var column = 0; column < width; column++)
            {
                var value = layer[y * columns + column];
                result.Span[y * width + column] = anySize ? Math.Round(value * 255) / 255 : Unit[MotionKernel.Quantise(value)];
            }
        }
        return result;
    }

    /// <summary>c[0] of the picture and c[1] of a piece of ice.</summary>
    public static void Frost(ImageBuffer x, double[] c, CorruptionSet set, FrostPictures frost, CorruptionDraws draws, ImageBuffer result)
    {
        var ice = (draws.FrostCrop ?? frost.Cut(x.Width, x.Height, set, draws)).WithChannels(x.Channels);
        if (ice.Width != x.Width || ice.Height != x.Height)
            throw new Core.BayouException($"Recorded frost: {ice.Width}x{ice.Height} pixels for a picture of {x.Width}x{x.Height}.");
        for (var i = 0; i < x.Pixels.Length; i++) result.Pixels[i] = (byte)Math.Clamp(c[0] * x.Pixels[i] + c[1] * ice.Pixels[i], 0, 255);
    }

    /// <summary>c[0] times a plasma fractal of decay c[1] added, then everything scaled down so that the brightest value stays.</summary>
    public static void Fog(ImageBuffer x, double[] c, CorruptionSet set, CorruptionDraws draws, ImageBuffer result)
    {
        var size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(x.Width, x.Height));
        var brightest = 0;
        foreach (var value in x.Pixels) brightest = Math.Max(brightest, value);
        var scale = Unit[brightest];
        if (set == CorruptionSet.AnySize)
        {
            var map = PlasmaFractal.Create<float>(size, c[1], draws);
            var strength = (float)c[0];
            Blend(i => strength * map[i]);
        }
        else
        {
            var map = PlasmaFractal.Create<double>(size, c[1], draws);
            Blend(i => c[0] * map[i]);
        }

        void Blend(Func<int, double> fog)
        {
            var channels = x.Channels;
            for (var y = 0; y < x.Height; y++)
            {
                var at = y * x.Width * channels;
                for (var column = 0; column < x.Width; column++)
                {
                    var thickness = fog(y * size + column);
                    for (var k = 0; k < channels; k++, at++) result.Pixels[at] = ToByte((Unit[x.Pixels[at]] + thickness) * scale / (scale + c[0]));
                }
            }
        }
    }

    /// <summary>c added to V of HSV; the hue is kept.</summary>
    public static void Brightness(ImageBuffer x, double[] c, ImageBuffer result)
    {
        for (var i = 0; i < x.Pixels.Length; i += 3)
        {
            var (h, s, v) = Hsv.FromRgb(Unit[x.Pixels[i]], Unit[x.Pixels[i + 1]], Unit[x.Pixels[i + 2]]);
            var (r, g, b) = Hsv.ToRgb(h, s, Math.Clamp(v + c[0], 0, 1));
            (result.Pixels[i], result.Pixels[i + 1], result.Pixels[i + 2]) = (ToByte(r), ToByte(g), ToByte(b));
        }
    }
}
