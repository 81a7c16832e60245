using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>FAN's token mixing: multi-head self-attention with q and kv as two layers. [N, H, W, C] -> the same.</summary>
public sealed class FanTokenMixing : Layer
{
    private readonly Linear q, kv, proj;
    private readonly int heads;
    private readonly double scale;

    /// <summary>Builds the layer.</summary>
    public FanTokenMixing(int dim, int heads, bool qkvBias = true)
    {
        if (heads <= 0 || dim % heads != 0) throw new BayouException($"FAN: {heads} heads do not divide {dim} channels");
        (this.heads, scale) = (heads, Math.Pow(dim / heads, -0.5));
        q = new Linear(dim, dim, qkvBias);
        kv = new Linear(dim, 2 * dim, qkvBias);
        proj = new Linear(dim, dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        AttentionTap.Enter(new TokenLayout((int)x.shape[1], (int)x.shape[2]));
        var tokens = MultiHead.Flat(x);
        var keysValues = MultiHead.SplitFused(kv.call(tokens), heads, 2);
        var y = MultiHead.Attend(MultiHead.Split(q.call(tokens), heads), keysValues[0], keysValues[1], scale);
        return MultiHead.Like(proj.call(MultiHead.Join(y)), x);
    }
}

/// <summary>Attention of the class token (token 0) to all tokens, as in CaiT. [N, 1 + T, C] -> [N, 1, C].</summary>
public sealed class ClassAttention : Layer
{
    private readonly Linear q, k, v, proj;
    private readonly int heads;
    private readonly double scale;

    /// <summary>Builds the layer.</summary>
    public ClassAttention(int dim, int heads, bool qkvBias = true)
    {
        if (heads <= 0 || dim % heads != 0) throw new BayouException($"FAN: {heads} heads do not divide {dim} channels");
        (this.heads, scale) = (heads, Math.Pow(dim / heads, -0.5));
        q = new Linear(dim, dim, qkvBias);
        k = new Linear(dim, dim, qkvBias);
        v = new Linear(dim, dim, qkvBias);
        proj = new Linear(dim, dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var query = MultiHead.Split(q.call(Slice(x, 1, 0, 1)), heads);
        var y = MultiHead.Attend(query, MultiHead.Split(k.call(x), heads), MultiHead.Split(v.call(x), heads), scale);
        return proj.call(MultiHead.Join(y));
    }
}

/// <summary>Class-attention block (specs/fan.md, section 1.3): patch tokens receive their own normed copies. [N, 1 + T, C] -> the same.</summary>
public sealed class ClassAttentionBlock : Layer
{
    private readonly LayerNorm norm1, norm2;
    private readonly ClassAttention attn;
    private readonly Mlp mlp;
    private readonly Parameter? gamma1, gamma2;
    private readonly bool tokensNorm;

    /// <summary>Builds a block; eta is the initial layer scale (null: none); tokensNorm: whether the second norm covers the patch tokens too.</summary>
    public ClassAttentionBlock(int dim, int heads, double mlpRatio = 4, bool qkvBias = true, double? eta = 1, bool tokensNorm = true)
    {
        this.tokensNorm = tokensNorm;
        norm1 = new LayerNorm(dim, eps: 1e-6);
        attn = new ClassAttention(dim, heads, qkvBias);
        norm2 = new LayerNorm(dim, eps: 1e-6);
        mlp = new Mlp(dim, (int)(dim * mlpRatio));
        if (eta is { } initial)
        {
            gamma1 = NewParameter(full(dim, initial));
            gamma2 = NewParameter(full(dim, initial));
        }
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var n = norm1.call(x);
        var update = Concat(1, attn.call(n), Slice(n, 1, 1));
        x = Add(x, gamma1 is null ? update : Mul(gamma1, update));
        // The norm replaces the stream; the patch tokens are then doubled.
        x = tokensNorm ? norm2.call(x) : Concat(1, norm2.call(Slice(x, 1, 0, 1)), Slice(x, 1, 1));
        var token = mlp.call(Slice(x, 1, 0, 1));
        return Add(x, Concat(1, gamma2 is null ? token : Mul(gamma2, token), Slice(x, 1, 1)));
    }
}

/// <summary>Fourier position encoding of any grid, projected to C (specs/fan.md, section 1.2). [N, H, W, C] is only read for its grid; returns [1, C, H,
/// W].</summary>
public sealed class FourierPositions : Layer
{
    private const int Hidden = 32;
    private const double Temperature = 10000;

    private readonly Conv2d token_projection;       // 64 -> C
    private readonly bool floored;

    /// <summary>Builds the layer.</summary>
    /// <param name="dim">C.</param>
    /// <param name="floored">Frequencies in pairs (classification weights); false: every one differs, as in the official detection and segmentation
    /// code.</param>
    public FourierPositions(int dim, bool floored = true)
    {
        this.floored = floored;
        token_projection = new Conv2d(2 * Hidden, dim, 1);
        RegisterComponents();
    }

    /// <summary>Encoding of the grid of [N, H, W, C].</summary>
    public override Tensor forward(Tensor x) => Encode((int)x.shape[1], (int)x.shape[2]);

    /// <summary>Encoding of a grid, [1, C, H, W].</summary>
    public Tensor Encode(int height, int width)
    {
        var features = new float[2 * Hidden * height * width];
        for (var i = 0; i < Hidden; i++)
        {
            var frequency = Math.Pow(Temperature, -(floored ? 2 * (i / 2) : i) / (double)Hidden);
            double Feature(int position, int size)
            {
                var angle = position / (size + 1e-6) * 2 * Math.PI * frequency;
                return i % 2 == 0 ? Math.Sin(angle) : Math.Cos(angle);
            }
            for (var y = 0; y < height; y++)
            {
                for (var x = 0; x < width; x++)
                {
                    features[(i * height + y) * width + x] = (float)Feature(y + 1, height);
                    features[((Hidden + i) * height + y) * width + x] = (float)Feature(x + 1, width);
                }
            }
        }
        return token_projection.call(Constant(tensor(features, [1, 2 * Hidden, height, width])));
    }
}

/// <summary>Between widths of FAN-Hybrid-XL: 3x3 stride 2, norm. [N, H, W, C] -> [N, H/2, W/2, C'].</summary>
public sealed class OverlapEmbed : Layer
{
    private readonly Conv2d proj;
    private readonly LayerNorm norm;

    /// <summary>C -> C'.</summary>
    public OverlapEmbed(int inChannels, int outChannels)
    {
        proj = new Conv2d(inChannels, outChannels, 3, stride: 2, padding: 1);
        norm = new LayerNorm(outChannels, eps: 1e-5);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => norm.call(ToChannelsLast(proj.call(ToChannelsFirst(x))));
}
