namespace Bayou.Kernels;

/// <summary>Resampling filters of <see cref="ImageResize"/>, with PIL's definitions.</summary>
public enum ResampleFilter
{
    /// <summary>The pixel under the centre; no averaging.</summary>
    Nearest,

    /// <summary>Mean of the covered pixels; support 0.5.</summary>
    Box,

    /// <summary>Triangle; support 1.</summary>
    Bilinear,

    /// <summary>Hamming-windowed sinc; support 1.</summary>
    Hamming,

    /// <summary>Cubic convolution with a = -0.5; support 2.</summary>
    Bicubic,

    /// <summary>Sinc windowed by sinc; support 3.</summary>
    Lanczos,
}

/// <summary>The weights of one direction of a resize: for every output position, where its window begins, how long it is and its fixed-point weights.</summary>
internal sealed class ResampleWeights
{
    /// <summary>Fraction bits of a weight: 32 bits minus 8 for the pixel and 2 for headroom.</summary>
    public const int PrecisionBits = 32 - 8 - 2;

    public required int[] Start { get; init; }

    public required int[] Count { get; init; }

    /// <summary>Weights of output position i: [i * Stride, i * Stride + Count[i]).</summary>
    public required int[] Weights { get; init; }

    public required int Stride { get; init; }

    /// <summary>
    /// Weights from <paramref name="from"/>..<paramref name="to"/> (in source pixels, fractions allowed) to <paramref name="outputSize"/> positions.
    /// </summary>
    public static ResampleWeights Create(int inputSize, double from, double to, int outputSize, ResampleFilter filter)
    {
        var scale = (to - from) / outputSize;
        var filterScale = Math.Max(scale, 1.0);         // shrinking widens the filter: that is the antialiasing
        var support = Support(filter) * filterScale;
        // A huge box over a small picture may ask for a wider window than the picture has; no window is longer than the picture.
        var stride = (int)Math.Min(Math.Ceiling(support) * 2 + 1, inputSize);
        var start = new int[outputSize];
        var count = new int[outputSize];
        var weights = new int[checked(outputSize * stride)];
        var real = new double[stride];
        var inverse = 1.0 / filterScale;
        for (var i = 0; i < outputSize; i++)
        {
            var centre = from + (i + 0.5) * scale;
            var first = Math.Max((int)(centre - support + 0.5), 0);
            var length = Math.Min((int)(centre + support + 0.5), inputSize) - first;
            length = Math.Clamp(length, 0, stride);
            var sum = 0.0;
            for (var k = 0; k < length; k++)
            {
                real[k] = Evaluate(filter, (k + first - centre + 0.5) * inverse);
                sum += real[k];
            }
            for (var k = 0; k < length; k++)
            {
                var weight = (sum != 0.0 ? real[k] / sum : real[k]) * (1 << PrecisionBits);
                weights[i * stride + k] = (int)(weight < 0 ? weight - 0.5 : weight + 0.5);
            }
            start[i] = first;
            count[i] = length;
        }
        return new ResampleWeights { Start = start, Count = count, Weights = weights, Stride = stride };
    }

    internal static double Support(ResampleFilter filter) => filter switch
    {
        ResampleFilter.Box => 0.5,
        ResampleFilter.Bilinear or ResampleFilter.Hamming => 1.0,
        ResampleFilter.Bicubic => 2.0,
        ResampleFilter.Lanczos => 3.0,
        _ => throw new ArgumentOutOfRangeException(nameof(filter), filter, "This filter has no weights."),
    };

    private static double Evaluate(ResampleFilter filter, double x)
    {
        switch (filter)
        {
            case ResampleFilter.Box:
                return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
            case ResampleFilter.Bilinear:
                x = Math.Abs(x);
                return x < 1.0 ? 1.0 - x : 0.0;
            case ResampleFilter.Hamming:
                x = Math.Abs(x);
                if (x == 0.0) return 1.0;
                if (x >= 1.0) return 0.0;
                x *= Math.PI;
                return Math.Sin(x) / x * (0.54 + 0.46 * Math.Cos(x));
            case ResampleFilter.Bicubic:
                const double a = -0.5;
                x = Math.Abs(x);
                if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
                return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
            default:
                return x is >= -3.0 and < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0;
        }
    }

    private static double Sinc(double x)
    {
        if (x == 0.0) return 1.0;
        x *= Math.PI;
        return Math.Sin(x) / x;
    }
}
