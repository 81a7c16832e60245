using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Bits that flip in a multiply-accumulate unit while a layer's real operands stream through it (specs/ace.md, section 4), a product on average: both operand
/// registers and a 32-bit accumulator are counted; what flips inside the multiplier is modelled, b^2 / 2 for random operands, in proportion to the activity of
/// its inputs.
/// </summary>
/// <param name="Node">The layer.</param>
/// <param name="Macs">Its products for one picture.</param>
/// <param name="Bits">b, of both operands.</param>
/// <param name="Activations">Flips of the activation's register, two's complement.</param>
/// <param name="Weights">Flips of the weight's register, two's complement.</param>
/// <param name="Accumulator">Flips of the accumulator.</param>
/// <param name="SignMagnitude">Flips of both operand registers if they held sign and magnitude.</param>
public sealed record ProductFlips(string Node, long Macs, int Bits, double Activations, double Weights, double Accumulator, double SignMagnitude)
{
    private const int AccumulatorBits = 32;

    /// <summary>Modelled flips inside the multiplier.</summary>
    public double Multiplier => Bits * (Activations + Weights) / 2;

    /// <summary>All flips of a product.</summary>
    public double Total => Activations + Weights + Accumulator + Multiplier;

    /// <summary>Flips of a product of random signed operands: b^2 / 2 + b in the multiplier and its registers, B / 2 + 2 b for the accumulation.</summary>
    public static double Random(int bits) => 0.5 * bits * bits + bits + 0.5 * AccumulatorBits + 2 * bits;

    /// <summary>Counts the layers with weights of a graph.</summary>
    /// <param name="graph">The network.</param>
    /// <param name="pictures">[N, C, H, W], as the network reads them.</param>
    /// <param name="bits">Operands are rounded to symmetric integers of so many bits: weights scaled by output channel, activations by tensor.</param>
    /// <param name="streams">Output values of each layer whose products are followed, drawn at random.</param>
    /// <param name="seed">Of the draw.</param>
    public static IReadOnlyList<ProductFlips> Of(Graph graph, Tensor pictures, int bits = 8, int streams = 24, int seed = 0)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var random = new Random(seed);
        var readers = graph.Nodes.Where(n => n.Op is Conv2dOp or LinearOp && n.Inputs[1] is { IsWeight: true }).ToLookup(n => n.Inputs[0]);
        var macs = Cost.Of(graph).Nodes.ToDictionary(n => n.Node, n => n.Macs);
        var flips = new Dictionary<GraphNode, ProductFlips>();
        using var module = new GraphModule(graph);
        module.eval();
        module.Run([pictures], (value, tensor) =>
        {
            foreach (var node in readers[value]) flips[node] = Layer(node, tensor, macs[node.Name], bits, streams, random);
        });
        return [.. graph.Nodes.Where(flips.ContainsKey).Select(n => flips[n])];
    }

    private static ProductFlips Layer(GraphNode node, Tensor input, long macs, int bits, int streams, Random random)
    {
        var weight = node.Inputs[1]!.Tensor!;
        var (x, w) = (TensorMemory.ToArray<float>(input), TensorMemory.ToArray<float>(weight));
        var outputs = (int)weight.shape[0];
        var length = w.Length / outputs;
        var max = (1 << (bits - 1)) - 1;
        var (xs, ws) = (new int[length], new int[length]);
        var unit = Largest(x) / max;
        long activations = 0, weights = 0, accumulator = 0, sign = 0, products = 0;
        for (var stream = 0; stream < streams; stream++)
        {
            var output = random.Next(outputs);
            var row = w.AsSpan(output * length, length);
            var scale = Largest(row) / max;
            for (var i = 0; i < length; i++) ws[i] = Code(row[i], scale);
            if (node.Op is Conv2dOp op) Patch(op, x, input.shape, weight.shape, output, unit, xs, random);
            else
            {
                var start = random.Next(x.Length / length) * length;
                for (var i = 0; i < length; i++) xs[i] = Code(x[start + i], unit);
            }
            activations += BitToggles.Count(xs, bits, RegisterCode.TwosComplement);
            weights += BitToggles.Count(ws, bits, RegisterCode.TwosComplement);
            sign += BitToggles.Count(xs, bits, RegisterCode.SignMagnitude) + BitToggles.Count(ws, bits, RegisterCode.SignMagnitude);
            accumulator += BitToggles.CountAccumulator(xs, ws);
            products += length;
        }
        double Mean(long count) => (double)count / products;
        return new(node.Name, macs, bits, Mean(activations), Mean(weights), Mean(accumulator), Mean(sign));
    }

    // The input pixels of one output value, in the order of its weights.
    private static void Patch(Conv2dOp op, float[] x, long[] input, long[] weight, int output, float unit, int[] codes, Random random)
    {
        var (channels, kh, kw) = (weight[1], weight[2], weight[3]);
        long Size(int axis) => (input[2 + axis] + 2 * op.Padding[axis] - op.Dilation[axis] * (weight[2 + axis] - 1) - 1) / op.Stride[axis] + 1;
        var (n, oy, ox) = (random.NextInt64(input[0]), random.NextInt64(Size(0)), random.NextInt64(Size(1)));
        var first = output / (weight[0] / op.Groups) * channels;
        var at = 0;
        for (var c = 0L; c < channels; c++)
        {
            for (var ky = 0L; ky < kh; ky++)
            {
                for (var kx = 0L; kx < kw; kx++)
                {
                    var (iy, ix) = (oy * op.Stride[0] - op.Padding[0] + ky * op.Dilation[0], ox * op.Stride[1] - op.Padding[1] + kx * op.Dilation[1]);
                    var inside = iy >= 0 && iy < input[2] && ix >= 0 && ix < input[3];
                    codes[at++] = inside ? Code(x[((n * input[1] + first + c) * input[2] + iy) * input[3] + ix], unit) : 0;
                }
            }
        }
    }

    private static int Code(float value, float unit) => unit > 0 ? (int)MathF.Round(value / unit) : 0;

    private static float Largest(ReadOnlySpan<float> values)
    {
        var largest = 0f;
        foreach (var v in values) largest = MathF.Max(largest, MathF.Abs(v));
        return largest;
    }
}
