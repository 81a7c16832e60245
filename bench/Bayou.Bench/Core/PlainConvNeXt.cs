using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Bench;

/// <summary>
/// The same ConvNeXt as a user of TorchSharp writes it: torch.nn modules, planar tensors (channels-last ones give its channels-last form), nothing of Bayou.
/// </summary>
internal sealed class PlainConvNeXt : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor>[] downsamples, stages;
    private readonly nn.Module<Tensor, Tensor> norm, head;

    public PlainConvNeXt(ConvNeXtConfig c) : base(nameof(PlainConvNeXt))
    {
        var (dims, depths) = (c.Dims, c.Depths);
        downsamples = new nn.Module<Tensor, Tensor>[dims.Length];
        stages = new nn.Module<Tensor, Tensor>[dims.Length];
        for (var s = 0; s < dims.Length; s++)
        {
            downsamples[s] = s == 0
                ? nn.Sequential(nn.Conv2d(c.InChannels, dims[0], c.Patch, stride: c.Patch), new ChannelNorm(dims[0]))
                : nn.Sequential(new ChannelNorm(dims[s - 1]), nn.Conv2d(dims[s - 1], dims[s], 2, stride: 2));
            stages[s] = nn.Sequential(Enumerable.Range(0, depths[s]).Select(_ => new Block(dims[s], c.Kernel, c.LayerScale))
                .ToArray<nn.Module<Tensor, Tensor>>());
            register_module($"downsample{s}", downsamples[s]);
            register_module($"stage{s}", stages[s]);
        }
        norm = nn.LayerNorm(dims[^1], eps: 1e-6);
        head = nn.Linear(dims[^1], c.Classes);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        for (var s = 0; s < stages.Length; s++) x = stages[s].call(downsamples[s].call(x));
        return head.call(norm.call(x.mean([2, 3])));
    }

    private sealed class ChannelNorm : nn.Module<Tensor, Tensor>
    {
        private readonly nn.Module<Tensor, Tensor> norm;

        public ChannelNorm(int dim) : base(nameof(ChannelNorm))
        {
            norm = nn.LayerNorm(dim, eps: 1e-6);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => norm.call(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2);
    }

    private sealed class Block : nn.Module<Tensor, Tensor>
    {
        private readonly nn.Module<Tensor, Tensor> dwconv, norm, pwconv1, act, pwconv2;
        private readonly TorchSharp.Modules.Parameter gamma;

        public Block(int dim, int kernel, double scale) : base(nameof(Block))
        {
            dwconv = nn.Conv2d(dim, dim, kernel, padding: kernel / 2, groups: dim);
            norm = nn.LayerNorm(dim, eps: 1e-6);
            pwconv1 = nn.Linear(dim, 4 * dim);
            act = nn.GELU();
            pwconv2 = nn.Linear(4 * dim, dim);
            gamma = nn.Parameter(full(dim, scale));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var y = dwconv.call(x).permute(0, 2, 3, 1);
            y = gamma * pwconv2.call(act.call(pwconv1.call(norm.call(y))));
            return x + y.permute(0, 3, 1, 2);
        }
    }
}
