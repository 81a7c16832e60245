using System.Text.Json;
using Bayou.Compress;
using Bayou.Core;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class PostTrainingQuantizationTests
{
    private static double Accuracy(nn.Module<Tensor, Tensor> model, Tensor x, Tensor labels)
    {
        using var noGrad = no_grad();
        return model.call(x).argmax(1).eq(labels).to(float32).mean().item<float>();
    }

    [Fact]
    public void A_trained_net_keeps_its_answers_and_the_graph_holds_integer_layers()
    {
        using var scope = NewDisposeScope();
        var (net, images, labels) = PatternNet.Trained();
        var graph = Capture.Trace(net, 1, 1, 8, 8);
        var before = net.state_dict().ToDictionary(p => p.Key, p => p.Value.clone());
        var result = PostTrainingQuantization.Quantize(graph, [images[..128]], new() { EvaluationImages = images[128..], EvaluationLabels = labels[128..] });
        Assert.Equal(8, result.Report.Trials.Count);
        Assert.True(result.Report.WithinMaxLoss);
        Assert.Equal(["dwconv", "fc1", "fc2", "pwconv", "stem"], result.Sensitivity.Select(s => s.Layer).Order());
        Assert.DoesNotContain(result.Graph.Nodes, n => n.Op is BatchNormOp);
        // Every layer that is not in float reads codes and code weights.
        foreach (var node in result.Graph.Nodes.Where(n => n.Op is Conv2dOp or LinearOp))
        {
            var quantized = node.Inputs.Take(2).All(v => result.Graph.Nodes.Any(n => n.Op is FakeQuantizeOp && n.Output == v));
            Assert.Equal(!result.KeptInFloat.Contains(node.Name), quantized);
        }
        var replay = new GraphModule(result.Graph);
        replay.eval();
        Assert.InRange(Accuracy(net, images, labels), 0.9, 1);
        Assert.InRange(Accuracy(net, images, labels) - Accuracy(replay, images, labels), -0.02, 0.02);
        // The model itself is untouched.
        foreach (var (key, value) in net.state_dict()) TensorAssert.Same(before[key], value);
    }

    [Fact]
    public void Folding_batch_normalisation_changes_nothing_but_rounding()
    {
        using var scope = NewDisposeScope();
        var (net, images, _) = PatternNet.Trained();
        var folded = GraphPasses.FoldBatchNorm(Capture.Trace(net, 1, 1, 8, 8));
        Assert.DoesNotContain(folded.Nodes, n => n.Op is BatchNormOp);
        var replay = new GraphModule(folded);
        replay.eval();
        using var noGrad = no_grad();
        TensorAssert.Close(net.call(images), replay.call(images), 1e-4, 1e-4);
    }

    [Fact]
    public void A_layer_whose_channels_differ_wildly_is_found_and_left_in_float()
    {
        using var scope = NewDisposeScope();
        var (net, images, labels) = PatternNet.Trained();
        using (no_grad())
        {
            // The same function, but one channel of fc2's input is now 4000 times the others: 8 bits per tensor leave nothing for them.
            net.Fc1.Weight[0].mul_(4000);
            net.Fc1.Bias![0].mul_(4000);
            net.Fc2.Weight[.., 0].div_(4000);
        }
        var graph = Capture.Trace(net, 1, 1, 8, 8);
        var blind = PostTrainingQuantization.Quantize(graph, [images],
            new()
            {
                Search = false,
                ActivationObserver = ActivationObserver.MinMax,
                KeepSensitiveInFloat = false,
                EvaluationImages = images,
                EvaluationLabels = labels
            });
        Assert.True(blind.Report.Final.Points > 0.3, $"blind quantisation lost only {blind.Report.Final.Points:P1}");
        var careful = PostTrainingQuantization.Quantize(graph, [images],
            new() { Search = false, ActivationObserver = ActivationObserver.MinMax, EvaluationImages = images, EvaluationLabels = labels, MaxLoss = 0.01 });
        Assert.Equal("fc2", careful.Sensitivity[0].Layer);
        Assert.Equal(["fc2"], careful.KeptInFloat);
        Assert.True(careful.Sensitivity[0].KeptInFloat);
        Assert.NotNull(careful.Sensitivity[0].Why);
        Assert.True(careful.Sensitivity[0].Loss.Kl > 10 * careful.Sensitivity[1].Loss.Kl);
        Assert.True(careful.Report.WithinMaxLoss);
        Assert.InRange(careful.Report.Final.Points, -0.02, 0.01);
        Assert.Equal(new[] { true }, careful.Report.Steps.Select(s => s.ToFloat));
    }

    [Fact]
    public void A_layers_sensitivity_is_that_of_the_network_with_only_it_quantised()
    {
        using var scope = NewDisposeScope();
        var (net, images, _) = PatternNet.Trained(96);
        var graph = Capture.Trace(net, 1, 1, 8, 8);
        var options = new PtqOptions { Search = false, EvaluationImages = images, MaxLoss = 1, BatchSize = 40 };
        var all = PostTrainingQuantization.Quantize(graph, [images], options);
        foreach (var layer in all.Sensitivity)
        {
            var others = all.Sensitivity.Select(s => s.Layer).Where(n => n != layer.Layer).ToArray();
            var alone = PostTrainingQuantization.Quantize(graph, [images], options with { KeepFloat = others, KeepSensitiveInFloat = false });
            Assert.Equal(alone.Report.Final.Kl, layer.Loss.Kl, 1e-9);
            Assert.Equal(alone.Report.Final.RelativeMse, layer.Loss.RelativeMse, 1e-9);
            Assert.InRange(layer.SqnrDb, 20, 80);
        }
    }

    [Fact]
    public void More_bits_in_the_weights_lose_less_and_bias_correction_helps_at_few()
    {
        using var scope = NewDisposeScope();
        var (net, images, _) = PatternNet.Trained();
        var graph = Capture.Trace(net, 1, 1, 8, 8);
        double Loss(int bits, bool correct) => PostTrainingQuantization.Quantize(graph, [images],
            new() { Search = false, KeepSensitiveInFloat = false, EvaluationImages = images, WeightBits = bits, BiasCorrection = correct })
                .Report.Final.RelativeMse;
        var (two, three, four, eight) = (Loss(2, false), Loss(3, false), Loss(4, false), Loss(8, false));
        Assert.True(two > 2 * three && three > 2 * four && four > 2 * eight, $"{two} {three} {four} {eight}");
        Assert.True(Loss(3, true) < three, $"{Loss(3, true)} corrected, {three} without");
    }

    [Fact]
    public void Bias_correction_restores_the_mean_of_a_linear_layer_exactly()
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        var net = new Linear(16, 4);
        var x = rand(64, 16) + 1;
        var graph = Capture.Trace(net, 1, 16);
        Tensor Mean(bool correct)
        {
            var options = new PtqOptions
            {
                Search = false,
                ActivationObserver = ActivationObserver.MinMax,
                KeepSensitiveInFloat = false,
                EvaluationImages = x,
                WeightBits = 2,
                BiasCorrection = correct
            };
            var replay = new GraphModule(PostTrainingQuantization.Quantize(graph, [x], options).Graph);
            return replay.call(x).detach().mean([0]);
        }
        var expected = net.call(x).detach().mean([0]);
        Assert.True((Mean(false) - expected).abs().max().item<float>() > 0.05);
        TensorAssert.Close(expected, Mean(true), 0, 0.005);
    }

    private sealed class Tied : Layer
    {
        private readonly Linear shared = new(6, 6);

        public Tied() => RegisterComponents();

        public override Tensor forward(Tensor x) => Ops.Add(x, shared.call(Ops.Relu(shared.call(x))));
    }

    [Fact]
    public void A_shared_weight_is_quantised_once_and_int8_codes_stay_in_range()
    {
        using var scope = NewDisposeScope();
        manual_seed(7);
        var x = randn(64, 6);
        var result = PostTrainingQuantization.Quantize(Capture.Trace(new Tied(), 1, 6), [x], new() { ActivationType = ActivationType.Int8, MaxLoss = 1 });
        Assert.Single(result.Graph.Nodes, n => n.Op is FakeQuantizeOp && n.Inputs[0]!.IsWeight);
        Assert.All(result.Graph.Nodes.Select(n => n.Op).OfType<FakeQuantizeOp>(), q => Assert.Equal((-127, 127), (q.Min, q.Max)));
        Assert.True(result.Report.Final.RelativeMse < 1e-3);
    }

    private sealed class DeadChannels : Layer
    {
        private readonly Conv2d first = new(1, 1, 3, padding: 1), second = new(1, 3, 1);

        public DeadChannels()
        {
            RegisterComponents();
            using var noGrad = no_grad();
            first.Weight.zero_();
            first.Bias!.fill_(-1);      // ReLU of it is zero everywhere
            second.Weight[1].zero_();
            second.Bias!.fill_(5);
        }

        public override Tensor forward(Tensor x) => Ops.Add(second.call(Ops.Relu(first.call(x))), x);
    }

    [Fact]
    public void A_dead_activation_and_a_dead_channel_get_safe_scales()
    {
        using var scope = NewDisposeScope();
        var x = rand(40, 1, 4, 4);
        var net = new DeadChannels();
        var result = PostTrainingQuantization.Quantize(Capture.Trace(net, 1, 1, 4, 4), [x]);
        var constants = result.Graph.Nodes.Where(n => n.Op is FakeQuantizeOp).Select(n => n.Inputs[1]!.Tensor!).ToArray();
        Assert.All(constants, s => Assert.InRange(s.min().item<float>(), 1e-6f, 10f));
        var replay = new GraphModule(result.Graph);
        TensorAssert.Close(net.call(x).detach(), replay.call(x).detach(), 0, 0.05);
    }

    [Fact]
    public void Bad_input_is_refused_with_a_reason()
    {
        using var scope = NewDisposeScope();
        var graph = Capture.Trace(new PatternNet(), 1, 1, 8, 8);
        var x = rand(4, 1, 8, 8);
        Assert.Contains("no calibration pictures", Refusal([]));
        // Which layer overflows first depends on the random weights.
        Assert.Matches("the activation '[a-z]+/(Relu|Gelu)' is (NaN|infinite)", Refusal([full(4, 1, 8, 8, value: float.MaxValue)]));
        Assert.Contains("NaN", Refusal([full(4, 1, 8, 8, value: float.NaN)]));
        Assert.Contains("[4,1,8,9]", Refusal([rand(4, 1, 8, 9)]));
        Assert.Contains("bits", Refusal([x], new() { WeightBits = 9 }));
        Assert.Contains("'stemm'", Refusal([x], new() { KeepFloat = ["stemm"] }));
        Assert.Contains("labels", Refusal([x], new() { EvaluationImages = x, EvaluationLabels = zeros(3, int64) }));
        var quantized = PostTrainingQuantization.Quantize(graph, [x], new() { Search = false }).Graph;
        Assert.Contains("quantised already", Assert.Throws<BayouException>(() => PostTrainingQuantization.Quantize(quantized, [x])).Message);
        string Refusal(Tensor[] batches, PtqOptions? options = null) =>
            Assert.Throws<BayouException>(() => PostTrainingQuantization.Quantize(graph, batches, options)).Message;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Onnx_runtime_runs_integer_kernels_and_agrees_with_the_fake_quantised_net(bool addAndPool)
    {
        using var scope = NewDisposeScope();
        var (net, images, _) = PatternNet.Trained();
        var result = PostTrainingQuantization.Quantize(Capture.Trace(net, 1, 1, 8, 8), [images],
            new() { Search = false, KeepSensitiveInFloat = false, QuantizeAdd = addAndPool, QuantizePool = addAndPool });
        var replay = new GraphModule(result.Graph);
        replay.eval();
        var expected = replay.call(images).detach();
        var optimized = Path.Combine(Path.GetTempPath(), $"bayou-ptq-{Guid.NewGuid():N}.onnx");
        try
        {
            using var runner = new OnnxRunner(OnnxWriter.ToBytes(result.Graph), new() { OptimizedModelPath = optimized });
            var actual = runner.Run(images);
            var equal = expected.argmax(1).eq(actual.argmax(1)).to(float32).mean().item<float>();
            Assert.InRange(equal, 0.99, 1);
            // One step of the last layer's input, times its weights, moves a logit by about this much.
            Assert.InRange((expected - actual).abs().max().item<float>(), 0, 0.03 * expected.abs().max().item<float>());
            // Node names carry their op: count what the optimiser left.
            var text = System.Text.Encoding.Latin1.GetString(File.ReadAllBytes(optimized));
            Assert.Equal(3, System.Text.RegularExpressions.Regex.Count(text, "\\x22\\x0bQLinearConv"));
            Assert.DoesNotContain("\x22\x04Conv", text);
            Assert.DoesNotContain("\x22\x04Gemm", text);
            Assert.DoesNotContain("\x22\x06MatMul", text);
        }
        finally
        {
            File.Delete(optimized);
        }
    }

    [Fact]
    public void The_report_survives_json_and_a_result_holds_no_scope_bound_tensors()
    {
        QuantizedModel result;
        Tensor x;
        using (NewDisposeScope())
        {
            var (net, images, _) = PatternNet.Trained(64);
            x = images.DetachFromDisposeScope();
            result = PostTrainingQuantization.Quantize(Capture.Trace(net, 1, 1, 8, 8), [images], new() { MaxLoss = 0 });
        }
        var replay = new GraphModule(result.Graph);
        Assert.Equal([64L, 10], replay.call(x).shape);
        var back = JsonSerializer.Deserialize<CompressReport>(result.Report.ToJson(), CompressReport.Json)!;
        Assert.Equal(result.Report.Layers, back.Layers);
        Assert.Equal(result.Report.Final, back.Final);
        Assert.Equal(result.Report.KeptInFloat, back.KeptInFloat);
        Assert.Equal(result.Report.Steps, back.Steps);
    }

    [Fact]
    public void A_second_quantisation_leaves_no_tensors_behind()
    {
        using var scope = NewDisposeScope();
        var (net, images, _) = PatternNet.Trained(64);
        var graph = Capture.Trace(net, 1, 1, 8, 8);
        var options = new PtqOptions { EvaluationImages = images };
        PostTrainingQuantization.Quantize(graph, [images], options);
        var before = LiveTensors.Settled();
        var result = PostTrainingQuantization.Quantize(graph, [images], options);
        // What remains is the result: its scales, zero points and folded weights.
        var own = result.Graph.Weights.Select(w => w.Tensor!).Count(t => !graph.Weights.Any(w => ReferenceEquals(w.Tensor, t)));
        Assert.InRange(Tensor.TotalCount - before, 0, own + 4);
    }
}
