using System.Text.RegularExpressions;
using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What a multiplexed network took from a dense one.</summary>
/// <param name="Shared">Tensors of shared layers, from the first layer of each group.</param>
/// <param name="Own">Tensors that each layer keeps: norms.</param>
/// <param name="Fresh">Tensors without a counterpart: transformations, position buckets.</param>
public sealed record MultiplexingReport(int Shared, int Own, int Fresh);

/// <summary>Starts a multiplexed transformer from the weights of the dense one.</summary>
public static partial class WeightMultiplexing
{
    /// <summary>
    /// Copies what corresponds: embeddings, head and last norm; each layer's norms; attention and MLP of a group of layers from the group's first. A position
    /// table loses the class token's entry where the student has none.
    /// </summary>
    /// <exception cref="BayouException">The two networks are not of one family and size.</exception>
    public static MultiplexingReport Start(Layer dense, Layer student)
    {
        Func<string, string?> source = student switch
        {
            MiniDeiT d when dense is VisionTransformer => key => DeiTKey(key, d.Config.Share),
            MiniSwin s when dense is SwinTransformer => key => SwinKey(key, s.Config),
            _ => throw new BayouException($"a {student.GetType().Name} cannot begin from a {dense.GetType().Name}"),
        };
        using var scope = NewDisposeScope();
        var (from, state, shared, own, fresh) = (dense.state_dict(), new Dictionary<string, Tensor>(), 0, 0, 0);
        foreach (var (key, target) in student.state_dict())
        {
            if (source(key) is not { } name || !from.TryGetValue(name, out var value))
            {
                fresh++;
                continue;
            }
            if (key == "pos_embed" && value.shape[1] > target.shape[1]) value = Ops.Slice(value, 1, value.shape[1] - target.shape[1]);
            if (!value.shape.SequenceEqual(target.shape))
                throw new BayouException($"'{name}' is {new Ints(value.shape)}, '{key}' of the multiplexed network {new Ints(target.shape)}: the sizes must be the same");
            state[key] = value;
            if (key.Contains(".attn.", StringComparison.Ordinal) || key.Contains(".mlp.", StringComparison.Ordinal)) shared++;
            else own++;
        }
        student.LoadState(state, strict: false);
        return new(shared, own, fresh);
    }

    // blocks.I.block.normN.instances.R.x -> blocks.(I share + R).normN.x; blocks.I.block.x -> blocks.(I share).x
    private static string? DeiTKey(string key, int share)
    {
        if (RepeatedKey().Match(key) is { Success: true } m)
        {
            if (!m.Groups[2].Value.StartsWith("norm", StringComparison.Ordinal)) return null;
            return $"blocks.{int.Parse(m.Groups[1].Value) * share + int.Parse(m.Groups[3].Value)}.{m.Groups[2].Value}.{m.Groups[4].Value}";
        }
        var parts = key.Split('.');
        return parts is ["blocks", var block, "block", ..] ? $"blocks.{int.Parse(block) * share}.{string.Join('.', parts[3..])}" : key;
    }

    // layers.S.blocks.I.norm1_list.R.x -> layers.S.blocks.(I share + R).norm1.x; layers.S.blocks.I.x -> layers.S.blocks.(I share).x
    private static string? SwinKey(string key, MiniSwinConfig c)
    {
        var parts = key.Split('.');
        if (parts is not ["layers", var stage, "blocks", var block, ..]) return key;
        if (parts[4] == "attn_mask" || parts.Contains("relative_position_index")) return null;      // tables, the same in both
        var share = c.Depths[int.Parse(stage)] / c.Blocks[int.Parse(stage)];
        var first = int.Parse(block) * share;
        return parts[4] is "norm1_list" or "norm2_list"
            ? $"layers.{stage}.blocks.{first + int.Parse(parts[5])}.{parts[4][..5]}.{parts[6]}"
            : $"layers.{stage}.blocks.{first}.{string.Join('.', parts[4..])}";
    }

    [GeneratedRegex(@"^blocks\.(\d+)\.block\.(?:attn\.)?(\w+)\.instances\.(\d+)\.(.+)$")]
    private static partial Regex RepeatedKey();
}
