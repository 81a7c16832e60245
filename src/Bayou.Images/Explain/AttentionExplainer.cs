using Bayou.Core;
using Bayou.Data;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// Where a network with attention looks: every attention layer's map, the chosen one over the picture. How much a token counts is, in this order, the layer's
/// own saliency (VARS), what
/// the class token takes from it, or what all tokens take from it on average; the mean over heads in each case.
/// </summary>
public sealed class AttentionExplainer : IExplainer
{
    private const int StripSide = 160;

    /// <inheritdoc/>
    public string Name => "attention";

    /// <inheritdoc/>
    public string Summary => "where attention layers look; --layer picks one, default the last";

    /// <inheritdoc/>
    public Explanation Explain(ExplainRequest request)
    {
        var heats = Heats(request);
        var chosen = request.Options.Layer ?? heats.Count - 1;
        if (chosen < 0 || chosen >= heats.Count)
            throw new BayouException($"explain: layer {chosen} is wanted, the network has attention layers 0 to {heats.Count - 1}");
        var shown = request.Shown;
        var pictures = new List<(string, ImageBuffer)> { ("attention", heats[chosen].Over(shown)) };
        if (heats.Count > 1)
        {
            // Layers in reading order; white lines between them.
            var small = shown.Resize(StripSide, StripSide);
            pictures.Add(("layers", Strip(heats.Select(h => h.Over(small)).ToList())));
        }
        var facts = new
        {
            method = Name,
            layer = chosen,
            layers = heats.Select((h, i) => new { layer = i, rows = h.Height, columns = h.Width, entropy = Entropy(h), values = h.Values }),
        };
        var heat = heats[chosen];
        var most = Array.IndexOf(heat.Values, heat.Values.Max());
        return new Explanation(pictures, facts,
            [$"attention layer {chosen} of {heats.Count}, {heat.Height} x {heat.Width} places: most at row {most / heat.Width}, column {most % heat.Width}; spread {Math.Exp(Entropy(heat)):0.0} of {heat.Values.Length} places"],
            heat);
    }

    /// <summary>What every attention layer looks at, in running order.</summary>
    /// <exception cref="BayouException">The network has no attention.</exception>
    public static IReadOnlyList<SaliencyMap> Heats(ExplainRequest request)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var tap = AttentionTap.Open();
        request.Model.call(request.Input());
        if (tap.Maps.Count == 0)
            throw new BayouException("explain: the network has no attention layer; --method clusters works for every network with features");
        return tap.Maps.Select(m => Heat(m)).ToList();
    }

    /// <summary>How much each place counts in an attention layer's map.</summary>
    /// <param name="map">The map.</param>
    /// <param name="picture">Which picture of the batch.</param>
    public static SaliencyMap Heat(AttentionMap map, int picture = 0)
    {
        var layout = map.Layout;
        if (map.Saliency is { } saliency)
            return Grid(saliency.data<float>().ToArray().AsSpan(picture * (int)saliency.shape[1], (int)saliency.shape[1]), layout);
        var weights = map.Weights!;
        var (heads, queries, keys) = ((int)weights.shape[1], (int)weights.shape[2], (int)weights.shape[3]);
        var values = weights.data<float>().ToArray();
        // A class token asks first; without one, every token does.
        var asked = layout.Prefix > 0 ? 1 : queries;
        float[] Taken(int group)
        {
            var taken = new float[keys];
            for (var h = 0; h < heads; h++)
            {
                for (var q = 0; q < asked; q++)
                {
                    var row = ((group * heads + h) * queries + q) * keys;
                    for (var k = 0; k < keys; k++) taken[k] += values[row + k] / (heads * asked);
                }
            }
            return taken;
        }
        return layout.Window == 0 ? Grid(Taken(picture), layout) : Windowed(layout, picture, Taken);
    }

    private static SaliencyMap Grid(ReadOnlySpan<float> tokens, TokenLayout layout) =>
        new(layout.Width, layout.Height, tokens[(tokens.Length - layout.Width * layout.Height)..].ToArray());

    private static SaliencyMap Windowed(TokenLayout layout, int picture, Func<int, float[]> taken)
    {
        var (window, shift) = (layout.Window, layout.Shift);
        int rows = (layout.Height + window - 1) / window, columns = (layout.Width + window - 1) / window;
        var values = new float[layout.Height * layout.Width];
        for (var w = 0; w < rows * columns; w++)
        {
            var tokens = taken(picture * rows * columns + w);
            for (var t = 0; t < tokens.Length; t++)
            {
                // Undo the roll; what lies in the padding belongs to no place.
                var y = (w / columns * window + t / window + shift) % (rows * window);
                var x = (w % columns * window + t % window + shift) % (columns * window);
                if (y < layout.Height && x < layout.Width) values[y * layout.Width + x] = tokens[t];
            }
        }
        return new SaliencyMap(layout.Width, layout.Height, values);
    }

    private static double Entropy(SaliencyMap heat)
    {
        var sum = heat.Values.Sum(v => Math.Max(0.0, v));
        return sum <= 0 ? 0 : -heat.Values.Where(v => v > 0).Sum(v => v / sum * Math.Log(v / sum));
    }

    private static ImageBuffer Strip(IReadOnlyList<ImageBuffer> pictures)
    {
        const int perRow = 6, gap = 4;
        var rows = (pictures.Count + perRow - 1) / perRow;
        var strip = new ImageBuffer((StripSide + gap) * Math.Min(perRow, pictures.Count) - gap, (StripSide + gap) * rows - gap, 3);
        strip.Pixels.AsSpan().Fill(255);
        for (var i = 0; i < pictures.Count; i++)
        {
            var (top, left) = (i / perRow * (StripSide + gap), i % perRow * (StripSide + gap));
            for (var y = 0; y < StripSide; y++)
                pictures[i].Pixels.AsSpan(3 * StripSide * y, 3 * StripSide).CopyTo(strip.Pixels.AsSpan(3 * ((top + y) * strip.Width + left)));
        }
        return strip;
    }
}
