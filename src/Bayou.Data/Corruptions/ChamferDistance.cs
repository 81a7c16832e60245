namespace Bayou.Data;

/// <summary>
/// Distance to the nearest marked pixel by two sweeps with a 5x5 mask (Borgefors 1986; steps 1, 1.4 and 2.1969 in 16 fraction bits, as OpenCV).
/// </summary>
internal static class ChamferDistance
{
    private const int Straight = 1 << 16, Diagonal = 91750, Knight = 143976, Far = int.MaxValue >> 2;

    /// <summary>Distances in pixels, [height, width]; 8192 where nothing is marked.</summary>
    public static float[] To(bool[] marked, int height, int width)
    {
        // Two border pixels on each side stay far away.
        var stride = width + 4;
        var d = new int[(height + 4) * stride];
        Array.Fill(d, Far);
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var at = (y + 2) * stride + x + 2;
                d[at] = marked[y * width + x] ? 0 : Nearest(d, at, -1, -stride);
            }
        }
        var distances = new float[height * width];
        for (var y = height - 1; y >= 0; y--)
        {
            for (var x = width - 1; x >= 0; x--)
            {
                var at = (y + 2) * stride + x + 2;
                d[at] = Math.Min(d[at], Nearest(d, at, 1, stride));
                distances[y * width + x] = d[at] * (1f / Straight);
            }
        }
        return distances;
    }

    // The neighbours already visited: one beside, five in the next row, two in the row after.
    private static int Nearest(int[] d, int at, int beside, int next)
    {
        var least = Math.Min(d[at + beside], d[at + next]) + Straight;
        least = Math.Min(least, Math.Min(d[at + next - 1], d[at + next + 1]) + Diagonal);
        least = Math.Min(least, Math.Min(d[at + next - 2], d[at + next + 2]) + Knight);
        least = Math.Min(least, Math.Min(d[at + 2 * next - 1], d[at + 2 * next + 1]) + Knight);
        return Math.Min(least, Far);
    }
}
