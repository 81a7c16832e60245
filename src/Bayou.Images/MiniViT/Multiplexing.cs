using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// The parts of a shared block that every repeat has to itself (MiniViT, section 3.2); one instance serves all repeats where nothing is unshared. Keys
/// instances.R.*.
/// </summary>
/// <typeparam name="T">What each repeat has.</typeparam>
public sealed class Repeated<T> : Layer
    where T : Layer
{
    private readonly LayerList<T> instances = new();

    /// <summary>Makes the instances.</summary>
    public Repeated(int count, Func<T> make)
    {
        for (var r = 0; r < count; r++) instances.Add(make());
        RegisterComponents();
    }

    /// <summary>The instance of a repeat.</summary>
    public T this[int repeat] => instances[repeat % instances.Count];

    /// <summary>The first repeat's.</summary>
    public override Tensor forward(Tensor x) => instances[0].call(x);
}

/// <summary>Buckets of relative positions ("Rethinking and Improving Relative Position Encoding for Vision Transformer", ICCV 2021; product method).</summary>
public static class PositionBuckets
{
    /// <summary>Buckets of both axes together: 49 for the published ratio 1.9.</summary>
    public static int Count(double ratio) => (2 * (int)(2 * ratio) + 1) * (2 * (int)(2 * ratio) + 1);

    /// <summary>Bucket of an offset along one axis: itself up to alpha = ratio, then logarithmic up to beta = 2 ratio at gamma = 8 ratio.</summary>
    public static int Of(int offset, double ratio)
    {
        var distance = Math.Abs(offset);
        if (distance <= ratio) return offset;
        var logarithmic = Math.Round(ratio + Math.Log(distance / ratio) / Math.Log(8) * ratio);
        return Math.Sign(offset) * (int)Math.Min(logarithmic, 2 * ratio);
    }

    /// <summary>Bucket of every pair (query, key) of a grid, [T, T] row by row; tokens in front of the grid have a bucket of their own, the last.</summary>
    public static int[] Table(int rows, int columns, double ratio, int prefix = 0)
    {
        var tokens = rows * columns + prefix;
        var (largest, table) = ((int)(2 * ratio), new int[tokens * tokens]);
        for (var i = 0; i < tokens; i++)
        {
            for (var j = 0; j < tokens; j++)
            {
                var (q, k) = (i - prefix, j - prefix);
                table[i * tokens + j] = q < 0 || k < 0
                    ? Count(ratio)
                    : (Of(q / columns - k / columns, ratio) + largest) * (2 * largest + 1) + Of(q % columns - k % columns, ratio) + largest;
            }
        }
        return table;
    }
}

/// <summary>
/// Contextual relative position encoding on keys: what a query thinks of each bucket, read out at the bucket of each key. Key lookup_table_weight [1 or heads,
/// d, buckets].
/// </summary>
public sealed class ContextualPositions : Layer
{
    private readonly Parameter lookup_table_weight;
    private readonly double ratio;
    private readonly int prefix, buckets;
    private readonly Dictionary<(int, int), Tensor> indices = [];      // no field of type Tensor: it would become a buffer

    /// <summary>Starts at zero: no preference.</summary>
    /// <param name="heads">Heads with tables of their own; 1: shared by all.</param>
    /// <param name="dim">Width of a head.</param>
    /// <param name="ratio">Where buckets begin to widen, in tokens.</param>
    /// <param name="prefix">Tokens in front of the grid.</param>
    public ContextualPositions(int heads, int dim, double ratio, int prefix)
    {
        (this.ratio, this.prefix) = (ratio, prefix);
        buckets = PositionBuckets.Count(ratio) + (prefix > 0 ? 1 : 0);
        lookup_table_weight = NewParameter(zeros(heads, dim, buckets));
        RegisterComponents();
    }

    /// <summary>Bias of the logits. q [N, h, T, d] (scaled), its grid; returns [N, h, T, T].</summary>
    public Tensor Bias(Tensor q, int rows, int columns)
    {
        var (heads, tokens) = (q.shape[1], q.shape[2]);
        var each = MatMul(q, lookup_table_weight);                                          // [N, h, T, buckets]
        var flat = Gather(Reshape(each, 0, heads, tokens * buckets), 2, Constant(Index(rows, columns)));
        return Reshape(flat, 0, heads, tokens, tokens);
    }

    /// <summary>[N, h, T, d] of a single row of tokens.</summary>
    public override Tensor forward(Tensor x) => Bias(x, 1, (int)x.shape[2] - prefix);

    // Position of (i, bucket(i, j)) in the row of all queries' buckets.
    private Tensor Index(int rows, int columns)
    {
        if (indices.TryGetValue((rows, columns), out var known)) return known;
        var table = PositionBuckets.Table(rows, columns, ratio, prefix);
        var tokens = (int)Math.Sqrt(table.Length);
        return indices[(rows, columns)] = tensor(table.Select((bucket, n) => (long)n / tokens * buckets + bucket).ToArray()).DetachFromDisposeScope();
    }
}
