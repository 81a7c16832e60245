using Bayou.Data;

namespace Bayou.Tests;

/// <summary>A folder of small coloured pictures that can be told apart: stripes across, stripes down, discs; noise on all of them.</summary>
internal static class ToyPictures
{
    public static string Write(TempFolder folder, string name, int perClass, int side = 24)
    {
        var random = new Random(7);
        string[] classes = ["across", "down", "disc"];
        for (var c = 0; c < classes.Length; c++)
        {
            for (var i = 0; i < perClass; i++) folder.Write(Path.Combine(name, classes[c], $"{i:000}.png"), ImageEncoder.Png(Draw(c, side, random)));
        }
        return folder[name];
    }

    private static ImageBuffer Draw(int kind, int side, Random random)
    {
        var image = new ImageBuffer(side, side, 3);
        var (phase, tint, x0, y0) = (random.Next(6), random.Next(3), random.Next(6, side - 6), random.Next(6, side - 6));
        for (var y = 0; y < side; y++)
        {
            for (var x = 0; x < side; x++)
            {
                var on = kind == 0 ? (y + phase) / 3 % 2 == 0 : kind == 1 ? (x + phase) / 3 % 2 == 0 : (x - x0) * (x - x0) + (y - y0) * (y - y0) < 30;
                for (var c = 0; c < 3; c++)
                    image.Pixels[(y * side + x) * 3 + c] = (byte)Math.Clamp((on ? 170 : 70) + (c == tint ? 40 : 0) + random.Next(-40, 40), 0, 255);
            }
        }
        return image;
    }
}
