using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Onnx;

/// <summary>Runs a written file and the graph it came from on the same inputs.</summary>
internal static class OnnxVerifier
{
    /// <exception cref="BayouException">A float graph differs by more than the tolerance.</exception>
    public static OnnxCheck Compare(Graph graph, string path, long[] batches, OnnxOptions options)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var runner = new OnnxRunner(path);
        // Not disposed: its parameters and buffers belong to the model.
        var module = new GraphModule(graph);
        module.eval();
        var quantised = graph.Nodes.Any(n => n.Op is FakeQuantizeOp);
        // Own random numbers: an export in the middle of a training must not move libtorch's generator.
        var random = new Random(20240229);
        var tally = new Tally();
        foreach (var batch in batches) tally.Add(module, runner, graph.Inputs.Select(i => Normal(i, batch, random)).ToArray());
        if (options.Samples is { Count: > 0 } samples)
        {
            if (samples.Count != graph.Inputs.Count) throw new BayouException($"ONNX export: {samples.Count} sample tensors for {graph.Inputs.Count} inputs");
            const long chunk = 16;
            for (long start = 0; start < samples[0].shape[0]; start += chunk)
            {
                using var step = NewDisposeScope();
                tally.Add(module, runner, samples.Select(s => s.slice(0, start, Math.Min(start + chunk, s.shape[0]), 1)).ToArray());
            }
        }
        var check = new OnnxCheck(tally.Difference, tally.Reference, tally.Rows == 0 ? 1 : (double)tally.Equal / tally.Rows, tally.Rows, quantised);
        // Not (<=): NaN must fail too.
        if (!quantised && !(check.MaxAbsDiff <= options.Tolerance * Math.Max(1, check.MaxAbsReference)))
            throw new BayouException($"ONNX export: ONNX Runtime and TorchSharp differ on '{Path.GetFileName(path)}': {check}. The file was removed; this is a fault of the export, please report it");
        return check;
    }

    private static Tensor Normal(GraphValue input, long batch, Random random)
    {
        var shape = input.ShapeAt(batch);
        var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < values.Length; i++)
            values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        return tensor(values, shape).to(input.Dtype);
    }

    private sealed class Tally
    {
        public double Difference, Reference;
        public long Equal, Rows;

        public void Add(GraphModule module, OnnxRunner runner, Tensor[] inputs)
        {
            using var step = NewDisposeScope();
            var expected = module.Run(inputs);
            var actual = runner.Run(inputs);
            for (var i = 0; i < expected.Length; i++)
            {
                if (!expected[i].shape.AsSpan().SequenceEqual(actual[i].shape))
                    throw new BayouException($"ONNX export: output {i} has shape {new Ints(actual[i].shape)} in ONNX Runtime and {new Ints(expected[i].shape)} in TorchSharp");
                if (expected[i].numel() == 0) continue;
                var (e, a) = (expected[i].to(float64), actual[i].to(float64));
                Difference = Worse(Difference, (e - a).abs().max().item<double>());
                Reference = Worse(Reference, e.abs().max().item<double>());
                if (i > 0 || e.dim() == 0) continue;
                var same = e.argmax(-1).eq(a.argmax(-1));
                Equal += same.sum().item<long>();
                Rows += same.numel();
            }
        }

        // Math.Max gives NaN as soon as one is NaN.
        private static double Worse(double a, double b) => Math.Max(a, b);
    }
}
