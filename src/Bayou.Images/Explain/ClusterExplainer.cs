using Bayou.Core;
using Bayou.Data;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Which places a network holds together: spectral clusters of its features, and how many directions they span at every stage
/// (<see cref="TokenGrouping"/>).</summary>
public sealed class ClusterExplainer : IExplainer
{
    // Distinct for most eyes (Okabe and Ito), then repeated darker.
    private static readonly byte[][] Colours =
        [[86, 180, 233], [230, 159, 0], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167], [120, 120, 120]];

    /// <inheritdoc/>
    public string Name => "clusters";

    /// <inheritdoc/>
    public string Summary =>
        "which places a network groups together, by its features; --layer picks a stage (default the last), --clusters the number (default 4)";

    /// <inheritdoc/>
    public Explanation Explain(ExplainRequest request)
    {
        if (request.Model is not IFeatureNetwork network)
            throw new BayouException($"explain: {request.Model.GetType().Name} gives no feature maps, which --method clusters needs");
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var maps = network.Features(request.Input());
        var chosen = request.Options.Layer ?? maps.Length - 1;
        if (chosen < 0 || chosen >= maps.Length) throw new BayouException($"explain: stage {chosen} is wanted, the network has stages 0 to {maps.Length - 1}");
        var map = maps[chosen];
        var (rows, columns) = ((int)map.shape[2], (int)map.shape[3]);
        if (rows * columns > 4096)
            throw new BayouException($"explain: stage {chosen} has {rows * columns} places; at most 4096 can be grouped: choose a later stage with --layer");
        var groups = request.Options.Clusters ?? Math.Min(4, rows * columns);
        var labels = TokenGrouping.Cluster(map, groups);
        var stages = maps.Select((m, i) =>
        {
            var values = TokenGrouping.Eigenvalues(m);
            return new
            {
                stage = i,
                channels = m.shape[1],
                rows = m.shape[2],
                columns = m.shape[3],
                significant = TokenGrouping.Significant(values),
                eigenvalues = values.Take(20).ToArray()
            };
        }).ToList();
        var sizes = Enumerable.Range(0, groups).Select(g => labels.Count(l => l == g)).ToArray();
        return new Explanation(
            [("clusters", Painted(request.Shown, labels, rows, columns))],
            new { method = Name, stage = chosen, clusters = groups, rows, columns, labels, sizes, stages },
            [
                $"stage {chosen}, {rows} x {columns} places in {groups} groups of {string.Join(", ", sizes)}",
                .. stages.Select(s =>
                    $"stage {s.stage} ({s.channels} channels, {s.rows} x {s.columns}): {s.significant} eigenvalues of the affinity above 1 % of the largest"),
            ]);
    }

    private static ImageBuffer Painted(ImageBuffer picture, int[] labels, int rows, int columns)
    {
        var result = picture.WithChannels(3).Clone();
        for (var y = 0; y < result.Height; y++)
        {
            for (var x = 0; x < result.Width; x++)
            {
                var label = labels[y * rows / result.Height * columns + x * columns / result.Width];
                var dark = label / Colours.Length % 2 == 0 ? 1 : 0.5;
                for (var c = 0; c < 3; c++)
                {
                    var i = 3 * (y * result.Width + x) + c;
                    result.Pixels[i] = (byte)(0.5 * result.Pixels[i] + 0.5 * dark * Colours[label % Colours.Length][c]);
                }
            }
        }
        return result;
    }
}
