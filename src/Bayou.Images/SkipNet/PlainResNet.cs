using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// A SkipNet's base network: the same blocks without gates, all of them run. [N, C, H, W] -> logits [N, classes]. Keys are SkipNet's, without gates and group
/// projections.
/// </summary>
public sealed class PlainResNet : Layer
{
    private readonly Conv2d conv1;
    private readonly BatchNorm bn1;
    private readonly Linear fc;
    private readonly ResidualBlock[] blocks;
    private readonly bool imageNet;

    /// <summary>Builds the network; gate settings of the configuration are ignored.</summary>
    public PlainResNet(SkipNetConfig config)
    {
        imageNet = config.ImageNet;
        var (channels, all) = (config.Widths[0], new List<ResidualBlock>());
        conv1 = imageNet ? new Conv2d(config.InChannels, channels, 7, 2, 3, bias: false) : new Conv2d(config.InChannels, channels, 3, 1, 1, bias: false);
        bn1 = new BatchNorm(channels);
        for (var g = 0; g < config.Layers.Length; g++)
        {
            for (var i = 0; i < config.Layers[g]; i++)
            {
                var block = new ResidualBlock(config.Block, channels, config.Widths[g], i == 0 && g > 0 ? 2 : 1);
                channels = block.OutChannels;
                register_module($"group{g + 1}_layer{i}", block);
                all.Add(block);
            }
        }
        blocks = [.. all];
        fc = new Linear(channels, config.Classes);
        RegisterComponents();
        SkipNet.Initialise(this);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        x = Relu(bn1.call(conv1.call(x)));
        if (imageNet) x = MaxPool2d(x, new Ints(3, 3), new Ints(2, 2), new Ints(1, 1));
        foreach (var block in blocks)
        {
            // As SkipNet does: memory of a map is free for the next block.
            using var scope = NewDisposeScope();
            var next = block.call(x).MoveToOuterDisposeScope();
            x.Dispose();
            x = next;
        }
        return fc.call(GlobalAveragePool(x));
    }
}
