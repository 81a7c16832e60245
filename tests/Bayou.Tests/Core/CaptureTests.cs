using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class CaptureTests
{
    private sealed class Residual : Layer
    {
        private readonly Conv2d conv = new(3, 3, 3, padding: 1);
        private readonly LayerNorm2d norm = new(3);
        private readonly DropPath drop = new(0.5);

        public Residual() => RegisterComponents();

        public override Tensor forward(Tensor x) => Ops.Add(x, drop.call(norm.call(conv.call(x))));
    }

    private sealed class Bypass : Layer
    {
        private readonly Conv2d conv = new(3, 3, 1);

        public Bypass() => RegisterComponents();

        public override Tensor forward(Tensor x) => conv.call(x * 2);
    }

    private sealed class BatchReshape : Layer
    {
        private readonly Linear head = new(12, 2);

        public BatchReshape() => RegisterComponents();

        public override Tensor forward(Tensor x) => head.call(Ops.Reshape(x, x.shape[0], 12));
    }

    private sealed class HalfRegistered : Layer
    {
        private readonly Linear head = new(4, 2);

        public override Tensor forward(Tensor x) => head.call(x);
    }

    [Fact]
    public void Replay_is_bit_identical_and_follows_the_models_parameters()
    {
        manual_seed(1);
        using var scope = NewDisposeScope();
        using var model = new Residual();
        model.eval();
        var graph = Capture.Trace(model, 1, 3, 8, 6);
        using var replay = new GraphModule(graph);
        replay.eval();
        var x = randn(5, 3, 8, 6);
        TensorAssert.Same(model.call(x), replay.call(x));
        using (no_grad()) model.parameters().First().mul_(3);
        TensorAssert.Same(model.call(x), replay.call(x));
    }

    [Fact]
    public void Disposing_a_replay_leaves_the_models_parameters_alive()
    {
        using var scope = NewDisposeScope();
        using var model = new Residual();
        var graph = Capture.Trace(model, 1, 3, 4, 4);
        new GraphModule(graph).Dispose();
        Assert.Equal([1L, 3, 4, 4], model.call(zeros(1, 3, 4, 4)).shape);
    }

    [Fact]
    public void A_drop_path_in_the_graph_obeys_train_and_does_not_touch_the_shortcut()
    {
        manual_seed(2);
        using var scope = NewDisposeScope();
        using var model = new Residual();
        using var replay = new GraphModule(Capture.Trace(model, 1, 3, 4, 4));
        replay.train();
        model.train();
        var x = randn(64, 3, 4, 4);
        manual_seed(7);
        var expected = model.call(x);
        manual_seed(7);
        var actual = replay.call(x);
        TensorAssert.Same(expected, actual);
        var dropped = (actual - x).abs().sum(new long[] { 1, 2, 3 }).eq(0).sum().item<long>();
        Assert.InRange(dropped, 10, 54);
    }

    [Fact]
    public void A_tensor_that_bypassed_Ops_is_an_error_that_names_the_op()
    {
        using var model = new Bypass();
        var error = Assert.Throws<BayouException>(() => Capture.Trace(model, 1, 3, 4, 4));
        Assert.Contains("Conv2d", error.Message);
        Assert.False(Capture.IsActive);
    }

    [Fact]
    public void A_parameter_that_was_not_registered_is_an_error()
    {
        using var model = new HalfRegistered();
        Assert.Contains("Linear", Assert.Throws<BayouException>(() => Capture.Trace(model, 1, 4)).Message);
    }

    [Fact]
    public void A_reshape_by_the_batch_becomes_symbolic()
    {
        using var scope = NewDisposeScope();
        using var model = new BatchReshape();
        var graph = Capture.Trace(model, 1, 3, 2, 2);
        Assert.Equal(new ReshapeOp(new Ints(-1, 12)), graph.Nodes[0].Op);
        using var replay = new GraphModule(graph);
        var x = randn(7, 3, 2, 2);
        TensorAssert.Same(model.call(x), replay.call(x));
    }

    [Fact]
    public void Gradients_reach_the_parameters_through_the_graph()
    {
        manual_seed(3);
        using var scope = NewDisposeScope();
        using var model = new Residual();
        using var replay = new GraphModule(Capture.Trace(model, 1, 3, 5, 5));
        model.eval();
        replay.eval();
        var x = randn(2, 3, 5, 5);
        model.call(x).square().sum().backward();
        var expected = model.parameters().Select(p => p.grad!.clone()).ToArray();
        model.zero_grad();
        replay.call(x).square().sum().backward();
        foreach (var (e, p) in expected.Zip(model.parameters())) TensorAssert.Close(e, p.grad!, 1e-6, 1e-7);
    }

    [Fact]
    public void Nodes_carry_module_paths_and_shapes_with_a_symbolic_batch()
    {
        using var model = new Residual();
        var graph = Capture.Trace(model, 1, 3, 8, 6);
        Assert.Equal(["conv", "conv/Permute", "norm", "norm/Permute", "norm/DropPath", "norm/Add"], graph.Nodes.Select(n => n.Name));
        Assert.Equal([9L, 3, 8, 6], graph.Outputs[0].ShapeAt(9));
        Assert.Equal("logits[N,3,8,6]", graph.Outputs[0].ToString());
    }

    [Fact]
    public void Wrong_input_shapes_are_refused()
    {
        using var model = new Residual();
        using var replay = new GraphModule(Capture.Trace(model, 1, 3, 8, 6));
        Assert.Throws<BayouException>(() => replay.call(zeros(1, 3, 8, 7)));
        Assert.Throws<BayouException>(() => Capture.Trace(model, 1, 3, 0, 6));
        Assert.Throws<BayouException>(() => Ops.MatMul(zeros(2, 3), zeros(4, 2)));
    }
}
