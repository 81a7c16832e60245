using Bayou.Core;
using Bayou.Onnx;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Every op through a file and ONNX Runtime against TorchSharp at batch 1 and 3.</summary>
public class OnnxOpsTests
{
    /// <summary>A function of a picture and of a few parameters.</summary>
    internal sealed class Net : Layer
    {
        private readonly Func<Tensor, Tensor[], Tensor> body;
        private readonly Tensor[] tensors;

        public Net(Func<Tensor, Tensor[], Tensor> body, params long[][] parameters)
        {
            this.body = body;
            tensors = new Tensor[parameters.Length];
            for (var i = 0; i < parameters.Length; i++)
            {
                using var scope = NewDisposeScope();
                var parameter = NewParameter(randn(parameters[i]) * 0.5);
                register_parameter($"p{i}", parameter);
                tensors[i] = parameter;
            }
        }

        public override Tensor forward(Tensor x) => body(x, tensors);
    }

    private static readonly Ints One = new(1, 1), Two = new(2, 2), None = new(0, 0), Same = new(1, 1);

    internal static readonly Dictionary<string, Func<Net>> Cases = new()
    {
        ["conv"] = () => new((x, p) => Ops.Conv2d(x, p[0], p[1], Two, Same, One), [8, 4, 3, 3], [8]),
        ["conv without bias, dilated"] = () => new((x, p) => Ops.Conv2d(x, p[0], null, One, new(2, 1), new(2, 1)), [5, 4, 3, 3]),
        ["depthwise conv"] = () => new((x, p) => Ops.Conv2d(x, p[0], p[1], One, new(3, 2), One, 4), [4, 1, 7, 5], [4]),
        ["grouped conv"] = () => new((x, p) => Ops.Conv2d(x, p[0], p[1], One, None, One, 2), [6, 2, 2, 2], [6]),
        ["linear on 4 axes"] = () => new((x, p) => Ops.Linear(x, p[0], p[1]), [5, 6], [5]),
        ["linear without bias"] = () => new((x, p) => Ops.Linear(x, p[0], null), [5, 6]),
        ["linear on 2 axes"] = () => new((x, p) => Ops.Linear(Ops.Flatten(x), p[0], p[1]), [3, 192], [3]),
        ["linear on 2 axes without bias"] = () => new((x, p) => Ops.Linear(Ops.Flatten(x), p[0], null), [3, 192]),
        ["one weight in two linears"] = () => new((x, p) => Ops.Linear(Ops.Linear(x, p[0], p[1]), p[0], p[1]), [6, 6], [6]),
        ["linear with a computed weight"] = () => new((x, p) => Ops.Linear(x, Ops.Mul(p[0], p[1]), null), [5, 6], [5, 1]),
        ["matmul of two values"] = () => new((x, _) => Ops.MatMul(x, Ops.Permute(x, 0, 1, 3, 2))),
        ["matmul with a parameter"] = () => new((x, p) => Ops.MatMul(x, p[0]), [6, 5]),
        ["add, sub, mul, div"] = () => new((x, p) => Ops.Div(Ops.Mul(Ops.Sub(Ops.Add(x, p[0]), p[1]), x), Ops.Scale(Ops.Mul(x, x), 1, 1)), [6], [4, 1, 1]),
        ["scale and shift"] = () => new((x, _) => Ops.Scale(x, -0.25, 3)),
        ["scale"] = () => new((x, _) => Ops.Scale(x, 0.1)),
        ["scale by one"] = () => new((x, _) => Ops.Scale(x, 1)),
        ["shift"] = () => new((x, _) => Ops.Scale(x, 1, 0.3)),
        ["relu"] = () => new((x, _) => Ops.Relu(x)),
        ["gelu"] = () => new((x, _) => Ops.Gelu(Ops.Scale(x, 3))),
        ["sigmoid"] = () => new((x, _) => Ops.Activate(x, Activation.Sigmoid)),
        ["silu"] = () => new((x, _) => Ops.Activate(x, Activation.Silu)),
        ["tanh"] = () => new((x, _) => Ops.Activate(x, Activation.Tanh)),
        ["hardswish"] = () => new((x, _) => Ops.Activate(Ops.Scale(x, 4), Activation.Hardswish)),
        ["hardsigmoid"] = () => new((x, _) => Ops.Activate(Ops.Scale(x, 4), Activation.Hardsigmoid)),
        ["hard gate"] = () => new((x, _) => Ops.HardGate(x, 0.2)),
        ["softmax of the last axis"] = () => new((x, _) => Ops.Softmax(x, -1)),
        ["softmax of axis 1"] = () => new((x, _) => Ops.Softmax(x, 1)),
        ["layer norm"] = () => new((x, p) => Ops.LayerNorm(x, new(6), p[0], p[1], 1e-6), [6], [6]),
        ["layer norm over two axes"] = () => new((x, p) => Ops.LayerNorm(x, new(8, 6), p[0], p[1], 1e-3), [8, 6], [8, 6]),
        ["layer norm without parameters"] = () => new((x, _) => Ops.LayerNorm(x, new(6), null, null, 1e-5)),
        ["layer norm without bias"] = () => new((x, p) => Ops.LayerNorm(x, new(6), p[0], null, 1e-5), [6]),
        ["batch norm"] = () => new((x, p) => Ops.BatchNorm(x, p[0], p[1], p[2], Ops.Constant(full(4, 0.7f)), false, 1e-3, 0.1), [4], [4], [4]),
        ["batch norm of a vector"] = () =>
            new((x, p) => Ops.BatchNorm(Ops.Flatten(x), p[0], p[1], p[2], Ops.Constant(full(192, 0.7f)), false, 1e-3, 0.1), [192], [192], [192]),
        ["dropout and drop path"] = () => new((x, _) => Ops.Add(x, Ops.DropPath(Ops.Dropout(x, 0.5, false), 0.5, false))),
        ["nothing but dropout"] = () => new((x, _) => Ops.Dropout(x, 0.5, false)),
        ["permute"] = () => new((x, _) => Ops.Permute(x, 0, -1, 1, 2)),
        ["reshape"] = () => new((x, _) => Ops.Reshape(x, 0, 2, -1, 6)),
        ["reshape into the batch"] = () => new((x, _) => Ops.Reshape(x, -1, 4, 2, 6)),
        ["windows and back"] = () => new((x, _) => Ops.Reshape(Ops.Softmax(Ops.Reshape(x, -1, 16, 6), 1), -1, 4, 8, 6)),
        ["concat"] = () => new((x, _) => Ops.Concat(1, x, Ops.Relu(x), x)),
        ["concat of the last axis"] = () => new((x, _) => Ops.Concat(-1, x, Ops.Relu(x))),
        ["slice"] = () => new((x, _) => Ops.Slice(x, 2, 1, 7, 2)),
        ["slice from the end"] = () => new((x, _) => Ops.Slice(x, -1, -3)),
        ["slice up to before the end"] = () => new((x, _) => Ops.Slice(x, 1, 0, -1)),
        ["split"] = () => new((x, _) =>
        {
            var parts = Ops.Split(x, -1, 1, 2, 3);
            return Ops.Concat(-1, Ops.Relu(parts[2]), parts[0], parts[1]);
        }),
        ["pad"] = () => new((x, _) => Ops.Pad2d(x, 1, 2, 3, 0)),
        ["pad with a value"] = () => new((x, _) => Ops.Pad2d(x, 0, 2, 1, 1, -1.5)),
        ["class token"] = () => new((x, p) =>
        {
            var tokens = Ops.Permute(Ops.Reshape(x, 0, 4, -1), 0, 2, 1);
            return Ops.Concat(1, Ops.ExpandBatch(p[0], tokens), tokens);
        }, [1, 1, 4]),
        ["mean"] = () => new((x, _) => Ops.Mean(x, new(-1), true)),
        ["global average pool"] = () => new((x, _) => Ops.GlobalAveragePool(x)),
        ["max pool"] = () => new((x, _) => Ops.MaxPool2d(x, new(3, 3), Two, Same)),
        ["average pool"] = () => new((x, _) => Ops.AvgPool2d(x, new(3, 3), Two, Same)),
        ["average pool without padding"] = () => new((x, _) => Ops.AvgPool2d(x, new(3, 3), Two, Same, false)),
        ["attention"] = () => new((x, _) => Ops.Attention(x, Ops.Scale(x, 0.5), x, 0.3)),
        ["attention with a bias"] = () => new((x, p) => Ops.Attention(x, Ops.Scale(x, 0.5), Ops.Relu(x), 1 / Math.Sqrt(6), p[0]), [4, 8, 8]),
        ["exp, log, sqrt"] = () => new((x, _) => Ops.Apply(Ops.Scale(Ops.Apply(Ops.Apply(x, Unary.Exp), Unary.Sqrt), 1, 1), Unary.Log)),
        ["abs, sign, neg"] = () => new((x, _) => Ops.Mul(Ops.Apply(Ops.Apply(x, Unary.Abs), Unary.Neg), Ops.Apply(x, Unary.Sign))),
        ["sum, max, min"] = () =>
            new((x, _) => Ops.Add(Ops.Reduce(x, Reduction.Sum, new(2, 3)),
            Ops.Sub(Ops.Reduce(x, Reduction.Max, new(-1, -2)), Ops.Reduce(x, Reduction.Min, new(2, 3))))),
        ["sum that keeps its axis"] = () => new((x, _) => Ops.Div(x, Ops.Scale(Ops.Reduce(Ops.Mul(x, x), Reduction.Sum, new(1), true), 1, 1))),
        ["normalize"] = () => new((x, _) => Ops.Normalize(x, -2)),
        ["normalize below its bound"] = () => new((x, _) => Ops.Normalize(Ops.Scale(x, 0.1), 1, 0.3)),
        ["clamp"] = () => new((x, _) => Ops.Clamp(x, -0.5, 0.8)),
        ["stop gradient"] = () => new((x, _) => Ops.Add(x, Ops.StopGradient(x))),
        ["gather"] = () => new((x, p) => Ops.Add(x, Ops.Gather(p[0], 1, Ops.Constant(tensor(new long[] { 2, 0, 1, 1, 0, 2 })))), [8, 3]),
        ["gather from the input"] = () => new((x, _) => Ops.Gather(x, 3, Ops.Constant(tensor(new long[] { 5, 0, 0 })))),
        ["roll"] = () => new((x, _) => Ops.Roll(Ops.Roll(x, 2, -3), -1, 2)),
        ["the input itself twice"] = () => new((x, _) => Ops.Add(x, x)),
        ["a constant table"] = () => new((x, _) => Ops.Add(x, Ops.Constant(arange(6, float32)))),
    };

    public static TheoryData<string> CaseNames => new(Cases.Keys);

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void An_op_gives_the_same_in_onnx_runtime(string name)
    {
        manual_seed(5);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = Cases[name]();
        model.eval();
        var graph = Capture.Trace(model, 1, 4, 8, 6);
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(graph));
        foreach (var batch in new long[] { 1, 3 })
        {
            var x = randn(batch, 4, 8, 6);
            TensorAssert.Close(model.call(x), runner.Run(x), 1e-5, 1e-5);
        }
    }
}
