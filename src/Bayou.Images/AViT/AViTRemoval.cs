using Bayou.Core;
using Bayou.Kernels;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What a pass that removes tokens did.</summary>
/// <param name="Logits">[N, classes].</param>
/// <param name="Depths">By picture and token (class token first): layers that the token ran through. Tokens that were left when their picture's answer was
/// fixed stop with it.</param>
/// <param name="TokensPerLayer">Tokens that ran, all pictures together, by layer.</param>
public sealed record RemovalTrace(Tensor Logits, int[][] Depths, long[] TokensPerLayer)
{
    /// <summary>Part of the token-layers of the dense network that ran.</summary>
    public double TokensKept => (double)TokensPerLayer.Sum() / ((long)TokensPerLayer.Length * Depths.Sum(d => d.Length));
}

// Inference that costs what its tokens cost; the official code only masks.
public sealed partial class AViT
{
    /// <summary>
    /// Runs each layer only on the tokens that are left: the rows of all pictures lie packed in one matrix, attention looks at each picture's own. A picture
    /// whose class token halts is done, whatever its patches do. The logits are those of <see cref="Masked"/>.
    /// </summary>
    public RemovalTrace Removing(Tensor x)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        x = Embed(x);
        var (pictures, tokens, width) = ((int)x.shape[0], (int)x.shape[1], (int)x.shape[2]);
        var depths = Enumerable.Range(0, pictures).Select(_ => Enumerable.Repeat(0, tokens).ToArray()).ToArray();
        var sums = new float[pictures * tokens];
        var rest = Enumerable.Repeat(1f, pictures).ToArray();           // of the class tokens
        var answer = new float[pictures * width];
        var owners = Enumerable.Range(0, pictures * tokens).ToArray();  // which token each row is
        var perLayer = new long[Blocks.Count];
        x = Reshape(x, -1, width);
        for (var l = 0; l < Blocks.Count && owners.Length > 0; l++)
        {
            using var layer = NewDisposeScope();
            var last = l == Blocks.Count - 1;
            perLayer[l] = owners.Length;
            var y = Run(Blocks[l], x, Lengths(owners, tokens));
            // [rows, width], read in place: a library call for each row that is looked at would take longer than small layers.
            var values = TensorMemory.IsPlain(y) ? TensorMemory.Values(y) : TensorMemory.ToArray<float>(y);
            var kept = new List<long>(owners.Length);
            var done = -1;          // the picture whose class token has just halted: its rows come first, so the others follow
            for (var r = 0; r < owners.Length; r++)
            {
                var (picture, token) = (owners[r] / tokens, owners[r] % tokens);
                depths[picture][token]++;
                var h = GateKernel.Sigmoid((float)Gate.Scale * values[r * width] - (float)Gate.Center);
                var sum = sums[owners[r]] += last ? 1 : h;
                var going = sum < (float)(1 - Gate.Eps);
                if (token == 0)
                {
                    var share = going ? h : rest[picture];
                    for (var i = 0; i < width; i++) answer[picture * width + i] += share * values[r * width + i];
                    if (going) rest[picture] -= h;
                    else done = picture;
                }
                if (going && picture != done) kept.Add(r);
            }
            var before = owners;
            if (kept.Count < owners.Length)
            {
                owners = kept.Select(r => before[r]).ToArray();
                y = kept.Count == 0 ? y : Gather(y, 0, tensor(kept.ToArray(), device: y.device));
            }
            x = y.MoveToOuterDisposeScope();
        }
        var logits = Head.call(Norm.call(tensor(answer, [pictures, width], device: x.device)));
        return new(logits.MoveToOuterDisposeScope(), depths, perLayer);
    }

    /// <summary>Layers that each patch of each picture ran through: [N, H/p, W/p], float. Pale patches were given up early.</summary>
    public Tensor TokenDepths(Tensor x)
    {
        var (rows, columns) = (x.shape[2] / Config.Patch, x.shape[3] / Config.Patch);
        var depths = Removing(x).Depths;
        return tensor(depths.SelectMany(d => d.Skip(1).Select(v => (float)v)).ToArray(), [depths.Length, rows, columns]);
    }

    private static Tensor Run(Block block, Tensor x, Ints lengths)
    {
        x = Add(x, ((Attention)block.Attn).Packed(block.Norm1.call(x), lengths));
        return Add(x, block.Mlp.call(block.Norm2.call(x)));
    }

    // Rows of a picture lie together.
    private static Ints Lengths(int[] owners, int tokens)
    {
        var lengths = new List<long>();
        for (var r = 0; r < owners.Length; r++)
        {
            if (r == 0 || owners[r] / tokens != owners[r - 1] / tokens) lengths.Add(0);
            lengths[^1]++;
        }
        return new Ints([.. lengths]);
    }
}
