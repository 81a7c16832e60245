using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>
/// A classifier of ten noisy patterns, trained for a moment: convolution + BN + ReLU, a depthwise residual block with GELU, two linear layers.
/// </summary>
internal sealed class PatternNet : Layer
{
    private readonly Conv2d stem = new(1, 8, 3, padding: 1, bias: false);
    private readonly BatchNorm bn = new(8);
    private readonly Conv2d dwconv = new(8, 8, 3, padding: 1, groups: 8);
    private readonly LayerNorm2d norm = new(8);
    private readonly Conv2d pwconv = new(8, 8, 1);
    private readonly MaxPool2d pool = new(2, 2);
    private readonly Linear fc1 = new(8 * 16, 32), fc2 = new(32, 10);

    public PatternNet() => RegisterComponents();

    public Linear Fc1 => fc1;

    public Linear Fc2 => fc2;

    public override Tensor forward(Tensor x)
    {
        var y = Ops.Relu(bn.call(stem.call(x)));
        y = Ops.Add(y, pwconv.call(Ops.Gelu(norm.call(dwconv.call(y)))));
        return fc2.call(Ops.Relu(fc1.call(Ops.Flatten(pool.call(y)))));
    }

    private static readonly Lazy<(PatternNet Net, Tensor Patterns)> Once = new(Train);

    /// <summary>A trained net of its own with pictures [N, 1, 8, 8] and their classes that it has not seen.</summary>
    public static (PatternNet Net, Tensor Images, Tensor Labels) Trained(int pictures = 192)
    {
        var (source, patterns) = Once.Value;
        var net = new PatternNet();
        using (no_grad())
        {
            foreach (var (from, to) in source.parameters().Concat(source.buffers()).Zip(net.parameters().Concat(net.buffers()))) to.copy_(from);
        }
        net.eval();
        var (images, labels) = Sample(patterns, pictures);
        return (net, images, labels);
    }

    // Once for all tests, outside of any test's dispose scope.
    private static (PatternNet Net, Tensor Patterns) Train()
    {
        manual_seed(1);
        var net = new PatternNet();
        var patterns = randn(10, 1, 8, 8).DetachFromDisposeScope();
        using var optimizer = optim.Adam(net.parameters(), 0.01);
        net.train();
        for (var step = 0; step < 40; step++)
        {
            using var scope = NewDisposeScope();
            var (x, y) = Sample(patterns, 64);
            optimizer.zero_grad();
            nn.functional.cross_entropy(net.call(x), y).backward();
            optimizer.step();
        }
        return (net, patterns);
    }

    private static (Tensor, Tensor) Sample(Tensor patterns, int count)
    {
        var labels = randint(10, new long[] { count }, int64);
        return (patterns[labels] + randn(count, 1, 8, 8) * 0.8, labels);
    }
}
