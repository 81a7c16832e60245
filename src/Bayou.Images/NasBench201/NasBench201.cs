using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// The network of NAS-Bench-201 around any cell (paper, section 2; specs/nasbench201.md): three stages of N cells at widths C, 2C, 4C with a residual block of
/// stride 2 between them. [N, 3, H, W] -> logits [N, classes]; H and W must be multiples of 4.
/// </summary>
public sealed class NasBench201 : Layer, IFeatureNetwork
{
    private readonly Sequential stem;
    private readonly LayerList<Layer> cells;
    private readonly Sequential lastact;
    private readonly Linear classifier;
    private readonly int depth;

    /// <summary>Builds the network.</summary>
    /// <param name="cell">The cell, the same everywhere.</param>
    /// <param name="width">C: channels of the first stage.</param>
    /// <param name="depth">N: cells in a stage.</param>
    /// <param name="classes">Classes of the head.</param>
    /// <param name="inChannels">Channels of the input.</param>
    /// <exception cref="BayouException">Width or depth is not positive.</exception>
    public NasBench201(NasBench201Cell cell, int width = 16, int depth = 5, int classes = 10, int inChannels = 3)
    {
        if (width < 1 || depth < 1) throw new BayouException($"NAS-Bench-201: width {width} and depth {depth} must be positive");
        (Cell, this.depth) = (cell, depth);
        stem = new Sequential(new Conv2d(inChannels, width, 3, padding: 1, bias: false), new BatchNorm(width));
        cells = new LayerList<Layer>();
        for (var stage = 0; stage < 3; stage++)
        {
            var channels = width << stage;
            if (stage > 0) cells.Add(new NasBench201Reduction(channels / 2, channels));
            for (var n = 0; n < depth; n++) cells.Add(new NasBench201CellLayer(cell, channels));
        }
        lastact = new Sequential(new BatchNorm(4 * width), new ActivationLayer(Activation.Relu));
        classifier = new Linear(4 * width, classes);
        RegisterComponents();
    }

    /// <summary>The cell.</summary>
    public NasBench201Cell Cell { get; }

    /// <summary>[N, C, H, W] -> [N, classes].</summary>
    public override Tensor forward(Tensor x) => classifier.call(Pool(Activations(x)[^1]));

    /// <summary>The last activation, pooled: [N, 4C, H/4, W/4] -> [N, 4C], which the classifier reads.</summary>
    public Tensor Pool(Tensor x) => GlobalAveragePool(lastact.call(x));

    /// <summary>Outputs of the stem and of every cell and reduction in order (3N + 3 tensors).</summary>
    /// <exception cref="BayouException">The input's sides are no multiples of 4: the two ways of a reduction would then disagree.</exception>
    public Tensor[] Activations(Tensor x)
    {
        if (x.shape[2] % 4 != 0 || x.shape[3] % 4 != 0)
            throw new BayouException($"NAS-Bench-201: the input is {x.shape[2]} x {x.shape[3]}; both sides must be multiples of 4");
        var outputs = new Tensor[cells.Count + 1];
        outputs[0] = stem.call(x);
        for (var i = 0; i < cells.Count; i++) outputs[i + 1] = cells[i].call(outputs[i]);
        return outputs;
    }

    /// <inheritdoc/>
    public Tensor[] Features(Tensor x)
    {
        var all = Activations(x);
        return [all[depth], all[2 * depth + 1], all[3 * depth + 2]];
    }
}

/// <summary>A cell of four nodes: each is the sum of its edges' outputs. [N, C, H, W] -> [N, C, H, W].</summary>
public sealed class NasBench201CellLayer : Layer
{
    private readonly LayerList<Layer> layers;       // in the order of the edges; those without weights keep their place

    /// <summary>Builds a cell of a width.</summary>
    public NasBench201CellLayer(NasBench201Cell cell, int channels)
    {
        layers = new LayerList<Layer>([.. cell.Operations.Select(op => Edge(op, channels))]);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var nodes = new Tensor[4];
        nodes[0] = x;
        var edge = 0;
        for (var node = 1; node < 4; node++)
        {
            for (var source = 0; source < node; source++)
            {
                var y = layers[edge++].call(nodes[source]);
                nodes[node] = source == 0 ? y : Add(nodes[node], y);
            }
        }
        return nodes[3];
    }

    private static Layer Edge(NasBench201Operation op, int channels) => op switch
    {
        NasBench201Operation.None => new NasBench201Zero(),
        NasBench201Operation.SkipConnect => new Identity(),
        NasBench201Operation.Conv1x1 => new ReluConvBn(channels, channels, 1, 1),
        NasBench201Operation.Conv3x3 => new ReluConvBn(channels, channels, 3, 1),
        _ => new NasBench201AvgPool(),
    };
}

/// <summary>ReLU, convolution without bias, batch normalisation.</summary>
public sealed class ReluConvBn : Layer
{
    private readonly Sequential op;

    /// <summary>Square kernel with padding kernel / 2.</summary>
    public ReluConvBn(int inChannels, int outChannels, int kernel, int stride)
    {
        op = new Sequential(new ActivationLayer(Activation.Relu), new Conv2d(inChannels, outChannels, kernel, stride, kernel / 2, bias: false),
            new BatchNorm(outChannels));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => op.call(x);
}

/// <summary>x times 0: an edge that passes nothing but NaN and infinity.</summary>
public sealed class NasBench201Zero : Layer
{
    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Scale(x, 0);
}

/// <summary>Mean of 3x3 pixels; padding does not count.</summary>
public sealed class NasBench201AvgPool : Layer
{
    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => AvgPool2d(x, new Ints(3, 3), new Ints(1, 1), new Ints(1, 1), countPadding: false);
}

/// <summary>
/// Residual block that halves the resolution and doubles the width; the shortcut is a 2x2 mean and a 1x1 convolution. [N, C, H, W] -> [N, C', H/2, W/2].
/// </summary>
public sealed class NasBench201Reduction : Layer
{
    private readonly ReluConvBn conv_a, conv_b;
    private readonly Sequential downsample;

    /// <summary>Builds the block.</summary>
    public NasBench201Reduction(int inChannels, int outChannels)
    {
        conv_a = new ReluConvBn(inChannels, outChannels, 3, 2);
        conv_b = new ReluConvBn(outChannels, outChannels, 3, 1);
        downsample = new Sequential(new NasBench201HalfPool(), new Conv2d(inChannels, outChannels, 1, bias: false));
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Add(downsample.call(x), conv_b.call(conv_a.call(x)));
}

/// <summary>Mean of 2x2 pixels, stride 2.</summary>
public sealed class NasBench201HalfPool : Layer
{
    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => AvgPool2d(x, new Ints(2, 2), new Ints(2, 2), new Ints(0, 0));
}
