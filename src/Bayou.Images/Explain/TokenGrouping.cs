using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>
/// The grouping of tokens that FAN's paper sees behind robustness (specs/fan.md, section 1.6): spectral clusters of token features, how many directions they
/// span, and how noise decays.
/// </summary>
public static class TokenGrouping
{
    /// <summary>Eigenvalues of the tokens' affinity X X' (tokens normalised), largest first.</summary>
    /// <param name="map">One feature map [1, C, H, W].</param>
    public static double[] Eigenvalues(Tensor map)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        // The nonzero eigenvalues of X X' are those of X' X: the smaller of both is solved.
        var x = Tokens(map);
        var gram = x.shape[0] <= x.shape[1] ? x.matmul(x.t()) : x.t().matmul(x);
        return linalg.eigvalsh(gram.to(float64)).data<double>().ToArray().Select(v => Math.Max(0, v)).OrderDescending().ToArray();
    }

    /// <summary>Eigenvalues above a share of the largest: how many directions the tokens span.</summary>
    public static int Significant(IReadOnlyList<double> eigenvalues, double share = 0.01) => eigenvalues.Count(v => v > share * eigenvalues[0]);

    /// <summary>
    /// Groups tokens by spectral clustering: affinity max(0, cosine), normalised by the square roots of its row sums, its leading eigenvectors with rows of
    /// unit length, k-means.
    /// </summary>
    /// <param name="map">One feature map [1, C, H, W].</param>
    /// <param name="groups">Groups to find; no more than tokens.</param>
    /// <param name="seed">Seed of the k-means starts.</param>
    /// <returns>The group of every place, row by row; groups are numbered by size, largest first.</returns>
    public static int[] Cluster(Tensor map, int groups, int seed = 0)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var x = Tokens(map);
        var count = (int)x.shape[0];
        if (groups < 1 || groups > count) throw new BayouException($"explain: {groups} groups of {count} tokens; 1 to {count} are possible");
        var affinity = x.matmul(x.t()).clamp_min(Number.Of(0)).to(float64);
        var scale = affinity.sum(1L).rsqrt();
        var (_, vectors) = linalg.eigh(affinity.mul(scale.unsqueeze(0)).mul(scale.unsqueeze(1)));
        var leading = nn.functional.normalize(vectors.slice(1, count - groups, count, 1), 2, 1).contiguous();
        var labels = KMeans(leading.data<double>().ToArray(), count, groups, new Random(seed));
        var bySize = labels.GroupBy(l => l).OrderByDescending(g => g.Count()).ThenBy(g => g.Key).Select((g, i) => (g.Key, i))
            .ToDictionary(p => p.Key, p => p.i);
        return labels.Select(l => bySize[l]).ToArray();
    }

    /// <summary>Outputs of every module of a kind during one forward, in running order: the blocks of a network.</summary>
    public static IReadOnlyList<Tensor> Outputs(nn.Module<Tensor, Tensor> network, Tensor x, Func<nn.Module, bool> of)
    {
        using var noGrad = no_grad();
        var outputs = new List<Tensor>();
        var hooks = network.modules().Where(of).OfType<nn.Module<Tensor, Tensor>>().Select(m => m.register_forward_hook((_, _, y) =>
        {
            // Networks free what a block made once the next has run.
            outputs.Add(y.detach().clone().DetachFromDisposeScope());
            return y;
        })).ToList();
        try
        {
            network.call(x);
        }
        finally
        {
            foreach (var hook in hooks) hook.remove();
        }
        // Into the caller's scope.
        return outputs.ConvertAll(o =>
        {
            using (o) return o.alias();
        });
    }

    /// <summary>How much of a disturbance is left after each block: ||f(x + e) - f(x)|| / ||f(x)||, mean over the pictures.</summary>
    public static double[] NoiseDecay(nn.Module<Tensor, Tensor> network, Tensor clean, Tensor noisy, Func<nn.Module, bool> of)
    {
        using var scope = NewDisposeScope();
        var (a, b) = (Outputs(network, clean, of), Outputs(network, noisy, of));
        return a.Zip(b, (x, y) => (y - x).flatten(1).norm(1L).div(x.flatten(1).norm(1L)).mean().to(float64).item<double>()).ToArray();
    }

    // [1, C, H, W] -> [H W, C], every token of unit length.
    private static Tensor Tokens(Tensor map)
    {
        if (map.dim() != 4 || map.shape[0] != 1) throw new BayouException($"token grouping: one map [1, C, H, W] is needed, not {new Ints(map.shape)}");
        return nn.functional.normalize(map.flatten(2).squeeze(0).t(), 2, 1);
    }

    private static int[] KMeans(double[] points, int count, int groups, Random random)
    {
        var dim = points.Length / count;
        var (best, labels) = (double.PositiveInfinity, new int[count]);
        double Distance(double[] centres, int centre, int point)
        {
            var sum = 0.0;
            for (var d = 0; d < dim; d++) sum += Math.Pow(points[point * dim + d] - centres[centre * dim + d], 2);
            return sum;
        }
        for (var start = 0; start < 5; start++)
        {
            // k-means++: the next centre is drawn in proportion to its squared distance from those chosen.
            var centres = new double[groups * dim];
            Array.Copy(points, random.Next(count) * dim, centres, 0, dim);
            for (var g = 1; g < groups; g++)
            {
                var nearest = Enumerable.Range(0, count).Select(p => Enumerable.Range(0, g).Min(c => Distance(centres, c, p))).ToArray();
                var draw = random.NextDouble() * nearest.Sum();
                var next = 0;
                while (next < count - 1 && (draw -= nearest[next]) > 0) next++;
                Array.Copy(points, next * dim, centres, g * dim, dim);
            }
            var (assigned, cost) = (new int[count], 0.0);
            for (var turn = 0; turn < 50; turn++)
            {
                cost = 0;
                var moved = false;
                for (var p = 0; p < count; p++)
                {
                    var nearest = Enumerable.Range(0, groups).MinBy(g => Distance(centres, g, p));
                    cost += Distance(centres, nearest, p);
                    moved |= nearest != assigned[p];
                    assigned[p] = nearest;
                }
                if (!moved && turn > 0) break;
                for (var g = 0; g < groups; g++)
                {
                    var members = Enumerable.Range(0, count).Where(p => assigned[p] == g).ToArray();
                    if (members.Length == 0) continue;
                    for (var d = 0; d < dim; d++) centres[g * dim + d] = members.Average(p => points[p * dim + d]);
                }
            }
            if (cost < best) (best, labels) = (cost, assigned);
        }
        return labels;
    }
}
