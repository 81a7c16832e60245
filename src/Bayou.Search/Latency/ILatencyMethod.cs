using Bayou.Core;

namespace Bayou.Search;

/// <summary>A device on which few networks were measured.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Samples">Measured networks: number in the space and milliseconds.</param>
/// <param name="References">Milliseconds of the space's reference networks (HELP), or null.</param>
/// <param name="Probes">Milliseconds of the space's probe networks (MAPLE), or null.</param>
/// <param name="Hardware">What describes its hardware (MAPLE-Edge), or null.</param>
public sealed record LatencyTarget(
    string Name, IReadOnlyList<(int Architecture, double Ms)> Samples, IReadOnlyList<double>? References, IReadOnlyList<double>? Probes,
    HardwareDescriptor? Hardware = null)
{
    /// <summary>
    /// A device of a table, as if only some of its latencies had been measured: k networks drawn from its training pool, the references and the probes.
    /// </summary>
    public static LatencyTarget Of(LatencyTable table, string device, int samples, int seed)
    {
        var (column, pool) = (table[device], table.TrainPool(device));
        if (samples < 1 || samples > pool.Length) throw new BayouException($"{samples} samples of {device}: 1 to {pool.Length} are possible");
        new Random(seed).Shuffle(pool);
        return new(device, [.. pool.Take(samples).Select(a => (a, column[a]))], Known(table.Space.References), Known(table.Space.Probes));

        double[]? Known(IReadOnlyList<int> networks) => networks.All(a => double.IsFinite(column[a])) ? [.. networks.Select(a => column[a])] : null;
    }
}

/// <summary>Predicts latencies on one device.</summary>
public interface ILatencyPredictor : IDisposable
{
    /// <summary>Milliseconds of networks of the space.</summary>
    double[] Predict(IReadOnlyList<int> architectures);
}

/// <summary>A way to predict the latency of many networks on a device on which few were measured.</summary>
public interface ILatencyMethod
{
    /// <summary>Short name, as on the command line.</summary>
    string Name { get; }

    /// <summary>Measurements of the device that describe it, beside the samples.</summary>
    int Descriptor { get; }

    /// <summary>Adapts to a device.</summary>
    /// <param name="target">What was measured on it.</param>
    /// <param name="seed">Makes it repeatable.</param>
    ILatencyPredictor Adapt(LatencyTarget target, int seed);
}

/// <summary>A predictor that is a function.</summary>
internal sealed class FunctionPredictor(Func<int, double> milliseconds) : ILatencyPredictor
{
    public double[] Predict(IReadOnlyList<int> architectures)
    {
        var ms = new double[architectures.Count];
        for (var i = 0; i < ms.Length; i++) ms[i] = milliseconds(architectures[i]);
        return ms;
    }

    public void Dispose() { }
}
