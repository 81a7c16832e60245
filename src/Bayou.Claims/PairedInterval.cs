namespace Bayou.Claims;

/// <summary>Mean difference of paired values with its 95 % interval (Student's t, n - 1 degrees of freedom).</summary>
public static class PairedInterval
{
    // Two-sided 97.5 % quantiles for 1 to 30 degrees of freedom.
    private static readonly double[] Quantiles =
    [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];

    /// <summary>Mean of a - b and the ends of its interval, which are null with fewer than two pairs.</summary>
    public static (double Mean, double? Low, double? High) Of(IReadOnlyList<double> a, IReadOnlyList<double> b)
    {
        if (a.Count != b.Count || a.Count == 0) throw new ArgumentException($"{a.Count} and {b.Count} values are no pairs");
        var differences = a.Zip(b, (x, y) => x - y).ToArray();
        var mean = differences.Average();
        if (differences.Length < 2) return (mean, null, null);
        var variance = differences.Sum(d => (d - mean) * (d - mean)) / (differences.Length - 1);
        var t = differences.Length - 2 < Quantiles.Length ? Quantiles[differences.Length - 2] : 1.96;
        var half = t * Math.Sqrt(variance / differences.Length);
        return (mean, mean - half, mean + half);
    }
}
