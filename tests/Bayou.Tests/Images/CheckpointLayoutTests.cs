using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Checkpoints of older code and of other picture sizes.</summary>
public class CheckpointLayoutTests
{
    private static Fan SmallFan() => new(new FanConfig { Dims = [16, 16], Heads = [4, 4], Patch = 4, Classes = 5 });

    /// <summary>FAN's first files: positions under pos_embeder, one fused qkv in class attention; through a file, as commands load them.</summary>
    [Fact]
    public void An_older_fan_checkpoint_loads_as_todays()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        using Fan source = SmallFan(), target = SmallFan();
        var older = new List<KeyValuePair<string, Tensor>>();
        var today = source.state_dict();
        foreach (var (key, value) in today)
        {
            if (key.Contains(".attn.k.") || key.Contains(".attn.v.")) continue;
            if (key.Split('.') is ["cls_attn_blocks", var block, "attn", "q", var kind])
                older.Add(new($"cls_attn_blocks.{block}.attn.qkv.{kind}",
                    cat(new[] { "q", "k", "v" }.Select(p => today[$"cls_attn_blocks.{block}.attn.{p}.{kind}"]).ToArray(), 0)));
            else older.Add(new(key.Replace("pos_embed.", "pos_embeder."), value));
        }
        Assert.Contains(older, p => p.Key.StartsWith("pos_embeder.", StringComparison.Ordinal));
        Assert.Contains(older, p => p.Key == "cls_attn_blocks.0.attn.qkv.weight");
        var path = folder["fan.safetensors"];
        WeightFile.Save(path, older);
        target.Load(path);
        foreach (var (key, value) in target.state_dict()) TensorAssert.Same(today[key], value);
    }

    [Fact]
    public void A_fused_weight_that_cannot_be_cut_in_thirds_is_refused()
    {
        using var scope = NewDisposeScope();
        using var fan = SmallFan();
        var state = fan.state_dict().Where(p => !p.Key.StartsWith("cls_attn_blocks.0.attn.", StringComparison.Ordinal))
            .Append(new("cls_attn_blocks.0.attn.qkv.weight", zeros(47, 16)));
        Assert.Contains("3 equal parts", Assert.Throws<BayouException>(() => fan.LoadState(state)).Message);
        // Both forms at once: which one counts is not ours to choose.
        var both = fan.state_dict().Append(new("cls_attn_blocks.0.attn.qkv.weight", zeros(48, 16)));
        Assert.Contains("both hold", Assert.Throws<BayouException>(() => fan.LoadState(both)).Message);
    }

    private static SwinTransformer Swin(int image, int window) =>
        new(new SwinConfig { ImageSize = image, Dim = 8, Depths = [2, 2], Heads = [2, 2], Window = window, Classes = 4 });

    private static MiniSwin MiniSwin(int image, int window) =>
        new(new MiniSwinConfig { ImageSize = image, Dim = 8, Depths = [2, 2], Blocks = [1, 1], Heads = [2, 2], Window = window, Classes = 4 });

    /// <summary>
    /// From windows of 3 to windows of 5: the tables of relative positions as PyTorch's bicubic interpolation makes them, everything else copied.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Weights_of_another_window_size_load_with_interpolated_tables(bool mini)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(3);
        using WindowTransformer small = mini ? MiniSwin(24, 3) : Swin(24, 3), large = mini ? MiniSwin(40, 5) : Swin(40, 5);
        var (from, own) = (small.state_dict(),
            large.state_dict().Where(p => p.Key.EndsWith("attn_mask", StringComparison.Ordinal)).ToDictionary(p => p.Key, p => p.Value.clone()));
        Assert.NotEmpty(own);
        large.LoadState(from);
        foreach (var (key, value) in large.state_dict())
        {
            if (key.EndsWith("attn_mask", StringComparison.Ordinal)) TensorAssert.Same(own[key], value);
            else if (key.EndsWith("relative_position_index", StringComparison.Ordinal)) TensorAssert.Same(Windows.RelativeIndex(5), value);
            else if (key.EndsWith("relative_position_bias_table", StringComparison.Ordinal))
            {
                var grid = from[key].t().reshape(1, 2, 5, 5);
                var expected = nn.functional.interpolate(grid, [9, 9], mode: InterpolationMode.Bicubic, align_corners: false).reshape(2, 81).t();
                TensorAssert.Close(expected, value, 1e-5, 1e-6);
            }
            else TensorAssert.Same(from[key], value);
        }
    }

    /// <summary>Buffers that follow from the configuration may be absent; a weight may not.</summary>
    [Fact]
    public void Derived_buffers_may_be_absent_and_weights_may_not()
    {
        using var scope = NewDisposeScope();
        using var swin = Swin(24, 3);
        var state = swin.state_dict();
        swin.LoadState(state.Where(p =>
            !p.Key.EndsWith("attn_mask", StringComparison.Ordinal) && !p.Key.EndsWith("relative_position_index", StringComparison.Ordinal)));
        Assert.Throws<BayouException>(() => swin.LoadState(state.Where(p => !p.Key.EndsWith("relative_position_bias_table", StringComparison.Ordinal))));
        // A table that is no square has no other size.
        Assert.Throws<BayouException>(() =>
            swin.LoadState(state.Select(p => p.Key.EndsWith("relative_position_bias_table", StringComparison.Ordinal) ? new(p.Key, zeros(24, 2)) : p)));
    }
}
