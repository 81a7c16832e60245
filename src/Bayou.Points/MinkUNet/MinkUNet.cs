using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>Shape of a <see cref="MinkUNet"/>.</summary>
public sealed record MinkUNetConfig
{
    /// <summary>Channels of the eight stages.</summary>
    public int[] Planes { get; init; } = [32, 64, 128, 256, 256, 128, 96, 96];

    /// <summary>Residual blocks of the eight stages.</summary>
    public int[] Layers { get; init; } = [2, 2, 2, 2, 2, 2, 2, 2];

    /// <summary>Whether a stage's blocks are bottlenecks (four times as wide outside) instead of basic blocks; null: none.</summary>
    public bool[]? Bottlenecks { get; init; }

    /// <summary>Channels of the stem.</summary>
    public int InitDim { get; init; } = 32;

    /// <summary>Channels of the input.</summary>
    public int InChannels { get; init; } = 3;

    /// <summary>Classes.</summary>
    public int Classes { get; init; } = 20;

    /// <summary>Side of the stem's kernel.</summary>
    public int StemKernel { get; init; } = 5;

    /// <summary>
    /// Where the encoder widens: in a stage's first block, as MinkowskiEngine's own MinkUNet does (false), or in the strided convolution before it, as
    /// Res16UNet of CodedVTR does (true).
    /// </summary>
    public bool WidenWhenStriding { get; init; }

    /// <summary>Momentum of the batch norms (the share of the new batch).</summary>
    public double Momentum { get; init; } = 0.1;
}

/// <summary>
/// Sparse residual U-Net (Choy et al., CVPR 2019, section 5; MinkUNet, Res16UNet): a stem, four levels down by 2x2x2 convolutions of stride 2, four up by
/// transposed ones with the encoder's
/// features of the same level beside them, a 1x1 classifier. Packed voxels [n, 4 + C] -> logits [n, classes]. State-dict keys are the official ones.
/// </summary>
public sealed class MinkUNet : Layer
{
    private readonly MinkowskiConvolution conv0p1s1, conv1p1s2, conv2p2s2, conv3p4s2, conv4p8s2;
    private readonly MinkowskiBatchNorm bn0, bn1, bn2, bn3, bn4;
    private readonly SparseSequential block1, block2, block3, block4;                  // encoder, tensor strides 2, 4, 8, 16
    private readonly MinkowskiConvolutionTranspose convtr4p16s2, convtr5p8s2, convtr6p4s2, convtr7p2s2;
    private readonly MinkowskiBatchNorm bntr4, bntr5, bntr6, bntr7;
    private readonly SparseSequential block5, block6, block7, block8;                  // decoder, tensor strides 8, 4, 2, 1
    private readonly MinkowskiConvolution final;

    /// <summary>Builds the network.</summary>
    public MinkUNet(MinkUNetConfig config)
    {
        if (config.Planes.Length != 8 || config.Layers.Length != 8)
            throw new BayouException($"a MinkUNet has eight stages, not {config.Planes.Length} widths and {config.Layers.Length} depths");
        Config = config;
        var (planes, m) = (config.Planes, config.Momentum);
        var width = new int[8];
        for (var s = 0; s < 8; s++) width[s] = planes[s] * Expansion(s);

        conv0p1s1 = new(config.InChannels, config.InitDim, new(config.StemKernel));
        bn0 = new(config.InitDim, momentum: m);
        (conv1p1s2, bn1, block1) = Down(0, config.InitDim);
        (conv2p2s2, bn2, block2) = Down(1, width[0]);
        (conv3p4s2, bn3, block3) = Down(2, width[1]);
        (conv4p8s2, bn4, block4) = Down(3, width[2]);
        (convtr4p16s2, bntr4, block5) = (Up(width[3], planes[4]), new(planes[4], momentum: m), Stage(4, planes[4] + width[2]));
        (convtr5p8s2, bntr5, block6) = (Up(width[4], planes[5]), new(planes[5], momentum: m), Stage(5, planes[5] + width[1]));
        (convtr6p4s2, bntr6, block7) = (Up(width[5], planes[6]), new(planes[6], momentum: m), Stage(6, planes[6] + width[0]));
        (convtr7p2s2, bntr7, block8) = (Up(width[6], planes[7]), new(planes[7], momentum: m), Stage(7, planes[7] + config.InitDim));
        final = new(width[7], config.Classes, new(1), bias: true);
        RegisterComponents();

        (MinkowskiConvolution, MinkowskiBatchNorm, SparseSequential) Down(int stage, int from)
        {
            var to = config.WidenWhenStriding ? planes[stage] : from;
            return (new(from, to, new(2, 2)), new(to, momentum: m), Stage(stage, to));
        }

        static MinkowskiConvolutionTranspose Up(int from, int to) => new(from, to, new(2, 2));
    }

    /// <summary>The network's shape.</summary>
    public MinkUNetConfig Config { get; }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Forward(SparseTensor.Unpack(x)).Features;

    /// <summary>Logits on the voxels of the input.</summary>
    /// <param name="x">Features on voxels of tensor stride 1.</param>
    /// <param name="observe">Sees every stage under its published name (bn0 and bntr4: before the ReLU); may be null.</param>
    public SparseTensor Forward(SparseTensor x, Action<string, SparseTensor>? observe = null)
    {
        var stem = Seen("bn0", bn0.call(conv0p1s1.call(x)), observe);
        var p1 = Relu(stem);
        var p2 = Seen("block1", block1.call(Relu(bn1.call(conv1p1s2.call(p1)))), observe);
        var p4 = Seen("block2", block2.call(Relu(bn2.call(conv2p2s2.call(p2)))), observe);
        var p8 = Seen("block3", block3.call(Relu(bn3.call(conv3p4s2.call(p4)))), observe);
        var p16 = Seen("block4", block4.call(Relu(bn4.call(conv4p8s2.call(p8)))), observe);

        var up = Seen("bntr4", bntr4.call(convtr4p16s2.call(p16)), observe);
        up = Seen("block5", block5.call(SparsePooling.Concat(Relu(up), p8)), observe);
        up = Seen("block6", block6.call(SparsePooling.Concat(Relu(bntr5.call(convtr5p8s2.call(up))), p4)), observe);
        up = Seen("block7", block7.call(SparsePooling.Concat(Relu(bntr6.call(convtr6p4s2.call(up))), p2)), observe);
        up = Seen("block8", block8.call(SparsePooling.Concat(Relu(bntr7.call(convtr7p2s2.call(up))), p1)), observe);
        return final.call(up);
    }

    private static SparseTensor Relu(SparseTensor x) => x.With(Ops.Relu(x.Features));

    private static SparseTensor Seen(string name, SparseTensor x, Action<string, SparseTensor>? observe)
    {
        observe?.Invoke(name, x);
        return x;
    }

    private int Expansion(int stage) => Config.Bottlenecks?[stage] == true ? SparseBottleneck.Expansion : 1;

    private SparseSequential Stage(int stage, int channels)
    {
        var (planes, blocks) = (Config.Planes[stage], new List<SparseLayer>());
        for (var b = 0; b < Config.Layers[stage]; b++)
        {
            blocks.Add(Expansion(stage) > 1
                ? new SparseBottleneck(channels, planes, Config.Momentum) : new SparseBasicBlock(channels, planes, Config.Momentum));
            channels = planes * Expansion(stage);
        }
        return new SparseSequential([.. blocks]);
    }
}
