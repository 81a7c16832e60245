using Bayou.Core;

namespace Bayou.Search;

/// <summary>What MAPLE-Edge and MAPLE-X add: counters by time, sources weighted by likeness, virtual examples (specs/maple.md, sections 1.1 and 1.3).</summary>
public static class MapleWeights
{
    /// <summary>
    /// The dense descriptor of a device: ln(1 + count / latency) for every operator and event, operators first. Dividing by the operator's latency is what lets
    /// one model serve several runtimes.
    /// </summary>
    /// <param name="counters">[operator][event].</param>
    /// <param name="operatorLatency">Milliseconds of each operator.</param>
    /// <exception cref="BayouException">There are not as many latencies as operators.</exception>
    public static double[] Descriptor(IReadOnlyList<IReadOnlyList<double>> counters, IReadOnlyList<double> operatorLatency)
    {
        if (counters.Count != operatorLatency.Count)
            throw new BayouException($"MAPLE: counters of {counters.Count} operators and latencies of {operatorLatency.Count}");
        return [.. counters.SelectMany((events, o) => events.Select(count => Math.Log(1 + count / operatorLatency[o])))];
    }

    /// <summary>
    /// Likeness of each source to the target: exp(-d^2 / (2 s^2)) with d the distance of the normalised descriptors and s the median of d. A numeric stand-in
    /// for MAPLE-X's comparison of specifications.
    /// </summary>
    public static double[] Similarity(IReadOnlyList<double[]> sources, double[] target)
    {
        var distance = sources.Select(s => Math.Sqrt(s.Zip(target, (a, b) => (a - b) * (a - b)).Sum())).ToArray();
        var s2 = Math.Pow(Median(distance), 2);
        return [.. distance.Select(d => s2 > 0 ? Math.Exp(-d * d / (2 * s2)) : 1)];
    }

    /// <summary>
    /// Weights of training rows: those of the source rows (device by device, mean 1), then one for each of the k rows of the target, which together weigh as
    /// much as one source device.
    /// </summary>
    /// <param name="similarity">One number a source device; all 1 for plain MAPLE.</param>
    /// <param name="rowsPerSource">Rows of each source device.</param>
    /// <param name="samples">k.</param>
    public static double[] Rows(IReadOnlyList<double> similarity, int rowsPerSource, int samples)
    {
        var mean = similarity.Average();
        var target = samples == 0 ? 0 : (double)rowsPerSource / samples;
        return [.. similarity.SelectMany(s => Enumerable.Repeat(s / mean, rowsPerSource)), .. Enumerable.Repeat(target, samples)];
    }

    /// <summary>
    /// Pairs (measured i, other j) whose latencies differ by at most <paramref name="tolerance"/> of i's on every source device: j may take i's latency on the
    /// target as an example of its own.
    /// </summary>
    /// <param name="sources">Latencies of every source device by architecture.</param>
    /// <param name="measured">Architectures measured on the target.</param>
    /// <param name="tolerance">0.02 to 0.05 for real pools.</param>
    public static IReadOnlyList<(int Measured, int Other)> VirtualPairs(IReadOnlyList<IReadOnlyList<double>> sources, IReadOnlyList<int> measured,
        double tolerance)
    {
        var pairs = new List<(int, int)>();
        foreach (var i in measured)
        {
            for (var j = 0; j < sources[0].Count; j++)
            {
                if (j != i && sources.All(s => Math.Abs(s[j] - s[i]) <= tolerance * s[i])) pairs.Add((i, j));
            }
        }
        return pairs;
    }

    private static double Median(double[] values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
