using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// The only place where a network touches tensor functions. Every call runs in TorchSharp and, while a <see cref="Capture"/> is active on the
/// thread, writes a node into its graph. Networks import it with <c>using static Bayou.Core.Ops;</c>.
/// </summary>
public static class Ops
{
    /// <summary>Runs an op with one output. The other functions of this class are names for it.</summary>
    public static Tensor Run(Op op, bool training, params Tensor?[] inputs)
    {
        var y = op.Forward(inputs, training);
        Capture.Current?.Record(op, inputs, [y]);
        return y;
    }

    /// <summary>Runs an op with several outputs.</summary>
    public static Tensor[] RunMany(Op op, bool training, params Tensor?[] inputs)
    {
        var y = op.ForwardMany(inputs, training);
        Capture.Current?.Record(op, inputs, y);
        return y;
    }

    /// <summary>Marks a tensor that is no parameter as a constant of the network: tables, masks, position encodings.</summary>
    public static Tensor Constant(Tensor value)
    {
        Capture.Current?.Constant(value);
        return value;
    }

    /// <summary>2D convolution, see <see cref="Conv2dOp"/>.</summary>
    public static Tensor Conv2d(Tensor x, Tensor weight, Tensor? bias, Ints stride, Ints padding, Ints dilation, long groups = 1) =>
        Run(new Conv2dOp(stride, padding, dilation, groups), false, x, weight, bias);

    /// <summary>
    /// shortcut + activation(convolution(norm(x))), whatever of it is given: its parts in a capture and where gradients are wanted, otherwise few passes over
    /// memory.
    /// </summary>
    public static Tensor Conv2dThen(Tensor x, Tensor weight, Tensor? bias, Conv2dOp op, Activation? activation, Tensor? shortcut = null, BatchNorm? norm = null)
    {
        if (FusedConv.IsInference(x, weight, bias, shortcut) && norm?.training != true) return FusedConv.Then(x, norm, weight, bias, op, activation, shortcut);
        var y = Run(op, false, norm is null ? x : norm.call(x), weight, bias);
        if (activation is { } kind) y = Activate(y, kind);
        return shortcut is null ? y : Add(shortcut, y);
    }

    /// <summary>
    /// The sum of depthwise convolutions of one input, stride 1, every kernel odd and padded by half of it; the bias is added once. Its parts in a capture,
    /// otherwise one node that costs about what one of them would.
    /// </summary>
    /// <param name="x">[N, C, H, W].</param>
    /// <param name="weights">[C, 1, kh, kw] each.</param>
    /// <param name="bias">[C] or null.</param>
    public static Tensor DepthwiseSum(Tensor x, IReadOnlyList<Tensor> weights, Tensor? bias)
    {
        if (!Capture.IsActive && DepthwiseSumOp.TryApply(x, weights, bias) is { } fused) return fused;
        Tensor? sum = null;
        foreach (var w in weights)
        {
            var y = Run(DepthwiseSumOp.Part(w), false, x, w, sum is null ? bias : null);
            sum = sum is null ? y : Add(sum, y);
        }
        return sum!;
    }

    /// <summary>The same values in the memory layout in which pixelwise layers are fastest; x itself in a capture and where gradients are wanted.</summary>
    public static Tensor InFastestLayout(Tensor x) => !OwnKernels.Enabled || Capture.IsActive || is_grad_enabled() || x.dim() != 4 ? x : FusedConv.ToFastest(x);

    /// <summary>
    /// Layer normalisation over the channels of every pixel, [N, C, H, W]: three nodes in a capture, in planar memory without gradients one pass.
    /// </summary>
    public static Tensor ChannelNorm(Tensor x, Ints shape, Tensor weight, Tensor bias, double eps) =>
        (Capture.IsActive ? null : FusedConv.Norm(x, weight, bias, eps)) ?? ToChannelsFirst(LayerNorm(ToChannelsLast(x), shape, weight, bias, eps));

    /// <summary>shortcut + <see cref="GeluMlp"/> of the channels of every pixel: x and shortcut [N, C, H, W].</summary>
    public static Tensor ChannelMlp(Tensor x, in MlpWeights w, Tensor shortcut) =>
        (Capture.IsActive ? null : FusedConv.Mlp(x, w, shortcut)) ?? Add(shortcut, ToChannelsFirst(GeluMlp(ToChannelsLast(x), w)));

    /// <summary>x W' + b over the last axis, see <see cref="LinearOp"/>.</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias) => Run(LinearSingleton, false, x, weight, bias);

    /// <summary>
    /// scale * fc2(gelu(fc1(norm(x)))) over the last axis, norm and scale where they are given: its parts in a capture, otherwise one node and few passes over
    /// memory where that can be done.
    /// </summary>
    public static Tensor GeluMlp(Tensor x, in MlpWeights w)
    {
        if (!Capture.IsActive && FusedMlp.Suits(x, w)) return FusedMlp.Apply(x, w);
        if (w.NormWeight is not null) x = LayerNorm(x, new Ints(w.NormWeight.shape), w.NormWeight, w.NormBias, w.NormEps);
        x = Linear(Gelu(Linear(x, w.Weight1, w.Bias1)), w.Weight2, w.Bias2);
        return w.Scale is null ? x : Mul(w.Scale, x);
    }

    /// <summary>Matrix product, see <see cref="MatMulOp"/>.</summary>
    public static Tensor MatMul(Tensor a, Tensor b) => Run(MatMulSingleton, false, a, b);

    /// <summary>a + b with broadcasting; the result takes the first operand's memory layout.</summary>
    public static Tensor Add(Tensor a, Tensor b) => Run(AddSingleton, false, a, b);

    /// <summary>a - b with broadcasting.</summary>
    public static Tensor Sub(Tensor a, Tensor b) => Run(SubSingleton, false, a, b);

    /// <summary>a * b with broadcasting.</summary>
    public static Tensor Mul(Tensor a, Tensor b) => Run(MulSingleton, false, a, b);

    /// <summary>a / b with broadcasting.</summary>
    public static Tensor Div(Tensor a, Tensor b) => Run(DivSingleton, false, a, b);

    /// <summary>x * scale + shift with plain numbers.</summary>
    public static Tensor Scale(Tensor x, double scale, double shift = 0) => Run(new ScaleOp(scale, shift), false, x);

    /// <summary>max(x, 0).</summary>
    public static Tensor Relu(Tensor x) => Run(ReluSingleton, false, x);

    /// <summary>x Phi(x), exact.</summary>
    public static Tensor Gelu(Tensor x) => Run(GeluSingleton, false, x);

    /// <summary>An elementwise activation by kind.</summary>
    public static Tensor Activate(Tensor x, Activation kind) => Run(new ActivationOp(kind), false, x);

    /// <summary>1 where x is above the threshold, else 0; gradients pass straight through, see <see cref="HardGateOp"/>.</summary>
    public static Tensor HardGate(Tensor x, double threshold = 0.5) => Run(new HardGateOp(threshold), false, x);

    /// <summary>1 where x is above the threshold, else 0, without a gradient.</summary>
    public static Tensor Above(Tensor x, double threshold) => Run(new HardGateOp(threshold, StraightThrough: false), false, x);

    /// <summary>x * mask whose gradient is that of x, see <see cref="MaskValuesOp"/>.</summary>
    public static Tensor MaskValues(Tensor x, Tensor mask) => Run(new MaskValuesOp(), false, x, mask);

    /// <summary>Attention of pictures whose tokens lie packed in one matrix, see <see cref="PackedAttentionOp"/>.</summary>
    public static Tensor PackedAttention(Tensor qkv, Ints lengths, int heads, double scale) => Run(new PackedAttentionOp(lengths, heads, scale), false, qkv);

    /// <summary>Softmax over an axis.</summary>
    public static Tensor Softmax(Tensor x, long dim) => Run(new SoftmaxOp(dim), false, x);

    /// <summary>Layer normalisation over the trailing axes, see <see cref="LayerNormOp"/>.</summary>
    public static Tensor LayerNorm(Tensor x, Ints shape, Tensor? weight, Tensor? bias, double eps) =>
        Run(new LayerNormOp(shape, eps), false, x, weight, bias);

    /// <summary>Batch normalisation over axis 1, see <see cref="BatchNormOp"/>.</summary>
    public static Tensor BatchNorm(Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor variance, bool training, double eps, double momentum) =>
        Run(new BatchNormOp(eps, momentum), training, x, weight, bias, mean, variance);

    /// <summary>Dropout, see <see cref="DropoutOp"/>.</summary>
    public static Tensor Dropout(Tensor x, double p, bool training) => Run(new DropoutOp(p), training, x);

    /// <summary>Stochastic depth, see <see cref="DropPathOp"/>.</summary>
    public static Tensor DropPath(Tensor x, double p, bool training) => Run(new DropPathOp(p), training, x);

    /// <summary>Reorders the axes.</summary>
    public static Tensor Permute(Tensor x, params long[] dims) => Run(new PermuteOp(dims), false, x);

    /// <summary>[N, C, H, W] -> [N, H, W, C] (a view).</summary>
    public static Tensor ToChannelsLast(Tensor x) => Run(ToLastSingleton, false, x);

    /// <summary>[N, H, W, C] -> [N, C, H, W] (a view).</summary>
    public static Tensor ToChannelsFirst(Tensor x) => Run(ToFirstSingleton, false, x);

    /// <summary>New shape; 0 copies an axis, one -1 is inferred. Never pass x.shape[0]: the batch stays dynamic through 0 and -1.</summary>
    public static Tensor Reshape(Tensor x, params long[] shape) => Run(new ReshapeOp(shape), false, x);

    /// <summary>[N, ...] -> [N, everything else].</summary>
    public static Tensor Flatten(Tensor x) => Run(FlattenSingleton, false, x);

    /// <summary>Joins tensors along an axis.</summary>
    public static Tensor Concat(long dim, params Tensor[] x) => Run(new ConcatOp(dim), false, x);

    /// <summary>A range of one axis.</summary>
    public static Tensor Slice(Tensor x, long dim, long start, long end = long.MaxValue, long step = 1) => Run(new SliceOp(dim, start, end, step), false, x);

    /// <summary>Cuts an axis into pieces of the given sizes.</summary>
    public static Tensor[] Split(Tensor x, long dim, params long[] sizes) => RunMany(new SplitOp(dim, sizes), false, x);

    /// <summary>Pads the last two axes with a constant.</summary>
    public static Tensor Pad2d(Tensor x, long left, long right, long top, long bottom, double value = 0) =>
        Run(new Pad2dOp(left, right, top, bottom, value), false, x);

    /// <summary>Repeats [1, ...] to the batch of x.</summary>
    public static Tensor ExpandBatch(Tensor token, Tensor x) => Run(ExpandSingleton, false, token, x);

    /// <summary>Mean over axes.</summary>
    public static Tensor Mean(Tensor x, Ints dims, bool keepDim = false) => Run(new MeanOp(dims, keepDim), false, x);

    /// <summary>Mean over H and W: [N, C, H, W] -> [N, C].</summary>
    public static Tensor GlobalAveragePool(Tensor x) => Run(GlobalMeanSingleton, false, x);

    /// <summary>Max pooling.</summary>
    public static Tensor MaxPool2d(Tensor x, Ints kernel, Ints stride, Ints padding) => Run(new MaxPool2dOp(kernel, stride, padding), false, x);

    /// <summary>Average pooling.</summary>
    public static Tensor AvgPool2d(Tensor x, Ints kernel, Ints stride, Ints padding, bool countPadding = true) =>
        Run(new AvgPool2dOp(kernel, stride, padding, countPadding), false, x);

    /// <summary>softmax(scale q k' + bias) v as one node, see <see cref="AttentionOp"/>.</summary>
    public static Tensor Attention(Tensor q, Tensor k, Tensor v, double scale, Tensor? bias = null) => Run(new AttentionOp(scale), false, q, k, v, bias);

    /// <summary>An elementwise function, see <see cref="Unary"/>.</summary>
    public static Tensor Apply(Tensor x, Unary kind) => Run(new UnaryOp(kind), false, x);

    /// <summary>Sum, maximum or minimum over axes.</summary>
    public static Tensor Reduce(Tensor x, Reduction kind, Ints dims, bool keepDim = false) => Run(new ReduceOp(kind, dims, keepDim), false, x);

    /// <summary>x / max(||x||_2, eps) over one axis.</summary>
    public static Tensor Normalize(Tensor x, long dim, double eps = 1e-12) => Run(new NormalizeOp(dim, eps), false, x);

    /// <summary>Limits the elements to [low, high].</summary>
    public static Tensor Clamp(Tensor x, double low, double high) => Run(new ClampOp(low, high), false, x);

    /// <summary>The value without its gradient.</summary>
    public static Tensor StopGradient(Tensor x) => Run(new StopGradientOp(), false, x);

    /// <summary>Elements of x at int64 positions along an axis, see <see cref="GatherOp"/>.</summary>
    public static Tensor Gather(Tensor x, long dim, Tensor index) => Run(new GatherOp(dim), false, x, index);

    /// <summary>Cyclic shift along an axis.</summary>
    public static Tensor Roll(Tensor x, long dim, long shift) => shift == 0 ? x : Run(new RollOp(dim, shift), false, x);

    /// <summary>Fake quantisation, see <see cref="FakeQuantizeOp"/>.</summary>
    public static Tensor FakeQuantize(Tensor x, Tensor scale, Tensor zeroPoint, long min, long max, int axis = -1) =>
        Run(new FakeQuantizeOp(min, max, axis), false, x, scale, zeroPoint);

    /// <summary>AQT's quantisation, see <see cref="AqtQuantizeOp"/>.</summary>
    public static Tensor AqtQuantize(Tensor x, Tensor? bound, AqtQuantizeOp op, bool training = false) => Run(op, training, x, bound);

    /// <summary>A node without ONNX form, see <see cref="OpaqueOp"/>.</summary>
    public static Tensor[] Opaque(string name, Func<Tensor?[], bool, Tensor[]> run, Func<long[]?[], long[][], OpWork> cost, bool training,
        params Tensor?[] inputs) =>
        RunMany(new OpaqueOp(name, run, cost), training, inputs);

    /// <summary>Rows of features by index, see <see cref="GatherRowsOp"/>.</summary>
    public static Tensor GatherRows(Tensor x, Tensor index) => Run(new GatherRowsOp(), false, x, index);

    /// <summary>Weighted sum of rows, see <see cref="InterpolateRowsOp"/>.</summary>
    public static Tensor InterpolateRows(Tensor x, Tensor index, Tensor weight) => Run(new InterpolateRowsOp(), false, x, index, weight);

    /// <summary>Sum or mean of the rows of every segment, see <see cref="SegmentSumOp"/>.</summary>
    public static Tensor SegmentSum(Tensor x, Tensor index, long segments, bool mean = false) => Run(new SegmentSumOp(segments, mean), false, x, index);

    /// <summary>Sparse convolution, see <see cref="SparseConvOp"/>.</summary>
    public static Tensor SparseConvolution(Tensor x, Tensor weight, Tensor? bias, Kernels.KernelMap map) => Run(new SparseConvOp(map), false, x, weight, bias);

    /// <summary>Channelwise sparse convolution, see <see cref="SparseChannelwiseOp"/>.</summary>
    public static Tensor SparseChannelwise(Tensor x, Tensor weight, Kernels.KernelMap map) => Run(new SparseChannelwiseOp(map), false, x, weight);

    /// <summary>Sparse pooling, see <see cref="SparsePoolOp"/>.</summary>
    public static Tensor SparsePooling(Tensor x, Kernels.KernelMap map, PoolKind kind) => Run(new SparsePoolOp(map, kind), false, x);

    // Ops without attributes, made once: a network calls them in every block.
    private static readonly LinearOp LinearSingleton = new();
    private static readonly MatMulOp MatMulSingleton = new();
    private static readonly BinaryOp AddSingleton = new(Binary.Add), SubSingleton = new(Binary.Sub), MulSingleton = new(Binary.Mul),
        DivSingleton = new(Binary.Div);
    private static readonly ActivationOp ReluSingleton = new(Activation.Relu), GeluSingleton = new(Activation.Gelu);
    private static readonly PermuteOp ToLastSingleton = new(new Ints(0, 2, 3, 1)), ToFirstSingleton = new(new Ints(0, 3, 1, 2));
    private static readonly ReshapeOp FlattenSingleton = new(new Ints(0, -1));
    private static readonly ExpandBatchOp ExpandSingleton = new();
    private static readonly MeanOp GlobalMeanSingleton = new(new Ints(2, 3), false);
}
