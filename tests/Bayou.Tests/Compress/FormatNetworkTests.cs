using Bayou.Compress;
using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class FormatNetworkTests
{
    private static Sequential Net() => new(new Conv2d(3, 8, 3, padding: 1, bias: false), new BatchNorm(8), new ActivationLayer(Activation.Gelu), new Conv2d(8, 4, 3, stride: 2));

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
}
