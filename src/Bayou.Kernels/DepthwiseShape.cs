namespace Bayou.Kernels;

/// <summary>
/// Sizes of a depthwise convolution with zero padding and dilation 1. Unless said otherwise: stride 1, padding of half the kernel ("same" for odd kernels).
/// </summary>
/// <param name="N">Pictures.</param>
/// <param name="C">Channels.</param>
/// <param name="H">Rows of the input.</param>
/// <param name="W">Columns of the input.</param>
/// <param name="KH">Kernel rows.</param>
/// <param name="KW">Kernel columns.</param>
public readonly record struct DepthwiseShape(int N, int C, int H, int W, int KH, int KW)
{
    /// <summary>Rows from one output to the next.</summary>
    public int StrideH { get; init; } = 1;

    /// <summary>Columns from one output to the next.</summary>
    public int StrideW { get; init; } = 1;

    /// <summary>Rows of zeros above and below.</summary>
    public int PadH { get; init; } = KH / 2;

    /// <summary>Columns of zeros left and right.</summary>
    public int PadW { get; init; } = KW / 2;

    /// <summary>Rows of the output.</summary>
    public int OutH => (H + 2 * PadH - KH) / StrideH + 1;

    /// <summary>Columns of the output.</summary>
    public int OutW => (W + 2 * PadW - KW) / StrideW + 1;

    /// <summary>
    /// Multiply-adds of the whole convolution that touch the picture: those with a zero of the padding are not counted. The gradients have as many.
    /// </summary>
    public long UsefulMacs => (long)N * C * Inside(H, OutH, KH, StrideH, PadH) * Inside(W, OutW, KW, StrideW, PadW);

    internal int Taps => KH * KW;

    // Pairs (output, tap) of one axis that meet inside the picture.
    private static long Inside(int size, int outputs, int taps, int stride, int pad)
    {
        long count = 0;
        for (var o = 0; o < outputs; o++)
        {
            var first = o * stride - pad;
            count += Math.Max(0, Math.Min(size, first + taps) - Math.Max(0, first));
        }
        return count;
    }
}

/// <summary>Pictures in memory: where the element (n, c, y, x) lies. Planar ([N, C, H, W]) and channels-last ([N, H, W, C]) memory are fast.</summary>
/// <param name="Data">Element (0, 0, 0, 0).</param>
/// <param name="Image">Elements from a picture to the next.</param>
/// <param name="Channel">Elements from a channel to the next.</param>
/// <param name="Row">Elements from a row to the next.</param>
/// <param name="Pixel">Elements from a column to the next.</param>
public readonly unsafe record struct DepthwisePlanes(nint Data, long Image, long Channel, long Row, long Pixel)
{
    /// <summary>[N, C, H, W] without gaps.</summary>
    public static DepthwisePlanes Planar(float* data, int channels, int height, int width) =>
        new((nint)data, (long)channels * height * width, (long)height * width, width, 1);

    /// <summary>[N, H, W, C] without gaps.</summary>
    public static DepthwisePlanes ChannelsLast(float* data, int channels, int height, int width) =>
        new((nint)data, (long)channels * height * width, 1, (long)width * channels, channels);

    internal float* At(int image, int channel) => (float*)Data + image * Image + channel * Channel;

    internal bool IsPlanar(int width) => Pixel == 1 && Row == width;
}
