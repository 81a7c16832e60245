using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class ReceptiveFieldTests
{
    [Fact]
    public void The_map_of_one_convolution_is_its_kernel()
    {
        using var scope = NewDisposeScope();
        var kernel = rand(2, 3, 5, 5) + 0.1;
        var map = ReceptiveField.Map(x => nn.functional.conv2d(x, kernel, padding: [2L, 2L]), ones(1, 3, 12, 16));
        var expected = zeros(12, 16);
        // Row h/2 = 6 and column w/2 = 8 are the middle.
        expected[TensorIndex.Slice(4, 9), TensorIndex.Slice(6, 11)] = kernel.sum([0L, 1L]);
        TensorAssert.Close(expected, map, 0, 1e-5);
    }

    [Fact]
    public void The_area_is_the_first_square_above_the_share()
    {
        // A uniform map of 21 x 21: squares of 3, 5, ... hold (2i+1)^2 / 441.
        var map = Enumerable.Repeat(1.0, 441).ToArray();
        Assert.Equal(new ContributionArea(0.2, 11, 121.0 / 441), ReceptiveField.Area(map, 21, 21, 0.2));
        Assert.False(ReceptiveField.Area(map, 21, 21, 0.9).Exists);
        // A square must stay inside a picture that is higher than wide.
        Assert.False(ReceptiveField.Area(Enumerable.Repeat(1.0, 200).ToArray(), 20, 10, 0.5).Exists);
    }

    [Fact]
    public void The_average_leaves_out_what_is_not_finite()
    {
        using var scope = NewDisposeScope();
        var field = new ReceptiveField();
        field.Add(full(4, 4, 1f));
        field.Add(full(4, 4, float.NaN));
        field.Add(full(4, 4, 3f));
        Assert.Equal((2, 1), (field.Pictures, field.Skipped));
        Assert.All(field.Average(), v => Assert.Equal(2, v));
        Assert.Throws<BayouException>(() => field.Add(zeros(4, 5)));
        Assert.Throws<BayouException>(() => ReceptiveField.Analysed(new double[9]));
        Assert.Throws<BayouException>(() => new ReceptiveField().Average());
    }
}
