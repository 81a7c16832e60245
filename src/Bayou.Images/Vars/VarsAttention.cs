using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>How a code shrinks towards sparsity.</summary>
public enum VarsShrink
{
    /// <summary>sgn(u) GELU(|u| - lambda): the released code. Not exactly sparse.</summary>
    Gelu,

    /// <summary>sgn(u) max(|u| - lambda, 0): ISTA as in the paper.</summary>
    Relu,
}

/// <summary>What a layer reconstructs with.</summary>
public enum VarsKind
{
    /// <summary>Templates from the input (VARS-D).</summary>
    Dynamic,

    /// <summary>Templates from the input and learned ones (VARS-SD), which tie the layer to one grid.</summary>
    StaticAndDynamic,
}

/// <summary>Shape of sparse reconstruction.</summary>
public sealed record VarsConfig
{
    /// <summary>Dynamic templates, or learned ones too.</summary>
    public VarsKind Kind { get; init; }

    /// <summary>Sparsity lambda.</summary>
    public double Lambda { get; init; } = 0.3;

    /// <summary>Recurrent steps T after the first; 0 leaves the code at its start.</summary>
    public int Steps { get; init; } = 5;

    /// <summary>Templates over head width: m = ratio d.</summary>
    public int FeatureRatio { get; init; } = 2;

    /// <summary>Shrinkage.</summary>
    public VarsShrink Shrink { get; init; }

    /// <summary>Learned preconditioner, threshold and step (LISTA, the released code); false: plain ISTA of the paper.</summary>
    public bool Learned { get; init; } = true;
}

/// <summary>The parts of one sparse reconstruction.</summary>
/// <param name="Templates">P, [N, h, T, M]: every column has unit norm over the tokens.</param>
/// <param name="Gram">P' P, [N, h, M, M].</param>
/// <param name="Input">P' v, [N, h, M, d].</param>
/// <param name="Lipschitz">Bound on the Gram matrix's norm, [N, h].</param>
/// <param name="Code">u after all steps, [N, h, M, d].</param>
/// <param name="Values">v, [N, h, T, d].</param>
public sealed record VarsCode(Tensor Templates, Tensor Gram, Tensor Input, Tensor Lipschitz, Tensor Code, Tensor Values);

/// <summary>
/// Attention by recurrent sparse reconstruction, VARS-D and VARS-SD (Shi et al., ICML 2022, arXiv 2204.10962; specs/vars.md, section 1.2), in place of
/// self-attention:
/// output = P u with u = argmin 1/2 ||P u - v||^2 + lambda ||u||_1 by a few (L)ISTA steps. Self-attention with a kernel and shared queries and keys is its case
/// of no steps and lambda 0:
/// P P' v. [N, T, C] or [N, H, W, C] -> the same.
/// </summary>
public sealed class VarsAttention : Layer
{
    private readonly Linear qkv, proj;                              // C -> 2C: q and v only
    private readonly Parameter rand_matrix;                         // [h, d, m], not trained
    private readonly Parameter? kernel;                             // learned templates [1, h, T, m]
    private readonly Parameter L;                                   // [h]: in every checkpoint, read by nothing
    private readonly Parameter? learned_k, learned_lam, learned_L;  // [M, M], [1], [1]
    private readonly VarsConfig config;
    private readonly int heads;

    /// <summary>Builds the layer.</summary>
    /// <param name="dim">C.</param>
    /// <param name="heads">Must divide C.</param>
    /// <param name="tokens">Tokens T of the grid; only read for learned templates.</param>
    /// <param name="config">Shape of the reconstruction.</param>
    /// <param name="qkvBias">Bias of the fused projection.</param>
    public VarsAttention(int dim, int heads, int tokens, VarsConfig config, bool qkvBias = true)
    {
        if (heads <= 0 || dim % heads != 0) throw new BayouException($"VARS: {heads} heads do not divide {dim} channels");
        if (config.Steps < 0 || config.Lambda < 0 || config.FeatureRatio <= 0)
            throw new BayouException($"VARS: steps {config.Steps} and lambda {config.Lambda} must not be negative, the feature ratio {config.FeatureRatio} must be positive");
        (this.heads, this.config) = (heads, config);
        var (width, features) = (dim / heads, config.FeatureRatio * dim / heads);
        rand_matrix = NewParameter(randn(heads, width, features));
        rand_matrix.requires_grad = false;
        if (config.Kind == VarsKind.StaticAndDynamic) kernel = NewParameter(randn(1, heads, tokens, features));
        L = NewParameter(full(heads, 25f));
        L.requires_grad = false;
        if (config.Learned)
        {
            var templates = kernel is null ? features : 2 * features;
            learned_k = NewParameter(eye(templates));
            learned_lam = NewParameter(ones(1));
            learned_L = NewParameter(ones(1));
        }
        qkv = new Linear(dim, 2 * dim, qkvBias);
        proj = new Linear(dim, dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (x.dim() == 4) AttentionTap.Enter(new TokenLayout((int)x.shape[1], (int)x.shape[2]));
        var code = Reconstruct(MultiHead.Flat(x));
        var y = MatMul(code.Templates, code.Code);          // [N, h, T, d]
        if (AttentionTap.IsActive)
        {
            // What token n takes from token k in the one-step form, and the strength of the reconstruction at every token.
            var energy = Apply(Mean(Mul(y, y), new Ints(1, 3)), Unary.Sqrt);
            AttentionTap.Record(MatMul(code.Templates, Permute(code.Templates, 0, 1, 3, 2)), energy);
        }
        return MultiHead.Like(proj.call(MultiHead.Join(y)), x);
    }

    /// <summary>The reconstruction of tokens [N, T, C] with all its parts.</summary>
    public VarsCode Reconstruct(Tensor tokens)
    {
        var parts = MultiHead.SplitFused(qkv.call(tokens), heads, 2);
        var (q, v) = (parts[0], parts[1]);
        var features = RandomFeatures.Of(Scale(q, Math.Pow(q.shape[^1], -0.25)), rand_matrix);
        if (kernel is not null)
        {
            if (kernel.shape[2] != tokens.shape[1])
                throw new BayouException($"VARS-SD: built for {kernel.shape[2]} tokens, given {tokens.shape[1]}: its learned templates fit one picture size only");
            features = Concat(-1, features, ExpandBatch(kernel, features));
        }
        var p = Normalize(features, 2);                                                     // every template is a unit vector over the tokens
        var transposed = Permute(p, 0, 1, 3, 2);
        var gram = MatMul(transposed, p);
        var b = MatMul(transposed, v);
        // The largest absolute row sum bounds the spectral norm.
        var bound = StopGradient(Scale(Reduce(Reduce(Apply(gram, Unary.Abs), Reduction.Sum, new Ints(-1)), Reduction.Max, new Ints(-1)), 1, 1));
        return new VarsCode(p, gram, b, bound, Solve(gram, b, bound), v);
    }

    private Tensor Solve(Tensor gram, Tensor b, Tensor bound)
    {
        var step = Div(learned_L ?? Constant(ones(1)), Reshape(bound, 0, 0, 1, 1));         // [N, h, 1, 1]
        var threshold = learned_lam is null ? Constant(full(1, config.Lambda)) : Scale(learned_lam, config.Lambda);
        if (learned_k is not null) gram = MatMul(MatMul(learned_k, gram), learned_k);
        var small = Mul(threshold, step);
        var u = Shrink(b, threshold);
        for (var t = 0; t < config.Steps; t++)
            u = Shrink(Sub(u, Mul(step, Sub(MatMul(gram, u), b))), small);
        return u;
    }

    private Tensor Shrink(Tensor u, Tensor threshold)
    {
        var above = Sub(Apply(u, Unary.Abs), threshold);
        return Mul(Apply(u, Unary.Sign), config.Shrink == VarsShrink.Gelu ? Gelu(above) : Relu(above));
    }
}

/// <summary>Positive random features of the exponential kernel ("Rethinking Attention with Performers", ICLR 2021): phi(q) phi(k)' tends to exp(q
/// k').</summary>
public static class RandomFeatures
{
    /// <summary>exp(q W - |q|^2 / 2) / sqrt(m) of normalised queries.</summary>
    /// <param name="q">[N, h, T, d]; every token is divided by its norm first, so that a scale has no effect.</param>
    /// <param name="matrix">W, [h, d, m], standard normal.</param>
    public static Tensor Of(Tensor q, Tensor matrix)
    {
        q = Normalize(q, -1);
        var half = Scale(Reduce(Mul(q, q), Reduction.Sum, new Ints(-1), true), 0.5);
        return Scale(Apply(Sub(MatMul(q, matrix), half), Unary.Exp), 1 / Math.Sqrt(matrix.shape[^1]));
    }
}

/// <summary>Kernel attention with positive random features and separate queries and keys (Performer): linear in the tokens. [N, T, C] or [N, H, W, C] -> the
/// same.</summary>
public sealed class PerformerAttention : Layer
{
    private readonly Linear qkv, proj;
    private readonly Parameter rand_matrix;     // [h, d, m], not trained
    private readonly int heads;

    /// <summary>Builds the layer with m = ratio d features.</summary>
    public PerformerAttention(int dim, int heads, int featureRatio = 2, bool qkvBias = true)
    {
        if (heads <= 0 || dim % heads != 0) throw new BayouException($"Performer: {heads} heads do not divide {dim} channels");
        this.heads = heads;
        rand_matrix = NewParameter(randn(heads, dim / heads, featureRatio * dim / heads));
        rand_matrix.requires_grad = false;
        qkv = new Linear(dim, 3 * dim, qkvBias);
        proj = new Linear(dim, dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        if (x.dim() == 4) AttentionTap.Enter(new TokenLayout((int)x.shape[1], (int)x.shape[2]));
        var parts = MultiHead.SplitFused(qkv.call(MultiHead.Flat(x)), heads);
        var scale = Math.Pow(parts[0].shape[^1], -0.25);
        Tensor q = RandomFeatures.Of(Scale(parts[0], scale), rand_matrix), k = RandomFeatures.Of(Scale(parts[1], scale), rand_matrix);
        var keys = Reduce(k, Reduction.Sum, new Ints(2), true);                                     // [N, h, 1, m]
        var norm = Reduce(Mul(q, keys), Reduction.Sum, new Ints(-1), true);                         // [N, h, T, 1]
        if (AttentionTap.IsActive) AttentionTap.Record(Div(MatMul(q, Permute(k, 0, 1, 3, 2)), norm));
        var y = Div(MatMul(q, MatMul(Permute(k, 0, 1, 3, 2), parts[2])), norm);
        return MultiHead.Like(proj.call(MultiHead.Join(y)), x);
    }
}
