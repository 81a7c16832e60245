using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>
/// One row of each pass of <see cref="ImageResize"/>. Sums are 32-bit integers, which add up to the same bits in any order: all paths are equal.
/// </summary>
internal static unsafe class ImageResizeRows
{
    private const int Bits = ResampleWeights.PrecisionBits;
    private const int Half = 1 << (Bits - 1);

    /// <summary>What every row of a horizontal pass shares.</summary>
    internal readonly struct Plan(int* start, int* count, int* weights, int stride, int newWidth, int width, int channels)
    {
        public readonly int* Start = start, Count = count, Weights = weights;
        public readonly int Stride = stride, NewWidth = newWidth, Width = width, Channels = channels;
    }

    /// <summary>Resizes one row: source [Width, Channels] to destination [NewWidth, Channels].</summary>
    public static void HorizontalRow(byte* source, byte* destination, in Plan plan, KernelIsaLevel isa)
    {
        switch (plan.Channels)
        {
            case 1: Horizontal1(source, destination, plan, isa); break;
            case 3: Horizontal3(source, destination, plan, isa); break;
            default: Horizontal4(source, destination, plan, isa); break;
        }
    }

    private static void Horizontal1(byte* source, byte* destination, in Plan plan, KernelIsaLevel isa)
    {
        for (var x = 0; x < plan.NewWidth; x++)
        {
            var weights = plan.Weights + (long)x * plan.Stride;
            var pixels = source + plan.Start[x];
            var count = plan.Count[x];
            var sum = Half;
            var k = 0;
            if (isa >= KernelIsaLevel.Vector512 && count >= 16)
            {
                var sums = Vector512<int>.Zero;
                for (; k <= count - 16; k += 16) sums += Ints16(pixels + k) * Vector512.Load(weights + k);
                sum += Vector512.Sum(sums);
            }
            if (isa >= KernelIsaLevel.Vector256 && count - k >= 8)
            {
                var sums = Vector256<int>.Zero;
                for (; k <= count - 8; k += 8) sums += Ints8(pixels + k) * Vector256.Load(weights + k);
                sum += Vector256.Sum(sums);
            }
            if (isa >= KernelIsaLevel.Vector128 && count - k >= 4)
            {
                var sums = Vector128<int>.Zero;
                for (; k <= count - 4; k += 4) sums += Ints4(pixels + k) * Vector128.Load(weights + k);
                sum += Vector128.Sum(sums);
            }
            for (; k < count; k++) sum += pixels[k] * weights[k];
            destination[x] = Clip(sum);
        }
    }

    private static void Horizontal3(byte* source, byte* destination, in Plan plan, KernelIsaLevel isa)
    {
        var spread = Vector128.Create((byte)0, 1, 2, 255, 3, 4, 5, 255, 6, 7, 8, 255, 9, 10, 11, 255);      // four RGB pixels to RGB0
        for (var x = 0; x < plan.NewWidth; x++)
        {
            var weights = plan.Weights + (long)x * plan.Stride;
            var first = plan.Start[x];
            var pixels = source + (long)first * 3;
            var count = plan.Count[x];
            int k = 0, r = Half, g = Half, b = Half;
            if (isa >= KernelIsaLevel.Vector128)
            {
                // A vector load takes 16 bytes, i.e. a pixel and a third more than its four pixels: the last ones of the row are left to the scalar loop.
                var safe = Math.Min(count, plan.Width - first - 2);
                var sums = Vector128<int>.Zero;
                if (isa >= KernelIsaLevel.Vector512)
                {
                    var wide = Vector512<int>.Zero;
                    for (; k <= safe - 4; k += 4) wide += Ints16(Vector128.Shuffle(Vector128.Load(pixels + k * 3), spread)) * Spread4(weights + k);
                    var half = wide.GetLower() + wide.GetUpper();
                    sums = half.GetLower() + half.GetUpper();
                }
                else if (isa >= KernelIsaLevel.Vector256)
                {
                    var wide = Vector256<int>.Zero;
                    for (; k <= safe - 4; k += 4)
                    {
                        var four = Vector128.Shuffle(Vector128.Load(pixels + k * 3), spread);
                        var upper = Vector128.Shuffle(four.AsInt64(), Vector128.Create(1L, 1L)).AsByte();
                        wide += Ints8(four) * Spread2(weights + k) + Ints8(upper) * Spread2(weights + k + 2);
                    }
                    sums = wide.GetLower() + wide.GetUpper();
                }
                else
                {
                    for (; k <= safe - 4; k += 4)
                    {
                        var four = Vector128.Shuffle(Vector128.Load(pixels + k * 3), spread);
                        var (low, high) = Vector128.Widen(four);
                        var (p0, p1) = Vector128.Widen(low);
                        var (p2, p3) = Vector128.Widen(high);
                        sums += p0.AsInt32() * weights[k] + p1.AsInt32() * weights[k + 1] + p2.AsInt32() * weights[k + 2] + p3.AsInt32() * weights[k + 3];
                    }
                }
                r += sums[0];
                g += sums[1];
                b += sums[2];
            }
            for (; k < count; k++)
            {
                var pixel = pixels + k * 3;
                var weight = weights[k];
                r += pixel[0] * weight;
                g += pixel[1] * weight;
                b += pixel[2] * weight;
            }
            var output = destination + (long)x * 3;
            output[0] = Clip(r);
            output[1] = Clip(g);
            output[2] = Clip(b);
        }
    }

    private static void Horizontal4(byte* source, byte* destination, in Plan plan, KernelIsaLevel isa)
    {
        for (var x = 0; x < plan.NewWidth; x++)
        {
            var weights = plan.Weights + (long)x * plan.Stride;
            var pixels = source + (long)plan.Start[x] * 4;
            var count = plan.Count[x];
            int k = 0, r = Half, g = Half, b = Half, a = Half;
            if (isa >= KernelIsaLevel.Vector128)
            {
                var sums = Vector128<int>.Zero;
                if (isa >= KernelIsaLevel.Vector512)
                {
                    var wide = Vector512<int>.Zero;
                    for (; k <= count - 4; k += 4) wide += Ints16(pixels + k * 4) * Spread4(weights + k);
                    var half = wide.GetLower() + wide.GetUpper();
                    sums = half.GetLower() + half.GetUpper();
                }
                if (isa >= KernelIsaLevel.Vector256)
                {
                    var wide = Vector256<int>.Zero;
                    for (; k <= count - 2; k += 2) wide += Ints8(pixels + k * 4) * Spread2(weights + k);
                    sums += wide.GetLower() + wide.GetUpper();
                }
                for (; k < count; k++) sums += Ints4(pixels + k * 4) * weights[k];
                r += sums[0];
                g += sums[1];
                b += sums[2];
                a += sums[3];
            }
            for (; k < count; k++)
            {
                var pixel = pixels + k * 4;
                var weight = weights[k];
                r += pixel[0] * weight;
                g += pixel[1] * weight;
                b += pixel[2] * weight;
                a += pixel[3] * weight;
            }
            var output = destination + (long)x * 4;
            output[0] = Clip(r);
            output[1] = Clip(g);
            output[2] = Clip(b);
            output[3] = Clip(a);
        }
    }

    /// <summary>One output row: the weighted sum of <paramref name="count"/> source rows, <paramref name="rowBytes"/> bytes long.</summary>
    public static void VerticalRow(byte* source, long sourceStride, byte* destination, long rowBytes, int* weights, int count, KernelIsaLevel isa)
    {
        long x = 0;
        if (isa >= KernelIsaLevel.Vector512)
        {
            for (; x <= rowBytes - 64; x += 64)
            {
                Vector512<int> s0 = Vector512.Create(Half), s1 = s0, s2 = s0, s3 = s0;
                var pixels = source + x;
                for (var k = 0; k < count; k++, pixels += sourceStride)
                {
                    var weight = Vector512.Create(weights[k]);
                    s0 += Ints16(pixels) * weight;
                    s1 += Ints16(pixels + 16) * weight;
                    s2 += Ints16(pixels + 32) * weight;
                    s3 += Ints16(pixels + 48) * weight;
                }
                Store16(destination + x, s0);
                Store16(destination + x + 16, s1);
                Store16(destination + x + 32, s2);
                Store16(destination + x + 48, s3);
            }
            for (; x <= rowBytes - 16; x += 16)
            {
                var sum = Vector512.Create(Half);
                var pixels = source + x;
                for (var k = 0; k < count; k++, pixels += sourceStride) sum += Ints16(pixels) * Vector512.Create(weights[k]);
                Store16(destination + x, sum);
            }
        }
        if (isa >= KernelIsaLevel.Vector256)
        {
            for (; x <= rowBytes - 16; x += 16)
            {
                Vector256<int> s0 = Vector256.Create(Half), s1 = s0;
                var pixels = source + x;
                for (var k = 0; k < count; k++, pixels += sourceStride)
                {
                    var weight = Vector256.Create(weights[k]);
                    s0 += Ints8(pixels) * weight;
                    s1 += Ints8(pixels + 8) * weight;
                }
                Store8(destination + x, s0);
                Store8(destination + x + 8, s1);
            }
            for (; x <= rowBytes - 8; x += 8)
            {
                var sum = Vector256.Create(Half);
                var pixels = source + x;
                for (var k = 0; k < count; k++, pixels += sourceStride) sum += Ints8(pixels) * Vector256.Create(weights[k]);
                Store8(destination + x, sum);
            }
        }
        if (isa >= KernelIsaLevel.Vector128)
        {
            for (; x <= rowBytes - 4; x += 4)
            {
                var sum = Vector128.Create(Half);
                var pixels = source + x;
                for (var k = 0; k < count; k++, pixels += sourceStride) sum += Ints4(pixels) * Vector128.Create(weights[k]);
                Store4(destination + x, sum);
            }
        }
        for (; x < rowBytes; x++)
        {
            var sum = Half;
            var pixels = source + x;
            for (var k = 0; k < count; k++, pixels += sourceStride) sum += *pixels * weights[k];
            destination[x] = Clip(sum);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte Clip(int sum)
    {
        var value = sum >> Bits;
        return (byte)(value < 0 ? 0 : value > 255 ? 255 : value);
    }

    // --- 16, 8 or 4 bytes as 32-bit integers, and back ---

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<int> Ints16(byte* p) => Ints16(Vector128.Load(p));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<int> Ints16(Vector128<byte> bytes)
    {
        if (Avx512F.IsSupported) return Avx512F.ConvertToVector512Int32(bytes);
        var (low, high) = Vector128.Widen(bytes);
        var (a, b) = Vector128.Widen(low);
        var (c, d) = Vector128.Widen(high);
        return Vector512.Create(Vector256.Create(a, b), Vector256.Create(c, d)).AsInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<int> Ints8(byte* p) => Ints8(Vector128.CreateScalarUnsafe(*(long*)p).AsByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<int> Ints8(Vector128<byte> lower)
    {
        if (Avx2.IsSupported) return Avx2.ConvertToVector256Int32(lower);
        var (a, b) = Vector128.Widen(Vector128.WidenLower(lower));
        return Vector256.Create(a, b).AsInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<int> Ints4(byte* p) => Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(int*)p).AsByte())).AsInt32();

    /// <summary>Four weights, each repeated for the four lanes of its pixel.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Spread4(int* weights) => Vector512.Create(Spread2(weights), Spread2(weights + 2));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Spread2(int* weights) => Vector256.Create(Vector128.Create(weights[0]), Vector128.Create(weights[1]));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store16(byte* p, Vector512<int> sums)
    {
        var values = Vector512.Min(Vector512.Max(Vector512.ShiftRightArithmetic(sums, Bits), Vector512<int>.Zero), Vector512.Create(255));
        if (Avx512F.IsSupported)
        {
            Avx512F.ConvertToVector128Byte(values).Store(p);
            return;
        }
        var shorts = Vector256.Narrow(values.GetLower(), values.GetUpper());
        Vector128.Narrow(shorts.GetLower().AsUInt16(), shorts.GetUpper().AsUInt16()).Store(p);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store8(byte* p, Vector256<int> sums)
    {
        var values = Vector256.Min(Vector256.Max(Vector256.ShiftRightArithmetic(sums, Bits), Vector256<int>.Zero), Vector256.Create(255));
        var shorts = Vector128.Narrow(values.GetLower(), values.GetUpper()).AsUInt16();
        *(long*)p = Vector128.Narrow(shorts, shorts).AsInt64().ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store4(byte* p, Vector128<int> sums)
    {
        var values = Vector128.Min(Vector128.Max(Vector128.ShiftRightArithmetic(sums, Bits), Vector128<int>.Zero), Vector128.Create(255));
        var shorts = Vector128.Narrow(values, values).AsUInt16();
        *(int*)p = Vector128.Narrow(shorts, shorts).AsInt32().ToScalar();
    }
}
