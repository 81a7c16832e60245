using System.Globalization;
using Bayou.Core;

namespace Bayou.Search;

/// <summary>
/// MAPLE on a space. The devices of published tables have no hardware counters: their descriptor is the latency of the space's probe networks (ln ms), a stand-in that every output names.
/// </summary>
/// <param name="table">Measured latencies.</param>
/// <param name="sources">Source devices.</param>
/// <param name="options">How; similarity and virtual examples make it MAPLE-X.</param>
/// <param name="useDescriptor">False leaves the descriptor out (all zero), to show what it is worth.</param>
public sealed class MapleMethod(LatencyTable table, IReadOnlyList<string> sources, MapleOptions? options = null, bool useDescriptor = true) : ILatencyMethod
{
    private readonly MapleOptions options = options ?? new();
    private readonly float[][] encodings = [.. Enumerable.Range(0, table.Space.TrainingPool).Select(table.Space.Encode)];

    /// <inheritdoc/>
    public string Name => !useDescriptor ? "maple-blind" : options.WeightBySimilarity || options.VirtualTolerance > 0 ? "maple-x" : "maple";

    /// <inheritdoc/>
    public int Descriptor => useDescriptor ? table.Space.Probes.Count : 0;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed) => AdaptModel(target, seed);

    /// <summary>As <see cref="Adapt"/>; the result can be saved.</summary>
    /// <exception cref="BayouException">The target's probes were not measured.</exception>
    public MaplePredictor AdaptModel(LatencyTarget target, int seed)
    {
        var space = table.Space;
        if (useDescriptor && target.Probes is null) throw new BayouException($"MAPLE needs the latencies of the {space.Probes.Count} probe networks of {space.Name} on {target.Name}: measure numbers {string.Join(", ", space.Probes)}");
        double[] Of(IEnumerable<double> probes) => useDescriptor ? [.. probes.Select(p => Math.Log(p))] : new double[space.Probes.Count];
        var columns = sources.Select(s => table[s]).ToArray();
        var samples = target.Samples.Select(s => new MapleSample(space.Encode(s.Architecture), s.Ms)).ToList();
        if (options.VirtualTolerance > 0)
        {
            // The pool only: the measured networks are part of it.
            var inPool = target.Samples.Where(s => s.Architecture < space.TrainingPool).ToDictionary(s => s.Architecture, s => s.Ms);
            var pairs = MapleWeights.VirtualPairs([.. columns.Select(c => c[..space.TrainingPool])], [.. inPool.Keys], options.VirtualTolerance);
            samples.AddRange(pairs.Select(p => new MapleSample(encodings[p.Other], inPool[p.Measured], 0.5)));
        }
        var descriptor = Of(target.Probes ?? []);
        var model = MapleTraining.Train(encodings, [.. columns.Select(c => (Of(space.Probes.Select(p => c[p])), c[..space.TrainingPool]))], descriptor, samples, options, seed);
        return new(space, model, descriptor);
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
        ["bayou.latency"] = method, ["bayou.space"] = space.Name, ["bayou.descriptor"] = string.Join(',', descriptor.Select(v => v.ToString("R", CultureInfo.InvariantCulture))),
    });

    /// <summary>Reads a file of <see cref="Save"/>.</summary>
    /// <exception cref="BayouException">It is none, or one of another space.</exception>
    public static MaplePredictor Load(string path, LatencySpace space)
    {
        var model = MapleModel.Load(path);
        using var file = WeightFile.Open(path);
        if (!file.Metadata.TryGetValue("bayou.descriptor", out var text)) throw new BayouException($"'{path}' has no descriptor of a device: `bayou latency train --method maple` writes one");
        if (file.Metadata["bayou.space"] != space.Name) throw new BayouException($"'{path}' predicts networks of {file.Metadata["bayou.space"]}, not of {space.Name}: add --space {file.Metadata["bayou.space"]}");
        return new(space, model, [.. text.Split(',').Select(v => double.Parse(v, CultureInfo.InvariantCulture))]);
    }

    /// <inheritdoc/>
    public double[] Predict(IReadOnlyList<int> architectures) => model.Predict([.. architectures.Select(space.Encode)], descriptor);

    /// <inheritdoc/>
    public void Dispose() => model.Dispose();
}
