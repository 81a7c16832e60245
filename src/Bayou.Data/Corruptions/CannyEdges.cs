using Bayou.Kernels;

namespace Bayou.Data;

/// <summary>Canny's edge detector (1986) in OpenCV's whole-number form: 3x3 Sobel, |gx| + |gy|, thinning along four directions, two thresholds.</summary>
internal static class CannyEdges
{
    private const byte None = 0, Weak = 1, Edge = 2;

    // tan 22.5 degrees with 15 fraction bits.
    private const int Tan22 = 13573;

    /// <summary>True at the edges of a grey picture.</summary>
    /// <param name="grey">[height, width].</param>
    /// <param name="height">Rows.</param>
    /// <param name="width">Pixels of a row.</param>
    /// <param name="low">A thinned pixel above it belongs to an edge that touches it.</param>
    /// <param name="high">A thinned pixel above it begins an edge.</param>
    public static bool[] Find(ReadOnlySpan<byte> grey, int height, int width, int low, int high)
    {
        var (gx, gy) = Sobel(grey, height, width);
        // A border of zeros all round.
        var stride = width + 2;
        var strength = new int[(height + 2) * stride];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++) strength[(y + 1) * stride + x + 1] = Math.Abs(gx[y * width + x]) + Math.Abs(gy[y * width + x]);
        }
        var state = new byte[strength.Length];
        var open = new Stack<int>();
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var at = (y + 1) * stride + x + 1;
                var m = strength[at];
                if (m <= low || !IsRidge(strength, at, stride, gx[y * width + x], gy[y * width + x])) continue;
                state[at] = m > high ? Edge : Weak;
                if (m > high) open.Push(at);
            }
        }
        while (open.TryPop(out var at))
        {
            for (var dy = -stride; dy <= stride; dy += stride)
            {
                for (var next = at + dy - 1; next <= at + dy + 1; next++)
                {
                    if (state[next] != Weak) continue;
                    state[next] = Edge;
                    open.Push(next);
                }
            }
        }
        var edges = new bool[height * width];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++) edges[y * width + x] = state[(y + 1) * stride + x + 1] == Edge;
        }
        return edges;
    }

    // At least as strong as both neighbours across the edge; the first of two equal ones wins.
    private static bool IsRidge(int[] strength, int at, int stride, int gx, int gy)
    {
        var m = strength[at];
        long x = Math.Abs(gx), y = (long)Math.Abs(gy) << 15, flat = x * Tan22, steep = flat + (x << 16);
        if (y < flat) return m > strength[at - 1] && m >= strength[at + 1];
        if (y > steep) return m > strength[at - stride] && m >= strength[at + stride];
        var side = (gx ^ gy) < 0 ? -1 : 1;
        return m > strength[at - stride - side] && m > strength[at + stride + side];
    }

    private static (int[] X, int[] Y) Sobel(ReadOnlySpan<byte> grey, int height, int width)
    {
        var gx = new int[height * width];
        var gy = new int[height * width];
        for (var y = 0; y < height; y++)
        {
            int above = FilterBorder.Nearest.Index(y - 1, height) * width, row = y * width, below = FilterBorder.Nearest.Index(y + 1, height) * width;
            for (var x = 0; x < width; x++)
            {
                int left = FilterBorder.Nearest.Index(x - 1, width), right = FilterBorder.Nearest.Index(x + 1, width);
                gx[row + x] = grey[above + right] - grey[above + left] + 2 * (grey[row + right] - grey[row + left]) + grey[below + right] - grey[below + left];
                gy[row + x] = grey[below + left] - grey[above + left] + 2 * (grey[below + x] - grey[above + x]) + grey[below + right] - grey[above + right];
            }
        }
        return (gx, gy);
    }
}
