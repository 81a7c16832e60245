using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// Multi-head self-attention of the vision transformer (Dosovitskiy et al., ICLR 2021; keys as in timm). [N, T, C] or [N, H, W, C] -> the same.
/// </summary>
public sealed class Attention : Layer
{
    private readonly Linear qkv, proj;          // C -> 3C (order q, k, v), C -> C
    private readonly Parameter? att_mask;       // position-aware scaling of RVT's starred models: [h, T, T]
    private readonly int heads;
    private readonly double scale;

    /// <summary>Builds the layer.</summary>
    /// <param name="dim">C.</param>
    /// <param name="heads">Must divide C.</param>
    /// <param name="qkvBias">Whether the fused projection has a bias.</param>
    /// <param name="maskTokens">Tokens T of position-aware attention scaling ("Towards Robust Vision Transformer", section 3.2): logits times
    /// sigmoid(att_mask). 0: none.</param>
    public Attention(int dim, int heads, bool qkvBias = true, int maskTokens = 0)
    {
        if (heads <= 0 || dim % heads != 0) throw new BayouException($"Attention: {heads} heads do not divide {dim} channels");
        this.heads = heads;
        scale = Math.Pow(dim / heads, -0.5);
        qkv = new Linear(dim, 3 * dim, qkvBias);
        proj = new Linear(dim, dim);
        if (maskTokens > 0) att_mask = NewParameter(zeros(heads, maskTokens, maskTokens));      // the official code leaves it uninitialised
        RegisterComponents();
    }

    /// <summary>Heads.</summary>
    public int Heads => heads;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Call(x, null);

    /// <summary>Attention of pictures whose tokens lie packed in one matrix [M, C]: each attends to its own <paramref name="lengths"/> rows.</summary>
    public Tensor Packed(Tensor x, Ints lengths) => proj.call(PackedAttention(qkv.call(x), lengths, heads, scale));

    /// <summary>Attention with a bias on the logits, broadcastable to [N, h, T, T]; a mask of keys is [N, 1, 1, T].</summary>
    public Tensor Call(Tensor x, Tensor? bias)
    {
        if (x.dim() == 4) AttentionTap.Enter(new TokenLayout((int)x.shape[1], (int)x.shape[2]));
        var all = qkv.call(MultiHead.Flat(x));
        LayerTap.Qkv(all);
        var parts = MultiHead.SplitFused(all, heads);
        Func<Tensor, Tensor>? positions = att_mask is null ? null : logits => Mul(logits, Activate(att_mask, Activation.Sigmoid));
        var y = MultiHead.Attend(parts[0], parts[1], parts[2], scale, bias, positions);
        return MultiHead.Like(proj.call(MultiHead.Join(y)), x);
    }
}

/// <summary>fc2(GELU(fc1(x))) on every token. [..., C] -> [..., C].</summary>
public sealed class Mlp : Layer
{
    private readonly Linear fc1, fc2;

    /// <summary>C -> hidden -> C.</summary>
    public Mlp(int dim, int hidden)
    {
        fc1 = new Linear(dim, hidden);
        fc2 = new Linear(hidden, dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => GeluMlp(x, new(fc1.Weight, fc1.Bias, fc2.Weight, fc2.Bias));
}

/// <summary>
/// Pre-norm transformer block: x + gamma1 attn(norm1 x), then x + gamma2 mlp(norm2 x). ViT, RVT and FAN differ in what attn and mlp are. [N, T, C] or [N, H, W,
/// C] -> the same.
/// </summary>
public sealed class Block : Layer
{
    private readonly LayerNorm norm1, norm2;
    private readonly Layer attn, mlp;
    private readonly Parameter? gamma1, gamma2;     // layer scale [C]
    private readonly Layer? downsample;             // what follows inside the block: FAN-Hybrid-XL changes width there
    private readonly DropPath drop_path;

    /// <summary>Builds a block.</summary>
    /// <param name="dim">C.</param>
    /// <param name="attn">Token mixing.</param>
    /// <param name="mlp">Channel mixing.</param>
    /// <param name="dropPath">Stochastic depth of both branches.</param>
    /// <param name="eps">Of both layer norms.</param>
    /// <param name="layerScale">Initial gamma1 and gamma2; 0 leaves them out.</param>
    /// <param name="downsample">What runs after the two branches, or null.</param>
    public Block(int dim, Layer attn, Layer mlp, double dropPath = 0, double eps = 1e-6, double layerScale = 0, Layer? downsample = null)
    {
        (this.attn, this.mlp, this.downsample) = (attn, mlp, downsample);
        norm1 = new LayerNorm(dim, eps);
        norm2 = new LayerNorm(dim, eps);
        if (layerScale != 0)
        {
            gamma1 = NewParameter(full(dim, layerScale));
            gamma2 = NewParameter(full(dim, layerScale));
        }
        drop_path = new DropPath(dropPath);
        RegisterComponents();
    }

    /// <summary>Before the attention.</summary>
    public LayerNorm Norm1 => norm1;

    /// <summary>Token mixing.</summary>
    public Layer Attn => attn;

    /// <summary>Before the MLP.</summary>
    public LayerNorm Norm2 => norm2;

    /// <summary>Channel mixing.</summary>
    public Layer Mlp => mlp;

    /// <summary>Stochastic depth of both branches.</summary>
    public DropPath DropPath => drop_path;

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        x = Add(x, drop_path.call(Scaled(gamma1, attn.call(norm1.call(x)))));
        x = Add(x, drop_path.call(Scaled(gamma2, mlp.call(norm2.call(x)))));
        LayerTap.Hidden(x);
        return downsample is null ? x : downsample.call(x);
    }

    private static Tensor Scaled(Parameter? gamma, Tensor x) => gamma is null ? x : Mul(gamma, x);
}

/// <summary>Non-overlapping patches to tokens: convolution p x p stride p, optional LayerNorm. [N, C, H, W] -> [N, H/p, W/p, D].</summary>
public sealed class PatchEmbed : Layer
{
    private readonly Conv2d proj;
    private readonly LayerNorm? norm;
    private readonly int patch;

    /// <summary>Builds the layer; normEps 0 leaves the norm out.</summary>
    public PatchEmbed(int inChannels, int dim, int patch, double normEps = 0)
    {
        this.patch = patch;
        proj = new Conv2d(inChannels, dim, patch, stride: patch);
        if (normEps > 0) norm = new LayerNorm(dim, normEps);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (x.shape[2] < patch || x.shape[3] < patch)
            throw new BayouException($"a picture of {x.shape[2]} x {x.shape[3]} pixels is smaller than one patch of {patch} x {patch}");
        x = ToChannelsLast(proj.call(x));
        return norm is null ? x : norm.call(x);
    }
}
