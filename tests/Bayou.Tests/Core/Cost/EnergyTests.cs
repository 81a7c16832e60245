using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class EnergyTests
{
    [Fact]
    public void Ace_of_formats_is_the_product_of_their_bits()
    {
        var node = new NodeCost("n", "Conv2d", 10, 1000, 0, 0, 0);
        Assert.Equal(1_024_000, node.Ace(NumberFormat.Fp32, NumberFormat.Fp32));
        Assert.Equal(256_000, node.Ace(NumberFormat.Bf16, NumberFormat.Fp16));
        Assert.Equal(32_000, node.Ace(NumberFormat.Int4, NumberFormat.Int8));
        Assert.Equal(1_000, node.Ace(NumberFormat.Binary, NumberFormat.Binary));
    }

    [Fact]
    public void Operands_count_with_the_bits_they_are_read_in()
    {
        using var scope = NewDisposeScope();
        using var network = new PokeBnn(new PokeBnnConfig { Plan = [(1, 8), (2, 8)], InitGroup = 8, InitFeatures = 16, Classes = 5 });
        var nodes = Cost.Of(network, 1, 3, 32, 32).Nodes.Where(n => n.Macs > 0).ToArray();
        Assert.Equal([(8, 8), (8, 8), (1, 1), (4, 4), (4, 4)], nodes.Take(5).Select(n => (n.ABits, n.BBits)));
        Assert.Equal((8, 8), (nodes[^1].ABits, nodes[^1].BBits));
        // 3x3 with stride 2 reads its binary input through padding.
        Assert.Equal((1, 1), (nodes[14].ABits, nodes[14].BBits));
        Assert.Equal(nodes.Sum(n => n.Macs * n.ABits * n.BBits), Cost.Of(network, 1, 3, 32, 32).AceAsIs());
    }

    [Fact]
    public void Published_energies_and_scaled_ones()
    {
        Assert.Equal((0.9, 3.7, true), Tuple(EnergyTable.Nm45.Of(NumberFormat.Fp32)));
        Assert.Equal((0.007, 0.07, true), Tuple(EnergyTable.Nm7.Of(NumberFormat.Int8)));
        var int4 = EnergyTable.Nm7.Of(NumberFormat.Int4);
        Assert.False(int4.Published);
        Assert.Equal(0.07 / 4, int4.Multiply, 12);
        Assert.True(EnergyTable.Nm7.Mac(NumberFormat.Int8, NumberFormat.Int8) < EnergyTable.Nm7.Mac(NumberFormat.E4M3, NumberFormat.E4M3));
        Assert.True(EnergyTable.Nm7.Mac(NumberFormat.Bf16, NumberFormat.Bf16) < EnergyTable.Nm7.Mac(NumberFormat.Fp32, NumberFormat.Fp32));

        static (double, double, bool) Tuple(OperationEnergy e) => (e.Add, e.Multiply, e.Published);
    }

    [Fact]
    public void Total_cost_adds_capital_and_electricity()
    {
        var cost = new TotalCost(MachinePrice: 1000, Machines: 2, PricePerKwh: 0.3, Watts: 100, PicturesPerSecond: 50, Years: 1, Utilisation: 1, Pue: 1);
        Assert.Equal(2000, cost.Capital);
        Assert.Equal(0.1 * 24 * 365.25 * 0.3 * 2, cost.Electricity, 6);
        Assert.Equal(50 * 365.25 * 86400 * 2 / cost.Total, cost.PicturesPerPrice, 3);
    }

    [Fact]
    public void Meter_adds_packages_and_memory_and_survives_the_wrap()
    {
        using var folder = new TempFolder();
        void Zone(string name, string label, long energy)
        {
            var path = Directory.CreateDirectory(Path.Combine(folder.Root, name)).FullName;
            File.WriteAllText(Path.Combine(path, "name"), label);
            File.WriteAllText(Path.Combine(path, "max_energy_range_uj"), "1000000");
            File.WriteAllText(Path.Combine(path, "energy_uj"), $"{energy}\n");
        }

        Zone("intel-rapl:0", "package-0", 900_000);
        Zone("intel-rapl:0:0", "core", 0);
        Zone("intel-rapl:0:1", "dram", 100);
        Zone("intel-rapl:1", "psys", 0);
        var meter = EnergyMeter.Start(folder: folder.Root);
        Assert.Equal("", meter.WhyModelled);
        Zone("intel-rapl:0", "package-0", 100_000);       // wrapped: 200,000 used
        Zone("intel-rapl:0:0", "core", 500_000);
        Zone("intel-rapl:0:1", "dram", 50_100);
        Zone("intel-rapl:1", "psys", 700_000);
        var reading = meter.Read();
        Assert.True(reading.Measured);
        Assert.Equal(0.25, reading.Joules, 9);
    }

    [Fact]
    public void Without_counters_energy_is_modelled_and_says_so()
    {
        using var folder = new TempFolder();
        var meter = EnergyMeter.Start(watts: 40, folder: folder.Root);
        var end = DateTime.UtcNow.AddMilliseconds(60);
        while (DateTime.UtcNow < end) { }
        var reading = meter.Read();
        Assert.False(reading.Measured);
        Assert.Contains("modelled", reading.Source);
        Assert.InRange(reading.Joules, 1e-4, 40);
    }

    [Fact]
    public void Flips_of_small_streams_by_hand()
    {
        int[] stream = [0, -1, 3, -4];
        Assert.Equal(3 + 1 + 3, BitToggles.Count(stream, 3, RegisterCode.TwosComplement));      // 000 111 011 100
        Assert.Equal(7u, BitToggles.Register(-4, 3, RegisterCode.SignMagnitude));               // magnitude 4 does not fit: 3
        Assert.Equal(0u, BitToggles.Register(-4, 3, RegisterCode.Offset));
        Assert.Equal(3, BitToggles.Count([-4, -3, -2, -1], 3, RegisterCode.Gray));              // neighbours differ by one bit
        Assert.Equal(2 + 1, BitToggles.CountAccumulator([1, 2], [3, 2]));                       // 0, 3, 7
        Assert.Throws<BayouException>(() => BitToggles.CountAccumulator([1], [1, 2]));
    }

    [Theory]
    [InlineData(AqtCodes.HalfShift, 1)]
    [InlineData(AqtCodes.HalfShift, 4)]
    [InlineData(AqtCodes.Signed, 8)]
    [InlineData(AqtCodes.Unsigned, 4)]
    public void Aqt_quantiser_agrees_with_its_onnx_form(AqtCodes codes, int bits)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        using var layer = new AqtProbe(new AqtQuantizeOp(bits, codes, null, -1), tensor(new[] { 1.5f, -1f, 0.7f }).reshape(1, 3, 1, 1));
        var graph = Capture.Trace(layer, 1, 3, 4, 4);
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(graph));
        var x = randn(5, 3, 4, 4);
        TensorAssert.Close(layer.call(x), runner.Run(x), 1e-6, 1e-6);
        Assert.True(layer.call(x).slice(1, 1, 2, 1).eq(x.slice(1, 1, 2, 1)).all().item<bool>());      // a negative bound quantises nothing
    }

    [Fact]
    public void Bounds_follow_the_batch_in_training_only()
    {
        using var scope = NewDisposeScope();
        var op = new AqtQuantizeOp(8, AqtCodes.Signed, null, -1, Momentum: 0.25);
        var bound = tensor(new[] { -1f, 2f }).reshape(1, 2);
        var x = tensor(new float[,] { { 3, -1 }, { -4, 0.5f } });
        op.Forward([x, bound], training: false);
        Assert.Equal(-1f, bound[0, 0].item<float>());
        op.Forward([x, bound], training: true);
        Assert.Equal([4f, 1.75f], bound.data<float>().ToArray());
    }

    private sealed class AqtProbe : Layer
    {
        private readonly Tensor bounds;
        private readonly AqtQuantizeOp op;

        public AqtProbe(AqtQuantizeOp op, Tensor bounds)
        {
            (this.op, this.bounds) = (op, NewBuffer(bounds));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => Ops.AqtQuantize(x, bounds, op, training);
    }

    [Fact]
    public void Flips_of_a_product_are_those_of_its_streams()
    {
        using var scope = NewDisposeScope();
        using var layer = new Linear(4, 1, bias: false);
        // Codes 127, -127, 127, -127 of the weight and 127, 0, 127, 0 of the activation.
        using (no_grad()) layer.Weight.copy_(tensor(new float[] { 2, -2, 2, -2 }).reshape(1, 4));
        var graph = Capture.Trace(layer, 1, 4);
        var flips = Assert.Single(ProductFlips.Of(graph, tensor(new float[] { 3, 0, 3, 0 }).reshape(1, 4)));
        int[] w = [127, -127, 127, -127], x = [127, 0, 127, 0];
        Assert.Equal(BitToggles.Count(w, 8, RegisterCode.TwosComplement) / 4.0, flips.Weights);
        Assert.Equal(3 * 7 / 4.0, flips.Activations);
        Assert.Equal(BitToggles.CountAccumulator(x, w) / 4.0, flips.Accumulator);
        Assert.Equal((3 * 7 + 3) / 4.0, flips.SignMagnitude);
        Assert.Equal(8 * (flips.Activations + flips.Weights) / 2 + flips.Activations + flips.Weights + flips.Accumulator, flips.Total, 12);
        Assert.Equal((4, 72), (flips.Macs, ProductFlips.Random(8)));
    }

    [Fact]
    public void Flips_of_a_convolution_follow_its_patches()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        // The kernel covers the picture with its padding: one output value a channel, whose stream is the padded picture.
        using var layer = new Conv2d(2, 2, 3, padding: 1, stride: 3, groups: 2, bias: false);
        var x = randn(1, 2, 2, 2);
        var flips = Assert.Single(ProductFlips.Of(Capture.Trace(layer, 1, 2, 2, 2), x, streams: 64));
        var means = Enumerable.Range(0, 2).Select(c =>
        {
            float[] p = x[0, c].data<float>().ToArray(), stream = [0, 0, 0, 0, p[0], p[1], 0, p[2], p[3]];
            var unit = x.abs().max().item<float>() / 127;
            return BitToggles.Count([.. stream.Select(v => (int)MathF.Round(v / unit))], 8, RegisterCode.TwosComplement) / 9.0;
        }).ToArray();
        Assert.InRange(flips.Activations, means.Min(), means.Max());
    }

    [Fact]
    public void A_weight_that_is_turned_belongs_to_its_reader()
    {
        using var scope = NewDisposeScope();
        using var network = new PokeBnn(new PokeBnnConfig { Plan = [(1, 8)], InitGroup = 8, InitFeatures = 16, Classes = 5 });
        var cost = Cost.Of(network, 1, 3, 32, 32);
        Assert.Equal(network.parameters().Sum(p => p.numel()), cost.Parameters);
        // The stem's first convolution: 4 x 4 x 3 x 8.
        Assert.Equal(384, cost.Nodes.First(n => n.Macs > 0).Parameters);
        Assert.Equal(cost.Nodes.Sum(n => EnergyTable.Nm7.AsIs(n).Dram),
            cost.Nodes.Sum(n => n.Parameters * (double)n.BBits) * EnergyTable.Nm7.DramPerBit / 1e3, 6);
    }

    [Fact]
    public void Electricity_of_a_million_pictures()
    {
        var cost = new TotalCost(1000, 1, PricePerKwh: 0.3, Watts: 36, PicturesPerSecond: 10, Pue: 2);
        Assert.Equal(1e6 * 3.6 / 3.6e6 * 2 * 0.3, cost.ElectricityPerMillion, 9);
    }
}
