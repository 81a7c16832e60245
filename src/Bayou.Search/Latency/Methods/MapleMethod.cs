using System.Globalization;
using Bayou.Core;

namespace Bayou.Search;

/// <summary>
/// MAPLE on a space. Without hardware descriptors, which published tables lack, the latencies of the space's probe networks (ln ms) stand in for them; every
/// output names that. With them (MAPLE-Edge) sources and target are machines that `bayou latency collect` described.
/// </summary>
/// <param name="table">Measured latencies.</param>
/// <param name="sources">Source devices.</param>
/// <param name="options">How; similarity and virtual examples make it MAPLE-X.</param>
/// <param name="useDescriptor">False leaves the descriptor out (all zero), to show what it is worth.</param>
/// <param name="hardware">Descriptors of the source devices; null takes the probes.</param>
public sealed class MapleMethod(
    LatencyTable table, IReadOnlyList<string> sources, MapleOptions? options = null, bool useDescriptor = true,
        IReadOnlyDictionary<string, HardwareDescriptor>? hardware = null) : ILatencyMethod
{
    private readonly MapleOptions options = options ?? new();
    private readonly int[] pool = Pool(table, sources);

    /// <inheritdoc/>
    public string Name =>
        hardware is not null ? "maple-edge" : !useDescriptor ? "maple-blind" : options.WeightBySimilarity || options.VirtualTolerance > 0 ? "maple-x" : "maple";

    /// <inheritdoc/>
    public int Descriptor => useDescriptor && hardware is null ? table.Space.Probes.Count : 0;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed) => AdaptModel(target, seed);

    /// <summary>As <see cref="Adapt"/>; the result can be saved.</summary>
    /// <exception cref="BayouException">The target's probes were not measured, or its hardware was not described as the sources' was.</exception>
    public MaplePredictor AdaptModel(LatencyTarget target, int seed)
    {
        var space = table.Space;
        var encodings = pool.Select(space.Encode).ToArray();
        var columns = sources.Select(s => pool.Select(a => table[s][a]).ToArray()).ToArray();
        var samples = target.Samples.Select(s => new MapleSample(space.Encode(s.Architecture), s.Ms)).ToList();
        if (options.VirtualTolerance > 0)
        {
            // The pool only: the measured networks are part of it.
            var place = pool.Select((a, i) => (a, i)).ToDictionary(p => p.a, p => p.i);
            var inPool = target.Samples.Where(s => place.ContainsKey(s.Architecture)).ToDictionary(s => place[s.Architecture], s => s.Ms);
            var pairs = MapleWeights.VirtualPairs(columns, [.. inPool.Keys], options.VirtualTolerance);
            samples.AddRange(pairs.Select(p => new MapleSample(encodings[p.Other], inPool[p.Measured], 0.5)));
        }
        var descriptor = OfTarget(target);
        var model = MapleTraining.Train(encodings, [.. sources.Zip(columns, (s, c) => (OfSource(s), c))], descriptor, samples, options, seed);
        return new(space, model, descriptor);
    }

    private double[] OfSource(string source) =>
        hardware is not null ? hardware[source].Logarithms : Probes([.. table.Space.Probes.Select(p => table[source][p])]);

    private double[] OfTarget(LatencyTarget target)
    {
        if (hardware is not null)
        {
            var known = hardware[sources[0]];
            if (target.Hardware is null || target.Hardware.Source != known.Source || !target.Hardware.Names.SequenceEqual(known.Names))
                throw new BayouException($"MAPLE-Edge: the hardware of {target.Name} is described by {target.Hardware?.Source ?? "nothing"}, that of {sources[0]} by {known.Source}: descriptors of one kind are needed");
            return target.Hardware.Logarithms;
        }
        if (useDescriptor && target.Probes is null)
            throw new BayouException($"MAPLE needs the latencies of the {table.Space.Probes.Count} probe networks of {table.Space.Name} on {target.Name}: measure numbers {string.Join(", ", table.Space.Probes)}");
        return Probes(target.Probes ?? []);
    }

    private double[] Probes(IReadOnlyList<double> milliseconds) =>
        useDescriptor ? [.. milliseconds.Select(p => Math.Log(p))] : new double[table.Space.Probes.Count];

    // The space's training pool, and what was measured on machines that know only a part of the space.
    private static int[] Pool(LatencyTable table, IReadOnlyList<string> sources)
    {
        var pool = Enumerable.Range(0, table.Space.TrainingPool).ToHashSet();
        foreach (var column in sources.Select(s => table[s]).Where(c => !pool.All(a => double.IsFinite(c[a]))).ToArray())
            pool.UnionWith(Enumerable.Range(0, column.Length).Where(a => double.IsFinite(column[a])));
        var all = pool.Where(a => sources.Any(s => double.IsFinite(table[s][a]))).Order().ToArray();
        return all.Length > 0 ? all : throw new BayouException($"MAPLE: no network of {table.Space.Name} was measured on {string.Join(", ", sources)}");
    }
}

/// <summary>A trained MAPLE model with a device's descriptor.</summary>
public sealed class MaplePredictor(LatencySpace space, MapleModel model, double[] descriptor) : ILatencyPredictor
{
    /// <summary>The model.</summary>
    public MapleModel Model => model;

    /// <summary>Raw descriptor of the device.</summary>
    public IReadOnlyList<double> Descriptor => descriptor;

    /// <summary>Writes the model with the descriptor.</summary>
    /// <param name="path">The file.</param>
    /// <param name="method">The method's name.</param>
    public void Save(string path, string method) => model.Save(path, new Dictionary<string, string>
    {
        ["bayou.latency"] = method,
        ["bayou.space"] = space.Name,
        ["bayou.descriptor"] = string.Join(',', descriptor.Select(v => v.ToString("R", CultureInfo.InvariantCulture))),
    });

    /// <summary>Reads a file of <see cref="Save"/>.</summary>
    /// <exception cref="BayouException">It is none, or one of another space.</exception>
    public static MaplePredictor Load(string path, LatencySpace space)
    {
        var model = MapleModel.Load(path);
        using var file = WeightFile.Open(path);
        if (!file.Metadata.TryGetValue("bayou.descriptor", out var text))
            throw new BayouException($"'{path}' has no descriptor of a device: `bayou latency train --method maple` writes one");
        if (file.Metadata["bayou.space"] != space.Name)
            throw new BayouException($"'{path}' predicts networks of {file.Metadata["bayou.space"]}, not of {space.Name}: add --space {file.Metadata["bayou.space"]}");
        return new(space, model, [.. text.Split(',').Select(v => double.Parse(v, CultureInfo.InvariantCulture))]);
    }

    /// <inheritdoc/>
    public double[] Predict(IReadOnlyList<int> architectures) => model.Predict([.. architectures.Select(space.Encode)], descriptor);

    /// <inheritdoc/>
    public void Dispose() => model.Dispose();
}
