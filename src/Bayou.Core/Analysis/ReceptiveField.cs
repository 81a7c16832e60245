using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The smallest centred square that holds more than a share of all contributions.</summary>
/// <param name="Threshold">The share, 0..1.</param>
/// <param name="Side">Its side in pixels, odd; -1 when no square inside the picture does.</param>
/// <param name="Ratio">Its area / the picture's; -1 when there is none.</param>
public sealed record ContributionArea(double Threshold, int Side, double Ratio)
{
    /// <summary>Whether there is such a square.</summary>
    public bool Exists => Side > 0;
}

/// <summary>
/// Effective receptive field as RepLKNet measures it (arXiv 2203.06717, section 4.4 and the official erf scripts): how much each input pixel contributes to the
/// middle of the last feature map, averaged over pictures. Accumulates one picture after the other.
/// </summary>
public sealed class ReceptiveField
{
    /// <summary>The shares of the paper's table.</summary>
    public static readonly IReadOnlyList<double> PaperThresholds = [0.2, 0.3, 0.5, 0.99];

    private double[]? sum;

    /// <summary>Height of the pictures.</summary>
    public int Height { get; private set; }

    /// <summary>Width of the pictures.</summary>
    public int Width { get; private set; }

    /// <summary>Pictures that count.</summary>
    public int Pictures { get; private set; }

    /// <summary>Pictures left out because their map was not finite.</summary>
    public int Skipped { get; private set; }

    /// <summary>
    /// Contribution of every pixel of one picture: with y the last feature map before the final norm and s the sum over channels of relu(y) in its middle (row
    /// h/2, column w/2, integer division), the sum over colours of relu(ds / dinput).
    /// </summary>
    /// <param name="features">[N, C, H, W] -> the feature map [N, C', h, w]; gradients flow through it.</param>
    /// <param name="picture">[1, C, H, W], normalised; not changed.</param>
    /// <returns>[H, W].</returns>
    public static Tensor Map(Func<Tensor, Tensor> features, Tensor picture)
    {
        using var scope = NewDisposeScope();
        using var grad = set_grad_enabled(true);
        using var input = picture.detach().clone().requires_grad_();
        var y = features(input);
        if (y.dim() != 4) throw new BayouException($"ReceptiveField: the features have shape {new Ints(y.shape)}; a map [N, C, h, w] is needed");
        var middle = y.select(3, y.shape[3] / 2).select(2, y.shape[2] / 2);
        nn.functional.relu(middle).sum().backward();
        return nn.functional.relu(input.grad!).sum([0L, 1L]).MoveToOuterDisposeScope();
    }

    /// <summary>Measures one picture on the last features of a network in eval mode, and takes its map into the average.</summary>
    /// <exception cref="BayouException">Another size than the pictures before.</exception>
    public void Add(IFeatureNetwork network, Tensor picture)
    {
        using var scope = NewDisposeScope();
        // Nobody wants the gradients of the weights, and they are half of the work.
        var trained = network is nn.Module module ? module.parameters().Where(p => p.requires_grad).ToList() : [];
        trained.ForEach(p => p.requires_grad_(false));
        try
        {
            Add(Map(x => network.Features(x)[^1], picture));
        }
        finally
        {
            trained.ForEach(p => p.requires_grad_(true));
        }
    }

    /// <summary>Takes a map [H, W] into the average; one that is not finite is only counted.</summary>
    /// <exception cref="BayouException">Another size than the maps before.</exception>
    public void Add(Tensor map)
    {
        using var scope = NewDisposeScope();
        if (sum is null) (Height, Width, sum) = ((int)map.shape[0], (int)map.shape[1], new double[map.numel()]);
        if (map.shape[0] != Height || map.shape[1] != Width)
            throw new BayouException($"ReceptiveField: a map of {map.shape[0]}x{map.shape[1]} after maps of {Height}x{Width}; all pictures need one size");
        var values = map.to(float64).contiguous().data<double>().ToArray();
        if (!double.IsFinite(values.Sum()))
        {
            Skipped++;
            return;
        }
        for (var i = 0; i < values.Length; i++) sum[i] += values[i];
        Pictures++;
    }

    /// <summary>The average map, row by row.</summary>
    /// <exception cref="BayouException">No picture counts.</exception>
    public double[] Average() =>
        Pictures == 0 ? throw new BayouException($"ReceptiveField: no usable picture ({Skipped} gave maps that are not finite)")
            : sum!.Select(v => v / Pictures).ToArray();

    /// <summary>The map as it is analysed and drawn: log10(average + 1), divided by its maximum.</summary>
    public static double[] Analysed(IReadOnlyList<double> average)
    {
        var logs = average.Select(v => Math.Log10(v + 1)).ToArray();
        var max = logs.Max();
        if (!(max > 0)) throw new BayouException("ReceptiveField: nothing contributes to the middle of the feature map (all gradients are 0)");
        return logs.Select(v => v / max).ToArray();
    }

    /// <summary>
    /// High-contribution area: the first square of rows h/2 - i .. h/2 + i and columns w/2 - i .. w/2 + i, i = 1 .. h/2 - 1, with more than
    /// <paramref name="threshold"/> of the whole sum.
    /// </summary>
    public static ContributionArea Area(IReadOnlyList<double> map, int height, int width, double threshold)
    {
        if (map.Count != height * width) throw new BayouException($"ReceptiveField: {map.Count} values are not {height}x{width}");
        int y = height / 2, x = width / 2;
        var (total, inside) = (map.Sum(), map[y * width + x]);
        // A square that left the picture would count pixels that are not there.
        for (var i = 1; i < height / 2 && x - i >= 0 && x + i < width; i++)
        {
            // The ring around the square before.
            for (var c = x - i; c <= x + i; c++) inside += map[(y - i) * width + c] + map[(y + i) * width + c];
            for (var r = y - i + 1; r < y + i; r++) inside += map[r * width + x - i] + map[r * width + x + i];
            if (inside / total > threshold) return new(threshold, 2 * i + 1, (2.0 * i + 1) * (2 * i + 1) / ((double)height * width));
        }
        return new(threshold, -1, -1);
    }
}
