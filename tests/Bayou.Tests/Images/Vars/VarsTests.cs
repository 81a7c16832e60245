using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Attention by recurrent sparse reconstruction, and what it has in common with self-attention.</summary>
public class VarsTests
{
    private static readonly VarsConfig Ista = new() { Learned = false, Shrink = VarsShrink.Relu };

    /// <summary>No steps and no sparsity: the layer is attention with the kernel P P', exactly.</summary>
    [Fact]
    public void Self_attention_is_the_case_of_no_steps_and_no_sparsity()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(1);
        using var layer = new VarsAttention(16, 2, 25, Ista with { Steps = 0, Lambda = 0 });
        var x = randn(2, 25, 16);
        var code = layer.Reconstruct(x);
        var p = code.Templates;
        var attention = p.matmul(p.transpose(2, 3)).matmul(code.Values);       // weights P P' on the values, as attention applies them
        TensorAssert.Close(attention, p.matmul(code.Code), 1e-5, 1e-6);

        var weights = layer.named_parameters().ToDictionary(n => n.name, n => n.parameter);
        var expected = nn.functional.linear(attention.permute(0, 2, 1, 3).reshape(2, 25, 16), weights["proj.weight"], weights["proj.bias"]);
        TensorAssert.Close(expected, layer.call(x), 1e-5, 1e-6);
    }

    /// <summary>
    /// The kernel is that of softmax attention: with more random features, row-normalised phi phi' v tends to softmax(q q') v of unit queries.
    /// </summary>
    [Fact]
    public void Its_kernel_tends_to_softmax_attention()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(2);
        Tensor q = nn.functional.normalize(randn(1, 2, 12, 8), 2, -1), v = randn(1, 2, 12, 8);
        var softmax = nn.functional.softmax(q.matmul(q.transpose(2, 3)), -1).matmul(v);
        double Error(long features)
        {
            var phi = RandomFeatures.Of(q, randn(2, 8, features));
            var weights = phi.matmul(phi.transpose(2, 3));
            var kernel = weights / weights.sum(-1, true);
            return (kernel.matmul(v) - softmax).norm().item<float>() / softmax.norm().item<float>();
        }
        var (few, many, most) = (Error(64), Error(4096), Error(65536));
        Assert.True(few > many && many > most, $"{few}, {many}, {most}");
        Assert.InRange(most, 0, 0.05);
    }

    /// <summary>Plain ISTA: every step lowers 1/2 ||P u - v||^2 + lambda ||u||_1, and more lambda makes more zeros.</summary>
    [Fact]
    public void Steps_lower_the_objective_and_lambda_makes_zeros()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var x = randn(2, 25, 16);
        VarsCode Code(int steps, double lambda)
        {
            manual_seed(3);
            using var layer = new VarsAttention(16, 2, 25, Ista with { Steps = steps, Lambda = lambda });
            return layer.Reconstruct(x * 3);
        }
        var before = double.PositiveInfinity;
        for (var steps = 0; steps <= 8; steps++)
        {
            var code = Code(steps, 0.2);
            var objective = (0.5 * (code.Templates.matmul(code.Code) - code.Values).pow(2).sum() + 0.2 * code.Code.abs().sum()).item<float>();
            Assert.True(objective <= before + 1e-4, $"step {steps}: {objective} after {before}");
            before = objective;
        }
        double Zeros(double lambda) => (Code(50, lambda).Code == 0).to(float32).mean().item<float>();
        var zeros = new[] { 0.01, 0.2, 0.5, 1 }.Select(Zeros).ToArray();
        Assert.Equal(zeros.Order(), zeros);
        Assert.True(zeros[^1] > zeros[0] + 0.1, string.Join(", ", zeros));
    }

    /// <summary>The Fourier tables are the real transform with orthonormal scaling, forth and back, for even and odd sides.</summary>
    [Theory]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(14)]
    public void Fourier_tables_are_the_real_transform(int side)
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        var x = randn(2, 3, side, side);
        var fourier = new Fourier2d(side);
        var (re, im) = fourier.Forward(x);
        var expected = fft.rfft2(x, norm: FFTNormType.Ortho);
        TensorAssert.Close(expected.real, re, 1e-4, 1e-5);
        TensorAssert.Close(expected.imag, im, 1e-4, 1e-5);
        TensorAssert.Close(x, fourier.Inverse((re, im)), 1e-4, 1e-5);
        // An unsymmetric spectrum: the inverse drops what no real map has.
        Tensor a = randn(1, side, side / 2 + 1), b = randn(1, side, side / 2 + 1);
        TensorAssert.Close(fft.irfft2(complex(a, b), s: [side, side], norm: FFTNormType.Ortho), fourier.Inverse((a, b)), 1e-4, 1e-5);
    }

    /// <summary>The stored bound of VARS-S is the largest singular value of the Gram matrices, and follows its templates.</summary>
    [Fact]
    public void The_bound_of_static_templates_is_the_largest_singular_value()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(5);
        var kernel = randn([2, 3, 1, 4, 3, 2]);
        var spectrum = complex(kernel.select(5, 0), kernel.select(5, 1)).squeeze(2).permute(0, 2, 3, 1).unsqueeze(-1);      // [C, n, n/2 + 1, inner, 1]
        var gram = spectrum.matmul(spectrum.conj().transpose(-1, -2));
        var expected = linalg.svdvals(gram).amax([1, 2, 3]);
        TensorAssert.Close(expected, VarsTraining.GramNorm(kernel), 1e-4, 1e-5);
        using var block = new VarsStaticBlock(2, 4, new Mlp(2, 8), inner: 3);
        var before = block.Bound.clone();
        block.Kernel.copy_(block.Kernel * 2);
        VarsTraining.UpdateBound(block);
        TensorAssert.Close(before * 1.3, block.Bound, 1e-4, 1e-5);
    }

    public static TheoryData<string> Attentions => new(VarsVariants.Attentions);

    [Theory]
    [MemberData(nameof(Attentions))]
    public void Rvt_with_any_attention_exports_and_is_tapped(string attention)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(6);
        using var network = VarsVariants.Create(new RvtConfig
        {
            ImageSize = 32,
            StemStride = 4,
            HeadDims = [8],
            Depths = [2],
            Heads = [2],
            Classes = 5,
            FanInInit = true
        }, attention);
        network.eval();
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(network, 1, 3, 32, 32)));
        foreach (var batch in new long[] { 1, 3 })
        {
            var x = randn(batch, 3, 32, 32);
            TensorAssert.Close(network.call(x), runner.Run(x), 1e-3, 1e-4);
        }
        using var tap = AttentionTap.Open();
        network.call(randn(1, 3, 32, 32));
        Assert.Equal(2, tap.Maps.Count);
        Assert.All(tap.Maps, m => Assert.Equal(new TokenLayout(7, 7), m.Layout));
        Assert.Equal(attention.StartsWith("vars", StringComparison.Ordinal), tap.Maps[0].Saliency is not null);
    }

    [Fact]
    public void Learned_templates_refuse_another_size()
    {
        using var scope = NewDisposeScope();
        var config = new RvtConfig { ImageSize = 32, StemStride = 4, HeadDims = [8], Depths = [1], Heads = [2], Classes = 5 };
        foreach (var attention in new[] { "vars_sd", "vars_s" })
        {
            using var network = VarsVariants.Create(config, attention);
            Assert.Contains("one picture size only", Assert.Throws<BayouException>(() => network.call(randn(1, 3, 48, 48))).Message);
        }
        using var dynamic = VarsVariants.Create(config, "vars_d");
        Assert.Equal([1L, 5], dynamic.call(randn(1, 3, 48, 48)).shape);
        Assert.Contains("vars_sd", Assert.Throws<BayouException>(() => VarsVariants.Create(config, "softmax")).Message);
    }

    [Theory]
    [InlineData("rvt_tiny")]
    [InlineData("rvt_tiny_plus")]
    [InlineData("rvt_tiny_performer")]
    [InlineData("rvt_tiny_vars_d")]
    [InlineData("rvt_tiny_vars_sd")]
    [InlineData("rvt_tiny_vars_s")]
    public void Published_sizes_have_the_published_parameters(string name)
    {
        var entry = ImageModels.All.Single(e => e.Name == name);
        using var network = entry.Create(new ModelOptions());
        Assert.Equal(entry.Parameters, network.parameters().Sum(p => p.numel()));
    }
}
