using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Attention of several pictures with different numbers of tokens: the rows of picture after picture, packed in one matrix, each attending only to its own.
/// Input: qkv [M, 3C] (q, k, v side by side), M the sum of the lengths. Output [M, C]. What removing tokens needs; it depends on the data, so it has no ONNX
/// form.
/// </summary>
/// <param name="Lengths">Rows of each picture.</param>
/// <param name="Heads">Heads; must divide C.</param>
/// <param name="Scale">Factor on the logits.</param>
public sealed record PackedAttentionOp(Ints Lengths, int Heads, double Scale) : Op
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor?[] x, bool training)
    {
        var qkv = x[0]!;
        var (rows, width) = (qkv.shape[0], qkv.shape[1] / 3);
        if (qkv.dim() != 2 || qkv.shape[1] % (3 * Heads) != 0 || Lengths.Sum() != rows)
            throw new BayouException($"PackedAttention: {new Ints(qkv.shape)} is not [M, 3C] for {Heads} heads and pictures of {Lengths} rows");
        var each = width / Heads;
        var one = new AttentionOp(Scale);
        // Pictures of one length, as before anything has been removed, go in one call.
        if (Lengths.Count > 0 && Lengths.All(n => n == Lengths[0])) return Attend(qkv, Lengths.Count, Lengths[0]).reshape(rows, width);
        using var scope = NewDisposeScope();
        if (qkv.requires_grad && is_grad_enabled())
            return cat(Segments().Select(s => Attend(s.Rows, 1, s.Count).reshape(s.Count, width)).ToArray(), 0).MoveToOuterDisposeScope();
        if (PaddingPays(width)) return Padded(Lengths.Max()).MoveToOuterDisposeScope();
        var y = empty([rows, Heads * each], qkv.dtype, qkv.device);
        foreach (var (start, count, part) in Segments()) y.narrow(0, start, count).view(1, count, Heads, each).copy_(Attend(part, 1, count));
        return y.MoveToOuterDisposeScope();

        IEnumerable<(long Start, long Count, Tensor Rows)> Segments()
        {
            var start = 0L;
            foreach (var count in Lengths)
            {
                if (count > 0) yield return (start, count, qkv.narrow(0, start, count));
                start += count;
            }
        }

        // [pictures * count, 3C] -> [pictures, count, heads, C / heads]
        Tensor Attend(Tensor part, long pictures, long count, Tensor? bias = null)
        {
            var heads = part.view(pictures, count, 3, Heads, each).permute(2, 0, 3, 1, 4);
            return one.Forward([heads.select(0, 0), heads.select(0, 1), heads.select(0, 2), bias], training).permute(0, 2, 1, 3);
        }

        // All pictures at the longest one's length in one call; keys that are no tokens get no weight.
        Tensor Padded(long longest)
        {
            var (take, back, mask) = (new long[Lengths.Count * longest], new long[rows], new float[Lengths.Count * longest]);
            var row = 0L;
            for (var picture = 0; picture < Lengths.Count; picture++)
            {
                for (var t = 0L; t < longest; t++)
                {
                    var at = picture * longest + t;
                    if (t < Lengths[picture])
                    {
                        back[row] = at;
                        take[at] = row++;
                    }
                    else mask[at] = float.NegativeInfinity;
                }
            }
            var y = Attend(qkv.index_select(0, tensor(take, device: qkv.device)), Lengths.Count, longest,
                tensor(mask, [Lengths.Count, 1, 1, longest], device: qkv.device).to(qkv.dtype));
            return y.reshape(-1, width).index_select(0, tensor(back, device: qkv.device));
        }
    }

    // A call for each picture costs some 50 us besides its arithmetic; padding costs arithmetic on what is no token, and copies.
    private bool PaddingPays(long width)
    {
        const double call = 50e-6, multiplyAdds = 2e10, bytes = 4e9;
        var longest = Lengths.Max();
        if (Lengths.Any(n => n == 0)) return false;
        var more = (double)Lengths.Count * longest * longest - Lengths.Sum(n => (double)n * n);
        return more * 2 * width / multiplyAdds + Lengths.Count * longest * 8.0 * width * sizeof(float) / bytes < (Lengths.Count - 1) * call;
    }

    /// <inheritdoc/>
    public override OpWork Work(long[]?[] inputs, long[][] outputs)
    {
        var pairs = Lengths.Sum(n => n * n);
        return new(2 * pairs * outputs[0][1], 5 * pairs * Heads);
    }
}
