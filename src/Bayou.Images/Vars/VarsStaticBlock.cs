using Bayou.Core;
using Bayou.Train;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// VARS-S (specs/vars.md, section 1.3): a whole transformer block whose attention reconstructs every channel sparsely from learned convolutional templates,
/// kept in the Fourier domain.
/// Tied to one n x n grid. [N, n, n, C] or [N, n n, C] -> the same.
/// </summary>
public sealed class VarsStaticBlock : Layer, IAfterStep
{
    private const int Steps = 3;

    private readonly Parameter kernel;          // [C, inner, 1, n, n/2 + 1, 2]: complex templates
    private readonly Parameter kernel2;         // [C, 1, 1, n, n/2 + 1, 2]: a last filter
    private readonly Parameter L;               // [C], not trained: bound of each channel's Gram matrix
    private readonly Parameter kernel_norm;     // [], not trained: what the initial templates were divided by
    private readonly Linear v, proj;
    private readonly TokenBatchNorm norm1, norm2;
    private readonly Layer mlp;
    private readonly DropPath drop_path;
    private readonly int dim, inner, side;
    private readonly double lambda;

    /// <summary>Builds a block.</summary>
    /// <param name="dim">C: one group of templates a channel.</param>
    /// <param name="side">n.</param>
    /// <param name="mlp">Channel mixing of [N, n, n, C].</param>
    /// <param name="lambda">Sparsity.</param>
    /// <param name="inner">Templates a channel.</param>
    /// <param name="dropPath">Stochastic depth of both branches.</param>
    public VarsStaticBlock(int dim, int side, Layer mlp, double lambda = 3.5, int inner = 5, double dropPath = 0)
    {
        (this.dim, this.side, this.inner, this.lambda, this.mlp) = (dim, side, inner, lambda, mlp);
        var templates = VarsTraining.InitialTemplates(dim, inner, side);
        kernel = NewParameter(templates.Kernel);
        kernel_norm = NewParameter(templates.Norm);
        kernel2 = NewParameter(VarsTraining.InitialFilter(dim, side));
        L = NewParameter(VarsTraining.GramNorm(kernel));
        (L.requires_grad, kernel_norm.requires_grad) = (false, false);
        v = new Linear(dim, dim);
        proj = new Linear(dim, dim);
        norm1 = new TokenBatchNorm(dim);
        norm2 = new TokenBatchNorm(dim);
        drop_path = new DropPath(dropPath);
        RegisterComponents();
    }

    /// <summary>The templates, [C, inner, 1, n, n/2 + 1, 2].</summary>
    public Parameter Kernel => kernel;

    /// <summary>The bound that <see cref="VarsTraining.UpdateBound"/> keeps up with the templates.</summary>
    public Parameter Bound => L;

    /// <summary>Updates the bound every 100 steps, as the official training does.</summary>
    public void AfterStep(int step)
    {
        if (step % VarsTraining.BoundInterval == 0) VarsTraining.UpdateBound(this);
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x)
    {
        var grid = x.dim() == 4 ? x : Reshape(x, 0, side, side, -1);
        if (grid.shape[1] != side || grid.shape[2] != side)
            throw new BayouException($"VARS-S: built for a grid of {side} x {side}, given {grid.shape[1]} x {grid.shape[2]}: its templates fit one picture size only");
        AttentionTap.Enter(new TokenLayout(side, side));
        var y = Add(grid, drop_path.call(proj.call(norm1.call(ToChannelsLast(Reconstruct(ToChannelsFirst(v.call(grid))))))));
        y = Add(y, drop_path.call(mlp.call(norm2.call(y))));
        return x.dim() == 4 ? y : MultiHead.Flat(y);
    }

    // [N, C, n, n] -> [N, C, n, n]
    private Tensor Reconstruct(Tensor x)
    {
        var fourier = new Fourier2d(side);
        var templates = Fourier2d.Parts(kernel, dim, inner);
        var bound = Reshape(L, dim, 1, 1, 1);
        var b = fourier.Inverse(Fourier2d.Product(templates, fourier.Forward(Reshape(x, 0, dim, 1, side, side))));        // [N, C, inner, n, n]
        var threshold = Constant(full(1, lambda));
        var small = Div(threshold, bound);
        var u = Soft(b, threshold);
        // The Gram matrix K K' has rank one at every frequency: K (K' u).
        for (var t = 0; t < Steps; t++)
            u = Soft(Sub(u, Div(Sub(fourier.Inverse(Fourier2d.Product(templates, Merge(fourier, templates, u))), b), bound)), small);
        if (AttentionTap.IsActive) AttentionTap.Record(null, Reshape(Apply(Mean(Mul(u, u), new Ints(1, 2)), Unary.Sqrt), 0, -1));
        // Back to the grid between the two filters: a product with unsymmetric templates is no spectrum of a real map until its imaginary part has been
        // dropped.
        var merged = fourier.Inverse(Merge(fourier, templates, u));
        return Reshape(fourier.Inverse(Fourier2d.Product(Fourier2d.Parts(kernel2, dim, 1), fourier.Forward(merged))), 0, dim, side, side);
    }

    // conj(K)' u in the Fourier domain: [N, C, 1, n, n/2 + 1]
    private static (Tensor Re, Tensor Im) Merge(Fourier2d fourier, (Tensor Re, Tensor Im) templates, Tensor u)
    {
        var (re, im) = Fourier2d.Product((templates.Re, Apply(templates.Im, Unary.Neg)), fourier.Forward(u));
        return (Reduce(re, Reduction.Sum, new Ints(2), true), Reduce(im, Reduction.Sum, new Ints(2), true));
    }

    private static Tensor Soft(Tensor u, Tensor threshold) => Mul(Apply(u, Unary.Sign), Relu(Sub(Apply(u, Unary.Abs), threshold)));
}

/// <summary>BatchNorm over the last axis of tokens, under the official key "bn". [N, H, W, C] -> the same.</summary>
public sealed class TokenBatchNorm : Layer
{
    private readonly BatchNorm bn;

    /// <summary>Builds the layer.</summary>
    public TokenBatchNorm(int dim)
    {
        bn = new BatchNorm(dim);
        RegisterComponents();
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => ToChannelsLast(bn.call(ToChannelsFirst(x)));
}

/// <summary>
/// Real discrete Fourier transform of n x n maps with orthonormal scaling, as matrix products: it can be captured and exported, and n is at most some dozens. A
/// spectrum is
/// [..., n, n/2 + 1], real and imaginary part.
/// </summary>
public sealed class Fourier2d
{
    private readonly int side, half;
    private readonly Tensor columns;        // [n, 2 (n/2 + 1)]: cos | -sin along the last axis
    private readonly Tensor rows;           // [2n, n]: cos over sin along the axis before
    private readonly Tensor back;           // [2 (n/2 + 1), n]: inverse along the last axis

    /// <summary>Tables for n x n.</summary>
    public Fourier2d(int side)
    {
        (this.side, half) = (side, side / 2 + 1);
        var scale = 1 / Math.Sqrt(side);
        float[] c = new float[side * 2 * half], r = new float[2 * side * side], i = new float[2 * half * side];
        for (var a = 0; a < side; a++)
        {
            for (var k = 0; k < side; k++)
            {
                var angle = 2 * Math.PI * (a * k % side) / side;
                (r[k * side + a], r[(side + k) * side + a]) = ((float)(Math.Cos(angle) * scale), (float)(Math.Sin(angle) * scale));
                if (k >= half) continue;
                (c[a * 2 * half + k], c[a * 2 * half + half + k]) = ((float)(Math.Cos(angle) * scale), (float)(-Math.Sin(angle) * scale));
                // Frequencies that are not stored are the conjugates of stored ones.
                var twice = k == 0 || 2 * k == side ? 1 : 2;
                (i[k * side + a], i[(half + k) * side + a]) = ((float)(twice * Math.Cos(angle) * scale), (float)(-twice * Math.Sin(angle) * scale));
            }
        }
        columns = Constant(tensor(c, [side, 2 * half]));
        rows = Constant(tensor(r, [2 * side, side]));
        back = Constant(tensor(i, [2 * half, side]));
    }

    /// <summary>[..., n, n] -> spectrum.</summary>
    public (Tensor Re, Tensor Im) Forward(Tensor x)
    {
        var (cc, cs, sc, ss) = Rows(MatMul(x, columns));
        return (Add(cc, ss), Sub(cs, sc));          // (cos - i sin)(re + i im)
    }

    /// <summary>Spectrum -> [..., n, n].</summary>
    public Tensor Inverse((Tensor Re, Tensor Im) y)
    {
        var (cc, cs, sc, ss) = Rows(Concat(-1, y.Re, y.Im));
        return MatMul(Concat(-1, Sub(cc, ss), Add(cs, sc)), back);          // (cos + i sin)(re + i im)
    }

    /// <summary>Elementwise complex product.</summary>
    public static (Tensor Re, Tensor Im) Product((Tensor Re, Tensor Im) a, (Tensor Re, Tensor Im) b) =>
        (Sub(Mul(a.Re, b.Re), Mul(a.Im, b.Im)), Add(Mul(a.Re, b.Im), Mul(a.Im, b.Re)));

    /// <summary>A stored filter [C, inner, 1, n, n/2 + 1, 2] as two tensors [C, inner, n, n/2 + 1].</summary>
    public static (Tensor Re, Tensor Im) Parts(Tensor filter, int channels, int inner)
    {
        Tensor Part(long index) => Reshape(Slice(filter, -1, index, index + 1), channels, inner, filter.shape[3], filter.shape[4]);
        return (Part(0), Part(1));
    }

    // Cosine and sine transforms along the rows of real and imaginary part: [..., n, 2 half] -> four of [..., n, half].
    private (Tensor CosRe, Tensor CosIm, Tensor SinRe, Tensor SinIm) Rows(Tensor x)
    {
        var y = MatMul(rows, x);
        Tensor Part(int row, int column) => Slice(Slice(y, -2, row * side, (row + 1) * side), -1, column * half, (column + 1) * half);
        return (Part(0, 0), Part(0, 1), Part(1, 0), Part(1, 1));
    }
}
