using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class GraphPassesTests
{
    private sealed class Net : Layer
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
                // Positive: some serve as variances.
                var parameter = NewParameter(rand(parameters[i]) + 0.1);
                register_parameter($"p{i}", parameter);
                tensors[i] = parameter;
            }
        }

        public override Tensor forward(Tensor x) => body(x, tensors);
    }

    private static readonly Ints One = new(1, 1), None = new(0, 0);

    private static Tensor Conv(Tensor x, Tensor weight, Tensor? bias, long groups = 1) => Ops.Conv2d(x, weight, bias, One, One, One, groups);

    private static Tensor Norm(Tensor x, Tensor[] p, int at) => Ops.BatchNorm(x, p[at], p[at + 1], p[at + 2], p[at + 3], false, 1e-3, 0.1);

    // Name: network, node count after Simplify.
    private static readonly Dictionary<string, (Func<Net> Make, int Nodes)> Cases = new()
    {
        ["conv, norm"] = (() => new((x, p) => Norm(Conv(x, p[0], p[1]), p, 2), [5, 4, 3, 3], [5], [5], [5], [5], [5]), 1),
        ["conv without bias, norm, relu"] = (() => new((x, p) => Ops.Relu(Norm(Conv(x, p[0], null), p, 1)), [5, 4, 3, 3], [5], [5], [5], [5]), 2),
        ["depthwise conv, norm, scale"] =
            (() => new((x, p) => Ops.Mul(p[6], Norm(Conv(x, p[0], p[1], 4), p, 2)), [4, 1, 3, 3], [4], [4], [4], [4], [4], [4, 1, 1]), 1),
        ["linear, scale"] = (() => new((x, p) => Ops.Mul(Ops.Linear(x, p[0], p[1]), p[2]), [7, 6], [7], [7]), 1),
        ["linear without bias, scale"] = (() => new((x, p) => Ops.Mul(p[1], Ops.Linear(x, p[0], null)), [7, 6], [7]), 1),
        ["linear, one number"] = (() => new((x, p) => Ops.Mul(p[2], Ops.Linear(x, p[0], p[1])), [7, 6], [7], [1]), 1),
        ["linear, norm of a vector"] = (() => new((x, p) => Norm(Ops.Linear(Ops.Flatten(x), p[0], p[1]), p, 2), [5, 192], [5], [5], [5], [5], [5]), 2),
        ["residual with layer scale and drop path"] = (() => new((x, p) =>
            Ops.Add(x, Ops.DropPath(Ops.Mul(p[2], Ops.Linear(x, p[0], p[1])), 0.5, false)), [6, 6], [6], [6]), 2),
        ["one weight in two layers, one of them scaled"] =
            (() => new((x, p) => Ops.Add(Ops.Linear(x, p[0], p[1]), Ops.Mul(Ops.Linear(x, p[0], p[1]), p[2])), [6, 6], [6], [6]), 3),
        ["kept: scale along another axis"] = (() => new((x, p) => Ops.Mul(Ops.Linear(x, p[0], p[1]), p[2]), [7, 6], [7], [8, 1]), 2),
        ["kept: norm along another axis"] = (() => new((x, p) => Norm(Ops.Linear(x, p[0], p[1]), p, 2), [7, 6], [7], [4], [4], [4], [4]), 2),
        ["kept: read twice"] = (() => new((x, p) => Norm2(Conv(x, p[0], p[1]), p), [4, 4, 3, 3], [4], [4], [4], [4], [4]), 3),
        ["kept: broadcast upwards"] = (() => new((x, p) => Ops.Mul(p[1], Ops.Linear(x, p[0], null)), [1, 6], [3]), 2),
        ["identities"] = (() => new((x, p) => Ops.Relu(Ops.Scale(Ops.Permute(Ops.Dropout(x, 0.5, false), 0, 1, 2, 3), 1))), 1),
        ["identity at the output"] = (() => new((x, p) => Ops.Dropout(Ops.Relu(x), 0.5, false)), 2),
    };

    private static Tensor Norm2(Tensor y, Tensor[] p) => Ops.Add(y, Norm(y, p, 2));

    public static TheoryData<string> CaseNames => new(Cases.Keys);

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void A_simplified_graph_computes_the_same(string name)
    {
        for (var seed = 1; seed <= 3; seed++)
        {
            manual_seed(seed);
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            using var model = Cases[name].Make();
            model.eval();
            var graph = Capture.Trace(model, 1, 4, 8, 6);
            var before = graph.ToString();
            var simple = GraphPasses.Simplify(graph);
            Assert.Equal(Cases[name].Nodes, simple.Nodes.Count);
            Assert.Equal(before, graph.ToString());
            Assert.Equal(graph.Outputs[0].ToString(), simple.Outputs[0].ToString());
            var module = new GraphModule(simple);
            module.eval();
            var x = randn(3, 4, 8, 6);
            TensorAssert.Close(model.call(x), module.call(x), 1e-5, 1e-5);
        }
    }

    [Fact]
    public void Results_that_nobody_reads_are_dropped_and_names_stay()
    {
        manual_seed(4);
        using var scope = NewDisposeScope();
        using var model = new Net((x, p) =>
        {
            Ops.Relu(Conv(x, p[1], null));
            return Ops.Mul(Conv(x, p[0], null), p[2]);
        }, [5, 4, 3, 3], [2, 4, 1, 1], [5, 1, 1]);
        var simple = GraphPasses.Simplify(Capture.Trace(model, 1, 4, 8, 6));
        Assert.Equal(["p0"], simple.Weights.Select(w => w.Name));
        Assert.Equal("logits", Assert.Single(simple.Nodes).Output.Name);
    }
}
