using Bayou.Core;

namespace Bayou.Data;

/// <summary>How well one list of numbers orders another. Ties are treated as such: latencies of phones are whole milliseconds.</summary>
public static class RankCorrelation
{
    /// <summary>Spearman's coefficient: Pearson's of the ranks, ties with their mean rank. NaN when one list is constant.</summary>
    /// <exception cref="BayouException">The lists differ in length or have fewer than two values.</exception>
    public static double Spearman(IReadOnlyList<double> a, IReadOnlyList<double> b)
    {
        Check(a, b);
        return Pearson(Ranks(a), Ranks(b));
    }

    /// <summary>
    /// Kendall's tau-b in O(n log n): (concordant - discordant) / sqrt((pairs not tied in a) (pairs not tied in b)). NaN when one list is constant.
    /// </summary>
    /// <exception cref="BayouException">The lists differ in length or have fewer than two values.</exception>
    public static double Kendall(IReadOnlyList<double> a, IReadOnlyList<double> b)
    {
        Check(a, b);
        var n = a.Count;
        var order = Enumerable.Range(0, n).ToArray();
        Array.Sort(order, (i, j) => a[i] != a[j] ? a[i].CompareTo(a[j]) : b[i].CompareTo(b[j]));
        var pairs = n * (n - 1L) / 2;
        var (tiedA, tiedB, tiedBoth) = (TiedPairs(a.Order()), TiedPairs(b.Order()), TiedPairs(order.Select(i => (a[i], b[i]))));
        // Sorted by a, a discordant pair is an inversion of b: counted by merge sort.
        var discordant = Inversions(order.Select(i => b[i]).ToArray(), new double[n], 0, n);
        var concordant = pairs - tiedA - tiedB + tiedBoth - discordant;
        return (concordant - discordant) / (Math.Sqrt(pairs - tiedA) * Math.Sqrt(pairs - tiedB));
    }

    /// <summary>Ranks from 1; equal values share their mean rank.</summary>
    public static double[] Ranks(IReadOnlyList<double> values)
    {
        var order = Enumerable.Range(0, values.Count).ToArray();
        Array.Sort(order, (i, j) => values[i].CompareTo(values[j]));
        var ranks = new double[order.Length];
        for (var from = 0; from < order.Length;)
        {
            var to = from + 1;
            while (to < order.Length && values[order[to]] == values[order[from]]) to++;
            for (var i = from; i < to; i++) ranks[order[i]] = (from + 1 + to) / 2.0;
            from = to;
        }
        return ranks;
    }

    private static double Pearson(double[] a, double[] b)
    {
        var (ma, mb) = (a.Average(), b.Average());
        double ab = 0, aa = 0, bb = 0;
        for (var i = 0; i < a.Length; i++)
        {
            ab += (a[i] - ma) * (b[i] - mb);
            aa += (a[i] - ma) * (a[i] - ma);
            bb += (b[i] - mb) * (b[i] - mb);
        }
        return ab / Math.Sqrt(aa * bb);
    }

    // Pairs of equal values in a list whose equal values lie side by side.
    private static long TiedPairs<T>(IEnumerable<T> sorted)
    {
        long tied = 0, run = 0;
        T? last = default;
        foreach (var value in sorted)
        {
            run = run > 0 && EqualityComparer<T>.Default.Equals(value, last) ? run + 1 : 1;
            tied += run - 1;
            last = value;
        }
        return tied;
    }

    private static long Inversions(double[] values, double[] spare, int from, int to)
    {
        if (to - from < 2) return 0;
        var middle = (from + to) / 2;
        var count = Inversions(values, spare, from, middle) + Inversions(values, spare, middle, to);
        var (i, j) = (from, middle);
        for (var k = from; k < to; k++)
        {
            if (j == to || (i < middle && values[i] <= values[j])) spare[k] = values[i++];
            else
            {
                count += middle - i;
                spare[k] = values[j++];
            }
        }
        Array.Copy(spare, from, values, from, to - from);
        return count;
    }

    private static void Check(IReadOnlyList<double> a, IReadOnlyList<double> b)
    {
        if (a.Count != b.Count || a.Count < 2)
            throw new BayouException($"a rank correlation needs two lists of the same length, at least 2: {a.Count} and {b.Count} were given");
    }
}
