using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class MiniViTTests
{
    private static readonly MiniDeiTConfig Deit = new() { ImageSize = 16, Patch = 4, Dim = 12, Heads = 3, Depth = 4, Share = 2, Classes = 4, FanInInit = true };

    private static readonly MiniSwinConfig Swin = new()
    {
        ImageSize = 32,
        Dim = 8,
        Depths = [2, 2],
        Blocks = [1, 1],
        Heads = [2, 2],
        Window = 4,
        Classes = 4,
        FanInInit = true,
    };

    [Fact]
    public void Without_transformations_and_with_one_layer_a_block_it_is_the_plain_transformer()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        using var plain = new VisionTransformer(new VisionTransformerConfig
        {
            ImageSize = 16,
            Patch = 4,
            Dim = 12,
            Heads = 3,
            Depth = 4,
            Classes = 4,
            ClassToken = false
        });
        using var mini = new MiniDeiT(Deit with { Share = 1, Transform = false, RelativePositions = false });
        mini.LoadState(plain.state_dict(), mapKey: key => key.StartsWith("blocks.", StringComparison.Ordinal) ? Renamed(key) : key);
        plain.eval();
        mini.eval();
        var x = randn(2, 3, 16, 16);
        TensorAssert.Close(plain.call(x), mini.call(x), 1e-4, 1e-5);

        static string Renamed(string key)
        {
            var parts = key.Split('.');
            return parts[2].StartsWith("norm", StringComparison.Ordinal)
                ? $"blocks.{parts[1]}.block.{parts[2]}.instances.0.{parts[3]}" : $"blocks.{parts[1]}.block.{string.Join('.', parts[2..])}";
        }
    }

    [Fact]
    public void Identity_transformations_change_nothing_and_shared_weights_learn_from_every_repeat()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        using var mixing = new MiniDeiT(Deit);
        using var plain = new MiniDeiT(Deit with { Transform = false });
        plain.LoadState(mixing.state_dict(), mapKey: key => key.Contains("conv_", StringComparison.Ordinal) ? null : key);
        var x = randn(2, 3, 16, 16);
        TensorAssert.Close(plain.call(x), mixing.call(x), 1e-4, 1e-5);
        // One layer less has a part in the gradient: the shared weight's is a sum over repeats.
        mixing.call(x).sum().backward();
        var shared = mixing.named_parameters().Single(p => p.name == "blocks.0.block.attn.proj.weight").parameter.grad!;
        Assert.True(shared.abs().sum().item<float>() > 0);
        Assert.True(mixing.named_parameters().Where(p => p.name.Contains("norm1.instances", StringComparison.Ordinal))
            .All(p => p.parameter.grad!.abs().sum().item<float>() > 0));
    }

    [Theory]
    [InlineData(2, 0.55)]
    [InlineData(4, 0.33)]
    public void Shared_weights_are_stored_once(int share, double atMost)
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        using var full = new MiniDeiT(Deit with { Share = 1, Dim = 48 });
        using var mini = new MiniDeiT(Deit with { Share = share, Dim = 48 });
        full.Save(folder["full.safetensors"]);
        mini.Save(folder["mini.safetensors"]);
        var (whole, less) = (new FileInfo(folder["full.safetensors"]).Length, new FileInfo(folder["mini.safetensors"]).Length);
        Assert.InRange((double)less / whole, 1.0 / share, atMost + 0.05);
        Assert.Equal(mini.parameters().Sum(p => p.numel()), Cost.Of(mini, 1, 3, 16, 16).Parameters);
        Assert.Equal(Cost.Of(full, 1, 3, 16, 16).Macs, Cost.Of(mini, 1, 3, 16, 16).Macs);
    }

    [Theory]
    [InlineData("deit")]
    [InlineData("deit with class token")]
    [InlineData("swin")]
    [InlineData("swin plain")]
    public void The_exported_file_gives_the_same(string kind)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var size = kind.StartsWith("deit", StringComparison.Ordinal) ? 16 : 32;
        using Layer net = kind switch
        {
            "deit" => new MiniDeiT(Deit),
            "deit with class token" => new MiniDeiT(Deit with { ClassToken = true, SharedHeadPositions = false }),
            "swin" => new MiniSwin(Swin),
            _ => new MiniSwin(Swin with { SeparateNorms = false, TransformMlp = false, TransformHeads = false }),
        };
        using (no_grad()) foreach (var parameter in net.parameters()) parameter.add_(randn(parameter.shape) * 0.05);
        net.eval();
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(net, 1, 3, size, size)));
        foreach (var batch in (int[])[1, 3])
        {
            var x = randn(batch, 3, size, size);
            TensorAssert.Close(net.call(x), runner.Run(x), 1e-3, 1e-4);
        }
    }

    [Fact]
    public void Other_picture_sizes_work()
    {
        using var scope = NewDisposeScope();
        using var deit = new MiniDeiT(Deit);
        using var swin = new MiniSwin(Swin);
        Assert.Equal([1L, 4], deit.call(randn(1, 3, 24, 12)).shape);
        Assert.Equal([1L, 4], swin.call(randn(1, 3, 48, 40)).shape);
    }

    [Fact]
    public void Buckets_of_offsets_are_the_published_ones()
    {
        Assert.Equal([0, 1, 2, 2, 3, 3, 3, 3], Enumerable.Range(0, 8).Select(x => PositionBuckets.Of(x, 1.9)));
        Assert.Equal(-2, PositionBuckets.Of(-3, 1.9));
        Assert.Equal(49, PositionBuckets.Count(1.9));
        var table = PositionBuckets.Table(3, 5, 1.9, prefix: 1);
        Assert.Equal(49, table[0]);
        Assert.Equal((3 - 1) * 7 + 3 + 2, table[(1 + 2) * 16 + 1 + 5]);        // from (0, 2) to (1, 0)
    }

    [Fact]
    public void A_relation_loss_is_smallest_where_student_and_teacher_agree()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        var teacher = new[] { randn(2, 5, 18) };
        Tensor Loss(Tensor s) => MiniViTLoss.QkvRelations([s], teacher);
        var same = teacher[0].clone().requires_grad_();
        Loss(same).backward();
        Assert.True(same.grad!.abs().max().item<float>() < 1e-6);
        Assert.True(Loss(teacher[0] + 0.3 * randn(2, 5, 18)).item<float>() > Loss(teacher[0]).item<float>());
        Assert.Equal(0, MiniViTLoss.HiddenRelations(teacher, teacher).item<float>());
        // Wider teachers and rotated students: only relations count.
        var (q, _) = linalg.qr(randn(18, 18));
        Assert.Equal(0, MiniViTLoss.HiddenRelations([teacher[0].matmul(q)], teacher).item<float>(), 1e-6);
        Assert.Throws<BayouException>(() => MiniViTLoss.HiddenRelations([randn(2, 4, 6)], teacher));
        Assert.Throws<BayouException>(() => MiniViTLoss.Pairs(4, 4, [1, 9], [1, 2]));
        Assert.Equal([(1, 3), (3, 9)], MiniViTLoss.Pairs(4, 10, [3, 1], [9, 3]));
    }

    [Fact]
    public void A_relation_gradient_agrees_with_differences()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        var teacher = new[] { randn(1, 3, 12, dtype: float64) };
        var x = randn(1, 3, 6, dtype: float64, requires_grad: true);
        Tensor Loss(Tensor s) => MiniViTLoss.QkvRelations([s], teacher) + MiniViTLoss.HiddenRelations([s], teacher);
        Loss(x).backward();
        for (var i = 0; i < 18; i += 5)
        {
            var step = zeros(18, dtype: float64);
            step[i] = 1e-6;
            var difference = (Loss(x.detach() + step.view(1, 3, 6)) - Loss(x.detach() - step.view(1, 3, 6))).item<double>() / 2e-6;
            Assert.Equal(difference, x.grad!.view(-1)[i].item<double>(), 1e-5);
        }
    }

    [Fact]
    public void A_student_comes_nearer_to_its_teacher()
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        using var teacher = new VisionTransformer(new VisionTransformerConfig
        {
            ImageSize = 16,
            Patch = 4,
            Dim = 16,
            Heads = 2,
            Depth = 4,
            Classes = 4,
            ClassToken = false,
            FanInInit = true
        });
        teacher.eval();
        using var student = new MiniDeiT(Deit);
        var (distillation, x) = (new WeightDistillation(teacher.call), randn(8, 3, 16, 16));
        var before = distillation.Terms(student, x);
        Assert.NotNull(before.Qkv);
        Assert.NotNull(before.Hidden);
        using var result = Trainer.Train(student, new SyntheticSource(12, size: 16), null, Recipe.Short(2, batch: 8, lr: 1e-2) with { EmaDecay = 0 },
            new TrainerOptions { Loss = distillation.For(student) });
        var after = distillation.Terms(student, x);
        Assert.True(after.Hidden!.item<float>() < 0.8 * before.Hidden!.item<float>());
        Assert.True(after.Total.item<float>() < before.Total.item<float>());
        // A teacher without attention layers teaches by its answers alone.
        var plain = new WeightDistillation(new TinyNet().call).Terms(student, x);
        Assert.Null(plain.Qkv);
    }

    [Fact]
    public void Nonsense_is_refused()
    {
        Assert.Throws<BayouException>(() => new MiniDeiT(Deit with { Share = 3 }));
        Assert.Throws<BayouException>(() => new MiniDeiT(Deit with { Heads = 5 }));
        Assert.Throws<BayouException>(() => new MiniSwin(Swin with { Blocks = [1] }));
        Assert.Throws<BayouException>(() => new MiniSwin(Swin with { Blocks = [3, 1] }));
    }

    [Theory]
    [InlineData("mini_deit_tiny", 3.09)]
    [InlineData("mini_deit_base_9m", 8.67)]
    [InlineData("mini_swin_tiny", 12.00)]
    public void Catalog_networks_have_the_published_parameters(string name, double millions)
    {
        using var scope = NewDisposeScope();
        var entry = ImageModels.All.Single(e => e.Name == name);
        using var net = entry.Create(new ModelOptions());
        Assert.Equal(entry.Parameters, net.parameters().Sum(p => p.numel()));
        Assert.Equal(millions, entry.Parameters / 1e6, 0.006);
    }

    [Fact]
    public void A_multiplexed_network_begins_as_the_first_layer_of_each_group()
    {
        using var scope = NewDisposeScope();
        manual_seed(7);
        var config = new VisionTransformerConfig { ImageSize = 16, Patch = 4, Dim = 12, Heads = 3, Depth = 4, Classes = 4 };
        using var dense = new VisionTransformer(config);
        using var mini = new MiniDeiT(Deit);
        var report = WeightMultiplexing.Start(dense, mini);
        Assert.Equal(2 * 8, report.Shared);
        var (from, to) = (dense.state_dict(), mini.state_dict());
        TensorAssert.Same(from["blocks.2.attn.qkv.weight"], to["blocks.1.block.attn.qkv.weight"]);
        TensorAssert.Same(from["blocks.3.norm2.weight"], to["blocks.1.block.norm2.instances.1.weight"]);
        TensorAssert.Same(from["pos_embed"].slice(1, 1, 17, 1), to["pos_embed"]);

        using var swin = new SwinTransformer(new SwinConfig { ImageSize = 32, Dim = 8, Depths = [2, 2], Heads = [2, 2], Window = 4, Classes = 4 });
        using var miniSwin = new MiniSwin(Swin);
        Assert.Equal(2 * 9, WeightMultiplexing.Start(swin, miniSwin).Shared);
        Assert.Throws<BayouException>(() => WeightMultiplexing.Start(dense, miniSwin));
        Assert.Throws<BayouException>(() => WeightMultiplexing.Start(new VisionTransformer(config with { Dim = 24 }), mini));
    }
}
