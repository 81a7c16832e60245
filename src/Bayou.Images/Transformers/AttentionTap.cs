using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Where the tokens of an attention layer lie in the picture.</summary>
/// <param name="Height">Rows of the token grid.</param>
/// <param name="Width">Columns of the token grid.</param>
/// <param name="Prefix">Class and distillation tokens in front of the patches.</param>
/// <param name="Window">Side of the windows that attend separately; 0: all tokens attend to all. The grid is then padded up to a multiple of it.</param>
/// <param name="Shift">By how many tokens the grid was rolled up and left before it was cut into windows.</param>
public sealed record TokenLayout(int Height, int Width, int Prefix = 0, int Window = 0, int Shift = 0);

/// <summary>What one attention layer looked at.</summary>
/// <param name="Layout">Where its tokens lie.</param>
/// <param name="Weights">[N, heads, Q, K] (windows: [N windows, heads, Q, K]): how much query token q takes from key token k; null where a layer has no such
/// matrix.</param>
/// <param name="Saliency">[N, K]: the layer's own measure of how much each token counts, where it has one (VARS); otherwise null.</param>
public sealed record AttentionMap(TokenLayout Layout, Tensor? Weights, Tensor? Saliency);

/// <summary>
/// Collects the attention maps of everything that runs on this thread while it is open. Attention layers then run the decomposition of their node
/// (<see cref="AttentionOp"/>)
/// and write their weights here; no network needs another forward for it.
/// <code>
/// using var tap = AttentionTap.Open();
/// model.call(x);
/// foreach (var map in tap.Maps) ...
/// </code>
/// </summary>
public sealed class AttentionTap : IDisposable
{
    [ThreadStatic] private static AttentionTap? current;

    private readonly AttentionTap? outer = current;
    private readonly List<AttentionMap> maps = [];
    private TokenLayout? layout;

    private AttentionTap() => current = this;

    /// <summary>Whether a tap is open on this thread.</summary>
    public static bool IsActive => current is not null;

    /// <summary>The maps in running order. They live until the tap is disposed.</summary>
    public IReadOnlyList<AttentionMap> Maps => maps;

    /// <summary>Opens a tap; an outer one sees nothing until this one is disposed.</summary>
    public static AttentionTap Open() => new();

    /// <summary>A network or layer says where the tokens of the following attention layers lie.</summary>
    public static void Enter(TokenLayout layout)
    {
        if (current is not null) current.layout = layout;
    }

    /// <summary>An attention layer hands over its weights [N, heads, Q, K], how much each token counts [N, K], or both.</summary>
    public static void Record(Tensor? weights, Tensor? saliency = null) => current?.Add(weights, saliency);

    /// <summary>Releases the maps.</summary>
    public void Dispose()
    {
        foreach (var map in maps)
        {
            map.Weights?.Dispose();
            map.Saliency?.Dispose();
        }
        maps.Clear();
        if (ReferenceEquals(current, this)) current = outer;
    }

    private void Add(Tensor? weights, Tensor? saliency)
    {
        var tokens = (int)(weights ?? saliency!).shape[^1];
        maps.Add(new AttentionMap(layout ?? new TokenLayout(1, tokens), Keep(weights), Keep(saliency)));
    }

    private static Tensor? Keep(Tensor? x)
    {
        if (x is null) return null;
        using var scope = NewDisposeScope();
        return x.detach().clone().DetachFromDisposeScope();
    }
}
