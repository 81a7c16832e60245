using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>
/// Options of the robust and adaptive networks that no golden case uses: their exports agree with them at a size and batch they were not captured with,
/// training with stochastic depth gives every trainable parameter a finite gradient, and prediction is repeatable.
/// </summary>
public class NetworkOptionTests
{
    private static readonly FanConfig Vit = new() { Dims = [16, 16], Heads = [4, 2], Patch = 4, Classes = 3, FanInInit = true, DropPath = 0.3 };
    private static readonly SwinConfig Swin =
        new() { ImageSize = 32, Dim = 8, Depths = [2, 2], Heads = [2, 4], Window = 4, Classes = 3, FanInInit = true, DropPath = 0.3 };
    private static readonly MiniSwinConfig MiniSwin =
        new() { ImageSize = 32, Dim = 8, Depths = [2, 4], Blocks = [1, 2], Heads = [2, 4], Window = 4, Classes = 3, FanInInit = true, DropPath = 0.3 };
    private static readonly MiniDeiTConfig MiniDeit =
        new() { ImageSize = 32, Patch = 8, Dim = 16, Depth = 4, Heads = 2, Share = 2, Classes = 3, FanInInit = true, DropPath = 0.3 };
    private static readonly VisionTransformerConfig Deit =
        new() { ImageSize = 32, Patch = 8, Dim = 16, Depth = 2, Heads = 2, Classes = 3, FanInInit = true, DropPath = 0.3 };
    private static readonly RvtConfig Rvt =
        new() { ImageSize = 32, StemStride = 4, HeadDims = [8, 8], Depths = [1, 1], Heads = [2, 4], Classes = 3, FanInInit = true, DropPath = 0.3 };
    private static readonly SkipNetConfig Skip = new() { Layers = [2, 1, 2], Widths = [4, 6, 8], Classes = 3, GateBias = 1 };

    private static readonly Dictionary<string, Func<Layer>> Networks = new()
    {
        ["fan without token norm"] = () => new Fan(Vit with { TokensNorm = false }),
        ["fan without layer scale and biases"] = () => new Fan(Vit with { Eta = null, QkvBias = false }),
        ["fan without positions, one class layer"] = () => new Fan(Vit with { Positions = false, ClassLayers = 1 }),
        ["fan with patches of 8, narrow mlp"] = () => new Fan(Vit with { Patch = 8, MlpRatio = 2, FlooredPositions = false }),
        ["fan hybrid of two widths"] = () => new Fan(Vit with { Dims = [16, 24], Heads = [4, 3], StemDepths = [1, 2], StemDims = [8, 12] }),
        ["fan swin, attention only in the second stage"] = () => FanVariants.Swin(Swin, [false, true]),
        ["swin with windows larger than its grid"] = () => new SwinTransformer(Swin with { Window = 16 }),
        ["swin with patches of 2, without qkv bias"] = () => new SwinTransformer(Swin with { Patch = 2, QkvBias = false, MlpRatio = 2 }),
        ["mini-swin without transformations"] = () => new MiniSwin(MiniSwin with { TransformMlp = false, TransformHeads = false }),
        ["mini-swin of shared norms"] = () => new MiniSwin(MiniSwin with { SeparateNorms = false, Window = 8 }),
        ["mini-deit with a class token"] = () => new MiniDeiT(MiniDeit with { ClassToken = true }),
        ["mini-deit, positions of each head, four repeats"] = () => new MiniDeiT(MiniDeit with { SharedHeadPositions = false, Share = 4 }),
        ["mini-deit without transformations"] = () => new MiniDeiT(MiniDeit with { Transform = false, RelativePositions = false, SeparateNorms = false }),
        ["vit of the mean, without class token"] = () => new VisionTransformer(Deit with { ClassToken = false, QkvBias = false }),
        ["a-vit of steep gates, without qkv bias"] = () => new AViT(Deit with { QkvBias = false, Depth = 4 }, new HaltingGate(3, 2)),
        ["rvt, position-aware"] = () => VarsVariants.Create(Rvt with { MaskedBlocks = 1 }, "self_att"),
        ["vars-d of two stages without steps"] = () => VarsVariants.Create(Rvt, "vars_d", new VarsConfig { Steps = 0 }),
        ["vars-sd, plain ista, three features"] = () =>
            VarsVariants.Create(Rvt, "vars_sd", new VarsConfig { Learned = false, Shrink = VarsShrink.Relu, FeatureRatio = 3, Lambda = 0.1, Steps = 2 }),
        ["skipnet of basic blocks at imagenet's stem"] = () => new SkipNet(Skip with { ImageNet = true, EmbedDim = 3, HiddenDim = 5 }),
        ["skipnet, ffgate-ii, bottlenecks"] = () => new SkipNet(Skip with { Gate = SkipGateKind.FeedForward2, Block = ResidualKind.Bottleneck }),
    };

    public static TheoryData<string> Names => new(Networks.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void Options_export_and_train(string name)
    {
        using var scope = NewDisposeScope();
        manual_seed(7);
        using var network = Networks[name]();
        network.train();
        var x = randn(4, 3, 32, 32);
        nn.functional.cross_entropy(network.call(x), tensor(new long[] { 0, 1, 2, 0 })).backward();
        foreach (var (parameter, value) in network.named_parameters())
            if (value.grad is { } grad) Assert.True(grad.isfinite().all().item<bool>(), parameter);
        Assert.Contains(network.parameters(), p => p.grad is { } g && g.abs().max().item<float>() > 0);

        network.eval();
        using var noGrad = no_grad();
        var expected = network.call(x);
        TensorAssert.Same(expected, network.call(x));
        Assert.True(expected.isfinite().all().item<bool>());
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(network, 1, 3, 32, 32)));
        TensorAssert.Close(expected, runner.Run(x), 1e-3, 1e-4);
        // Batches do not mix.
        TensorAssert.Close(expected.slice(0, 1, 2, 1), network.call(x.slice(0, 1, 2, 1).contiguous()), 1e-3, 1e-4);
    }
}
