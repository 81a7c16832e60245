using Bayou.Core;
using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>One level of PointNet++.</summary>
/// <param name="Samples">Centres; 0 groups the whole cloud.</param>
public abstract record LevelConfig(int Samples)
{
    // The level over features of so many channels (beside the coordinates).
    internal abstract PointLevel Create(int inFeatures);
}

/// <summary>A level of one scale: how many samples, how far they look, what their small network is.</summary>
/// <param name="Samples">Centres; 0 groups the whole cloud.</param>
/// <param name="Radius">Of the ball.</param>
/// <param name="Neighbours">Points of a ball.</param>
/// <param name="Widths">Channels of the layers.</param>
public sealed record SetAbstractionConfig(int Samples, float Radius, int Neighbours, int[] Widths) : LevelConfig(Samples)
{
    internal override PointLevel Create(int inFeatures) => new SetAbstraction(this, inFeatures + 3);
}

/// <summary>
/// PointNet++ (Qi et al., NeurIPS 2017, arXiv 1706.02413), single-scale or multi-scale grouping: furthest points as centres, a PointNet in every ball (or in
/// balls of several radii, side by side), and so on coarser; for segmentation the way back by interpolation among the three nearest. Clouds [B, C, N] (x, y, z
/// first) -> logits [B, classes], or [B N, classes]. Keys of the widespread PyTorch version (sa1.mlp_convs.0.weight, ...).
/// </summary>
public sealed class PointNet2 : Layer
{
    private readonly PointLevel sa1, sa2, sa3;
    private readonly PointLevel? sa4;
    private readonly FeaturePropagation? fp4, fp3, fp2, fp1;
    private readonly Linear? fc1, fc2, fc3;
    private readonly PointConv? conv1, conv2;
    private readonly BatchNorm bn1;
    private readonly BatchNorm? bn2;
    private readonly Dropout drop1;
    private readonly Dropout? drop2;
    private readonly bool segment;
    private readonly int channels;

    private PointNet2(int classes, int inChannels, LevelConfig[] levels, int[][]? back, double dropout, double? lastDropout = null)
    {
        if (inChannels < 3) throw new BayouException($"PointNet++ needs at least x, y and z; {inChannels} channels are given");
        (segment, channels) = (back is not null, inChannels);
        // Classification sees features beyond the coordinates; segmentation repeats the coordinates among them, as the published network does.
        sa1 = levels[0].Create(segment ? inChannels : inChannels - 3);
        sa2 = levels[1].Create(sa1.Channels);
        sa3 = levels[2].Create(sa2.Channels);
        int a = sa1.Channels, b = sa2.Channels, c = sa3.Channels;
        drop1 = new(dropout);
        if (back is null)
        {
            (fc1, bn1, fc2, bn2, fc3) = (new(c, c / 2), new(c / 2), new(c / 2, c / 4), new(c / 4), new(c / 4, classes));
            drop2 = new(lastDropout ?? dropout);
        }
        else
        {
            sa4 = levels[3].Create(c);
            (fp4, fp3) = (new(sa4.Channels + c, back[0]), new(back[0][^1] + b, back[1]));
            (fp2, fp1) = (new(back[1][^1] + a, back[2]), new(back[2][^1], back[3]));
            (conv1, bn1, conv2) = (new(back[3][^1], 128), new(128), new(128, classes));
        }
        RegisterComponents();
    }

    /// <summary>The published classifier (512 and 128 centres, balls of 0.2 and 0.4 in a unit sphere).</summary>
    /// <param name="classes">Classes.</param>
    /// <param name="inChannels">3, or 6 with normals.</param>
    /// <param name="levels">Other levels; null: published.</param>
    public static PointNet2 Classifier(int classes, int inChannels = 3, SetAbstractionConfig[]? levels = null) => new(classes, inChannels, levels ??
        [new(512, 0.2f, 32, [64, 64, 128]), new(128, 0.4f, 64, [128, 128, 256]), new(0, 0, 0, [256, 512, 1024])], null, 0.4);

    /// <summary>The published segmenter of rooms (4,096 points of nine channels: x, y, z, colour, position in the room).</summary>
    /// <param name="classes">Classes.</param>
    /// <param name="inChannels">Channels of a point.</param>
    /// <param name="levels">Other levels; null: published.</param>
    public static PointNet2 Segmenter(int classes, int inChannels = 9, SetAbstractionConfig[]? levels = null) => new(classes, inChannels, levels ??
        [new(1024, 0.1f, 32, [32, 32, 64]), new(256, 0.2f, 32, [64, 64, 128]), new(64, 0.4f, 32, [128, 128, 256]), new(16, 0.8f, 32, [256, 256, 512])],
        Back, 0.5);

    /// <summary>The published classifier with multi-scale grouping (supplement, section B.1): balls of three radii at 512 and 128 centres.</summary>
    /// <param name="classes">Classes.</param>
    /// <param name="inChannels">3, or 6 with normals.</param>
    /// <param name="levels">Other levels; null: published.</param>
    public static PointNet2 MultiScaleClassifier(int classes, int inChannels = 3, LevelConfig[]? levels = null) => new(classes, inChannels, levels ??
    [
        new MultiScaleConfig(512, new(0.1f, 16, [32, 32, 64]), new(0.2f, 32, [64, 64, 128]), new(0.4f, 128, [64, 96, 128])),
        new MultiScaleConfig(128, new(0.2f, 32, [64, 64, 128]), new(0.4f, 64, [128, 128, 256]), new(0.8f, 128, [128, 128, 256])),
        new SetAbstractionConfig(0, 0, 0, [256, 512, 1024]),
    ], null, 0.4, 0.5);

    /// <summary>The published segmenter of rooms with multi-scale grouping: balls of two radii at every level.</summary>
    /// <param name="classes">Classes.</param>
    /// <param name="inChannels">Channels of a point.</param>
    /// <param name="levels">Other levels; null: published.</param>
    public static PointNet2 MultiScaleSegmenter(int classes, int inChannels = 9, LevelConfig[]? levels = null) => new(classes, inChannels, levels ??
    [
        new MultiScaleConfig(1024, new(0.05f, 16, [16, 16, 32]), new(0.1f, 32, [32, 32, 64])),
        new MultiScaleConfig(256, new(0.1f, 16, [64, 64, 128]), new(0.2f, 32, [64, 96, 128])),
        new MultiScaleConfig(64, new(0.2f, 16, [128, 196, 256]), new(0.4f, 32, [128, 196, 256])),
        new MultiScaleConfig(16, new(0.4f, 16, [256, 256, 512]), new(0.8f, 32, [256, 384, 512])),
    ], Back, 0.5);

    // Widths of the way back, coarsest first.
    private static int[][] Back => [[256, 256], [256, 256], [256, 128], [128, 128, 128]];

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var points = Ops.Permute(x, 0, 2, 1);
        var xyz0 = channels == 3 ? points : Ops.Slice(points, 2, 0, 3);
        var features0 = segment ? points : channels > 3 ? Ops.Slice(points, 2, 3) : null;
        var (xyz1, features1) = sa1.Forward(xyz0, features0);
        var (xyz2, features2) = sa2.Forward(xyz1, features1);
        var (xyz3, features3) = sa3.Forward(xyz2, features2);
        if (!segment)
        {
            var y = Ops.Reshape(features3, -1, features3.shape[2]);
            y = drop1.call(Ops.Relu(bn1.call(fc1!.call(y))));
            y = drop2!.call(Ops.Relu(bn2!.call(fc2!.call(y))));
            return fc3!.call(y);
        }
        var (xyz4, features4) = sa4!.Forward(xyz3, features3);
        var up = fp4!.Forward(xyz3, xyz4, features3, features4);
        up = fp3!.Forward(xyz2, xyz3, features2, up);
        up = fp2!.Forward(xyz1, xyz2, features1, up);
        up = fp1!.Forward(xyz0, xyz1, null, up);
        var z = Ops.Reshape(up, -1, up.shape[2]);
        return conv2!.call(drop1.call(Ops.Relu(bn1.call(conv1!.call(z)))));
    }
}

/// <summary>A level: xyz [B, N, 3] and features [B, N, C] or null -> centres [B, M, 3] and features [B, M, C'].</summary>
internal abstract class PointLevel : Layer
{
    /// <summary>C'.</summary>
    public abstract int Channels { get; }

    public abstract (Tensor Xyz, Tensor Features) Forward(Tensor xyz, Tensor? features);

    // Grouping costs no products: what is moved counts.
    protected static OpWork Moved(long[]?[] inputs, long[][] outputs) => new(0, outputs.Sum(o => o.Aggregate(1L, (a, b) => a * b)));
}

/// <summary>Sampling, grouping and a PointNet (section 3.2). Keys mlp_convs.i, mlp_bns.i.</summary>
internal sealed class SetAbstraction : PointLevel
{
    private readonly LayerList<PointConv> mlp_convs = new();
    private readonly LayerList<BatchNorm> mlp_bns = new();
    private readonly SetAbstractionConfig config;

    public SetAbstraction(SetAbstractionConfig config, int inChannels)
    {
        this.config = config;
        foreach (var width in config.Widths)
        {
            mlp_convs.Add(new PointConv(inChannels, width, axes: 2));
            mlp_bns.Add(new BatchNorm(width));
            inChannels = width;
        }
        RegisterComponents();
    }

    // [rows, C] -> [rows, C'].
    public override Tensor forward(Tensor x)
    {
        for (var i = 0; i < mlp_convs.Count; i++) x = Ops.Relu(mlp_bns[i].call(mlp_convs[i].call(x)));
        return x;
    }

    public override int Channels => config.Widths[^1];

    public override (Tensor Xyz, Tensor Features) Forward(Tensor xyz, Tensor? features)
    {
        if (config.Samples == 0)
        {
            var whole = features is null ? xyz : Ops.Concat(2, xyz, features);
            var y = call(Ops.Reshape(whole, -1, whole.shape[2]));
            return (Ops.Slice(xyz, 1, 0, 1), Ops.Reduce(Ops.Reshape(y, -1, xyz.shape[1], y.shape[1]), Reduction.Max, new Ints(1), keepDim: true));
        }
        var inputs = features is null ? new Tensor?[] { xyz } : [xyz, features];
        var grouped = Ops.Opaque("SetGrouping", Group, Moved, false, inputs);
        var z = call(Ops.Reshape(grouped[1], -1, grouped[1].shape[3]));
        return (grouped[0], Ops.Reduce(Ops.Reshape(z, -1, config.Samples, config.Neighbours, z.shape[1]), Reduction.Max, new Ints(2)));
    }

    private Tensor[] Group(Tensor?[] x, bool training)
    {
        var centres = PointGroups.Centres(x[0]!, config.Samples);
        var middle = PointGroups.Rows(x[0]!, centres);
        return [middle, PointGroups.Gather(x[0]!, x.Length > 1 ? x[1] : null, middle, config.Radius, config.Neighbours)];
    }
}

/// <summary>Features back onto finer points: the three nearest coarse ones by inverse distance, then point-wise layers (section 3.4).</summary>
internal sealed class FeaturePropagation : Layer
{
    private readonly LayerList<PointConv> mlp_convs = new();
    private readonly LayerList<BatchNorm> mlp_bns = new();

    public FeaturePropagation(int inChannels, int[] widths)
    {
        foreach (var width in widths)
        {
            mlp_convs.Add(new PointConv(inChannels, width));
            mlp_bns.Add(new BatchNorm(width));
            inChannels = width;
        }
        RegisterComponents();
    }

    // [rows, C] -> [rows, C'].
    public override Tensor forward(Tensor x)
    {
        for (var i = 0; i < mlp_convs.Count; i++) x = Ops.Relu(mlp_bns[i].call(mlp_convs[i].call(x)));
        return x;
    }

    // Fine xyz [B, N, 3], coarse xyz [B, M, 3], fine features [B, N, C] or null, coarse features [B, M, D] -> [B, N, widths[^1]].
    public Tensor Forward(Tensor fine, Tensor coarse, Tensor? own, Tensor features)
    {
        var interpolated = Ops.Opaque("ThreeInterpolate", PointGroups.Interpolate, (_, o) => new(o[0].Aggregate(3L, (a, b) => a * b), 0), false, fine, coarse,
            features)[0];
        var joined = own is null ? interpolated : Ops.Concat(2, own, interpolated);
        var y = call(Ops.Reshape(joined, -1, joined.shape[2]));
        return Ops.Reshape(y, -1, fine.shape[1], y.shape[1]);
    }
}
