using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Cutting token grids into windows ("Swin Transformer", ICCV 2021, section 3.2).</summary>
public static class Windows
{
    /// <summary>What a key of another region adds to a logit.</summary>
    public const float Masked = -100;

    /// <summary>[N, H, W, C] -> [N windows, w w, C]; H and W must be multiples of w.</summary>
    public static Tensor Partition(Tensor x, int window)
    {
        var (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3]);
        x = Reshape(x, 0, height / window, window, width / window, window * channels);
        return Reshape(Permute(x, 0, 1, 3, 2, 4), -1, window * window, channels);
    }

    /// <summary>[N windows, w w, C] -> [N, H, W, C].</summary>
    public static Tensor Merge(Tensor x, int window, long height, long width)
    {
        var channels = x.shape[^1];
        x = Reshape(x, -1, height / window, width / window, window, window * channels);
        return Reshape(Permute(x, 0, 1, 3, 2, 4), 0, height, width, channels);
    }

    /// <summary>The shifted layout's mask [windows, w w, w w]: <see cref="Masked"/> between tokens that the roll brought together from different regions, 0
    /// otherwise.</summary>
    public static Tensor ShiftMask(int height, int width, int window, int shift)
    {
        int Region(int i, int size) => i < size - window ? 0 : i < size - shift ? 1 : 2;
        var (rows, columns, tokens) = (height / window, width / window, window * window);
        var mask = new float[rows * columns * tokens * tokens];
        var region = new int[tokens];
        for (var w = 0; w < rows * columns; w++)
        {
            for (var t = 0; t < tokens; t++)
                region[t] = 3 * Region(w / columns * window + t / window, height) + Region(w % columns * window + t % window, width);
            for (var i = 0; i < tokens; i++)
            {
                for (var j = 0; j < tokens; j++)
                    if (region[i] != region[j]) mask[(w * tokens + i) * tokens + j] = Masked;
            }
        }
        return tensor(mask, [rows * columns, tokens, tokens]);
    }

    /// <summary>Row of the bias table for every pair of tokens of a window: [w w, w w] of int64 in [0, (2w - 1)^2).</summary>
    public static Tensor RelativeIndex(int window)
    {
        var tokens = window * window;
        var index = new long[tokens * tokens];
        for (var i = 0; i < tokens; i++)
        {
            for (var j = 0; j < tokens; j++)
                index[i * tokens + j] = (i / window - j / window + window - 1) * (2 * window - 1) + (i % window - j % window + window - 1);
        }
        return tensor(index, [tokens, tokens]);
    }

    /// <summary>Adds a mask [windows, T, T] to logits [N windows, h, T, T].</summary>
    public static Tensor AddMask(Tensor logits, Tensor mask)
    {
        var (windows, heads, tokens) = (mask.shape[0], logits.shape[1], mask.shape[1]);
        var masked = Add(Reshape(logits, -1, windows, heads, tokens, tokens), Reshape(mask, windows, 1, tokens, tokens));
        return Reshape(masked, -1, heads, tokens, tokens);
    }
}

/// <summary>Attention inside windows with a learned bias for every relative position. [N windows, w w, C] -> the same.</summary>
public sealed class WindowAttention : Layer
{
    private readonly Parameter relative_position_bias_table;    // [(2w - 1)^2, heads]
    private readonly Tensor relative_position_index;            // [w w, w w]
    private readonly Linear qkv, proj;
    private readonly DerivedTensor bias = new(), maskedBias = new();
    private readonly int heads, tokens;
    private readonly double scale;

    /// <summary>Builds the layer.</summary>
    public WindowAttention(int dim, int window, int heads, bool qkvBias = true)
    {
        if (heads <= 0 || dim % heads != 0) throw new BayouException($"WindowAttention: {heads} heads do not divide {dim} channels");
        (this.heads, tokens) = (heads, window * window);
        scale = Math.Pow(dim / heads, -0.5);
        relative_position_bias_table = NewParameter(empty((2 * window - 1) * (2 * window - 1), heads));
        Init.TruncatedNormal(relative_position_bias_table, std: 0.02);
        relative_position_index = NewBuffer(Windows.RelativeIndex(window));
        qkv = new Linear(dim, 3 * dim, qkvBias);
        proj = new Linear(dim, dim);
        RegisterComponents();
    }

    /// <summary>The fused projection: weight distillation reads its output.</summary>
    public Linear Qkv => qkv;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Call(x, null);

    /// <summary>Attention with the shifted layout's mask and, for MiniViT, transformations of logits and weights.</summary>
    /// <param name="x">[N windows, w w, C].</param>
    /// <param name="mask">[windows, w w, w w] or null.</param>
    /// <param name="onLogits">Changes the logits [N windows, h, w w, w w] after the position bias and before the mask.</param>
    /// <param name="onWeights">Changes the weights after the softmax.</param>
    public Tensor Call(Tensor x, Tensor? mask, Func<Tensor, Tensor>? onLogits = null, Func<Tensor, Tensor>? onWeights = null)
    {
        var all = qkv.call(x);
        LayerTap.Qkv(all);
        var parts = MultiHead.SplitFused(all, heads);
        if (onLogits is null && onWeights is null && !AttentionTap.IsActive)
        {
            var table = relative_position_bias_table;
            if (mask is null) return proj.call(MultiHead.Join(Ops.Attention(parts[0], parts[1], parts[2], scale, bias.Of(PositionBias, table))));
            // Position bias and mask together are one bias of every window.
            var both = maskedBias.Of(() => Add(PositionBias(), Reshape(mask, mask.shape[0], 1, tokens, tokens)), table, mask);
            return proj.call(HeadOps.GroupedAttention(parts[0], parts[1], parts[2], scale, both));
        }
        var masked = mask is null ? onLogits : logits => Windows.AddMask(onLogits is null ? logits : onLogits(logits), mask);
        var y = MultiHead.Attend(parts[0], parts[1], parts[2], scale, PositionBias(), masked, onWeights);
        return proj.call(MultiHead.Join(y));
    }

    /// <summary>
    /// A table of relative positions [(2w - 1)^2, h] for another window (bicubic, as PyTorch's interpolate); null where it is no square table.
    /// </summary>
    /// <param name="table">The table.</param>
    /// <param name="rows">Rows wanted, (2w' - 1)^2.</param>
    public static Tensor? ResizedTable(Tensor table, int rows)
    {
        int from = (int)Math.Round(Math.Sqrt(table.shape[0])), to = (int)Math.Round(Math.Sqrt(rows));
        if (table.dim() != 2 || from * from != table.shape[0] || to * to != rows) return null;
        return Reshape(PositionTable.Resize(Reshape(table, 1, from * from, -1), 0, (from, from), (to, to)), rows, -1);
    }

    /// <summary>The bias of all heads, [1, h, w w, w w].</summary>
    private Tensor PositionBias()
    {
        var rows = Ops.Gather(relative_position_bias_table, 0, Reshape(relative_position_index, -1));
        return Reshape(Permute(Reshape(rows, tokens, tokens, heads), 2, 0, 1), 1, heads, tokens, tokens);
    }
}

/// <summary>Swin block: window attention, shifted by half a window in every second block, then channel mixing. [N, H, W, C] -> the same.</summary>
public sealed class SwinBlock : Layer
{
    private readonly LayerNorm norm1, norm2;
    private readonly WindowAttention attn;
    private readonly Layer mlp;
    private readonly Tensor? attn_mask;         // [windows, w w, w w] for the grid it was built for
    private readonly DropPath drop_path;
    private readonly int window, shift;
    private readonly (int Rows, int Columns) grid;

    /// <summary>Builds a block.</summary>
    /// <param name="dim">C.</param>
    /// <param name="grid">Token grid of the published input size; a grid no larger than the window gets one window and no shift.</param>
    /// <param name="heads">Must divide C.</param>
    /// <param name="window">Side of the windows.</param>
    /// <param name="shifted">Whether the windows are shifted by half a window.</param>
    /// <param name="mlp">Channel mixing.</param>
    /// <param name="dropPath">Stochastic depth of both branches.</param>
    /// <param name="qkvBias">Bias of the fused projection.</param>
    public SwinBlock(int dim, (int Rows, int Columns) grid, int heads, int window, bool shifted, Layer mlp, double dropPath = 0, bool qkvBias = true)
    {
        this.grid = grid;
        this.mlp = mlp;
        var smallest = Math.Min(grid.Rows, grid.Columns);
        this.window = Math.Min(window, smallest);
        shift = shifted && smallest > window ? window / 2 : 0;
        norm1 = new LayerNorm(dim);
        attn = new WindowAttention(dim, this.window, heads, qkvBias);
        norm2 = new LayerNorm(dim);
        drop_path = new DropPath(dropPath);
        if (shift > 0) attn_mask = NewBuffer(Windows.ShiftMask(Up(grid.Rows), Up(grid.Columns), this.window, shift));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        x = Add(x, drop_path.call(Attend(norm1.call(x))));
        x = Add(x, drop_path.call(mlp.call(norm2.call(x))));
        LayerTap.Hidden(x);
        return x;
    }

    private Tensor Attend(Tensor x)
    {
        var (rows, columns) = ((int)x.shape[1], (int)x.shape[2]);
        var (paddedRows, paddedColumns) = (Up(rows), Up(columns));
        var padded = (rows, columns) != (paddedRows, paddedColumns);
        if (padded) x = ToChannelsLast(Pad2d(ToChannelsFirst(x), 0, paddedColumns - columns, 0, paddedRows - rows));
        // A single window has nothing to shift against.
        var by = paddedRows <= window && paddedColumns <= window ? 0 : shift;
        AttentionTap.Enter(new TokenLayout(rows, columns, 0, window, by));
        var mask = by == 0 ? null : (rows, columns) == grid ? attn_mask! : Constant(Windows.ShiftMask(paddedRows, paddedColumns, window, by));
        x = Roll(Roll(x, 1, -by), 2, -by);
        var windows = Windows.Partition(x, window);
        x = Windows.Merge(mask is null ? attn.call(windows) : attn.Call(windows, mask), window, paddedRows, paddedColumns);
        x = Roll(Roll(x, 1, by), 2, by);
        return padded ? Slice(Slice(x, 1, 0, rows), 2, 0, columns) : x;
    }

    private int Up(int size) => (size + window - 1) / window * window;
}

/// <summary>Halves the grid and doubles the channels: 2 x 2 neighbours side by side, norm, linear. [N, H, W, C] -> [N, H/2, W/2, 2C].</summary>
public sealed class PatchMerging : Layer
{
    private readonly Linear reduction;
    private readonly LayerNorm norm;

    /// <summary>Builds the layer for C channels.</summary>
    public PatchMerging(int dim)
    {
        reduction = new Linear(4 * dim, 2 * dim, bias: false);
        norm = new LayerNorm(4 * dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var (height, width) = (x.shape[1], x.shape[2]);
        if (height % 2 + width % 2 > 0) x = ToChannelsLast(Pad2d(ToChannelsFirst(x), 0, width % 2, 0, height % 2));
        Tensor At(long row, long column) => Slice(Slice(x, 1, row, step: 2), 2, column, step: 2);
        return reduction.call(norm.call(Concat(-1, At(0, 0), At(1, 0), At(0, 1), At(1, 1))));
    }
}
