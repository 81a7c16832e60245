namespace Bayou.Kernels;

/// <summary>
/// Sums as numpy adds contiguous doubles: eight running sums up to 128 values, halves above. Filters normalised by it have numpy's last bits.
/// </summary>
public static class PairwiseSum
{
    /// <summary>The sum; 0 for nothing.</summary>
    public static double Of(ReadOnlySpan<double> values)
    {
        var n = values.Length;
        if (n < 8)
        {
            var sum = 0.0;
            foreach (var value in values) sum += value;
            return sum;
        }
        if (n > 128)
        {
            var half = n / 2;
            half -= half % 8;
            return Of(values[..half]) + Of(values[half..]);
        }
        Span<double> r = stackalloc double[8];
        values[..8].CopyTo(r);
        var i = 8;
        for (; i < n - n % 8; i += 8)
        {
            for (var k = 0; k < 8; k++) r[k] += values[i + k];
        }
        var total = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
        for (; i < n; i++) total += values[i];
        return total;
    }
}
