using Bayou.Compress;
using Bayou.Core;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class ValueHistogramTests
{
    private static readonly Gen<float[]> Values = Gen.Float[-1000, 1000].Array[1, 200];

    [Fact]
    public void Every_range_contains_zero_lies_in_the_data_and_min_max_is_exact() => Gen.Select(Values, Values).Sample((a, b) =>
    {
        var histogram = new ValueHistogram("x");
        histogram.Add(a);
        histogram.Add(b);
        var (min, max) = (Math.Min(0, a.Concat(b).Min()), Math.Max(0, a.Concat(b).Max()));
        Assert.Equal(((double)min, (double)max), histogram.Range(ActivationObserver.MinMax, 1, 256, false));
        foreach (var observer in Enum.GetValues<ActivationObserver>())
        {
            var (low, high) = histogram.Range(observer, 0.99, 256, false);
            Assert.True(low <= 0 && high >= 0 && low >= min && high <= max && high - low > 0 | min == max);
        }
    }, iter: 100);

    [Fact]
    public void The_percentile_does_not_depend_on_the_order_in_which_values_come() => Values.Sample(a =>
    {
        var (forward, backward) = (new ValueHistogram("x"), new ValueHistogram("x"));
        forward.Add(a.OrderBy(Math.Abs).Take(a.Length / 2).ToArray());
        forward.Add(a.OrderBy(Math.Abs).Skip(a.Length / 2).ToArray());
        backward.Add(a);
        // R may differ by up to a factor of two between the two, hence the bins.
        var tolerance = 4 * 2000.0 / ValueHistogram.Bins;
        Assert.Equal(backward.Range(ActivationObserver.Percentile, 0.9, 256, false).High, forward.Range(ActivationObserver.Percentile, 0.9, 256, false).High,
            tolerance);
        Assert.Equal(backward.Range(ActivationObserver.Percentile, 0.9, 256, false).Low, forward.Range(ActivationObserver.Percentile, 0.9, 256, false).Low,
            tolerance);
    }, iter: 100);

    [Fact]
    public void Kl_and_mse_clip_a_long_tail_but_not_a_uniform_range()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var tail = new ValueHistogram("tail");
        // A normal bulk (deviation 1) with one value in 50,000 at 100: min-max would spend 97 % of the codes on nothing.
        var x = randn(200_000);
        x[..4] = 100;
        tail.Add(x);
        foreach (var symmetric in new[] { false, true })
        {
            Assert.InRange(tail.Range(ActivationObserver.Kl, 1, 256, symmetric).High, 3, 12);
            Assert.InRange(tail.Range(ActivationObserver.Percentile, 0.9999, 256, symmetric).High, 3.5, 4.5);
        }
        var flat = new ValueHistogram("flat");
        flat.Add(rand(100_000));
        Assert.InRange(flat.Range(ActivationObserver.Kl, 1, 256, false).High, 0.95, 1);
        Assert.InRange(flat.Range(ActivationObserver.Mse, 1, 256, false).High, 0.98, 1);
        // Four bits: the squared error prefers a clip inside a normal's reach, about 2.5 deviations.
        var bulk = new ValueHistogram("bulk");
        bulk.Add(randn(100_000));
        Assert.InRange(bulk.Range(ActivationObserver.Mse, 1, 16, false).High, 2.0, 3.2);
    }

    [Fact]
    public void Broken_values_are_named_and_zeros_alone_are_no_range()
    {
        var histogram = new ValueHistogram("layer3");
        Assert.Contains("layer3", Assert.Throws<BayouException>(() => histogram.Add([1f, float.NaN, 2f])).Message);
        Assert.Contains("infinite", Assert.Throws<BayouException>(() => histogram.Add([1f, float.PositiveInfinity])).Message);
        var zeros = new ValueHistogram("dead");
        Assert.Throws<BayouException>(() => zeros.Range(ActivationObserver.Kl, 1, 256, false));
        zeros.Add(new float[9]);
        foreach (var observer in Enum.GetValues<ActivationObserver>()) Assert.Equal((0.0, 0.0), zeros.Range(observer, 0.9, 256, false));
        zeros.Add([3f]);        // zeros counted before the first value
        Assert.Equal(10, zeros.Count);
        Assert.InRange(zeros.Range(ActivationObserver.Percentile, 0.9, 256, false).High, 0, 0.01);
    }

    [Fact]
    public void Weight_scales_by_hand()
    {
        using var scope = NewDisposeScope();
        var w = tensor(new float[,] { { 1, -2, 0.5f }, { 0, 0, 0 }, { 0.1f, 0.127f, -0.01f } });
        TensorAssert.Close(tensor(new[] { 2 / 127f, 2 / 127f, 0.001f }), WeightScales.Choose(w, 0, 127, WeightObserver.MinMax), 1e-6, 0);
        TensorAssert.Close(tensor(2 / 64f), WeightScales.Choose(w, -1, 64, WeightObserver.MinMax), 1e-6, 0);
        // One outlier among a hundred equal values: at three codes the clip moves towards the crowd.
        var crowd = cat([full(100, value: 0.3f), tensor(new[] { 1f })]).unsqueeze(0);
        Assert.InRange(WeightScales.Choose(crowd, 0, 1, WeightObserver.Mse).item<float>(), 0.28f, 0.34f);
        Assert.Throws<BayouException>(() => WeightScales.Choose(tensor(new[] { float.NaN, 1 }), -1, 127, WeightObserver.MinMax));
    }
}
