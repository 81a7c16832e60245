using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

/// <summary>Agreement of saliency with fixations, against figures worked out by hand.</summary>
public class FixationMetricsTests
{
    [Fact]
    public void Figures_of_a_small_map_are_exact()
    {
        // Saliency 1 2 3 4, people looked at the third and fourth pixel.
        float[] saliency = [1, 2, 3, 4];
        bool[] fixated = [false, false, true, true];
        Assert.Equal(1 / Math.Sqrt(1.25), FixationMetrics.NssOf(saliency, fixated), 9);
        Assert.Equal(1, FixationMetrics.AucJuddOf(saliency, fixated), 9);
        Assert.Equal(2 / Math.Sqrt(5), FixationMetrics.CcOf(saliency, [0, 0, 1, 1]), 9);
        Assert.Equal(0.7, FixationMetrics.SimOf(saliency, [0, 0, 1, 1]), 6);
        Assert.Equal(0.5 * Math.Log(0.5 / 0.3) + 0.5 * Math.Log(0.5 / 0.4), FixationMetrics.KlOf(saliency, [0, 0, 1, 1]), 6);
    }

    /// <summary>
    /// AUC by hand: thresholds 4 and 1 give (0, 1/2) and (1, 1), so the area is (1/2 + 1) / 2; ties count as one threshold; the wrong way round it is 0.
    /// </summary>
    [Fact]
    public void The_area_follows_its_thresholds()
    {
        Assert.Equal(0.75, FixationMetrics.AucJuddOf([1, 2, 3, 4], [true, false, false, true]), 9);
        Assert.Equal(0.5, FixationMetrics.AucJuddOf([5, 5, 5, 5], [true, false, true, false]), 9);
        // Both fixated pixels at the bottom: the only points are (1, 1/2)... (1, 1), so nothing lies under the curve but its first triangle.
        Assert.Equal(0.25, FixationMetrics.AucJuddOf([4, 3, 2, 1], [false, false, true, true]), 9);
        Assert.Equal(double.NaN, FixationMetrics.AucJuddOf([1, 2], [false, false]));
    }

    /// <summary>NSS and AUC do not depend on the saliency's scale; a constant map says nothing.</summary>
    [Fact]
    public void Scale_has_no_effect()
    {
        var random = new Random(1);
        var map = Enumerable.Range(0, 60).Select(_ => (float)random.NextDouble()).ToArray();
        var looked = Enumerable.Range(0, 60).Select(i => i % 7 == 0 ? 255f : 0).ToArray();
        var fixations = new SaliencyMap(10, 6, looked);
        var a = FixationMetrics.Of(new SaliencyMap(10, 6, map), fixations);
        var b = FixationMetrics.Of(new SaliencyMap(10, 6, map.Select(v => 3 * v - 5).ToArray()), fixations);
        Assert.Equal(a.Nss, b.Nss, 4);
        Assert.Equal(a.AucJudd, b.AucJudd, 6);
        Assert.Equal(a.Cc, b.Cc, 5);
        Assert.Equal(a.Sim, b.Sim, 4);
        var flat = FixationMetrics.Of(new SaliencyMap(10, 6, new float[60]), fixations);
        Assert.True(double.IsNaN(flat.Nss) && double.IsNaN(flat.Cc) && flat.AucJudd == 0.5);
        // Looking where people looked is best.
        var same = FixationMetrics.Of(fixations, fixations);
        Assert.Equal(1, same.Cc, 9);
        Assert.Equal(1, same.Sim, 9);
        Assert.Equal(0, same.Kl, 6);
        Assert.Equal(1, same.AucJudd, 9);
    }

    [Fact]
    public void Densities_are_cut_and_points_are_taken_as_they_are()
    {
        Assert.Equal([false, true, true, false], FixationMetrics.Fixated([0.1f, 0.6f, 1, 0.49f]));
        Assert.Equal([true, false, true], FixationMetrics.Fixated([7, 0, 7]));
        Assert.Contains("do not match",
            Assert.Throws<BayouException>(() => FixationMetrics.Of(new SaliencyMap(2, 1, [0, 1]), new SaliencyMap(1, 2, [0, 1]))).Message);
        Assert.Throws<BayouException>(() => FixationMetrics.Of(new SaliencyMap(2, 1, [0, 1]), new SaliencyMap(2, 1, [0, -1])));
        Assert.Throws<BayouException>(() => new SaliencyMap(2, 2, [1, 2, 3]));
    }

    /// <summary>Resizing keeps a constant and a ramp; laying over keeps the picture where the share is 0.</summary>
    [Fact]
    public void Heat_maps_are_stretched_and_laid_over()
    {
        Assert.All(new SaliencyMap(2, 3, [4, 4, 4, 4, 4, 4]).Resize(7, 5).Values, v => Assert.Equal(4, v));
        Assert.Equal([0, 0.25f, 0.75f, 1], new SaliencyMap(2, 1, [0, 1]).Resize(4, 1).Values);
        var picture = new ImageBuffer(2, 1, 3, [10, 20, 30, 40, 50, 60]);
        Assert.Equal(picture.Pixels, new SaliencyMap(2, 1, [0, 1]).Over(picture, 0).Pixels);
        Assert.Equal<byte>([0, 0, 4, 252, 255, 164], new SaliencyMap(2, 1, [0, 1]).Over(picture, 1).Pixels);
    }
}
