namespace Bayou.Kernels;

/// <summary>The values a small float format can take, as far as rounding is concerned.</summary>
/// <param name="MantissaBits">Bits of the significand after the point, 0..23.</param>
/// <param name="MinExponent">Exponent of the smallest normal number; below it the grid has equal steps (subnormals).</param>
/// <param name="Max">Largest finite value.</param>
/// <param name="Limit">Sizes from here on become <paramref name="Overflow"/>; +infinity and beyond never for saturating casts.</param>
/// <param name="Overflow">What an overflow becomes: the largest value, infinity or NaN.</param>
/// <param name="NegativeZero">Whether the format has a negative zero.</param>
public readonly record struct MinifloatGrid(int MantissaBits, int MinExponent, float Max, float Limit, float Overflow, bool NegativeZero);

/// <summary>Rounding of floats onto the grid of a smaller format: to nearest, ties to even, subnormals included.</summary>
public static unsafe class MinifloatKernel
{
    /// <summary>y[i] = scale * (nearest value of the grid to x[i] / scale); NaN stays NaN.</summary>
    /// <param name="x">Values.</param>
    /// <param name="y">Where to put the results; may be x itself.</param>
    /// <param name="grid">The format.</param>
    /// <param name="scale">What the grid's 1 stands for.</param>
    /// <exception cref="ArgumentException">y is shorter than x, or the grid is no float format.</exception>
    public static void Round(ReadOnlySpan<float> x, Span<float> y, in MinifloatGrid grid, float scale = 1)
    {
        if (y.Length < x.Length) throw new ArgumentException($"{x.Length} values do not fit into {y.Length}", nameof(y));
        if (grid.MantissaBits is < 0 or > 23 || grid.MinExponent is < -126 or > 64)
            throw new ArgumentException($"{grid} is no grid within float32", nameof(grid));
        fixed (float* from = x, to = y)
        {
            var done = KernelIsa.Current switch
            {
                KernelIsaLevel.Vector512 => Rows<Lanes512>(from, to, 0, x.Length, grid, scale),
                KernelIsaLevel.Vector256 => Rows<Lanes256>(from, to, 0, x.Length, grid, scale),
                KernelIsaLevel.Vector128 => Rows<Lanes128>(from, to, 0, x.Length, grid, scale),
                _ => 0,
            };
            Rows<Lane>(from, to, done, x.Length, grid, scale);
        }
    }

    private static int Rows<T>(float* x, float* y, int start, int n, MinifloatGrid grid, float scale) where T : struct, IFloatLanes<T>
    {
        var drop = 23 - grid.MantissaBits;
        var (max, limit, overflow) = (T.Create(grid.Max), T.Create(grid.Limit), T.Create(grid.Overflow));
        // Below the smallest normal number, adding and taking away this number rounds to the subnormals' step: it is 2^23 steps and a half of that again.
        // float32's own subnormals need no such step: there the significand's bits are the grid already.
        var own = grid.MinExponent == -126;
        var normal = T.Create(own ? 0 : MathF.ScaleB(1, grid.MinExponent));
        var magic = T.Create(own ? 0 : MathF.ScaleB(1.5f, grid.MinExponent + drop));
        var zero = T.Create(0);
        var unit = T.Create(scale);
        var saturates = grid.Overflow == grid.Max;
        var i = start;
        for (; i + T.Count <= n; i += T.Count)
        {
            var value = T.Load(x + i);
            var input = scale == 1 ? value : value / unit;
            var size = T.Abs(input);
            var inside = T.Min(size, max);
            var rounded = drop == 0 ? inside : T.IfNumber(inside, T.DropBits(inside, drop));
            if (!own) rounded = T.IfLess(inside, normal, inside + magic - magic, rounded);
            if (!saturates) rounded = T.IfNumber(inside, T.IfLess(size, limit, rounded, overflow));
            rounded = T.CopySign(rounded, input);
            if (!grid.NegativeZero) rounded = rounded + zero;
            T.Store(y + i, scale == 1 ? rounded : rounded * unit);
        }
        return i;
    }
}
