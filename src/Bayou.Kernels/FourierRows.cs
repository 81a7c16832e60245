using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Bayou.Kernels;

/// <summary>
/// Rows of eight channels on their way into and out of <see cref="Fourier"/>, two rows to a transform; and what is done to elements one after the other.
/// </summary>
internal readonly unsafe struct FourierRows(Fourier rows, int bins, int step, int channels, double* a, double* b, float* block)
{
    private const int Lanes = Fourier.Lanes, Element = Fourier.Element;
    private const MethodImplOptions Hot = MethodImplOptions.AggressiveOptimization;

    /// <summary>Where two rows are put.</summary>
    public double* A => a;

    /// <summary>Room for as many.</summary>
    public double* B => b;

    /// <summary>
    /// Pixels of a row as real parts at <paramref name="target"/> (or as imaginary parts, one register further); lanes beyond the channels are zero.
    /// </summary>
    [MethodImpl(Hot)]
    public void Load(float* source, DepthwisePlanes memory, int count, double* target)
    {
        var (pixel, channel) = ((nint)memory.Pixel, (nint)memory.Channel);
        if (channels == Lanes && channel == 1)
        {
            for (; count > 0; count--, source += pixel, target += Element) Widen(source, target);
            return;
        }
        if (channels == Lanes && pixel == 1 && count >= Lanes)
        {
            for (var x = 0; x < count; x += Lanes)
            {
                // The last square overlaps the one before.
                if (x > count - Lanes) x = count - Lanes;
                FloatTranspose.Square8(source + x, channel, block, Lanes);
                for (var i = 0; i < Lanes; i++) Widen(block + i * Lanes, target + (x + i) * Element);
            }
            return;
        }
        for (; count > 0; count--, source += pixel, target += Element)
            for (var l = 0; l < Lanes; l++) target[l] = l < channels ? source[l * channel] : 0;

        static void Widen(float* from, double* to) => Avx512F.ConvertToVector512Double(Vector256.Load(from)).Store(to);
    }

    /// <summary>Real parts (or, one register further, imaginary parts) to the pixels of a row.</summary>
    [MethodImpl(Hot)]
    public void Store(double* source, float* target, DepthwisePlanes memory, int count, float* bias, bool relu)
    {
        var (pixel, channel) = ((nint)memory.Pixel, (nint)memory.Channel);
        var shift = Vector256.Load(bias);
        // What an output must at least be; a value that is no number passes.
        var least = Vector256.Create(relu ? 0 : float.NegativeInfinity);
        if (channels == Lanes && channel == 1)
        {
            for (; count > 0; count--, source += Element, target += pixel) Narrow(source, target, shift, least);
            return;
        }
        if (channels == Lanes && pixel == 1 && count >= Lanes)
        {
            for (var x = 0; x < count; x += Lanes)
            {
                if (x > count - Lanes) x = count - Lanes;
                for (var i = 0; i < Lanes; i++) Narrow(source + (x + i) * Element, block + i * Lanes, shift, least);
                FloatTranspose.Square8(block, Lanes, target + x, channel);
            }
            return;
        }
        for (; count > 0; count--, source += Element, target += pixel)
            for (var l = 0; l < channels; l++) target[l * channel] = Math.Max((float)source[l] + bias[l], relu ? 0 : float.NegativeInfinity);

        static void Narrow(double* from, float* to, Vector256<float> shift, Vector256<float> least) =>
            Vector256.Max(Avx512F.ConvertToVector256Single(Vector512.Load(from)) + shift, least).Store(to);
    }

    /// <summary>The rows at <see cref="A"/> -> twice the half spectra of both, one row of the plane each.</summary>
    [MethodImpl(Hot)]
    public void Split(double* upper)
    {
        double* z = rows.Run(a, b, false), mirror = z, lower = upper + step;
        for (var k = bins; k > 0; k--, z += Element, upper += Element, lower += Element)
        {
            Vector512<double> r = Vector512.Load(z), i = Vector512.Load(z + Lanes), s = Vector512.Load(mirror), j = Vector512.Load(mirror + Lanes);
            (r + s).Store(upper);
            (i - j).Store(upper + Lanes);
            (i + j).Store(lower);
            (s - r).Store(lower + Lanes);
            mirror = k == bins ? mirror + (rows.Length - 1) * Element : mirror - Element;
        }
    }

    /// <summary>Half spectra of two rows of the plane -> the rows, as real and imaginary parts.</summary>
    [MethodImpl(Hot)]
    public double* Join(double* upper)
    {
        double* z = a, mirror = a, lower = upper + step;
        for (var k = bins; k > 0; k--, z += Element, upper += Element, lower += Element)
        {
            Vector512<double> r = Vector512.Load(upper), i = Vector512.Load(upper + Lanes), s = Vector512.Load(lower), j = Vector512.Load(lower + Lanes);
            (r + j).Store(mirror);
            (s - i).Store(mirror + Lanes);
            (r - j).Store(z);
            (i + s).Store(z + Lanes);
            mirror = k == bins ? mirror + (rows.Length - 1) * Element : mirror - Element;
        }
        return rows.Run(a, b, true);
    }

    /// <summary>Zeros in registers that lie <paramref name="step"/> doubles apart.</summary>
    [MethodImpl(Hot)]
    public static void Clear(double* p, int registers, int step)
    {
        for (; registers > 0; registers--, p += step) Vector512<double>.Zero.Store(p);
    }

    /// <summary>Adds to registers an element apart.</summary>
    [MethodImpl(Hot)]
    public static void Add(double* source, double* target, int count)
    {
        for (; count > 0; count--, source += Element, target += Element) (Vector512.Load(target) + Vector512.Load(source)).Store(target);
    }

    /// <summary>Elements that lie <paramref name="step"/> apart, one after the other.</summary>
    [MethodImpl(Hot)]
    public static void Gather(double* source, int step, double* target, int count)
    {
        for (; count > 0; count--, source += step, target += Element)
        {
            Vector512.Load(source).Store(target);
            Vector512.Load(source + Lanes).Store(target + Lanes);
        }
    }

    /// <summary>The way back.</summary>
    [MethodImpl(Hot)]
    public static void Scatter(double* source, double* target, int step, int count)
    {
        for (; count > 0; count--, source += Element, target += step)
        {
            Vector512.Load(source).Store(target);
            Vector512.Load(source + Lanes).Store(target + Lanes);
        }
    }

    /// <summary>Real and imaginary parts times a number each.</summary>
    [MethodImpl(Hot)]
    public static void Scale(double* source, double* target, int count, double real, double imaginary)
    {
        Vector512<double> r = Vector512.Create(real), i = Vector512.Create(imaginary);
        for (; count > 0; count--, source += Element, target += Element)
        {
            (Vector512.Load(source) * r).Store(target);
            (Vector512.Load(source + Lanes) * i).Store(target + Lanes);
        }
    }

    /// <summary>f = f k, element by element.</summary>
    [MethodImpl(Hot)]
    public static void Multiply(double* f, double* k, int count)
    {
        for (; count > 0; count--, f += Element, k += Element)
        {
            Vector512<double> r = Vector512.Load(f), i = Vector512.Load(f + Lanes), s = Vector512.Load(k), j = Vector512.Load(k + Lanes);
            Avx512F.FusedMultiplyAddNegated(i, j, r * s).Store(f);
            Avx512F.FusedMultiplyAdd(r, j, i * s).Store(f + Lanes);
        }
    }
}
