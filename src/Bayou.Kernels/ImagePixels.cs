using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>Per-pixel kernels on 8-bit pictures: normalisation to planes of floats, luma, grey to colour.</summary>
public static unsafe class ImagePixels
{
    /// <summary>
    /// Interleaved bytes to normalised planes in one pass: (p / 255 - mean[c]) / std[c], each step rounded to float as PyTorch's ToTensor and Normalize do, so
    /// the result is bit-identical to theirs on every instruction set.
    /// </summary>
    /// <param name="source">Pixels [height, width, channels].</param>
    /// <param name="channels">1, 3 or 4.</param>
    /// <param name="destination">Planes [channels, height, width]; its length over <paramref name="channels"/> is the number of pixels.</param>
    /// <param name="mean">One mean per channel, on the 0..1 scale.</param>
    /// <param name="std">One divisor per channel.</param>
    /// <exception cref="ArgumentException">Lengths that do not fit together.</exception>
    public static void Normalize(ReadOnlySpan<byte> source, int channels, Span<float> destination, ReadOnlySpan<float> mean, ReadOnlySpan<float> std)
    {
        if (channels is not (1 or 3 or 4)) throw new ArgumentException($"Pictures have 1, 3 or 4 channels, not {channels}.", nameof(channels));
        if (source.Length != destination.Length || source.Length % channels != 0)
            throw new ArgumentException($"{source.Length} bytes do not fill {destination.Length} floats of {channels} channels.");
        if (mean.Length != channels || std.Length != channels)
            throw new ArgumentException($"{channels} channels need as many means and deviations, not {mean.Length} and {std.Length}.");
        var pixels = source.Length / channels;
        var isa = KernelIsa.Current;
        fixed (byte* from = source)
        fixed (float* to = destination, m = mean, s = std)
        {
            var done = 0;
            if (isa >= KernelIsaLevel.Vector128 && channels == 3) done = Normalize3(from, pixels, to, m, s, isa);
            else if (isa >= KernelIsaLevel.Vector128 && channels == 1)
            {
                for (; done <= pixels - 16; done += 16) Store16(to + done, Vector128.Load(from + done), m[0], s[0], isa);
            }
            for (var c = 0; c < channels; c++)
            {
                var plane = to + (long)c * pixels;
                for (var i = done; i < pixels; i++) plane[i] = (from[(long)i * channels + c] / 255f - m[c]) / s[c];
            }
        }
    }

    private static int Normalize3(byte* from, int pixels, float* to, float* mean, float* std, KernelIsaLevel isa)
    {
        // 16 RGB pixels are three vectors; each plane gathers its bytes from all three (index 255 gives 0).
        const byte no = 255;
        var r0 = Vector128.Create(0, 3, 6, 9, 12, 15, no, no, no, no, no, no, no, no, no, no);
        var r1 = Vector128.Create(no, no, no, no, no, no, 2, 5, 8, 11, 14, no, no, no, no, no);
        var r2 = Vector128.Create(no, no, no, no, no, no, no, no, no, no, no, 1, 4, 7, 10, 13);
        var g0 = Vector128.Create(1, 4, 7, 10, 13, no, no, no, no, no, no, no, no, no, no, no);
        var g1 = Vector128.Create(no, no, no, no, no, 0, 3, 6, 9, 12, 15, no, no, no, no, no);
        var g2 = Vector128.Create(no, no, no, no, no, no, no, no, no, no, no, 2, 5, 8, 11, 14);
        var b0 = Vector128.Create(2, 5, 8, 11, 14, no, no, no, no, no, no, no, no, no, no, no);
        var b1 = Vector128.Create(no, no, no, no, no, 1, 4, 7, 10, 13, no, no, no, no, no, no);
        var b2 = Vector128.Create(no, no, no, no, no, no, no, no, no, no, 0, 3, 6, 9, 12, 15);
        var i = 0;
        for (; i <= pixels - 16; i += 16)
        {
            var p = from + (long)i * 3;
            Vector128<byte> v0 = Vector128.Load(p), v1 = Vector128.Load(p + 16), v2 = Vector128.Load(p + 32);
            Store16(to + i, Vector128.Shuffle(v0, r0) | Vector128.Shuffle(v1, r1) | Vector128.Shuffle(v2, r2), mean[0], std[0], isa);
            Store16(to + pixels + i, Vector128.Shuffle(v0, g0) | Vector128.Shuffle(v1, g1) | Vector128.Shuffle(v2, g2), mean[1], std[1], isa);
            Store16(to + 2L * pixels + i, Vector128.Shuffle(v0, b0) | Vector128.Shuffle(v1, b1) | Vector128.Shuffle(v2, b2), mean[2], std[2], isa);
        }
        return i;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store16(float* to, Vector128<byte> bytes, float mean, float std, KernelIsaLevel isa)
    {
        if (isa >= KernelIsaLevel.Vector512)
        {
            ((Vector512.ConvertToSingle(ImageResizeRows.Ints16(bytes)) / Vector512.Create(255f) - Vector512.Create(mean)) / Vector512.Create(std)).Store(to);
            return;
        }
        if (isa >= KernelIsaLevel.Vector256)
        {
            var upper = Vector128.Shuffle(bytes.AsInt64(), Vector128.Create(1L, 1L)).AsByte();
            ((Vector256.ConvertToSingle(ImageResizeRows.Ints8(bytes)) / Vector256.Create(255f) - Vector256.Create(mean)) / Vector256.Create(std)).Store(to);
            ((Vector256.ConvertToSingle(ImageResizeRows.Ints8(upper)) / Vector256.Create(255f) - Vector256.Create(mean)) / Vector256.Create(std)).Store(to + 8);
            return;
        }
        var (low, high) = Vector128.Widen(bytes);
        var (a, b) = Vector128.Widen(low);
        var (c, d) = Vector128.Widen(high);
        Store4(to, a, mean, std);
        Store4(to + 4, b, mean, std);
        Store4(to + 8, c, mean, std);
        Store4(to + 12, d, mean, std);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store4(float* to, Vector128<uint> values, float mean, float std) =>
        ((Vector128.ConvertToSingle(values.AsInt32()) / Vector128.Create(255f) - Vector128.Create(mean)) / Vector128.Create(std)).Store(to);

    /// <summary>RGB to grey as PIL's "L": (19595 R + 38470 G + 7471 B + 32768) / 65536 (ITU-R 601).</summary>
    /// <param name="rgb">Pixels [n, 3].</param>
    /// <param name="luma">Pixels [n].</param>
    /// <exception cref="ArgumentException">Lengths that do not fit together.</exception>
    public static void ToLuma(ReadOnlySpan<byte> rgb, Span<byte> luma)
    {
        if (rgb.Length != 3L * luma.Length) throw new ArgumentException($"{rgb.Length} bytes of RGB are not {luma.Length} pixels.");
        var pixels = luma.Length;
        fixed (byte* from = rgb)
        fixed (byte* to = luma)
        {
            var p = from;
            for (var i = 0; i < pixels; i++, p += 3) to[i] = Luma(p[0], p[1], p[2]);
        }
    }

    /// <summary>The grey of one pixel, as <see cref="ToLuma"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte Luma(int r, int g, int b) => (byte)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);

    /// <summary>Grey to RGB: each value three times.</summary>
    /// <exception cref="ArgumentException">Lengths that do not fit together.</exception>
    public static void ToRgb(ReadOnlySpan<byte> grey, Span<byte> rgb)
    {
        if (rgb.Length != 3L * grey.Length) throw new ArgumentException($"{grey.Length} pixels do not fill {rgb.Length} bytes of RGB.");
        fixed (byte* from = grey)
        fixed (byte* to = rgb)
        {
            var p = to;
            for (var i = 0; i < grey.Length; i++, p += 3) p[0] = p[1] = p[2] = from[i];
        }
    }
}
