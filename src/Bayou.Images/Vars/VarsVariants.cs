using Bayou.Core;

namespace Bayou.Images;

/// <summary>RVT with any of its attentions, and the sizes of the catalog.</summary>
public static class VarsVariants
{
    private const string Paper = "Visual Attention Emerges from Recurrent Sparse Reconstruction, ICML 2022, arXiv 2204.10962";
    private const string RvtPaper = "Towards Robust Vision Transformer, CVPR 2022, arXiv 2105.07926";

    private sealed record Size(string Name, int HeadDim, int[] Depths, int[] Heads, int Masked, Dictionary<string, long> Parameters);

    private static IReadOnlyList<Size> Sizes { get; } =
    [
        new("tiny", 32, [10, 2], [6, 12], 10,
            new() { ["self_att"] = 8_646_376, ["plus"] = 10_951_336, ["performer"] = 8_818_408, ["vars_d"] = 8_201_428, ["vars_sd"] = 9_176_788,
                ["vars_s"] = 10_155_124 }),
        new("small", 64, [12], [6], 5,
            new() { ["self_att"] = 22_148_392, ["plus"] = 23_300_872, ["performer"] = 22_738_216, ["vars_d"] = 21_160_840, ["vars_sd"] = 23_557_000,
                ["vars_s"] = 24_798_004 }),
        new("base", 64, [12], [12], 5,
            new() { ["self_att"] = 86_223_784, ["plus"] = 88_528_744, ["performer"] = 87_403_432, ["vars_d"] = 80_513_104, ["vars_sd"] = 84_715_600,
                ["vars_s"] = 84_445_108 }),
    ];

    /// <summary>The attentions an RVT can have: the last part of a catalog name.</summary>
    public static IReadOnlyList<string> Attentions { get; } = ["self_att", "performer", "vars_d", "vars_sd", "vars_s"];

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        .. Attentions.SelectMany(a => Sizes.Select(s => Entry(s, a, 0))),
        .. Sizes.Select(s => Entry(s, "self_att", s.Masked)),
    ];

    /// <summary>An RVT whose blocks use the named attention.</summary>
    /// <param name="config">The network.</param>
    /// <param name="attention">One of <see cref="Attentions"/>.</param>
    /// <param name="vars">Shape of the reconstruction; null: as released. Its kind follows the name.</param>
    /// <exception cref="BayouException">No attention has that name.</exception>
    public static Rvt Create(RvtConfig config, string attention, VarsConfig? vars = null)
    {
        vars ??= new VarsConfig();
        Layer Block(RvtBlockSpec b, Layer attn) => new Block(b.Dim, attn, Rvt.Mlp(b), b.DropPath);
        Func<RvtBlockSpec, Layer>? block = attention switch
        {
            "self_att" => null,
            "performer" => b => Block(b, new PerformerAttention(b.Dim, b.Heads, vars.FeatureRatio, b.Network.QkvBias)),
            "vars_d" => b => Block(b, new VarsAttention(b.Dim, b.Heads, b.Grid * b.Grid, vars with { Kind = VarsKind.Dynamic }, b.Network.QkvBias)),
            "vars_sd" => b => Block(b, new VarsAttention(b.Dim, b.Heads, b.Grid * b.Grid, vars with { Kind = VarsKind.StaticAndDynamic }, b.Network.QkvBias)),
            "vars_s" => b => new VarsStaticBlock(b.Dim, b.Grid, Rvt.Mlp(b), dropPath: b.DropPath),
            _ => throw new BayouException($"RVT has no attention '{attention}'; there are: {string.Join(", ", Attentions)}"),
        };
        return new Rvt(config with { Block = block });
    }

    private static ModelEntry Entry(Size size, string attention, int masked)
    {
        var (suffix, plain) = masked > 0 ? ("_plus", true) : attention == "self_att" ? ("", true) : ("_" + attention, false);
        var published = attention is "vars_d" or "vars_sd" && size.Name == "tiny";
        return new ModelEntry(
            $"rvt_{size.Name}{suffix}", "vars", plain ? RvtPaper : Paper,
            o => Create(new RvtConfig
            {
                ImageSize = o.InputSize ?? 224,
                HeadDims = Enumerable.Repeat(size.HeadDim, size.Depths.Length).ToArray(),
                Depths = size.Depths,
                Heads = size.Heads,
                Classes = o.Classes,
                InChannels = o.InChannels,
                DropPath = o.DropPath,
                MaskedBlocks = masked,
            }, attention),
            224, size.Parameters[masked > 0 ? "plus" : attention],
            published ? "weights published for this size" : plain ? "baseline of VARS" : "no published weights",
            published ? $"rvt_tiny_{attention}.pth" : null, published ? "see bfshi/VARS" : null);
    }
}
