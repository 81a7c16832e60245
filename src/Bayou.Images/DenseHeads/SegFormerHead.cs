using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// All-MLP decoder of SegFormer (Xie et al., NeurIPS 2021, arXiv 2105.15203, section 3.2) on the features of any backbone: every map is projected to one width,
/// brought to the finest map's size (bilinear), all are joined from coarse to fine and mixed by one 1x1 convolution. Maps [N, C_i, H_i, W_i], finest first ->
/// [N, classes, H_0, W_0]. Keys are those of the official decode_head.
/// </summary>
public sealed class SegFormerHead : Layer
{
    private readonly TokenProjection[] projections;     // linear_c1.. of the maps, finest first
    private readonly FuseConv linear_fuse;
    private readonly Dropout dropout;
    private readonly Conv2d linear_pred;

    /// <summary>Builds the head.</summary>
    /// <param name="channels">Channels of the maps, finest first.</param>
    /// <param name="classes">Classes of a pixel.</param>
    /// <param name="embed">Common width; 768 with FAN, 256 in SegFormer-B0 and B1.</param>
    /// <param name="dropRate">Dropout before the classifier.</param>
    public SegFormerHead(IReadOnlyList<int> channels, int classes, int embed = 768, double dropRate = 0.1)
    {
        if (channels.Count == 0 || channels.Any(c => c <= 0) || classes <= 0 || embed <= 0)
            throw new BayouException($"SegFormer head: channels [{string.Join(", ", channels)}], {classes} classes and width {embed} must be positive, and there must be a map");
        projections = channels.Select(c => new TokenProjection(c, embed)).ToArray();
        for (var i = 0; i < projections.Length; i++) register_module($"linear_c{i + 1}", projections[i]);
        linear_fuse = new FuseConv(embed * channels.Count, embed);
        dropout = new Dropout(dropRate);
        linear_pred = new Conv2d(embed, classes, 1);
        RegisterComponents();
    }

    /// <summary>Not a map of one tensor: see <see cref="Of"/>.</summary>
    public override Tensor forward(Tensor x) => Of([x]);

    /// <summary>Logits of every place of the finest map, [N, classes, H_0, W_0].</summary>
    public Tensor Of(IReadOnlyList<Tensor> features)
    {
        if (features.Count != projections.Length) throw new BayouException($"SegFormer head: built for {projections.Length} maps, given {features.Count}");
        var (rows, columns) = (features[0].shape[2], features[0].shape[3]);
        var maps = features.Select((f, i) => BilinearResize.To(projections[i].call(f), rows, columns)).Reverse().ToArray();
        return linear_pred.call(dropout.call(linear_fuse.call(maps.Length == 1 ? maps[0] : Concat(1, maps))));
    }

    // Key proj. [N, C, H, W] -> [N, embed, H, W]
    private sealed class TokenProjection : Layer
    {
        private readonly Linear proj;

        public TokenProjection(int channels, int embed)
        {
            proj = new Linear(channels, embed);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => ToChannelsFirst(proj.call(ToChannelsLast(x)));
    }

    // Keys conv, bn.
    private sealed class FuseConv : Layer
    {
        private readonly Conv2d conv;
        private readonly BatchNorm bn;

        public FuseConv(int channels, int embed)
        {
            conv = new Conv2d(channels, embed, 1, bias: false);
            bn = new BatchNorm(embed);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => Relu(bn.call(conv.call(x)));
    }
}

/// <summary>A backbone with a segmentation head: [N, 3, H, W] -> logits of every pixel [N, classes, H, W].</summary>
public sealed class SegmentationNetwork : Layer
{
    private readonly Layer backbone;
    private readonly SegFormerHead decode_head;

    /// <summary>Puts a head on a backbone.</summary>
    /// <param name="backbone">Gives features at every stage, finest first; with FAN a <see cref="Fan"/> without classes, or any catalog network of
    /// features.</param>
    /// <param name="head">Built for the channels of those maps.</param>
    public SegmentationNetwork(Layer backbone, SegFormerHead head)
    {
        if (backbone is not IFeatureNetwork) throw new BayouException($"segmentation: {backbone.GetType().Name} gives no features at its stages");
        (this.backbone, decode_head) = (backbone, head);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => BilinearResize.To(decode_head.Of(((IFeatureNetwork)backbone).Features(x)), x.shape[2], x.shape[3]);
}

/// <summary>
/// Bilinear interpolation of maps (pixel centres aligned, borders repeated: PyTorch's align_corners = False) as two matrix products, so that it can be
/// captured, exported and trained.
/// </summary>
public static class BilinearResize
{
    /// <summary>[N, C, H, W] -> [N, C, rows, columns].</summary>
    public static Tensor To(Tensor x, long rows, long columns)
    {
        if (x.shape[2] != rows) x = MatMul(Constant(Weights(x.shape[2], rows)), x);
        return x.shape[3] == columns ? x : MatMul(x, Constant(Weights(x.shape[3], columns, turned: true)));
    }

    // [to, from], or turned [from, to].
    private static Tensor Weights(long from, long to, bool turned = false)
    {
        var matrix = new float[to * from];
        for (var i = 0L; i < to; i++)
        {
            var position = Math.Max(0, (i + 0.5) * from / to - 0.5);
            var first = Math.Min((long)position, from - 1);
            var share = (float)(position - first);
            void Put(long at, float weight) => matrix[turned ? at * to + i : i * from + at] += weight;
            Put(first, 1 - share);
            Put(Math.Min(first + 1, from - 1), share);
        }
        return turned ? tensor(matrix, [from, to]) : tensor(matrix, [to, from]);
    }
}
