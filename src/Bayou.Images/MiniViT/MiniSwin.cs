using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Shape of a Mini-Swin.</summary>
public sealed record MiniSwinConfig : WindowConfig
{
    /// <summary>Blocks of every stage with weights of their own: consecutive layers share one.</summary>
    public required int[] Blocks { get; init; }

    /// <summary>Whether every layer keeps layer norms of its own.</summary>
    public bool SeparateNorms { get; init; } = true;

    /// <summary>Whether every layer has a LayerNorm and a 7x7 depthwise convolution before the MLP.</summary>
    public bool TransformMlp { get; init; } = true;

    /// <summary>Whether every layer transforms its attention across the heads, before and after the softmax.</summary>
    public bool TransformHeads { get; init; } = true;
}

/// <summary>
/// Mini-Swin (MiniViT, Zhang et al., CVPR 2022, arXiv 2204.07154): a Swin transformer whose consecutive layers share attention and MLP weights. [N, C, H, W] ->
/// logits [N, classes].
/// </summary>
public sealed class MiniSwin : WindowTransformer
{
    /// <summary>
    /// Builds the network with the official initialisation; with <see cref="WindowConfig.FanInInit"/> head transformations start as the identity.
    /// </summary>
    public MiniSwin(MiniSwinConfig config) : base("Mini-Swin", Checked(config), stage => Shared(config, stage))
    {
        Config = config;
        if (config.FanInInit) foreach (var block in modules().OfType<MiniSwinBlock>()) block.BeginAtIdentity();
    }

    /// <summary>What it was built from.</summary>
    public MiniSwinConfig Config { get; }

    private static MiniSwinConfig Checked(MiniSwinConfig c)
    {
        if (c.Blocks.Length != c.Depths.Length)
            throw new BayouException($"Mini-Swin: {c.Depths.Length} depths and {c.Blocks.Length} numbers of blocks; one of each a stage is needed");
        if (c.Depths.Zip(c.Blocks).Any(p => p.Second <= 0 || p.First % p.Second != 0))
            throw new BayouException("Mini-Swin: the blocks of a stage must divide its layers");
        return c;
    }

    private static IEnumerable<Layer> Shared(MiniSwinConfig c, WindowStageSpec stage)
    {
        var share = c.Depths[stage.Index] / c.Blocks[stage.Index];
        return Enumerable.Range(0, c.Blocks[stage.Index])
            .Select(b => new MiniSwinBlock(c, stage.Dim, stage.Grid, c.Heads[stage.Index], b * share, stage.DropPath[(b * share)..((b + 1) * share)]));
    }
}

/// <summary>
/// Some Swin layers with one set of attention and MLP weights; each repeat has its own norms, head transformations and the MLP's transformation. [N, H, W, C]
/// -> the same. As in the official network, the mask of the shifted layout is applied in every repeat, also where nothing is shifted: published weights were
/// trained so.
/// </summary>
public sealed class MiniSwinBlock : Layer
{
    private readonly WindowAttention attn;
    private readonly Mlp mlp;
    private readonly Tensor? attn_mask;                         // [windows, w w, w w]
    private readonly LayerNorm? norm1, norm2;                   // where the repeats share them
    private readonly LayerList<LayerNorm>? norm1_list, norm2_list, local_norm_list;
    private readonly LayerList<Linear>? proj_l, proj_w;         // across the heads
    private readonly LayerList<Conv2d>? local_conv_list;        // depthwise 7x7
    private readonly LayerList<DropPath> drop_path;
    private readonly int window, shift, grid, first;

    internal MiniSwinBlock(MiniSwinConfig c, int dim, int grid, int heads, int first, double[] dropPath)
    {
        (this.grid, this.first) = (grid, first);
        window = Math.Min(c.Window, grid);
        shift = grid > window ? window / 2 : 0;
        var repeats = dropPath.Length;
        attn = new WindowAttention(dim, window, heads, c.QkvBias);
        mlp = new Mlp(dim, (int)(dim * c.MlpRatio));
        if (shift > 0) attn_mask = NewBuffer(Windows.ShiftMask(Up(grid), Up(grid), window, shift));
        if (c.SeparateNorms) (norm1_list, norm2_list) = (Each(repeats, Norm), Each(repeats, Norm));
        else (norm1, norm2) = (Norm(), Norm());
        if (c.TransformHeads) (proj_l, proj_w) = (Each(repeats, () => new Linear(heads, heads)), Each(repeats, () => new Linear(heads, heads)));
        if (c.TransformMlp) (local_norm_list, local_conv_list) = (Each(repeats, Norm), Each(repeats, () => new Conv2d(dim, dim, 7, padding: 3, groups: dim)));
        drop_path = new LayerList<DropPath>([.. dropPath.Select(p => new DropPath(p))]);
        RegisterComponents();

        LayerNorm Norm() => new(dim);
        static LayerList<T> Each<T>(int count, Func<T> make)
            where T : Layer => new([.. Enumerable.Range(0, count).Select(_ => make())]);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        for (var r = 0; r < drop_path.Count; r++) x = Repeat(x, r);
        return x;
    }

    /// <summary>Runs as repeat r: shifted where its number in the stage is odd.</summary>
    public Tensor Repeat(Tensor x, int r)
    {
        x = Add(x, drop_path[r].call(Attend((norm1 ?? norm1_list![r]).call(x), r)));
        if (local_norm_list is not null)
        {
            // The stream itself becomes its norm: the official network cuts the skip connection here.
            var y = local_norm_list[r].call(x);
            x = Add(y, ToChannelsLast(local_conv_list![r].call(ToChannelsFirst(y))));
        }
        x = Add(x, drop_path[r].call(mlp.call((norm2 ?? norm2_list![r]).call(x))));
        LayerTap.Hidden(x);
        return x;
    }

    private Tensor Attend(Tensor x, int r)
    {
        var (rows, columns) = ((int)x.shape[1], (int)x.shape[2]);
        var (paddedRows, paddedColumns) = (Up(rows), Up(columns));
        var padded = (rows, columns) != (paddedRows, paddedColumns);
        if (padded) x = ToChannelsLast(Pad2d(ToChannelsFirst(x), 0, paddedColumns - columns, 0, paddedRows - rows));
        var masked = shift > 0 && (paddedRows > window || paddedColumns > window);
        var by = masked && (first + r) % 2 == 1 ? shift : 0;
        AttentionTap.Enter(new TokenLayout(rows, columns, 0, window, by));
        var mask = !masked ? null : (rows, columns) == (grid, grid) ? attn_mask! : Constant(Windows.ShiftMask(paddedRows, paddedColumns, window, shift));
        x = Roll(Roll(x, 1, -by), 2, -by);
        x = attn.Call(Windows.Partition(x, window), mask, proj_l is null ? null : a => AcrossHeads(proj_l[r], a),
            proj_w is null ? null : a => AcrossHeads(proj_w[r], a));
        x = Windows.Merge(x, window, paddedRows, paddedColumns);
        x = Roll(Roll(x, 1, by), 2, by);
        return padded ? Slice(Slice(x, 1, 0, rows), 2, 0, columns) : x;
    }

    private int Up(int size) => (size + window - 1) / window * window;

    private static Tensor AcrossHeads(Linear mixture, Tensor weights) => Permute(mixture.call(Permute(weights, 0, 2, 3, 1)), 0, 3, 1, 2);

    internal void BeginAtIdentity()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        foreach (var mixture in (proj_l ?? new()).Concat(proj_w ?? new())) mixture.Weight.copy_(eye(mixture.Weight.shape[0]));
    }
}
