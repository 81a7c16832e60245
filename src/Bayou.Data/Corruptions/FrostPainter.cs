namespace Bayou.Data;

/// <summary>Paints procedural ice: ridges of warped noise at several scales, bluish white on a dark ground.</summary>
internal static class FrostPainter
{
    /// <summary>A picture of ice.</summary>
    public static ImageBuffer Paint(int width, int height, uint seed)
    {
        var noise = new LatticeNoise(seed);
        var image = new ImageBuffer(width, height, 3);
        Parallel.For(0, height, y =>
        {
            for (var x = 0; x < width; x++)
            {
                // Feathers: the positions at which the ridges are read are themselves displaced by slower noise.
                double u = x / 64.0, v = y / 64.0;
                double warpX = 1.6 * noise.At(u * 0.7 + 11.3, v * 0.7), warpY = 1.6 * noise.At(u * 0.7, v * 0.7 + 7.9);
                double ridges = 0, strength = 0.5, scale = 1;
                for (var octave = 0; octave < 5; octave++, strength *= 0.62, scale *= 2.1)
                {
                    var ridge = 1 - Math.Abs(2 * noise.At((u + warpX) * scale + 3.1 * octave, (v + warpY) * scale * 1.7 - 5.7 * octave) - 1);
                    ridges += strength * ridge * ridge;
                }
                // Thick ice towards some sides, thin in between.
                var cover = Math.Clamp(1.5 * noise.At(u * 0.35 + 31, v * 0.35 - 17) - 0.1, 0, 1);
                var ice = Math.Clamp(1.25 * ridges * (0.4 + 0.8 * cover), 0, 1);
                var at = (y * width + x) * 3;
                image.Pixels[at] = (byte)(68 + 187 * ice);
                image.Pixels[at + 1] = (byte)(78 + 177 * ice);
                image.Pixels[at + 2] = (byte)(90 + 165 * ice);
            }
        });
        return image;
    }

    /// <summary>OpenCV's resize without antialiasing: bilinear, or cubic with a = -0.75; edges repeated.</summary>
    public static ImageBuffer Scale(ImageBuffer image, int width, int height, bool cubic)
    {
        var result = new ImageBuffer(width, height, image.Channels);
        var (columns, columnWeights) = Taps(image.Width, width, cubic);
        var (rows, rowWeights) = Taps(image.Height, height, cubic);
        int taps = cubic ? 4 : 2, channels = image.Channels;
        Parallel.For(0, height, y =>
        {
            for (var x = 0; x < width; x++)
            {
                for (var k = 0; k < channels; k++)
                {
                    var sum = 0.0;
                    for (var i = 0; i < taps; i++)
                    {
                        var along = 0.0;
                        for (var j = 0; j < taps; j++)
                            along += columnWeights[x * taps + j] * image.Pixels[(rows[y * taps + i] * image.Width + columns[x * taps + j]) * channels + k];
                        sum += rowWeights[y * taps + i] * along;
                    }
                    result.Pixels[(y * width + x) * channels + k] = (byte)Math.Clamp(Math.Round(sum), 0, 255);
                }
            }
        });
        return result;
    }

    private static (int[] Positions, double[] Weights) Taps(int from, int to, bool cubic)
    {
        var taps = cubic ? 4 : 2;
        var positions = new int[to * taps];
        var weights = new double[to * taps];
        for (var i = 0; i < to; i++)
        {
            var position = (i + 0.5) * from / to - 0.5;
            var first = (int)Math.Floor(position);
            var t = position - first;
            for (var k = 0; k < taps; k++)
            {
                var offset = cubic ? k - 1 : k;
                positions[i * taps + k] = Math.Clamp(first + offset, 0, from - 1);
                weights[i * taps + k] = cubic ? Cubic(Math.Abs(t - offset)) : 1 - Math.Abs(t - offset);
            }
        }
        return (positions, weights);
    }

    private static double Cubic(double x)
    {
        const double a = -0.75;
        return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
    }

    /// <summary>Smooth noise 0..1 between random values on whole coordinates.</summary>
    private sealed class LatticeNoise
    {
        private const int Side = 256;
        private readonly double[] values = new double[Side * Side];

        public LatticeNoise(uint seed)
        {
            var random = new NumpyRandom(seed);
            for (var i = 0; i < values.Length; i++) values[i] = random.NextDouble();
        }

        public double At(double x, double y)
        {
            double floorX = Math.Floor(x), floorY = Math.Floor(y), tx = Smooth(x - floorX), ty = Smooth(y - floorY);
            int x0 = (int)floorX & (Side - 1), x1 = (x0 + 1) & (Side - 1), y0 = ((int)floorY & (Side - 1)) * Side, y1 = (((int)floorY + 1) & (Side - 1)) * Side;
            double upper = values[y0 + x0] + tx * (values[y0 + x1] - values[y0 + x0]), lower = values[y1 + x0] + tx * (values[y1 + x1] - values[y1 + x0]);
            return upper + ty * (lower - upper);
        }

        private static double Smooth(double t) => t * t * (3 - 2 * t);
    }
}
