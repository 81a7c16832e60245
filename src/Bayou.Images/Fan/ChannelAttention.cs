using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// FAN's efficient channel attention (paper, section 3.3): channel mixing whose channels are gated by how well their token distribution agrees with the
/// picture's grouping. Takes the
/// place of the MLP in any block. [N, H, W, C] -> the same.
/// </summary>
public sealed class ChannelAttention : Layer
{
    private readonly Parameter temperature;     // [heads, 1, 1], after the sigmoid
    private readonly Linear q;
    private readonly FanMlp mlp_v;
    private readonly LayerNorm norm_v;          // eps 1e-5, unlike the other norms of FAN
    private readonly int heads;
    private readonly double? fixedGate;

    /// <summary>Builds the block.</summary>
    /// <param name="dim">C.</param>
    /// <param name="heads">Must divide C.</param>
    /// <param name="mlpRatio">Hidden width of the value path over C.</param>
    /// <param name="residual">Whether the depthwise convolutions of the value path have a residual around them: FAN-ViT and -Hybrid do, FAN-Swin does
    /// not.</param>
    /// <param name="fixedGate">A constant instead of the attention: the ablation that keeps everything else.</param>
    public ChannelAttention(int dim, int heads, double mlpRatio = 4, bool residual = true, double? fixedGate = null)
    {
        if (heads <= 0 || dim % heads != 0) throw new BayouException($"ChannelAttention: {heads} heads do not divide {dim} channels");
        (this.heads, this.fixedGate) = (heads, fixedGate);
        temperature = NewParameter(ones(heads, 1, 1));
        q = new Linear(dim, dim);
        mlp_v = new FanMlp(dim, (int)(dim * mlpRatio), residual);
        norm_v = new LayerNorm(dim, eps: 1e-5);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var v = norm_v.call(mlp_v.call(x));
        return fixedGate is { } gate ? Scale(v, gate) : Mul(v, Gate(x));
    }

    /// <summary>The gate of every channel, [N, 1, 1, C] in (0.5, 0.731) x temperature: both factors below are distributions over the tokens.</summary>
    private Tensor Gate(Tensor x)
    {
        var tokens = MultiHead.Flat(x);
        var channels = Softmax(MultiHead.Split(q.call(tokens), heads), 2);                                  // [N, h, T, C/h]: where each channel looks
        var prototype = Mean(Softmax(MultiHead.Split(tokens, heads), 2), new Ints(-1), keepDim: true);      // [N, h, T, 1]: the tokens themselves are the keys
        var gate = Activate(MatMul(Permute(channels, 0, 1, 3, 2), prototype), Activation.Sigmoid);          // [N, h, C/h, 1]
        return Reshape(Mul(gate, temperature), 0, 1, 1, -1);
    }
}

/// <summary>The value path: linear, depthwise convolutions scaled by gamma, linear; its only nonlinearity is inside the convolutions. [N, H, W, C] -> the
/// same.</summary>
public sealed class FanMlp : Layer
{
    private readonly Parameter gamma;           // [hidden]
    private readonly Linear fc1, fc2;
    private readonly FanDepthwise dwconv;
    private readonly bool residual;

    /// <summary>C -> hidden -> C.</summary>
    public FanMlp(int dim, int hidden, bool residual)
    {
        this.residual = residual;
        gamma = NewParameter(ones(hidden));
        fc1 = new Linear(dim, hidden);
        dwconv = new FanDepthwise(hidden);
        fc2 = new Linear(hidden, dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var y = fc1.call(x);
        var mixed = Mul(gamma, dwconv.call(y));
        return fc2.call(residual ? Add(mixed, y) : mixed);
    }
}

/// <summary>Depthwise 3x3, GELU, BatchNorm, depthwise 3x3. [N, H, W, C] -> the same.</summary>
public sealed class FanDepthwise : Layer
{
    private readonly Conv2d conv1, conv2;
    private readonly BatchNorm bn;

    /// <summary>Builds the layer.</summary>
    public FanDepthwise(int channels)
    {
        conv1 = new Conv2d(channels, channels, 3, padding: 1, groups: channels);
        bn = new BatchNorm(channels);
        conv2 = new Conv2d(channels, channels, 3, padding: 1, groups: channels);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => ToChannelsLast(conv2.call(bn.call(Gelu(conv1.call(ToChannelsFirst(x))))));
}
