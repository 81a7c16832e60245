using System.Numerics;

namespace Bayou.Data;

/// <summary>
/// The plasma fractal of fog: diamond-square on a map that wraps round, side a power of two. The published code scales its noise by the wibble twice, once in
/// the range and once outside; so does this.
/// </summary>
internal static class PlasmaFractal
{
    /// <summary>A map of values 0..1.</summary>
    /// <typeparam name="T">double (224 and 32 constants) or float (any size): the precision the published code stores its map in.</typeparam>
    /// <param name="size">Side, a power of two.</param>
    /// <param name="decay">The wibble is divided by it at each finer step.</param>
    /// <param name="draws">Noise.</param>
    /// <returns>[size, size].</returns>
    public static T[] Create<T>(int size, double decay, CorruptionDraws draws) where T : struct, IBinaryFloatingPointIeee754<T>
    {
        var map = new T[size * size];
        using var scratch = new Scratch<double>(Math.Max(1, size * size / 4));
        var four = T.CreateTruncating(4);
        var wibble = 100.0;
        for (var step = size; step >= 2; step /= 2, wibble /= decay)
        {
            int half = step / 2, side = size / step;
            var noise = scratch.Span[..(side * side)];

            // Squares: the middle of four corners.
            draws.FogNoise(wibble, noise);
            for (var i = 0; i < side; i++)
            {
                int row = i * step * size, below = (i + 1) % side * step * size;
                for (var j = 0; j < side; j++)
                {
                    int column = j * step, right = (j + 1) % side * step;
                    var sum = map[row + column] + map[below + column] + (map[row + right] + map[below + right]);
                    map[row + half * size + column + half] = T.CreateTruncating(double.CreateTruncating(sum / four) + wibble * noise[i * side + j]);
                }
            }

            // Diamonds on the upper, then on the left edge of each square.
            draws.FogNoise(wibble, noise);
            for (var i = 0; i < side; i++)
            {
                int row = i * step * size, middle = row + half * size, above = (i + side - 1) % side * step * size + half * size;
                for (var j = 0; j < side; j++)
                {
                    int column = j * step, right = (j + 1) % side * step;
                    var sum = map[middle + column + half] + map[above + column + half] + (map[row + column] + map[row + right]);
                    map[row + column + half] = T.CreateTruncating(double.CreateTruncating(sum / four) + wibble * noise[i * side + j]);
                }
            }
            draws.FogNoise(wibble, noise);
            for (var i = 0; i < side; i++)
            {
                int row = i * step * size, middle = row + half * size, below = (i + 1) % side * step * size;
                for (var j = 0; j < side; j++)
                {
                    int column = j * step, left = (j + side - 1) % side * step;
                    var sum = map[middle + column + half] + map[middle + left + half] + (map[row + column] + map[below + column]);
                    map[middle + column] = T.CreateTruncating(double.CreateTruncating(sum / four) + wibble * noise[i * side + j]);
                }
            }
        }
        T least = map[0], most = map[0];
        foreach (var value in map) (least, most) = (T.Min(least, value), T.Max(most, value));
        var range = most - least;
        if (range > T.Zero)
        {
            for (var i = 0; i < map.Length; i++) map[i] = (map[i] - least) / range;
        }
        return map;
    }
}
