using Bayou.Core;
using Bayou.Data;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>A labelled cloud for training.</summary>
/// <param name="Cloud">The points; for segmentation with labels of the classes 0.., below 0 ignored.</param>
/// <param name="Label">The class of the whole cloud; for segmentation unused.</param>
public sealed record ShapeSample(PointCloud Cloud, int Label = 0);

/// <summary>Settings of a <see cref="ShapeSource"/>.</summary>
public sealed record ShapeOptions
{
    /// <summary>Points of every cloud the network sees; larger clouds are thinned at random (in training anew every epoch), smaller ones repeated.</summary>
    public int Points { get; init; } = 1024;

    /// <summary>Mean 0 and largest distance 1 for every cloud (shapes); false keeps the units (scenes).</summary>
    public bool Normalize { get; init; } = true;

    /// <summary>3, or 6 with colours (0..1) or normals.</summary>
    public int Channels { get; init; } = 3;

    /// <summary>Whether every point has a label.</summary>
    public bool Segment { get; init; }

    /// <summary>In training only; null: none.</summary>
    public PointAugmentation? Augmentation { get; init; }

    /// <summary>Shuffles, and leaves out an incomplete last batch.</summary>
    public bool Training { get; init; }

    /// <summary>Of order, thinning and augmentation.</summary>
    public int Seed { get; init; }
}

/// <summary>Clouds as batches [B, C, N] for PointNets; labels [B], or [B N] point by point.</summary>
public sealed class ShapeSource : CloudSource
{
    private readonly IReadOnlyList<ShapeSample> samples;
    private readonly ShapeOptions options;

    /// <summary>Creates a source.</summary>
    /// <exception cref="BayouException">No clouds, an empty one, or one without the channels or labels asked for.</exception>
    public ShapeSource(IReadOnlyList<ShapeSample> samples, int classes, int batchSize, ShapeOptions options)
        : base("clouds", samples.Count, classes, batchSize, shuffle: options.Training, dropLast: options.Training, options.Seed)
    {
        foreach (var (s, i) in samples.Select((s, i) => (s, i)))
        {
            if (s.Cloud.Count == 0) throw new BayouException($"cloud {i} is empty");
            if (options.Segment ? s.Cloud.Labels is null : s.Label < 0 || s.Label >= classes)
                throw new BayouException($"cloud {i} has no label among {classes} classes");
            if (options.Channels == 6 && s.Cloud.Colours is null && s.Cloud.Normals is null)
                throw new BayouException($"cloud {i} has neither colours nor normals, and six channels are asked for");
        }
        if (options.Channels is not (3 or 6)) throw new BayouException($"{options.Channels} channels: clouds have 3, or 6 with colours or normals");
        (this.samples, this.options) = (samples, options);
    }

    /// <inheritdoc/>
    protected override Batch Make(int[] rows, int epoch, int number)
    {
        var (n, channels) = (options.Points, options.Channels);
        var values = new float[rows.Length * channels * n];
        var labels = new long[options.Segment ? rows.Length * n : rows.Length];
        var indices = new int[labels.Length];
        Parallel.For(0, rows.Length, b =>
        {
            var sample = samples[rows[b]];
            var random = SampleRandom.For(options.Seed, options.Training ? epoch : 0, rows[b]);
            var cloud = sample.Cloud.Select(Thin(sample.Cloud.Count, n, random));
            var positions = cloud.Positions;
            if (options.Normalize) ToUnitSphere(positions);
            if (options.Training) options.Augmentation?.Apply(positions, cloud.Colours, random);
            for (var i = 0; i < n; i++)
            {
                for (var c = 0; c < channels; c++)
                    values[(b * channels + c) * n + i] = c < 3
                        ? positions[3 * i + c] : cloud.Colours is { } rgb ? rgb[3 * i + c - 3] / 255f : cloud.Normals![3 * i + c - 3];
                if (options.Segment) (labels[b * n + i], indices[b * n + i]) = (cloud.Labels![i] < 0 ? -100 : cloud.Labels[i], rows[b]);
            }
            if (!options.Segment) (labels[b], indices[b]) = (sample.Label, rows[b]);
        });
        return new Batch(tensor(values, [rows.Length, channels, n]).DetachFromDisposeScope(), tensor(labels).DetachFromDisposeScope(), indices, number);
    }

    // Evaluation takes the first points, training a random part; too small clouds are repeated.
    private int[] Thin(int count, int wanted, SampleRandom random)
    {
        var order = Enumerable.Range(0, count).ToArray();
        if (options.Training) random.Shuffle(order.AsSpan());
        var step = options.Training || count <= wanted ? 1.0 : (double)count / wanted;
        return [.. Enumerable.Range(0, wanted).Select(i => order[(int)(i * step) % count])];
    }

    /// <summary>Labels every point of a cloud with a network that sees a fixed number of points: random parts of the cloud, one after the other.</summary>
    /// <param name="network">[1, C, N] -> logits [N, classes].</param>
    /// <param name="cloud">The points.</param>
    /// <param name="options">As the network was trained.</param>
    /// <returns>[n] classes.</returns>
    public static int[] Label(nn.Module<Tensor, Tensor> network, PointCloud cloud, ShapeOptions options)
    {
        var order = Enumerable.Range(0, cloud.Count).ToArray();
        SampleRandom.For(options.Seed, 0, 0).Shuffle(order.AsSpan());
        var labels = new int[cloud.Count];
        using var guard = no_grad();
        for (var from = 0; from < order.Length; from += options.Points)
        {
            using var scope = NewDisposeScope();
            // The last part is filled up with points of the first.
            var part = Enumerable.Range(from, options.Points).Select(i => order[i % order.Length]).ToArray();
            var source = new ShapeSource([new ShapeSample(cloud.Select(part) with { Labels = new int[part.Length] })], 1, 1,
                options with { Training = false, Segment = true });
            using var batch = source.Epoch(0).First();
            var best = VoxelTraining.Best(network.call(batch.Images));
            for (var i = 0; i < part.Length && from + i < order.Length; i++) labels[part[i]] = best[i];
        }
        return labels;
    }

    /// <summary>Moves the mean to 0 and scales the largest distance to 1, in place.</summary>
    public static void ToUnitSphere(float[] positions)
    {
        Span<double> mean = stackalloc double[3];
        for (var i = 0; i < positions.Length; i++) mean[i % 3] += positions[i];
        for (var d = 0; d < 3; d++) mean[d] /= Math.Max(1, positions.Length / 3);
        var most = 0.0;
        for (var i = 0; i < positions.Length; i += 3)
        {
            var squared = 0.0;
            for (var d = 0; d < 3; d++) squared += (positions[i + d] - mean[d]) * (positions[i + d] - mean[d]);
            most = Math.Max(most, squared);
        }
        var scale = most > 0 ? 1 / Math.Sqrt(most) : 1;
        for (var i = 0; i < positions.Length; i++) positions[i] = (float)((positions[i] - mean[i % 3]) * scale);
    }
}
