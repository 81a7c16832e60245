using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>One of the scales of a level.</summary>
/// <param name="Radius">Of the ball.</param>
/// <param name="Neighbours">Points of a ball.</param>
/// <param name="Widths">Channels of the layers.</param>
public sealed record GroupScale(float Radius, int Neighbours, int[] Widths);

/// <summary>
/// A level of several scales (multi-scale grouping, section 3.3): balls of several radii around the same samples, their features side by side.
/// </summary>
public sealed record MultiScaleConfig(int Samples, params GroupScale[] Scales) : LevelConfig(Samples)
{
    internal override PointLevel Create(int inFeatures) => new MultiScaleAbstraction(this, inFeatures + 3);
}

/// <summary>
/// Sampling, and for every scale grouping and a PointNet. Keys conv_blocks.s.i, bn_blocks.s.i for layer i of scale s; coordinates come after the features.
/// </summary>
internal sealed class MultiScaleAbstraction : PointLevel
{
    private readonly LayerList<LayerList<PointConv>> conv_blocks = new();
    private readonly LayerList<LayerList<BatchNorm>> bn_blocks = new();
    private readonly MultiScaleConfig config;

    public MultiScaleAbstraction(MultiScaleConfig config, int inChannels)
    {
        this.config = config;
        foreach (var scale in config.Scales)
        {
            var (convs, norms, width) = (new LayerList<PointConv>(), new LayerList<BatchNorm>(), inChannels);
            foreach (var next in scale.Widths)
            {
                convs.Add(new PointConv(width, next, axes: 2));
                norms.Add(new BatchNorm(next));
                width = next;
            }
            conv_blocks.Add(convs);
            bn_blocks.Add(norms);
        }
        RegisterComponents();
    }

    public override int Channels => config.Scales.Sum(s => s.Widths[^1]);

    public override Tensor forward(Tensor x) => throw new BayouException("a level of several scales takes coordinates and features: Forward");

    public override (Tensor Xyz, Tensor Features) Forward(Tensor xyz, Tensor? features)
    {
        var inputs = features is null ? new Tensor?[] { xyz } : [xyz, features];
        var grouped = Ops.Opaque("MultiScaleGrouping", Group, Moved, false, inputs);
        var scales = new Tensor[config.Scales.Length];
        for (var s = 0; s < scales.Length; s++)
        {
            var y = Ops.Reshape(grouped[1 + s], -1, grouped[1 + s].shape[3]);
            for (var i = 0; i < conv_blocks[s].Count; i++) y = Ops.Relu(bn_blocks[s][i].call(conv_blocks[s][i].call(y)));
            scales[s] = Ops.Reduce(Ops.Reshape(y, -1, config.Samples, config.Scales[s].Neighbours, y.shape[1]), Reduction.Max, new Ints(2));
        }
        return (grouped[0], scales.Length == 1 ? scales[0] : Ops.Concat(2, scales));
    }

    private Tensor[] Group(Tensor?[] x, bool training)
    {
        var middle = PointGroups.Rows(x[0]!, PointGroups.Centres(x[0]!, config.Samples));
        return [middle, .. config.Scales.Select(s =>
            PointGroups.Gather(x[0]!, x.Length > 1 ? x[1] : null, middle, s.Radius, s.Neighbours, featuresFirst: true))];
    }
}
