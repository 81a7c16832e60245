using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

public class ClassBalanceTests
{
    private static Labelled Data(params int[] counts) => new(counts.SelectMany((n, c) => Enumerable.Repeat(c, n)).ToArray(), counts.Length);

    private sealed class Labelled(int[] labels, int classes) : IImageDataset
    {
        public string Name => "labels";

        public IReadOnlyList<string> Classes { get; } = Enumerable.Range(0, classes).Select(c => $"{c}").ToList();

        public int Count => labels.Length;

        public int Label(int index) => labels[index];

        public string Id(int index) => $"p{index}";

        public ImageBuffer Read(int index) => throw new NotSupportedException();
    }

    [Fact]
    public void Repeat_factors_are_those_of_the_paper()
    {
        // 90 and 10 of 100 pictures: equal share 1/2; sqrt(0.5 / 0.1) = sqrt 5, and the large class once.
        Assert.Equal([1, Math.Sqrt(5)], ClassBalance.RepeatFactors([90, 10]));
        Assert.Equal([100.0 / 2 / 90, 5], ClassBalance.Weights([90, 10]));
        Assert.Equal(1, new[] { 90, 10 }.Zip(ClassBalance.Weights([90, 10]), (n, w) => n * w).Sum() / 100, 1e-12);
        Assert.Equal(BalanceMode.Sampling, ClassBalance.Resolve(BalanceMode.Auto, [90, 10]));
        Assert.Equal(BalanceMode.None, ClassBalance.Resolve(BalanceMode.Auto, [30, 10]));
    }

    [Fact]
    public void Every_picture_comes_at_least_once_and_the_rare_ones_by_their_factor()
    {
        var data = Data(900, 100);
        var repeated = ClassBalance.Repeat(data, 1);
        Assert.Equal(Enumerable.Range(0, 1000), repeated.Indices.Distinct());
        Assert.Equal(900, repeated.Indices.Count(i => i < 900));
        Assert.InRange(repeated.Indices.Count(i => i >= 900), 210, 237);       // 100 sqrt 5 = 223.6
        Assert.Equal(repeated.Indices, ClassBalance.Repeat(data, 1).Indices);
    }

    [Theory]
    [InlineData(5, new[] { 23, 7, 11 })]
    [InlineData(2, new[] { 1, 2, 1 })]
    [InlineData(4, new[] { 4, 4 })]
    public void Folds_hold_every_picture_out_once_with_equal_classes(int folds, int[] counts)
    {
        var data = Data(counts);
        var parts = CrossValidation.Folds(data, folds, 3);
        Assert.Equal(Enumerable.Range(0, data.Count), parts.SelectMany(p => p.HeldOut.Indices).Order());
        foreach (var (train, heldOut) in parts)
        {
            Assert.Empty(train.Indices.Intersect(heldOut.Indices));
            Assert.Equal(data.Count, train.Count + heldOut.Count);
            for (var c = 0; c < counts.Length; c++)
                Assert.InRange(heldOut.Indices.Count(i => data.Label(i) == c), counts[c] / folds, (counts[c] + folds - 1) / folds);
        }
    }

    [Fact]
    public void More_folds_than_pictures_are_refused() => Assert.Throws<BayouException>(() => CrossValidation.Folds(Data(2, 1), 4, 0));
}
