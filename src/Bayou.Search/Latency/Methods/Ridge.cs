using Bayou.Core;

namespace Bayou.Search;

/// <summary>Linear regression with an intercept and a penalty on the squared weights.</summary>
public sealed class Ridge
{
    private readonly double[] weights, center;
    private readonly double intercept;

    private Ridge(double[] weights, double[] center, double intercept) => (this.weights, this.center, this.intercept) = (weights, center, intercept);

    /// <summary>Minimises the weighted mean of (y - prediction)^2 + penalty |weights|^2; the intercept is free.</summary>
    /// <param name="x">Rows of features.</param>
    /// <param name="y">Values.</param>
    /// <param name="penalty">Above 0.</param>
    /// <param name="rowWeights">One a row; null for all the same.</param>
    /// <exception cref="BayouException">No rows, rows of different lengths, or a penalty that is not positive.</exception>
    public static Ridge Fit(IReadOnlyList<double[]> x, IReadOnlyList<double> y, double penalty, IReadOnlyList<double>? rowWeights = null)
    {
        if (x.Count == 0 || x.Count != y.Count || x.Any(r => r.Length != x[0].Length) || !(penalty > 0))
            throw new BayouException($"ridge regression: {x.Count} rows, {y.Count} values, penalty {penalty}");
        var n = x[0].Length;
        var share = rowWeights is null ? [.. Enumerable.Repeat(1.0 / x.Count, x.Count)] : rowWeights.Select(w => w / rowWeights.Sum()).ToArray();
        var center = new double[n];
        var mean = 0.0;
        for (var r = 0; r < x.Count; r++)
        {
            mean += share[r] * y[r];
            for (var i = 0; i < n; i++) center[i] += share[r] * x[r][i];
        }
        var (a, b) = (new double[n, n], new double[n]);
        for (var r = 0; r < x.Count; r++)
        {
            var row = x[r].Select((v, i) => v - center[i]).ToArray();
            for (var i = 0; i < n; i++)
            {
                if (row[i] == 0) continue;
                b[i] += share[r] * row[i] * (y[r] - mean);
                for (var j = 0; j <= i; j++) a[i, j] += share[r] * row[i] * row[j];
            }
        }
        for (var i = 0; i < n; i++) a[i, i] += penalty;
        return new(Solve(a, b), center, mean);
    }

    /// <summary>The value predicted for a row.</summary>
    public double Predict(ReadOnlySpan<double> x)
    {
        var sum = intercept;
        for (var i = 0; i < weights.Length; i++) sum += weights[i] * (x[i] - center[i]);
        return sum;
    }

    /// <summary>The value predicted for a row of floats, as codes are.</summary>
    public double Predict(ReadOnlySpan<float> x)
    {
        var sum = intercept;
        for (var i = 0; i < weights.Length; i++) sum += weights[i] * (x[i] - center[i]);
        return sum;
    }

    // Cholesky: the matrix is positive definite, since the penalty is.
    private static double[] Solve(double[,] a, double[] b)
    {
        var n = b.Length;
        for (var j = 0; j < n; j++)
        {
            for (var k = 0; k < j; k++)
                for (var i = j; i < n; i++) a[i, j] -= a[i, k] * a[j, k];
            var root = Math.Sqrt(a[j, j]);
            for (var i = j; i < n; i++) a[i, j] /= root;
        }
        var y = (double[])b.Clone();
        for (var i = 0; i < n; i++)
        {
            for (var k = 0; k < i; k++) y[i] -= a[i, k] * y[k];
            y[i] /= a[i, i];
        }
        for (var i = n - 1; i >= 0; i--)
        {
            for (var k = i + 1; k < n; k++) y[i] -= a[k, i] * y[k];
            y[i] /= a[i, i];
        }
        return y;
    }
}
