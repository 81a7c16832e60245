using Bayou.Core;

namespace Bayou.Images;

/// <summary>RVT with any of its attentions, and the sizes of the catalog.</summary>
public static class VarsVariants
{
    private const string Paper = "Visual Attention Emerges from Recurrent Sparse Reconstruction, ICML 2022, arXiv 2204.10962";
    private const string RvtPaper = "Towards Robust Vision Transformer, CVPR 2022, arXiv 2105.07926";

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

    private sealed record Size(string Name, int HeadDim, int[] Depths, int[] Heads, int Masked, Dictionary<string, long> Parameters);

    private static IReadOnlyList<Size> Sizes =>
    [
        new("tiny", 32, [10, 2], [6, 12], 10, new() { ["self_att"] = 0, ["plus"] = 0, ["performer"] = 0, ["vars_d"] = 0, ["vars_sd"] = 0, ["vars_s"] = 0 }),
        new("small", 64, [12], [6], 5, new() { ["self_att"] = 0, ["plus"] = 0, ["performer"] = 0, ["vars_d"] = 0, ["vars_sd"] = 0, ["vars_s"] = 0 }),
        new("base", 64, [12], [12], 5, new() { ["self_att"] = 0, ["plus"] = 0, ["performer"] = 0, ["vars_d"] = 0, ["vars_sd"] = 0, ["vars_s"] = 0 }),
    ];

    private static ModelEntry Entry(Size size, string attention, int masked)
    {
        var (suffix, plain) = masked > 0 ? ("_plus", true) : attention == "self_att" ? ("", true) : ("_" + attention, false);
        var published = attention is "vars_d" or "vars_sd" && size.Name == "tiny";
        return new ModelEntry(
            $"rvt_{size.Name}{suffix}", "vars", plain ? RvtPaper : Paper,
            o => Create(new RvtConfig
            {
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
