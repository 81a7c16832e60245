using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>How MAPLE is trained.</summary>
public sealed record MapleOptions
{
    /// <summary>Units of the hidden layers.</summary>
    public int Hidden { get; init; } = 64;

    /// <summary>Steps of Adam.</summary>
    public int Steps { get; init; } = 500;

    /// <summary>Source rows a step; all rows of the target are in every step.</summary>
    public int Batch { get; init; } = 512;

    /// <summary>Learning rate.</summary>
    public double LearningRate { get; init; } = 2e-3;

    /// <summary>Whether source devices count by their likeness to the target (MAPLE-X); otherwise all the same (MAPLE).</summary>
    public bool WeightBySimilarity { get; init; }

    /// <summary>Tolerance of virtual examples (MAPLE-X); 0 for none.</summary>
    public double VirtualTolerance { get; init; }
}

/// <summary>A measured architecture as MAPLE reads it.</summary>
/// <param name="Encoding">One-hot.</param>
/// <param name="Ms">Milliseconds.</param>
/// <param name="Weight">Factor on the weight of a measured row: 1, or 1/2 for a virtual example.</param>
public sealed record MapleSample(float[] Encoding, double Ms, double Weight = 1);

/// <summary>Training of <see cref="MapleModel"/>: rows of all source devices and the measured ones of the target together.</summary>
public static class MapleTraining
{
    /// <summary>Sum of w (p - t)^2 over the sum of w.</summary>
    public static Tensor Loss(Tensor predicted, Tensor target, Tensor weight) => (weight * (predicted - target).Squared()).sum() / weight.sum();

    /// <summary>Trains a model.</summary>
    /// <param name="encodings">One-hot architectures of the training pool.</param>
    /// <param name="sources">For each source device its raw descriptor and the pool's latencies in the same order; NaN where one was not measured.</param>
    /// <param name="targetDescriptor">Raw descriptor of the target.</param>
    /// <param name="samples">Measured architectures of the target, and virtual examples.</param>
    /// <param name="options">How.</param>
    /// <param name="seed">Makes it repeatable.</param>
    public static MapleModel Train(
        IReadOnlyList<float[]> encodings, IReadOnlyList<(double[] Descriptor, double[] Latencies)> sources, double[] targetDescriptor,
        IReadOnlyList<MapleSample> samples, MapleOptions options, int seed)
    {
        using var scope = NewDisposeScope();
        manual_seed(seed);
        var random = new Random(seed);
        var training = sources.SelectMany(s => s.Latencies).Where(double.IsFinite).ToArray();
        var model = MapleModel.Create(MapleModel.NewNetwork(encodings[0].Length + targetDescriptor.Length, options.Hidden),
            [.. sources.Select(s => s.Descriptor)], training);
        var network = model.Network;
        var normalized = sources.Select(s => model.Normalize(s.Descriptor)).ToArray();
        var target = model.Normalize(targetDescriptor);
        var similarity = options.WeightBySimilarity ? MapleWeights.Similarity(normalized, target) : [.. Enumerable.Repeat(1.0, sources.Count)];
        var rowWeights = MapleWeights.Rows(similarity, encodings.Count, samples.Count(s => s.Weight == 1));
        var sourceRows = sources.Count * encodings.Count;

        // All rows lie in memory: some ten thousand of some forty numbers.
        var keep = Enumerable.Range(0, sourceRows).Where(r => double.IsFinite(sources[r / encodings.Count].Latencies[r % encodings.Count])).ToArray();
        var rows = cat([.. normalized.Select(d => MapleModel.Rows(encodings, d))], 0);
        var truth = Floats(sources.SelectMany(s => s.Latencies.Select(l => double.IsFinite(l) ? model.Normalize(l) : 0)));
        var weight = Floats(rowWeights.Take(sourceRows));
        var hasTarget = samples.Count > 0;
        var ownRows = MapleModel.Rows([.. samples.Select(s => s.Encoding)], target);
        var ownTruth = Floats(samples.Select(s => model.Normalize(s.Ms)));
        var ownWeight = Floats(samples.Select(s => s.Weight * rowWeights[^1]));
        using var optimizer = optim.Adam(network.parameters(), options.LearningRate);
        for (var step = 0; step < options.Steps; step++)
        {
            using var inner = NewDisposeScope();
            var pick = tensor(Enumerable.Range(0, Math.Min(options.Batch, keep.Length)).Select(_ => (long)keep[random.Next(keep.Length)]).ToArray());
            var (x, t, w) = (rows.index_select(0, pick), truth.index_select(0, pick), weight.index_select(0, pick));
            if (hasTarget)
            {
                // In the whole loss a target row counts its weight among all rows; a batch holds only a part of the source rows.
                var share = (double)pick.shape[0] / keep.Length;
                (x, t, w) = (cat([x, ownRows], 0), cat([t, ownTruth], 0), cat([w, ownWeight.mul(Number.Of(share))], 0));
            }
            optimizer.zero_grad();
            Loss(network.call(x).reshape(-1), t, w).backward();
            optimizer.step();
        }
        network.eval();
        return model;
    }

    private static Tensor Floats(IEnumerable<double> values) => tensor(values.Select(v => (float)v).ToArray());
}
