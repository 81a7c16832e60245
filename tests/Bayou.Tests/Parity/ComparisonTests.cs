using Bayou.Core;
using Bayou.Parity;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class ComparisonTests
{
    private static readonly CompareMode[] Judging =
        [CompareMode.Exact, CompareMode.Element, CompareMode.Max, CompareMode.Fraction, CompareMode.Sign, CompareMode.Set];

    public static TheoryData<CompareMode> Modes() => [.. Judging];

    [Theory]
    [MemberData(nameof(Modes))]
    public void Equal_tensors_pass_with_a_ratio_of_zero(CompareMode mode)
    {
        var t = F(1, double.NaN, double.PositiveInfinity, double.NegativeInfinity, -0.0, 5);
        var result = Compare(mode, t, F(1, double.NaN, double.PositiveInfinity, double.NegativeInfinity, 0, 5), rtol: 0.1, fraction: 1);
        Assert.True(result.Passed, result.Reason);
        Assert.Equal(0, result.Ratio);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void What_is_wrong_fails_in_every_mode(CompareMode mode)
    {
        var reference = F(1, 2, 3, 4, 5, 6);
        Fails(F(1, 2, 3, 4, 5, 7), "wrong value");
        Fails(F(1, 2, 3, 4, 5, double.NaN), "NaN for a number");
        Fails(F(1, 2, 3, 4, 5, double.PositiveInfinity), "infinity for a number");
        Fails(F(1, 2, 3, 4, 5), "shorter");
        Fails(reference.view(2, 3), "other shape");
        Fails(reference.to(float64), "other type");
        Fails(zeros(6), "nothing");
        Assert.False(Compare(mode, reference, F(1, 2, 3, 4, 5, double.NaN), rtol: 0.01, atol: 0.01, fraction: 0.9).Passed, "a number for NaN");
        Assert.False(Compare(mode, reference, F(1, 2, 3, 4, 5, double.PositiveInfinity), rtol: 0.01, atol: 0.01, fraction: 0.9).Passed,
            "a number for infinity");
        Assert.False(Compare(mode, F(1, double.PositiveInfinity), F(1, double.NegativeInfinity).view(2), rtol: 1, atol: 1, fraction: 0.9).Passed
            && mode != CompareMode.Sign, "the other infinity");

        void Fails(Tensor ours, string what) => Assert.False(Compare(mode, ours, reference, rtol: 0.01, atol: 0.01, fraction: 0.9).Passed, $"{mode}: {what}");
    }

    [Fact]
    public void Element_bounds_each_element_by_its_own_reference()
    {
        Assert.True(Compare(CompareMode.Element, F(100.9, 0.0009), F(100, 0), rtol: 0.01, atol: 0.001).Passed);
        Assert.False(Compare(CompareMode.Element, F(100, 0.5), F(100, 0), rtol: 0.01).Passed);
        var result = Compare(CompareMode.Element, F(100, 1.5), F(100, 1), rtol: 0.25);
        Assert.Equal(2, result.Ratio, 1e-9);
        Assert.Contains("[1]", result.Reason);
    }

    [Fact]
    public void Max_bounds_every_element_by_the_largest_reference()
    {
        Assert.True(Compare(CompareMode.Max, F(100, 0.9), F(100, 0), rtol: 0.01).Passed);
        Assert.False(Compare(CompareMode.Max, F(100, 1.1), F(100, 0), rtol: 0.01).Passed);
        // An infinity, equal on both sides, does not make the bound infinite.
        Assert.False(Compare(CompareMode.Max, F(double.PositiveInfinity, 5), F(double.PositiveInfinity, 1), rtol: 0.01).Passed);
    }

    [Fact]
    public void Exact_ignores_tolerances() => Assert.False(Compare(CompareMode.Exact, F(1.0000001), F(1), rtol: 1, atol: 1).Passed);

    [Fact]
    public void Fraction_counts_elements_outside()
    {
        var reference = ones(10);
        Assert.True(Compare(CompareMode.Fraction, Off(1), reference, fraction: 0.9).Passed);
        Assert.False(Compare(CompareMode.Fraction, Off(2), reference, fraction: 0.9).Passed);
        Assert.False(Compare(CompareMode.Fraction, Off(1), reference, fraction: 1).Passed);

        static Tensor Off(int count) => F([.. Enumerable.Range(0, 10).Select(i => i < count ? 50.0 : 1)]);
    }

    [Fact]
    public void Sign_is_chosen_for_each_vector_along_its_axis()
    {
        var reference = F(1, 2, 3, 4, 5, 6).view(2, 3);
        Assert.True(Compare(CompareMode.Sign, F(-1, -2, -3, 4, 5, 6).view(2, 3), reference, axis: 0).Passed);
        Assert.False(Compare(CompareMode.Sign, F(-1, -2, -3, 4, 5, 6).view(2, 3), reference, axis: 1).Passed);
        Assert.True(Compare(CompareMode.Sign, F(-1, 2, 3, -4, 5, 6).view(2, 3), reference, axis: 1).Passed);
        Assert.True(Compare(CompareMode.Sign, F(-1, 2, 3, -4, 5, 6).view(2, 3), reference, axis: -1).Passed);
        Assert.False(Compare(CompareMode.Sign, F(-1, 2, 3, 4, 5, 6).view(2, 3), reference, axis: 0).Passed);
        Assert.False(Compare(CompareMode.Element, F(-1, -2, -3, 4, 5, 6).view(2, 3), reference).Passed);
        Assert.Throws<BayouException>(() => Compare(CompareMode.Sign, reference, reference, axis: 2));
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(0.01)]
    public void Set_is_any_order_of_rows_each_as_often(double atol)
    {
        var reference = F(1, 2, 3, 4, 1, 2).view(3, 2);
        Assert.True(Compare(CompareMode.Set, F(3, 4, 1, 2, 1, 2).view(3, 2), reference, atol: atol).Passed);
        Assert.False(Compare(CompareMode.Set, F(3, 4, 3, 4, 1, 2).view(3, 2), reference, atol: atol).Passed);
        Assert.False(Compare(CompareMode.Set, F(4, 3, 2, 1, 2, 1).view(3, 2), reference, atol: atol).Passed);
        Assert.False(Compare(CompareMode.Set, F(1, 4, 3, 2, 1, 2).view(3, 2), reference, atol: atol).Passed);
        Assert.True(Compare(CompareMode.Set, zeros(0, 4), zeros(0, 4), atol: atol).Passed);
        foreach (var other in (CompareMode[])[CompareMode.Exact, CompareMode.Element, CompareMode.Max])
            Assert.False(Compare(other, F(3, 4, 1, 2, 1, 2).view(3, 2), reference, atol: atol).Passed);
    }

    [Fact]
    public void Set_finds_partners_where_the_nearest_would_take_anothers()
    {
        // 1.0 fits both 0.9 and 1.1, but 1.2 fits only 1.1.
        Assert.True(Compare(CompareMode.Set, F(1.1, 0.9), F(1.0, 1.2), atol: 0.15).Passed);
        Assert.True(Compare(CompareMode.Set, F(0.9, 1.1), F(1.0, 1.2), atol: 0.15).Passed);
        Assert.False(Compare(CompareMode.Set, F(0.8, 0.9), F(1.0, 1.2), atol: 0.15).Passed);
    }

    [Fact]
    public void Set_agrees_with_trying_every_order() =>
        Gen.Select(Gen.Int[0, 6].Array[4], Gen.Int[0, 6].Array[4]).Sample((a, b) =>
        {
            using var scope = NewDisposeScope();
            var possible = Orders(a).Any(order => order.Zip(b).All(p => Math.Abs(p.First - p.Second) <= 1));
            Assert.Equal(possible, Compare(CompareMode.Set, F([.. a.Select(x => (double)x)]), F([.. b.Select(x => (double)x)]), atol: 1).Passed);
        }, iter: 300, threads: 1);

    [Fact]
    public void Whole_numbers_are_compared_as_such()
    {
        Assert.False(Compare(CompareMode.Exact, torch.tensor(new[] { (1L << 60) + 1 }), torch.tensor(new[] { 1L << 60 })).Passed);
        Assert.True(Compare(CompareMode.Element, torch.tensor(new byte[] { 0, 254 }), torch.tensor(new byte[] { 1, 255 }), atol: 1).Passed);
        Assert.False(Compare(CompareMode.Element, torch.tensor(new byte[] { 0 }), torch.tensor(new byte[] { 255 }), atol: 1).Passed);
        Assert.False(Compare(CompareMode.Exact, torch.tensor(new[] { true }), torch.tensor(new[] { false })).Passed);
        Assert.False(Compare(CompareMode.Element, torch.tensor(new[] { long.MinValue }), torch.tensor(new[] { long.MaxValue }), atol: 1).Passed);
    }

    [Fact]
    public void Low_precision_scalars_and_empty_tensors_are_compared()
    {
        Assert.True(Compare(CompareMode.Exact, F(1.5).to(bfloat16), F(1.5).to(bfloat16)).Passed);
        Assert.False(Compare(CompareMode.Element, torch.tensor(1f), torch.tensor(2f)).Passed);
        Assert.True(Compare(CompareMode.Max, zeros(0, 3), zeros(0, 3)).Passed);
        Assert.False(Compare(CompareMode.Max, zeros(3, 0), zeros(0, 3)).Passed);
        using var learned = F(1).requires_grad_();
        Assert.True(Compare(CompareMode.Exact, learned, F(1)).Passed);
    }

    [Theory]
    [InlineData("*", "a/b.c", true)]
    [InlineData("kmap.*", "kmap.3/x", true)]
    [InlineData("kmap.*", "xkmap.3", false)]
    [InlineData("*.C", "a/b.C", true)]
    [InlineData("*.C", "a/b.CC", false)]
    [InlineData("a*b*c", "aXbYbZc", true)]
    [InlineData("a*b*c", "aXcYb", false)]
    [InlineData("a[0]", "a[0]", true)]
    [InlineData("a?", "ab", false)]
    [InlineData("", "a", false)]
    public void Names_match_globs(string pattern, string name, bool matches) =>
        Assert.Equal(matches, new CompareRule(pattern, CompareMode.Exact).Matches(name));

    private static IEnumerable<int[]> Orders(int[] values) =>
        values.Length <= 1 ? [values] : values.SelectMany((v, i) => Orders([.. values[..i], .. values[(i + 1)..]]).Select(rest => (int[])[v, .. rest]));

    private static Tensor F(params double[] values) => torch.tensor(values, float32);

    private static Comparison Compare(CompareMode mode, Tensor ours, Tensor reference, double rtol = 0, double atol = 0, double fraction = 1, int axis = 0) =>
        Comparison.Of(new CompareRule("*", mode, rtol, atol, fraction, axis), ours, reference);
}
