using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class PokeBnnTests
{
    private static readonly PokeBnnConfig Small = new() { Plan = [(1, 8), (2, 16)], InitGroup = 8, InitFeatures = 16, Classes = 3, Patch = 2 };

    [Fact]
    public void A_few_steps_lower_the_loss_and_set_the_bounds()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        using var network = new PokeBnn(Small);
        var (x, y) = (randn(24, 3, 16, 16), arange(24L).remainder(Number.Of(3)));
        x = x.Plus(y.to(float32).reshape(-1, 1, 1, 1));       // the classes differ in brightness
        using var optimizer = optim.Adam(network.parameters(), 5e-3);
        var losses = new List<float>();
        network.train();
        for (var step = 0; step < 25; step++)
        {
            using var inner = NewDisposeScope();
            optimizer.zero_grad();
            var loss = nn.functional.cross_entropy(network.call(x), y);
            losses.Add(loss.item<float>());
            loss.backward();
            optimizer.step();
        }
        Assert.True(losses[^1] < 0.6 * losses[0], $"{losses[0]} to {losses[^1]}");
        Assert.All(network.named_buffers().Where(b => b.name.EndsWith("bounds", StringComparison.Ordinal)),
            b => Assert.True(b.buffer.ge(Number.Of(0)).all().item<bool>(), b.name));
    }

    [Fact]
    public void Onnx_computes_the_same()
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        using var network = new PokeBnn(Small);
        network.train();
        using (no_grad()) network.call(randn(8, 3, 16, 16));        // sets bounds and statistics
        network.eval();
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(network, 1, 3, 16, 16)));
        var x = randn(4, 3, 16, 16);
        using var guard = no_grad();
        var (ours, theirs) = (network.call(x), runner.Run(x));
        // A value within rounding of a threshold may take the other code: nearly all logits agree closely.
        var close = (ours - theirs).abs().le(Number.Of(1e-3)).to(float32).mean().item<float>();
        Assert.True(close > 0.7, $"{close:P0} of the logits agree");
    }

    [Fact]
    public void Parts_can_be_left_out_and_cost_what_they_cost()
    {
        using var scope = NewDisposeScope();
        using var full = new PokeBnn(Small);
        using var plain = new PokeBnn(Small with { Components = PokeComponents.None });
        Assert.DoesNotContain(plain.named_parameters(),
            p => p.name.Contains("sefc", StringComparison.Ordinal) || p.name.StartsWith("DPReLU_2", StringComparison.Ordinal));
        var (a, b) = (Cost.Of(full, 1, 3, 16, 16), Cost.Of(plain, 1, 3, 16, 16));
        Assert.Equal(a.Nodes.Where(n => n.ABits == 1).Sum(n => n.Macs), b.Nodes.Where(n => n.ABits == 1).Sum(n => n.Macs));
        Assert.True(b.AceAsIs() < a.AceAsIs());
        Assert.Equal([3L], plain.call(zeros(1, 3, 16, 16)).shape[1..]);
    }

    [Fact]
    public void Shortcuts_are_repeated_to_widths_that_are_no_multiple()
    {
        // Width 1.4: 64 channels meet 356. The first block begins as its long shortcut (the third batch norm's scale is 0), behind DPReLU and
        // squeeze-and-excitation.
        using var scope = NewDisposeScope();
        manual_seed(8);
        using var network = new PokeBnn(Small with { Plan = [(1, 9), (2, 11)] });        // 16 -> 36, 36 -> 44
        network.eval();
        using var guard = no_grad();
        var x = randn(2, 3, 16, 16);
        Assert.Equal([2, 44, 4, 4], network.Outputs(x)[1][2].shape);
        Assert.Equal(network.parameters().Sum(p => p.numel()), Cost.Of(network, 1, 3, 16, 16).Parameters);
    }

    [Fact]
    public void Catalog_knows_the_parameters()
    {
        using var scope = NewDisposeScope();
        var entry = PokeBnnVariants.Entries.Single(e => e.Name == "pokebnn_0.5x");
        using var network = entry.Create(new ModelOptions(1000));
        Assert.Equal(entry.Parameters, network.parameters().Sum(p => p.numel()));
    }
}
