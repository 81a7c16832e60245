using Bayou.Compress;
using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class FormatNetworkTests
{
    private static Sequential Net() =>
        new(new Conv2d(3, 8, 3, padding: 1, bias: false), new BatchNorm(8), new ActivationLayer(Activation.Gelu), new Conv2d(8, 4, 3, stride: 2));

    [Fact]
    public void Wider_formats_are_closer_and_cost_what_their_bits_say()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        using var net = Net();
        net.eval();
        var x = randn(4, 3, 12, 12);
        var network = new FormatNetwork(Capture.Trace(net, 1, 3, 12, 12), [x]);
        var exact = net.call(x);
        double Error(string name)
        {
            var format = NumberFormat.Parse(name);
            var graph = network.With(new OperandFormats(format));
            Assert.Equal(network.Layers.Count * 2, graph.Nodes.Count(n => n.Op is FormatCastOp));
            Assert.Equal(Cost.Of(graph).Macs * format.Bits * format.Bits, Cost.Of(graph).AceAsIs());
            using var module = new GraphModule(graph);
            module.eval();
            return (module.Run([x])[0] - exact).abs().mean().item<float>();
        }

        Assert.True(Error("fp16") < Error("bf16"));
        Assert.True(Error("bf16") < Error("e4m3"));
        Assert.True(Error("e4m3") < Error("e5m2"));
        Assert.True(Error("int8") < Error("int4"));
        Assert.True(Error("int4") < Error("binary"));
    }

    [Fact]
    public void Layers_can_have_formats_of_their_own()
    {
        using var scope = NewDisposeScope();
        using var net = Net();
        net.eval();
        var network = new FormatNetwork(Capture.Trace(net, 1, 3, 12, 12), [randn(2, 3, 12, 12)]);
        var graph = network.With(n => ReferenceEquals(n, network.Layers[1]) ? new OperandFormats(NumberFormat.Int4, NumberFormat.Int8) : null);
        var costs = Cost.Of(graph).Nodes.Where(n => n.Macs > 0).ToArray();
        Assert.Equal([(32, 32), (8, 4)], costs.Select(c => (c.ABits, c.BBits)));
    }

    [Fact]
    public void Calibration_is_needed()
    {
        using var scope = NewDisposeScope();
        using var net = Net();
        Assert.Throws<BayouException>(() => new FormatNetwork(Capture.Trace(net, 1, 3, 12, 12), []));
    }

    [Fact]
    public void Blocks_lie_along_the_summed_axis()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        // One input channel in forty is a thousand times larger: in blocks of 32 channels it spoils its own block only, in one scale a tensor all of them.
        using var layer = new Conv2d(64, 3, 1, bias: false);
        var x = randn(2, 64, 5, 5);
        x[.., 40] *= 1000;
        using (no_grad()) layer.Weight[.., 40] = 0;
        var network = new FormatNetwork(Capture.Trace(layer, 1, 64, 5, 5), [x]);
        var exact = layer.call(x);
        double Error(string format)
        {
            using var module = new GraphModule(network.With(new OperandFormats(NumberFormat.Fp32, NumberFormat.Parse(format))));
            module.eval();
            return (module.Run([x])[0] - exact).abs().mean().item<float>();
        }

        Assert.True(Error("mxfp4") < 0.75 * Error("e2m1"), $"{Error("mxfp4")} {Error("e2m1")}");
        // The same numbers by hand: the input with each picture element's 64 channels in two blocks.
        var rows = x.permute(0, 2, 3, 1).contiguous();
        var (values, cast) = (rows.data<float>().ToArray(), new float[rows.numel()]);
        NumberFormat.MxFp4.Cast(values, cast);
        var expected = layer.call(tensor(cast, rows.shape).permute(0, 3, 1, 2));
        using var ours = new GraphModule(network.With(new OperandFormats(NumberFormat.Fp32, NumberFormat.MxFp4)));
        ours.eval();
        Assert.True((ours.Run([x])[0] - expected).abs().max().item<float>() < 1e-5);
    }
}
