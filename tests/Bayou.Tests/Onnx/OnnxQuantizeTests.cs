using Bayou.Core;
using Bayou.Onnx;
using Bayou.Onnx.Proto;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Fake quantisation in files: the same codes, and integer kernels when ONNX Runtime runs them.</summary>
public sealed class OnnxQuantizeTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("bayou-qdq-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private sealed class FakeQuantized(long min, long max, int axis, float[] scale, long[] zero) : Layer
    {
        public override Tensor forward(Tensor x) =>
            Ops.FakeQuantize(x, Ops.Constant(axis < 0 && scale.Length == 1 ? tensor(scale[0]) : tensor(scale)),
                Ops.Constant(axis < 0 && zero.Length == 1 ? tensor(zero[0]) : tensor(zero)), min, max, axis);
    }

    [Theory]
    [InlineData(0, 255, -1)]
    [InlineData(-128, 127, -1)]
    [InlineData(0, 15, -1)]
    [InlineData(-3, 3, -1)]
    [InlineData(-128, 127, 1)]
    [InlineData(0, 7, 1)]
    [InlineData(-32768, 32767, -1)]
    public void Codes_are_the_same_as_in_TorchSharp(long min, long max, int axis)
    {
        manual_seed(1);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var middle = (min + max) / 2;
        using var model = axis < 0
            ? new FakeQuantized(min, max, axis, [0.0625f], [middle])
            : new FakeQuantized(min, max, axis, [0.0625f, 0.1f, 0.3f], [middle, min, max]);
        var path = Path.Combine(folder, "q.onnx");
        var check = model.ExportOnnx(path, [1, 3, 5, 4]);
        Assert.True(check.Quantised);
        using var runner = new OnnxRunner(path);
        var x = randn(4, 3, 5, 4) * 20;
        TensorAssert.Close(model.call(x), runner.Run(x), 1e-6, 1e-6);
    }

    private sealed class Small : Layer
    {
        private readonly Conv2d first = new(3, 16, 3, padding: 1), second = new(16, 16, 3, 2, padding: 1);
        private readonly Linear head = new(16, 10);

        public Small() => RegisterComponents();

        public override Tensor forward(Tensor x) => head.call(Ops.GlobalAveragePool(Ops.Relu(second.call(Ops.Relu(first.call(x))))));
    }

    private sealed class ChannelsLastMlp : Layer
    {
        private readonly LayerNorm norm = new(16);
        private readonly Linear fc1 = new(16, 64), fc2 = new(64, 16);

        public ChannelsLastMlp() => RegisterComponents();

        public override Tensor forward(Tensor x) => Ops.ToChannelsFirst(fc2.call(Ops.Gelu(fc1.call(norm.call(Ops.ToChannelsLast(x))))));
    }

    /// <summary>Per-channel weights, per-tensor activations by min and max on random inputs; convolutions also on their way out.</summary>
    internal static Graph Quantize(Graph graph)
    {
        var ranges = new Dictionary<GraphValue, (double Low, double High)>();
        var module = new GraphModule(graph);
        module.eval();
        using (NewDisposeScope())
        {
            module.Run([randn(graph.Inputs[0].ShapeAt(8))], (v, t) => ranges[v] = (Math.Min(0, t.min().item<float>()), Math.Max(0, t.max().item<float>())));
        }
        var done = new Dictionary<GraphValue, GraphValue>();
        GraphValue Add(Graph copy, GraphValue value, Tensor scale, Tensor zero, FakeQuantizeOp op)
        {
            var output = copy.AddValue(ValueKind.Node, value.Name + "/q", value.Shape, value.Dtype);
            copy.Nodes.Add(copy.MakeNode(op, [value, copy.AddConstant(value.Name + ".scale", scale), copy.AddConstant(value.Name + ".zero", zero)], [output],
                value.Name + "/q"));
            return output;
        }
        GraphValue Activation(Graph copy, GraphValue value, Dictionary<GraphValue, GraphValue> map)
        {
            if (done.TryGetValue(value, out var known)) return known;
            var (low, high) = ranges[value];
            var step = Math.Max((high - low) / 255, 1e-9);
            return done[value] = Add(copy, map[value], tensor((float)step), tensor((long)Math.Round(-low / step)), new FakeQuantizeOp(0, 255, -1));
        }
        return graph.Rewrite((copy, node, map) =>
        {
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            var inputs = node.Inputs.Select((v, i) => v is null ? null : done.TryGetValue(v, out var q) ? q : map[v]).ToArray();
            if (node.Op is Conv2dOp or LinearOp)
            {
                inputs[0] = Activation(copy, node.Inputs[0]!, map);
                var weight = node.Inputs[1]!.Tensor!;
                var scale = weight.abs().reshape(weight.shape[0], -1).amax([1]) / 127;
                inputs[1] = Add(copy, inputs[1]!, scale, zeros(weight.shape[0], int64), new FakeQuantizeOp(-127, 127, 0));
            }
            Graph.CopyNode(copy, node, map, inputs);
            if (node.Op is Conv2dOp or ActivationOp { Kind: Bayou.Core.Activation.Relu }) Activation(copy, node.Output, map);
        });
    }

    private (OnnxCheck Check, string[] Kernels, long Size) Export(Layer model, params long[] shape)
    {
        var graph = Quantize(Capture.Trace(model, shape));
        string path = Path.Combine(folder, "m.onnx"), optimised = Path.Combine(folder, "o.onnx");
        var check = OnnxWriter.Write(graph, path);
        using var runner = new OnnxRunner(path, new OnnxRunnerOptions { OptimizedModelPath = optimised });
        return (check, ModelProto.Parser.ParseFrom(File.ReadAllBytes(optimised)).Graph.Node.Select(n => n.OpType).ToArray(), new FileInfo(path).Length);
    }

    [Fact]
    public void A_small_quantised_network_runs_in_integers_and_agrees()
    {
        manual_seed(2);
        using var model = new Small();
        model.eval();
        var (check, kernels, _) = Export(model, 1, 3, 16, 16);
        Assert.True(check.Quantised);
        // Outputs are float behind the last Gemm: differences are some steps of its input.
        Assert.InRange(check.MaxAbsDiff, 0, 0.02 * Math.Max(1, check.MaxAbsReference));
        Assert.Equal(2, kernels.Count(k => k == "QLinearConv"));
        Assert.Single(kernels, k => k == "QGemm");
        Assert.DoesNotContain("Conv", kernels);
        Assert.DoesNotContain("Gemm", kernels);
    }

    [Fact]
    public void Linear_layers_on_pictures_run_in_integers_and_are_stored_as_codes()
    {
        manual_seed(3);
        using var model = new ChannelsLastMlp();
        model.eval();
        var (check, kernels, size) = Export(model, 1, 16, 6, 6);
        Assert.InRange(check.MaxAbsDiff, 0, 0.02 * Math.Max(1, check.MaxAbsReference));
        Assert.Equal(2, kernels.Count(k => k is "MatMulIntegerToFloat" or "QLinearMatMul" or "QGemm"));
        Assert.DoesNotContain("MatMul", kernels);
        // 2,048 weights as bytes; the rest are scales, biases and the graph itself.
        Assert.InRange(size, 2048, 4 * 2048);
    }
}
