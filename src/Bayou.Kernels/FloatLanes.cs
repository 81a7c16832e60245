using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// A register of floats of one width. Kernels are written once over <typeparamref name="T"/>; the JIT makes a version for each width, and the
/// one-lane version does the tails with the same rounding.
/// </summary>
internal unsafe interface IFloatLanes<T> where T : struct, IFloatLanes<T>
{
    /// <summary>Floats in a register.</summary>
    static abstract int Count { get; }

    /// <summary>All lanes equal.</summary>
    static abstract T Create(float value);

    /// <summary>Unaligned load.</summary>
    static abstract T Load(float* p);

    /// <summary>Unaligned store.</summary>
    static abstract void Store(float* p, T value);

    /// <summary>Load of the first lanes only; the others are zero.</summary>
    static abstract T LoadPart(float* p, int lanes);

    /// <summary>Store of the first lanes only.</summary>
    static abstract void StorePart(float* p, T value, int lanes);

    /// <summary>Turns a square of Count rows of Count floats around; steps between rows in floats.</summary>
    static abstract void Transpose(float* source, nint sourceStep, float* target, nint targetStep);

    /// <summary>a + b.</summary>
    static abstract T operator +(T a, T b);

    /// <summary>a - b.</summary>
    static abstract T operator -(T a, T b);

    /// <summary>a b.</summary>
    static abstract T operator *(T a, T b);

    /// <summary>a / b.</summary>
    static abstract T operator /(T a, T b);

    /// <summary>a b + c, rounded once where the machine can.</summary>
    static abstract T MulAdd(T a, T b, T c);

    /// <summary>
    /// sum += a b, likewise. The inner loops' form: it is one instruction, where a <see cref="MulAdd"/> into the variable it reads leaves the JIT with a second
    /// register for the result and a move.
    /// </summary>
    static abstract void AddProduct(ref T sum, T a, T b);

    /// <summary>sum += the register at a, times b; one instruction with the load.</summary>
    static abstract void AddProduct(ref T sum, float* a, T b);

    /// <summary>Square root.</summary>
    static abstract T Sqrt(T a);

    /// <summary>Sum of the lanes.</summary>
    static abstract float Sum(T a);

    /// <summary>|a|.</summary>
    static abstract T Abs(T a);

    /// <summary>The larger of both.</summary>
    static abstract T Max(T a, T b);

    /// <summary>2^n for whole n in [-126, 127].</summary>
    static abstract T PowerOfTwo(T n);

    /// <summary>The nearest whole number, ties to even.</summary>
    static abstract T Round(T a);

    /// <summary>a where x is below 0, otherwise b.</summary>
    static abstract T WhereNegative(T x, T a, T b);

    /// <summary>The smaller one; NaN if one of them is.</summary>
    static abstract T Min(T a, T b);

    /// <summary>The size of a with the sign of b.</summary>
    static abstract T CopySign(T a, T b);

    /// <summary>a &lt; b ? then : otherwise, lane by lane.</summary>
    static abstract T IfLess(T a, T b, T then, T otherwise);

    /// <summary>a is a number ? then : a, lane by lane.</summary>
    static abstract T IfNumber(T a, T then);

    /// <summary>Rounds the significand to nearest even, dropping its last bits (a carry goes into the exponent).</summary>
    static abstract T DropBits(T a, int bits);
}

internal unsafe struct Lanes512(Vector512<float> v) : IFloatLanes<Lanes512>
{
    private Vector512<float> v = v;

    public readonly Vector512<float> Value => v;

    public static int Count => 16;

    public static Lanes512 Create(float value) => new(Vector512.Create(value));

    public static Lanes512 Load(float* p) => new(Vector512.Load(p));

    public static void Store(float* p, Lanes512 value) => value.v.Store(p);

    public static Lanes512 LoadPart(float* p, int lanes) => new(FloatParts.Load512(p, lanes, default));

    public static void StorePart(float* p, Lanes512 value, int lanes) => FloatParts.Store512(p, value.v, lanes);

    public static void Transpose(float* source, nint sourceStep, float* target, nint targetStep) =>
        FloatTranspose.Square16(source, sourceStep, target, targetStep);

    public static Lanes512 operator +(Lanes512 a, Lanes512 b) => new(a.v + b.v);

    public static Lanes512 operator -(Lanes512 a, Lanes512 b) => new(a.v - b.v);

    public static Lanes512 operator *(Lanes512 a, Lanes512 b) => new(a.v * b.v);

    public static Lanes512 operator /(Lanes512 a, Lanes512 b) => new(a.v / b.v);

    public static Lanes512 MulAdd(Lanes512 a, Lanes512 b, Lanes512 c) => new(Vector512.MultiplyAddEstimate(a.v, b.v, c.v));

    public static void AddProduct(ref Lanes512 sum, Lanes512 a, Lanes512 b) => sum.v = Vector512.MultiplyAddEstimate(a.v, b.v, sum.v);

    public static void AddProduct(ref Lanes512 sum, float* a, Lanes512 b) => sum.v = Vector512.MultiplyAddEstimate(Vector512.Load(a), b.v, sum.v);

    public static Lanes512 Sqrt(Lanes512 a) => new(Vector512.Sqrt(a.v));

    public static float Sum(Lanes512 a) => Vector512.Sum(a.v);

    public static Lanes512 Abs(Lanes512 a) => new(Vector512.Abs(a.v));

    public static Lanes512 Max(Lanes512 a, Lanes512 b) => new(Vector512.Max(a.v, b.v));

    // The exponent field of a float.
    public static Lanes512 PowerOfTwo(Lanes512 n) => new(Vector512.ShiftLeft(Vector512.ConvertToInt32Native(n.v) + Vector512.Create(127), 23).AsSingle());

    public static Lanes512 Round(Lanes512 a) => new(Vector512.Round(a.v));

    public static Lanes512 WhereNegative(Lanes512 x, Lanes512 a, Lanes512 b) =>
        new(Vector512.ConditionalSelect(Vector512.LessThan(x.v, Vector512<float>.Zero), a.v, b.v));

    public static Lanes512 Min(Lanes512 a, Lanes512 b) => new(Vector512.Min(a.v, b.v));

    public static Lanes512 CopySign(Lanes512 a, Lanes512 b) => new(Vector512.CopySign(a.v, b.v));

    public static Lanes512 IfLess(Lanes512 a, Lanes512 b, Lanes512 then, Lanes512 otherwise) =>
        new(Vector512.ConditionalSelect(Vector512.LessThan(a.v, b.v), then.v, otherwise.v));

    public static Lanes512 IfNumber(Lanes512 a, Lanes512 then) => new(Vector512.ConditionalSelect(Vector512.Equals(a.v, a.v), then.v, a.v));

    public static Lanes512 DropBits(Lanes512 a, int bits)
    {
        var u = a.v.AsUInt32();
        var odd = (u >> bits) & Vector512.Create(1u);
        return new(((u + odd + Vector512.Create((1u << bits >> 1) - 1)) & Vector512.Create(~0u << bits)).AsSingle());
    }
}

internal unsafe struct Lanes256(Vector256<float> v) : IFloatLanes<Lanes256>
{
    private Vector256<float> v = v;

    public static int Count => 8;

    public static Lanes256 Create(float value) => new(Vector256.Create(value));

    public static Lanes256 Load(float* p) => new(Vector256.Load(p));

    public static void Store(float* p, Lanes256 value) => value.v.Store(p);

    public static Lanes256 LoadPart(float* p, int lanes) => new(FloatParts.Load256(p, lanes));

    public static void StorePart(float* p, Lanes256 value, int lanes) => FloatParts.Store(p, (float*)&value, lanes);

    public static void Transpose(float* source, nint sourceStep, float* target, nint targetStep) =>
        FloatTranspose.Square8(source, sourceStep, target, targetStep);

    public static Lanes256 operator +(Lanes256 a, Lanes256 b) => new(a.v + b.v);

    public static Lanes256 operator -(Lanes256 a, Lanes256 b) => new(a.v - b.v);

    public static Lanes256 operator *(Lanes256 a, Lanes256 b) => new(a.v * b.v);

    public static Lanes256 operator /(Lanes256 a, Lanes256 b) => new(a.v / b.v);

    public static Lanes256 MulAdd(Lanes256 a, Lanes256 b, Lanes256 c) => new(Vector256.MultiplyAddEstimate(a.v, b.v, c.v));

    public static void AddProduct(ref Lanes256 sum, Lanes256 a, Lanes256 b) => sum.v = Vector256.MultiplyAddEstimate(a.v, b.v, sum.v);

    public static void AddProduct(ref Lanes256 sum, float* a, Lanes256 b) => sum.v = Vector256.MultiplyAddEstimate(Vector256.Load(a), b.v, sum.v);

    public static Lanes256 Sqrt(Lanes256 a) => new(Vector256.Sqrt(a.v));

    public static float Sum(Lanes256 a) => Vector256.Sum(a.v);

    public static Lanes256 Abs(Lanes256 a) => new(Vector256.Abs(a.v));

    public static Lanes256 Max(Lanes256 a, Lanes256 b) => new(Vector256.Max(a.v, b.v));

    // The exponent field of a float.
    public static Lanes256 PowerOfTwo(Lanes256 n) => new(Vector256.ShiftLeft(Vector256.ConvertToInt32Native(n.v) + Vector256.Create(127), 23).AsSingle());

    public static Lanes256 Round(Lanes256 a) => new(Vector256.Round(a.v));

    public static Lanes256 WhereNegative(Lanes256 x, Lanes256 a, Lanes256 b) =>
        new(Vector256.ConditionalSelect(Vector256.LessThan(x.v, Vector256<float>.Zero), a.v, b.v));

    public static Lanes256 Min(Lanes256 a, Lanes256 b) => new(Vector256.Min(a.v, b.v));

    public static Lanes256 CopySign(Lanes256 a, Lanes256 b) => new(Vector256.CopySign(a.v, b.v));

    public static Lanes256 IfLess(Lanes256 a, Lanes256 b, Lanes256 then, Lanes256 otherwise) =>
        new(Vector256.ConditionalSelect(Vector256.LessThan(a.v, b.v), then.v, otherwise.v));

    public static Lanes256 IfNumber(Lanes256 a, Lanes256 then) => new(Vector256.ConditionalSelect(Vector256.Equals(a.v, a.v), then.v, a.v));

    public static Lanes256 DropBits(Lanes256 a, int bits)
    {
        var u = a.v.AsUInt32();
        var odd = (u >> bits) & Vector256.Create(1u);
        return new(((u + odd + Vector256.Create((1u << bits >> 1) - 1)) & Vector256.Create(~0u << bits)).AsSingle());
    }
}

internal unsafe struct Lanes128(Vector128<float> v) : IFloatLanes<Lanes128>
{
    private Vector128<float> v = v;

    public static int Count => 4;

    public static Lanes128 Create(float value) => new(Vector128.Create(value));

    public static Lanes128 Load(float* p) => new(Vector128.Load(p));

    public static void Store(float* p, Lanes128 value) => value.v.Store(p);

    public static Lanes128 LoadPart(float* p, int lanes) => new(FloatParts.Load128(p, lanes));

    public static void StorePart(float* p, Lanes128 value, int lanes) => FloatParts.Store(p, (float*)&value, lanes);

    public static void Transpose(float* source, nint sourceStep, float* target, nint targetStep) =>
        FloatTranspose.Square4(source, sourceStep, target, targetStep);

    public static Lanes128 operator +(Lanes128 a, Lanes128 b) => new(a.v + b.v);

    public static Lanes128 operator -(Lanes128 a, Lanes128 b) => new(a.v - b.v);

    public static Lanes128 operator *(Lanes128 a, Lanes128 b) => new(a.v * b.v);

    public static Lanes128 operator /(Lanes128 a, Lanes128 b) => new(a.v / b.v);

    public static Lanes128 MulAdd(Lanes128 a, Lanes128 b, Lanes128 c) => new(Vector128.MultiplyAddEstimate(a.v, b.v, c.v));

    public static void AddProduct(ref Lanes128 sum, Lanes128 a, Lanes128 b) => sum.v = Vector128.MultiplyAddEstimate(a.v, b.v, sum.v);

    public static void AddProduct(ref Lanes128 sum, float* a, Lanes128 b) => sum.v = Vector128.MultiplyAddEstimate(Vector128.Load(a), b.v, sum.v);

    public static Lanes128 Sqrt(Lanes128 a) => new(Vector128.Sqrt(a.v));

    public static float Sum(Lanes128 a) => Vector128.Sum(a.v);

    public static Lanes128 Abs(Lanes128 a) => new(Vector128.Abs(a.v));

    public static Lanes128 Max(Lanes128 a, Lanes128 b) => new(Vector128.Max(a.v, b.v));

    // The exponent field of a float.
    public static Lanes128 PowerOfTwo(Lanes128 n) => new(Vector128.ShiftLeft(Vector128.ConvertToInt32Native(n.v) + Vector128.Create(127), 23).AsSingle());

    public static Lanes128 Round(Lanes128 a) => new(Vector128.Round(a.v));

    public static Lanes128 WhereNegative(Lanes128 x, Lanes128 a, Lanes128 b) =>
        new(Vector128.ConditionalSelect(Vector128.LessThan(x.v, Vector128<float>.Zero), a.v, b.v));

    public static Lanes128 Min(Lanes128 a, Lanes128 b) => new(Vector128.Min(a.v, b.v));

    public static Lanes128 CopySign(Lanes128 a, Lanes128 b) => new(Vector128.CopySign(a.v, b.v));

    public static Lanes128 IfLess(Lanes128 a, Lanes128 b, Lanes128 then, Lanes128 otherwise) =>
        new(Vector128.ConditionalSelect(Vector128.LessThan(a.v, b.v), then.v, otherwise.v));

    public static Lanes128 IfNumber(Lanes128 a, Lanes128 then) => new(Vector128.ConditionalSelect(Vector128.Equals(a.v, a.v), then.v, a.v));

    public static Lanes128 DropBits(Lanes128 a, int bits)
    {
        var u = a.v.AsUInt32();
        var odd = (u >> bits) & Vector128.Create(1u);
        return new(((u + odd + Vector128.Create((1u << bits >> 1) - 1)) & Vector128.Create(~0u << bits)).AsSingle());
    }
}

internal unsafe struct Lane(float v) : IFloatLanes<Lane>
{
    private float v = v;

    public static int Count => 1;

    public static Lane Create(float value) => new(value);

    public static Lane Load(float* p) => new(*p);

    public static void Store(float* p, Lane value) => *p = value.v;

    public static Lane LoadPart(float* p, int lanes) => new(*p);

    public static void StorePart(float* p, Lane value, int lanes) => *p = value.v;

    public static void Transpose(float* source, nint sourceStep, float* target, nint targetStep) => *target = *source;

    public static Lane operator +(Lane a, Lane b) => new(a.v + b.v);

    public static Lane operator -(Lane a, Lane b) => new(a.v - b.v);

    public static Lane operator *(Lane a, Lane b) => new(a.v * b.v);

    public static Lane operator /(Lane a, Lane b) => new(a.v / b.v);

    public static Lane MulAdd(Lane a, Lane b, Lane c) => new(float.MultiplyAddEstimate(a.v, b.v, c.v));

    public static void AddProduct(ref Lane sum, Lane a, Lane b) => sum.v = float.MultiplyAddEstimate(a.v, b.v, sum.v);

    public static void AddProduct(ref Lane sum, float* a, Lane b) => sum.v = float.MultiplyAddEstimate(*a, b.v, sum.v);

    public static Lane Sqrt(Lane a) => new(MathF.Sqrt(a.v));

    public static float Sum(Lane a) => a.v;

    public static Lane Abs(Lane a) => new(MathF.Abs(a.v));

    public static Lane Max(Lane a, Lane b) => new(MathF.Max(a.v, b.v));

    public static Lane PowerOfTwo(Lane n) => new(BitConverter.Int32BitsToSingle((int)n.v + 127 << 23));

    public static Lane Round(Lane a) => new(MathF.Round(a.v));

    public static Lane WhereNegative(Lane x, Lane a, Lane b) => x.v < 0 ? a : b;

    public static Lane Min(Lane a, Lane b) => new(MathF.Min(a.v, b.v));

    public static Lane CopySign(Lane a, Lane b) => new(MathF.CopySign(a.v, b.v));

    public static Lane IfLess(Lane a, Lane b, Lane then, Lane otherwise) => a.v < b.v ? then : otherwise;

    public static Lane IfNumber(Lane a, Lane then) => float.IsNaN(a.v) ? a : then;

    public static Lane DropBits(Lane a, int bits)
    {
        var u = BitConverter.SingleToUInt32Bits(a.v);
        return new(BitConverter.UInt32BitsToSingle((u + ((u >> bits) & 1) + (1u << bits >> 1) - 1) & (~0u << bits)));
    }
}
