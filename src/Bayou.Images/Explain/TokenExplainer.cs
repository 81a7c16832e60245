using Bayou.Core;
using Bayou.Data;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>How many layers each patch of the picture went through before an adaptive transformer let it go.</summary>
public sealed class TokenExplainer : IExplainer
{
    /// <inheritdoc/>
    public string Name => "tokens";

    /// <inheritdoc/>
    public string Summary => "layers that each patch went through (A-ViT)";

    /// <inheritdoc/>
    public Explanation Explain(ExplainRequest request)
    {
        if (request.Model is not AViT model)
            throw new BayouException("explain: --method tokens shows how deep each token of an A-ViT went; other networks run all tokens through all layers");
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var x = request.Input();
        var trace = model.Removing(x);
        var (rows, columns) = ((int)(x.shape[2] / model.Config.Patch), (int)(x.shape[3] / model.Config.Patch));
        var depths = trace.Depths[0].Skip(1).ToArray();
        var map = new SaliencyMap(columns, rows, depths.Select(d => (float)d).ToArray());
        var counts = Enumerable.Range(1, model.Config.Depth).Select(l => depths.Count(d => d == l)).ToArray();
        var facts = new
        {
            method = Name,
            layers = model.Config.Depth,
            tokensKept = trace.TokensKept,
            classTokenDepth = trace.Depths[0][0],
            rows,
            columns,
            depths,
            patchesByDepth = counts
        };
        return new Explanation([("tokens", map.Over(request.Shown))], facts,
            [$"{trace.TokensKept:P1} of the tokens' layers ran; the answer was fixed after layer {trace.Depths[0][0]} of {model.Config.Depth}; patches by depth 1 to {model.Config.Depth}: {string.Join(" ", counts)}"],
            map);
    }
}
