using Bayou.Core;
using Bayou.Data;
using Bayou.Train;
using SkiaSharp;

namespace Bayou.Fit;

/// <summary>One picture under every corruption, with what each model says about it: a PNG for a person's eye.</summary>
public static class RobustnessStrip
{
    private const int Least = 112, Gap = 10, Line = 15, Columns = 8;
    private const float TextSize = 11.5f;

    private static readonly Lazy<SKTypeface> typeface = new(() =>
    {
        using var stream = PlotFonts.Asset("LiberationSans-Regular.ttf");
        using var data = SKData.Create(stream);
        return SKTypeface.FromData(data);
    });

    /// <summary>Draws the strip.</summary>
    /// <param name="tasks">The models, with the same data; none: pictures and their names alone.</param>
    /// <param name="clean">The picture, at the size at which it is corrupted.</param>
    /// <param name="index">Its index in the data.</param>
    /// <param name="severity">1 to 5.</param>
    /// <param name="options">Corruptions and seed.</param>
    /// <returns>A PNG file.</returns>
    public static byte[] Draw(IReadOnlyList<IRobustnessTask> tasks, ImageBuffer clean, int index, int severity, RobustnessOptions options)
    {
        var cells = new List<(string Title, ImageBuffer Picture)> { ("clean", clean) };
        foreach (var corruption in options.Corruptions)
            cells.Add((RobustnessPlots.Label(corruption), RobustnessEvaluator.Corrupt(clean, index, corruption, severity, options)));
        // Small pictures are shown as the squares they are made of, large ones no larger than a thumbnail needs.
        var zoom = Math.Max(1, (int)Math.Ceiling((double)Least / Math.Max(clean.Width, clean.Height)));
        double shrink = zoom > 1 ? zoom : Math.Min(1.0, 160.0 / Math.Max(clean.Width, clean.Height));
        int width = (int)(clean.Width * shrink), height = (int)(clean.Height * shrink), column = Math.Max(width, 118), named = tasks.Count > 1 ? 1 : 0;
        var block = Line + height + tasks.Count * Line + Gap;
        var columns = Math.Min(Columns, cells.Count);
        var rows = (cells.Count + columns - 1) / columns;
        var head = named * (Line * tasks.Count + Gap);
        using var surface = SKSurface.Create(new SKImageInfo(Gap + columns * (column + Gap), Gap + head + rows * block, SKColorType.Rgba8888,
            SKAlphaType.Opaque))
            ?? throw new BayouException("the strip of pictures is too large to be drawn: choose fewer corruptions");
        var canvas = surface.Canvas;
        canvas.Clear(SKColors.White);
        using var font = new SKFont(typeface.Value, TextSize);
        SKColor ink = new(0x24, 0x29, 0x2f), right = new(0x00, 0x70, 0x50), wrong = new(0xb5, 0x40, 0x00);
        for (var i = 0; i < tasks.Count * named; i++)
            Text(canvas, font, $"line {i + 1}: {tasks[i].Name}", Gap, Gap + (i + 1) * Line - 4, column * columns, ink);
        for (var i = 0; i < cells.Count; i++)
        {
            int x = Gap + i % columns * (column + Gap), y = Gap + head + i / columns * block;
            Text(canvas, font, cells[i].Title, x, y + Line - 4, column, ink);
            using var picture = Bitmap(cells[i].Picture);
            using var image = SKImage.FromBitmap(picture);
            canvas.DrawImage(image, SKRect.Create(x, y + Line, width, height),
                new SKSamplingOptions(zoom > 1 ? SKFilterMode.Nearest : SKFilterMode.Linear, SKMipmapMode.None), null);
            for (var t = 0; t < tasks.Count; t++)
            {
                var (text, correct) = tasks[t].Answer(index, cells[i].Picture);
                // The sign says the same as the colour.
                Text(canvas, font, (correct ? "= " : "x ") + text, x, y + Line + height + (t + 1) * Line - 3, column, correct ? right : wrong);
            }
        }
        using var result = surface.Snapshot();
        using var png = result.Encode(SKEncodedImageFormat.Png, 100);
        return png.ToArray();
    }

    private static void Text(SKCanvas canvas, SKFont font, string text, float x, float y, float width, SKColor colour)
    {
        using var paint = new SKPaint { Color = colour, IsAntialias = true };
        while (text.Length > 4 && font.MeasureText(text) > width) text = text[..^2] + "…";
        canvas.DrawText(text, x, y, SKTextAlign.Left, font, paint);
    }

    private static SKBitmap Bitmap(ImageBuffer image)
    {
        var rgb = image.WithChannels(3).Pixels;
        var bitmap = new SKBitmap(new SKImageInfo(image.Width, image.Height, SKColorType.Rgba8888, SKAlphaType.Opaque));
        var to = bitmap.GetPixelSpan();
        for (int from = 0, at = 0; from < rgb.Length; from += 3, at += 4)
            (to[at], to[at + 1], to[at + 2], to[at + 3]) = (rgb[from], rgb[from + 1], rgb[from + 2], 255);
        return bitmap;
    }
}
