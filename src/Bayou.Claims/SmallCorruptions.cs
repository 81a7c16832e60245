using Bayou.Core;
using Bayou.Data;
using Bayou.Train;

namespace Bayou.Claims;

/// <summary>Top-1 accuracy in percent on clean pictures and under every corruption, the mean over the severities.</summary>
public sealed record CorruptedAccuracy(double Clean, Dictionary<string, double> ByCorruption)
{
    /// <summary>Mean over the corruptions.</summary>
    public double Mean => ByCorruption.Values.Average();

    /// <summary>What is kept: mean corrupted by clean accuracy, in percent.</summary>
    public double Retention => 100 * Mean / Clean;

    /// <summary>Mean over the corruptions of a group.</summary>
    public double Group(CorruptionGroup group) =>
        Data.Corruptions.Test.Where(c => c.Group() == group && ByCorruption.ContainsKey(c.Name())).Average(c => ByCorruption[c.Name()]);
}

/// <summary>
/// Corrupted copies of the first test pictures of a <see cref="SmallCifar"/> (constants of the 32 x 32 set, the 15 test corruptions), made once for all
/// networks of a claim.
/// </summary>
public sealed class SmallCorruptions
{
    private readonly ClaimContext context;
    private readonly SmallCifar cifar;
    private readonly IImageDataset clean;
    private readonly Lazy<List<(Corruption Corruption, MemoryPictures Pictures)>> corrupted;

    /// <summary>Prepares; the copies are made when the first network is measured.</summary>
    /// <param name="context">The claim's context.</param>
    /// <param name="cifar">Whose test pictures.</param>
    /// <param name="pictures">How many of them.</param>
    /// <param name="severities">Severities, 1 to 5.</param>
    public SmallCorruptions(ClaimContext context, SmallCifar cifar, int pictures, params int[] severities)
    {
        (this.context, this.cifar) = (context, cifar);
        clean = new Subset(cifar.Test, Enumerable.Range(0, pictures));
        corrupted = new(() => Data.Corruptions.Test.SelectMany(c => severities.Select(s => (Corruption: c, Pictures: Copies(c, s)))).ToList());
    }

    /// <summary>Measures a network, once a run.</summary>
    /// <param name="key">Names network and recipe, as in <see cref="SmallCifar.Accuracy"/>.</param>
    /// <param name="seed">Seed of its training.</param>
    /// <param name="network">Makes or loads the trained network; it is disposed.</param>
    public CorruptedAccuracy Measure(string key, int seed, Func<Layer> network) => context.Remember($"corrupted/{key}/seed{seed}", () =>
    {
        using var net = network();
        var cells = corrupted.Value.Select(c => (Name: c.Corruption.Name(), Accuracy: Top1(net, c.Pictures))).ToList();
        return new CorruptedAccuracy(Top1(net, clean), cells.GroupBy(c => c.Name).ToDictionary(g => g.Key, g => g.Average(c => c.Accuracy)));
    });

    private double Top1(Layer network, IImageDataset pictures) => 100 * Evaluator.Evaluate(network, cifar.Batches(pictures), context.Cancel).Top1;

    private MemoryPictures Copies(Corruption corruption, int severity)
    {
        context.Cancel.ThrowIfCancellationRequested();
        context.Status(0, $"corrupting: {corruption.Name()} {severity}");
        var copies = new ImageBuffer[clean.Count];
        Parallel.For(0, clean.Count, i =>
        {
            var picture = clean.Read(i);
            copies[i] = new Corruptor(Corruptor.SetFor(picture.Width, picture.Height))
                .Apply(picture, corruption, severity, SeededDraws.For(0, i, corruption, severity));
        });
        return new MemoryPictures($"{corruption.Name()}-{severity}", clean.Classes, copies, Enumerable.Range(0, clean.Count).Select(clean.Label).ToArray());
    }
}

/// <summary>Pictures made by a claim, in memory.</summary>
public sealed class MemoryPictures(string name, IReadOnlyList<string> classes, IReadOnlyList<ImageBuffer> pictures, IReadOnlyList<int> labels) : IImageDataset
{
    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public IReadOnlyList<string> Classes => classes;

    /// <inheritdoc/>
    public int Count => pictures.Count;

    /// <inheritdoc/>
    public bool InMemory => true;

    /// <inheritdoc/>
    public int Label(int index) => labels[index];

    /// <inheritdoc/>
    public string Id(int index) => $"{name}/{index}";

    /// <inheritdoc/>
    public ImageBuffer Read(int index) => pictures[index].Clone();
}
