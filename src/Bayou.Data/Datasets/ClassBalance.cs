using Bayou.Core;

namespace Bayou.Data;

/// <summary>What is done about classes of unequal size.</summary>
public enum BalanceMode
{
    /// <summary><see cref="Sampling"/> where the largest class has more than three times the pictures of the smallest, otherwise nothing.</summary>
    Auto,

    /// <summary>Nothing.</summary>
    None,

    /// <summary>Pictures of rare classes are shown more often: repeat-factor sampling (Gupta et al., LVIS, CVPR 2019, section 4).</summary>
    Sampling,

    /// <summary>The loss of a picture is weighted by the inverse frequency of its class.</summary>
    Weights,
}

/// <summary>Class counts, and the two usual answers to unequal ones.</summary>
public static class ClassBalance
{
    /// <summary>Above this ratio of the largest to the smallest class <see cref="BalanceMode.Auto"/> acts.</summary>
    public const double AutoRatio = 3;

    /// <summary>Pictures of every class.</summary>
    public static int[] Counts(IImageDataset data)
    {
        var counts = new int[data.Classes.Count];
        for (var i = 0; i < data.Count; i++) counts[data.Label(i)]++;
        return counts;
    }

    /// <summary>Pictures of the largest class by those of the smallest that has any.</summary>
    public static double Ratio(IReadOnlyList<int> counts) => counts.Any(c => c > 0) ? (double)counts.Max() / counts.Where(c => c > 0).Min() : 1;

    /// <summary>The mode that <see cref="BalanceMode.Auto"/> stands for with these counts.</summary>
    public static BalanceMode Resolve(BalanceMode mode, IReadOnlyList<int> counts) =>
        mode != BalanceMode.Auto ? mode : Ratio(counts) > AutoRatio ? BalanceMode.Sampling : BalanceMode.None;

    /// <summary>
    /// How often a picture of each class is shown an epoch: max(1, sqrt(t / f)), f the class's share of the pictures, t the equal share 1 / K.
    /// </summary>
    public static double[] RepeatFactors(IReadOnlyList<int> counts)
    {
        double all = counts.Sum();
        return counts.Select(c => c == 0 ? 1 : Math.Max(1, Math.Sqrt(all / counts.Count / c))).ToArray();
    }

    /// <summary>
    /// The data with pictures repeated by their class's factor; the fractional part falls to pictures chosen by a hash of (seed, id), the same every time.
    /// Pictures keep their order.
    /// </summary>
    public static Subset Repeat(IImageDataset data, int seed)
    {
        var factors = RepeatFactors(Counts(data));
        var indices = new List<int>(data.Count);
        for (var i = 0; i < data.Count; i++)
        {
            var factor = factors[data.Label(i)];
            var times = (int)factor;
            if (StableHash.Of((ulong)(long)seed, data.Id(i)) / (double)ulong.MaxValue < factor - times) times++;
            for (var k = 0; k < times; k++) indices.Add(i);
        }
        return new Subset(data, indices);
    }

    /// <summary>Loss weights N / (K n): inverse frequency, 1 on average over the pictures. A class without pictures gets 1.</summary>
    public static double[] Weights(IReadOnlyList<int> counts)
    {
        double all = counts.Sum();
        var present = counts.Count(c => c > 0);
        return counts.Select(c => c == 0 ? 1 : all / present / c).ToArray();
    }
}

/// <summary>Two data sets of the same classes one after the other.</summary>
public sealed class Concatenation : IImageDataset
{
    private readonly IImageDataset first, second;

    /// <summary>Joins two sets.</summary>
    /// <exception cref="BayouException">Their classes differ.</exception>
    public Concatenation(IImageDataset first, IImageDataset second)
    {
        if (!first.Classes.SequenceEqual(second.Classes))
            throw new BayouException($"{first.Name} and {second.Name} have different classes and cannot be joined");
        (this.first, this.second) = (first, second);
    }

    /// <inheritdoc/>
    public string Name => first.Name;

    /// <inheritdoc/>
    public IReadOnlyList<string> Classes => first.Classes;

    /// <inheritdoc/>
    public int Count => first.Count + second.Count;

    /// <inheritdoc/>
    public bool InMemory => first.InMemory && second.InMemory;

    /// <inheritdoc/>
    public int Label(int index) => Of(ref index).Label(index);

    /// <inheritdoc/>
    public string Id(int index) => Of(ref index).Id(index);

    /// <inheritdoc/>
    public ImageBuffer Read(int index) => Of(ref index).Read(index);

    /// <inheritdoc/>
    public byte[] ReadBytes(int index) => Of(ref index).ReadBytes(index);

    private IImageDataset Of(ref int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count, nameof(index));
        if (index < first.Count) return first;
        index -= first.Count;
        return second;
    }
}

/// <summary>Stratified k-fold cross-validation.</summary>
public static class CrossValidation
{
    /// <summary>
    /// Splits a set into folds, class by class by the rank of a hash of (seed, id): every picture is in the held-out part of exactly one fold, and the folds'
    /// class counts differ by one at most.
    /// </summary>
    /// <exception cref="BayouException">Fewer than two folds, or more folds than pictures.</exception>
    public static IReadOnlyList<(Subset Train, Subset HeldOut)> Folds(IImageDataset data, int folds, int seed)
    {
        if (folds < 2 || folds > data.Count)
            throw new BayouException($"cross-validation: {folds} folds of {data.Count} pictures; at least 2 and at most as many as there are pictures are possible");
        var fold = new int[data.Count];
        foreach (var group in Enumerable.Range(0, data.Count).GroupBy(data.Label))
        {
            var ranked = group.OrderBy(i => StableHash.Of((ulong)(long)seed, data.Id(i))).ThenBy(i => i).ToArray();
            // Classes start at different folds, or the first fold would get every remainder.
            for (var r = 0; r < ranked.Length; r++) fold[ranked[r]] = (r + group.Key) % folds;
        }
        var all = Enumerable.Range(0, data.Count).ToArray();
        return Enumerable.Range(0, folds).Select(f => (new Subset(data, all.Where(i => fold[i] != f)), new Subset(data, all.Where(i => fold[i] == f))))
            .ToList();
    }
}
